/*
 * npy.c - NumPy arrays, alone (.npy) or in a zip (.npz)
 *
 *     93 4E 55 4D 50 59   major   minor   header length (u16, or u32 from version 2)
 *     a Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *     the elements
 */
#include "formats/archive/archive_file.h"

#include <inttypes.h>
#include <stdlib.h>

enum { HEADER_MOST = 64 << 10, START_BYTES = 12 };

static const struct {
    const char *descr;
    enum dtype dtype;
} descrs[] = {
    {"<f2", DTYPE_F16},  {"<f4", DTYPE_F32},  {"<f8", DTYPE_F64}, {"|i1", DTYPE_I8},
    {"|u1", DTYPE_U8},   {"<i2", DTYPE_I16},  {"<i4", DTYPE_I32}, {"<i8", DTYPE_I64},
    {"<u2", DTYPE_U16},  {"<u4", DTYPE_U32},  {"<u8", DTYPE_U64}, {"|b1", DTYPE_BOOL},
    {"<V2", DTYPE_BF16}, {"|V2", DTYPE_BF16}, /* as ml_dtypes' bfloat16 is saved */
};

/* The bytes of one array: in the file from `offset`, or inflated. */
struct npy_source {
    const struct file *file;
    uint64_t offset, size;
    struct deflated *deflated;
};

static enum status read_at(const struct npy_source *src, uint64_t at, void *dst, size_t n,
                           struct error *err)
{
    if (at > src->size || n > src->size - at)
        return fail(err, ERR_CORRUPT, "npy: ends inside its header");
    if (src->deflated)
        return deflated_read(src->deflated, at, dst, n, err);
    return file_read(src->file, src->offset + at, dst, n, err);
}

/* ---- the dictionary ---- */

struct literal {
    const char *at; /* in NUL-terminated text */
};

static void skip_space(struct literal *lit)
{
    while (*lit->at == ' ' || *lit->at == '\t')
        lit->at++;
}

static bool accept(struct literal *lit, const char *word)
{
    size_t n = strlen(word);

    skip_space(lit);
    if (strncmp(lit->at, word, n) != 0)
        return false;
    lit->at += n;
    return true;
}

/* A string in single quotes without escapes, of fewer than 32 bytes. */
static bool accept_string(struct literal *lit, char out[32])
{
    const char *end;

    if (!accept(lit, "'"))
        return false;
    end = strchr(lit->at, '\'');
    if (!end || end - lit->at >= 32)
        return false;
    memcpy(out, lit->at, (size_t)(end - lit->at));
    out[end - lit->at] = '\0';
    lit->at = end + 1;
    return true;
}

static bool accept_number(struct literal *lit, uint64_t *out)
{
    uint64_t v = 0;

    skip_space(lit);
    if (*lit->at < '0' || *lit->at > '9')
        return false;
    for (; *lit->at >= '0' && *lit->at <= '9'; lit->at++)
        if (!mul_u64(v, 10, &v) || !add_u64(v, (uint64_t)(*lit->at - '0'), &v))
            return false;
    *out = v;
    return true;
}

static bool accept_shape(struct literal *lit, struct tensor *view)
{
    if (!accept(lit, "("))
        return false;
    view->n_dims = 0;
    while (!accept(lit, ")")) {
        if (view->n_dims == TENSOR_MAX_DIMS ||
            !accept_number(lit, &view->dims[view->n_dims++]))
            return false;
        if (!accept(lit, ",") && *lit->at != ')')
            return false;
    }
    return true;
}

/* What the dictionary says; the bits of `seen` stand for descr, fortran_order and shape. */
struct npy_header {
    char descr[32];
    bool is_fortran;
    unsigned seen;
};

static bool accept_item(struct literal *lit, struct npy_header *head, struct tensor *view)
{
    char key[32];
    unsigned bit;
    bool fits;

    if (!accept_string(lit, key) || !accept(lit, ":"))
        return false;
    if (strcmp(key, "descr") == 0) {
        bit = 1;
        fits = accept_string(lit, head->descr);
    } else if (strcmp(key, "fortran_order") == 0) {
        bit = 2;
        head->is_fortran = accept(lit, "True");
        fits = head->is_fortran || accept(lit, "False");
    } else {
        bit = 4;
        fits = strcmp(key, "shape") == 0 && accept_shape(lit, view);
    }
    fits = fits && (head->seen & bit) == 0;
    head->seen |= bit;
    return fits;
}

static enum status read_literal(const char *text, struct npy_header *head,
                                struct tensor *view, struct error *err)
{
    struct literal lit = {text};
    bool fits = accept(&lit, "{");

    while (fits && !accept(&lit, "}")) {
        fits = accept_item(&lit, head, view);
        if (fits && !accept(&lit, ","))
            fits = *lit.at == '}';
    }
    fits = fits && (accept(&lit, "\n") || *lit.at == '\0');
    if (!fits || *lit.at != '\0' || head->seen != 7)
        return fail(err, ERR_UNSUPPORTED,
                    "npy: its header is not descr, fortran_order and shape");
    for (size_t i = 0; i < sizeof(descrs) / sizeof(descrs[0]); i++) {
        if (strcmp(descrs[i].descr, head->descr) == 0) {
            view->dtype = descrs[i].dtype;
            return OK;
        }
    }
    return fail(err, ERR_UNSUPPORTED, "npy: elements of type %s", head->descr);
}

/* ---- one array ---- */

static enum status read_start(const struct npy_source *src, uint64_t *at,
                              size_t *n_header, struct error *err)
{
    uint8_t start[START_BYTES] = {0};
    enum status st = read_at(src, 0, start, 10, err);

    if (st != OK)
        return st;
    if (memcmp(start, "\x93NUMPY", 6) != 0)
        return fail(err, ERR_CORRUPT, "npy: its magic is missing");
    if (start[6] < 1 || start[6] > 3)
        return fail(err, ERR_UNSUPPORTED, "npy: version %u", start[6]);
    *at = start[6] == 1 ? 10 : 12;
    if (start[6] > 1)
        st = read_at(src, 8, start + 8, 4, err);
    *n_header = start[6] == 1 ? load_u16(start + 8) : load_u32(start + 8);
    if (st == OK && *n_header > HEADER_MOST)
        return fail(err, ERR_UNSUPPORTED, "npy: a header of %zu bytes", *n_header);
    return st;
}

/* Fill in everything but the name. */
static enum status read_array(const struct npy_source *src, struct archive_entry *entry,
                              struct error *err)
{
    struct tensor *view = &entry->public.view;
    struct npy_header head = {0};
    uint64_t at = 0, stride = 1;
    size_t n_header = 0;
    char *text;
    enum status st = read_start(src, &at, &n_header, err);

    if (st != OK)
        return st;
    text = calloc(n_header + 1, 1);
    if (!text)
        return fail(err, ERR_NOMEM, "no memory for the header of an array");
    st = read_at(src, at, text, n_header, err);
    if (st == OK)
        st = read_literal(text, &head, view, err);
    free(text);
    if (st == OK)
        st = tensor_measure(view->dtype, view->dims, view->n_dims, &view->n_bytes, err);
    if (st != OK)
        return st;
    if (view->n_bytes != src->size - at - n_header)
        return fail(err, ERR_CORRUPT,
                    "npy: its shape needs %" PRIu64 " bytes, %" PRIu64 " are there",
                    view->n_bytes, src->size - at - n_header);
    if (head.is_fortran && src->deflated && view->n_dims > 1)
        return fail(err, ERR_UNSUPPORTED, "npy: deflated and in Fortran order");
    for (int i = 0; i < view->n_dims; i++) {
        int d = head.is_fortran ? i : view->n_dims - 1 - i;

        entry->strides[d] = stride;
        stride *= view->dims[d];
    }
    entry->first = src->offset + at + n_header;
    entry->deflated = src->deflated;
    entry->deflated_skip = at + n_header;
    return OK;
}

enum status npy_add(struct archive *archive, const struct file *file, int no,
                    struct error *err)
{
    const struct npy_source src = {.file = file, .size = file_size(file)};
    struct archive_entry entry = {.public.view = {.name = "array", .file = no}};
    enum status st = read_array(&src, &entry, err);

    return st == OK ? archive_add(archive, &entry, err) : st;
}

static enum status add_member(struct archive *archive, const struct file *file, int no,
                              const struct member *member, struct error *err)
{
    const size_t n_name = strlen(member->name) - strlen(".npy");
    struct npy_source src = {
        .file = file, .offset = member->offset, .size = member->size};
    struct archive_entry entry = {.public.view.file = no};
    char *name = arena_strndup(&archive->arena, member->name, n_name);
    enum status st = OK;

    if (!name)
        return fail(err, ERR_NOMEM, "no memory for the names of arrays");
    entry.public.view.name = name;
    if (member->method == METHOD_DEFLATED)
        st = deflated_open(file, member, &src.deflated, err);
    if (st == OK)
        st = read_array(&src, &entry, err);
    if (st == OK)
        st = archive_add(archive, &entry, err);
    if (st != OK) {
        deflated_close(src.deflated);
        return fail_at(err, member->name);
    }
    return OK;
}

enum status npz_add(struct archive *archive, const struct file *file, int no,
                    const struct members *members, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < members->n && st == OK; i++) {
        const struct member *member = &members->list[i];
        size_t n = strlen(member->name);

        if (n <= 4 || strcmp(member->name + n - 4, ".npy") != 0)
            st = fail(err, ERR_UNSUPPORTED, "zip: %s is not an array", member->name);
        else
            st = add_member(archive, file, no, member, err);
    }
    return st;
}
