/*
 * fuzz_folder.c - several files out of one fuzzed input
 */
#define _GNU_SOURCE /* memmem(), memfd_create() */
#include "tests/fuzz/fuzz_folder.h"
#include "formats/formats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TENSOR_MOST = 64 << 10, FILE_MOST = 256 << 10, LINE_MOST = 2048 };

void expect(bool is_true)
{
    if (!is_true)
        abort();
}

/* ---- the folder ---- */

static struct scratch *to_remove; /* at exit: one scratch a process */

const char *scratch_path(const struct scratch *scratch, const char *name)
{
    static char path[2 * SCRATCH_PATH];

    snprintf(path, sizeof(path), "%s/%s", scratch->folder, name);
    return path;
}

static void drop(struct scratch *scratch, size_t i)
{
    if (scratch->hash[i] && unlink(scratch_path(scratch, scratch->names[i])) != 0)
        abort();
    scratch->hash[i] = 0;
}

static void remove_folder(void)
{
    for (size_t i = 0; to_remove->names[i]; i++)
        drop(to_remove, i);
    for (size_t i = 0; to_remove->names[i]; i++) {
        char name[SCRATCH_PATH];
        char *slash;

        snprintf(name, sizeof(name), "%s", to_remove->names[i]);
        slash = strchr(name, '/');
        if (slash) {
            *slash = '\0';
            (void)rmdir(scratch_path(to_remove, name));
        }
    }
    (void)rmdir(to_remove->folder);
}

static void make_folder(struct scratch *scratch)
{
    const char *where = getenv("TMPDIR");

    snprintf(scratch->folder, sizeof(scratch->folder), "%s/carat-fuzz-XXXXXX",
             where && *where ? where : P_tmpdir);
    if (!mkdtemp(scratch->folder))
        abort();
    to_remove = scratch;
    atexit(remove_folder);
}

/* Cut at the end, not at the beginning: some file systems flush what was emptied and rewritten. */
static void write_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 && errno == ENOENT) {
        char folder[2 * SCRATCH_PATH];

        snprintf(folder, sizeof(folder), "%s", path);
        *strrchr(folder, '/') = '\0';
        (void)mkdir(folder, 0700);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    }
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || ftruncate(fd, (off_t)n) != 0 ||
        close(fd) != 0)
        abort();
}

/* ---- lists of tensors ---- */

/* A safetensors file that grows. */
struct building {
    char header[FILE_MOST];
    uint8_t data[FILE_MOST];
    size_t n_header, n_data, n_tensors;
};

static bool is_plain(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == '"' || *name == '\\')
            return false;
    return true;
}

/* Bytes of element type and place: small finite numbers for floats, anything for integers. */
static void fill_numbers(uint8_t *to, size_t n, enum dtype dtype)
{
    const size_t width = dtype_bits(dtype) / 8;
    uint32_t state = 1;

    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = (uint8_t)(state >> 24);
        if (dtype_is_float(dtype) && width > 1 && i % width == width - 1)
            to[i] = (uint8_t)(0x3c | (to[i] & 0x80));
        if (dtype_is_float(dtype) && width == 1)
            to[i] &= 0xbf;
    }
}

/* "00ff..." over and over. */
static void fill_pattern(uint8_t *to, size_t n, const char *hex)
{
    uint8_t pattern[256];
    size_t length = 0;
    unsigned byte;

    while (length < sizeof(pattern) && sscanf(hex + 2 * length, "%2x", &byte) == 1 &&
           hex[2 * length + 1])
        pattern[length++] = (uint8_t)byte;
    for (size_t i = 0; i < n && length; i++)
        to[i] = pattern[i % length];
}

static void add_tensor(struct building *to, const char *name, enum dtype dtype,
                       const uint64_t *dims, int n_dims, const char *content)
{
    uint8_t *at = to->data + to->n_data;
    struct error err;
    uint64_t n;

    if (!is_plain(name) || tensor_measure(dtype, dims, n_dims, &n, &err) != OK ||
        n > TENSOR_MOST || n > sizeof(to->data) - to->n_data ||
        to->n_header + 2 * LINE_MOST > sizeof(to->header))
        return;
    fill_numbers(at, (size_t)n, dtype);
    if (*content == '=')
        fill_pattern(at, (size_t)n, content + 1);
    else if (*content == '\'')
        memcpy(at, content + 1, (size_t)n);
    to->n_header += (size_t)sprintf(to->header + to->n_header,
                                    "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                                    to->n_tensors++ ? "," : "", name, dtype_name(dtype));
    for (int i = 0; i < n_dims; i++)
        to->n_header += (size_t)sprintf(to->header + to->n_header, "%s%llu", i ? "," : "",
                                        (unsigned long long)dims[i]);
    to->n_header +=
        (size_t)sprintf(to->header + to->n_header, "],\"data_offsets\":[%zu,%zu]}",
                        to->n_data, to->n_data + (size_t)n);
    to->n_data += (size_t)n;
}

/* NAME DTYPE DIM... [=HEX | 'TEXT] */
static void add_line(struct building *to, char *line)
{
    char *rest = strchr(line, ' '), *end;
    uint64_t dims[TENSOR_MAX_DIMS];
    enum dtype dtype;
    int n_dims = 0;

    if (!rest)
        return;
    *rest++ = '\0';
    end = rest + strcspn(rest, " ");
    const bool more = *end;
    *end = '\0';
    if (!dtype_from_name(rest, &dtype))
        return;
    for (rest = end + more; n_dims < TENSOR_MAX_DIMS; n_dims++) {
        rest += strspn(rest, " ");
        if (*rest < '0' || *rest > '9')
            break;
        dims[n_dims] = strtoull(rest, &rest, 10);
    }
    if (*rest == '\'') {
        dims[0] = strlen(rest + 1) * 8 / dtype_bits(dtype);
        n_dims = 1;
    }
    add_tensor(to, line, dtype, dims, n_dims, rest);
}

/* Written as 8 bytes of length, header, data. */
static void write_tensors(const char *path, const char *text, size_t n)
{
    static struct building to;
    static uint8_t whole[8 + 2 * FILE_MOST];

    to.n_data = to.n_tensors = 0;
    to.n_header = (size_t)sprintf(to.header, "{");
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - text) - at : n - at;
        char line[LINE_MOST];

        if (length < sizeof(line)) {
            memcpy(line, text + at, length);
            line[length] = '\0';
            add_line(&to, line);
        }
        at += length + 1;
    }
    to.header[to.n_header++] = '}';
    store_u64(whole, to.n_header);
    memcpy(whole + 8, to.header, to.n_header);
    memcpy(whole + 8 + to.n_header, to.data, to.n_data);
    write_file(path, whole, 8 + to.n_header + to.n_data);
}

/* ---- the input ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static void put(struct scratch *scratch, size_t i, const char *text, size_t n)
{
    const char *path = scratch_path(scratch, scratch->names[i]);
    const uint64_t hash = hash_bytes(text, n) | 1;

    if (scratch->hash[i] == hash)
        return;
    scratch->hash[i] = hash;
    if (ends_with(scratch->names[i], ".safetensors"))
        write_tensors(path, text, n);
    else
        write_file(path, text, n);
}

static size_t number_of(const struct scratch *scratch, const char *name, size_t n)
{
    size_t i = 0;

    while (scratch->names[i] &&
           (strlen(scratch->names[i]) != n || memcmp(scratch->names[i], name, n) != 0))
        i++;
    return i;
}

void scratch_fill(struct scratch *scratch, const uint8_t *bytes, size_t n_bytes)
{
    static const char mark[] = ">>> ";
    const char *at = (const char *)bytes, *end = at + n_bytes;
    bool seen[SCRATCH_FILES] = {false};

    if (!scratch->folder[0])
        make_folder(scratch);
    at = n_bytes ? memmem(at, n_bytes, mark, 4) : NULL;
    while (at) {
        const char *name = at + 4, *text = memchr(name, '\n', (size_t)(end - name));

        if (!text)
            break;
        const size_t i = number_of(scratch, name, (size_t)(text - name));
        text++;
        at = memmem(text, (size_t)(end - text), "\n>>> ", 5);
        at = at ? at + 1 : NULL;
        if (scratch->names[i] && !seen[i]) {
            seen[i] = true;
            put(scratch, i, text, (size_t)((at ? at : end) - text));
        }
    }
    for (size_t i = 0; scratch->names[i]; i++)
        if (!seen[i])
            drop(scratch, i);
}

const char *scratch_file(const uint8_t *bytes, size_t n_bytes)
{
    static char path[64];
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("carat-fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 ||
        pwrite(fd, bytes, n_bytes, 0) != (ssize_t)n_bytes)
        abort();
    return path;
}
