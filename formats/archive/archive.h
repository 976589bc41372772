/*
 * archive.h - tensors in PyTorch .bin/.pt files and NumPy .npz/.npy files; gzipped text
 *
 * A .bin is a zip whose members are stored, never compressed:
 *
 *     X/data.pkl      a pickle: names, types, shapes, strides, and which storage
 *     X/data/KEY      the bytes of one storage
 *     X/byteorder     "little", when it is there
 *
 * The pickle is read as data by a machine that knows a few words (dictionaries, numbers,
 * strings, and the torch names that make tensors); any other name in it is refused by that
 * name, and nothing is ever called. Tensors are then views of storages, in place in the file.
 *
 * A .npz is a zip of .npy members, stored or deflated; deflated ones are inflated as they are
 * read, never beyond what their shape allows. Objects, structures and big-endian numbers are
 * refused.
 *
 * Opening checks everything once: the zip's two directories against each other and the file,
 * unique plain member names, every tensor's reach against its storage.
 *
 * Sources: APPNOTE.TXT 6.3.10 (zip); Python's pickletools (opcodes); torch.serialization and
 * torch._weights_only_unpickler (2.x); numpy.lib.format (1.0 to 3.0).
 */
#ifndef FORMATS_ARCHIVE_ARCHIVE_H
#define FORMATS_ARCHIVE_ARCHIVE_H

#include "base/base.h"
#include "formats/formats.h"

struct archive;

/* A tensor and where its elements lie. When is_plain, view.offset and view.n_bytes are its
 * row-major bytes in view.file, for file_read(); otherwise (strided, or deflated) it must be
 * read with archive_read(), and view.offset means nothing. view.n_bytes is always the size
 * of the row-major tensor. */
struct archive_tensor {
    struct tensor view;
    bool is_plain;
};

/* Open one .bin, .pt, .pth, .npz or .npy, told apart by its first bytes. ERR_USAGE when missing;
 * ERR_CORRUPT; ERR_UNSUPPORTED names what it is instead (the legacy torch format, TorchScript)
 * or what it wants to call. Sentences begin with the path. */
MUST_CHECK enum status archive_open(const char *path, struct archive **out,
                                    struct error *err);

/* Open what a checkpoint folder holds: pytorch_model.bin.index.json and the files it names, else
 * pytorch_model.bin, else weights.npz. File names in the index must be plain. A tensor in two
 * files is ERR_CORRUPT; ERR_USAGE when there is nothing to open. */
MUST_CHECK enum status archive_open_folder(const char *folder, struct archive **out,
                                           struct error *err);

/* True when archive_open_folder() would find something to open. */
bool archive_is_in_folder(const char *folder);

size_t archive_count(const struct archive *archive);
const struct archive_tensor *archive_at(const struct archive *archive, size_t i);
const struct archive_tensor *archive_find(const struct archive *archive,
                                          const char *name);
size_t archive_n_files(const struct archive *archive);
const struct file *archive_file(const struct archive *archive, int i); /* borrowed */

/* Write bytes [at, at + n) of tensor i, row-major and dense, to dst. Safe from several threads at
 * once. Deflated tensors are fast only in rising order. */
MUST_CHECK enum status archive_read(const struct archive *archive, size_t i, uint64_t at,
                                    size_t n, void *dst, struct error *err);

void archive_close(struct archive *archive); /* NULL is fine */

/* The whole of a gzipped text file, inflated to at most max_bytes, NUL-terminated (the NUL is
 * not counted), owned by the caller. ERR_USAGE when missing; ERR_CORRUPT. */
MUST_CHECK enum status archive_read_gzip(const char *path, size_t max_bytes, char **out,
                                         size_t *n_bytes, struct error *err);

#endif
