/*
 * gguf_patch.c - other metadata for a file that is there, its tensors untouched
 *
 * A header of another size would move the data. What a smaller one leaves over is held by an array
 * of zeros under the key carat.slack, and a file that is converted or had to be written anew gets
 * some of it, so that the next change fits in place.
 */
#include "formats/gguf/gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char slack_key[] = "carat.slack";

/* Blocks of file systems that can insert are of 64 KiB at most, and data stay aligned to any of them.
 * Small files are safer copied: that is whole or nothing. */
enum { SLACK_BYTES = 64 << 10, COPY_BYTES = 4 << 20, INSERT_FROM = 64 << 20 };

/* ---- KEY=VALUE ---- */

/* VALUE as the whole number an integer key holds, within its range. */
static bool parse_integer(enum gguf_type type, const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    return type == GGUF_U16   ? *out >= 0 && *out <= UINT16_MAX
           : type == GGUF_U32 ? *out >= 0 && *out <= UINT32_MAX
           : type == GGUF_U64 ? *out >= 0
                              : *out >= INT32_MIN && *out <= INT32_MAX;
}

static enum status assign_number(struct gguf_meta *meta, const struct gguf_value *old,
                                 const char *text, struct error *err)
{
    const bool yes = strcmp(text, "true") == 0;
    int64_t n = 0;
    char *end;

    switch (old->type) {
    case GGUF_BOOL:
        if (yes || strcmp(text, "false") == 0)
            return gguf_set_bool(meta, old->key, yes, err);
        break;
    case GGUF_F32: {
        const double x = strtod(text, &end);

        if (end != text && *end == '\0' && isfinite((float)x))
            return gguf_set_f32(meta, old->key, (float)x, err);
        break;
    }
    case GGUF_U16:
        if (parse_integer(old->type, text, &n))
            return gguf_set_u16(meta, old->key, (uint16_t)n, err);
        break;
    case GGUF_U32:
        if (parse_integer(old->type, text, &n))
            return gguf_set_u32(meta, old->key, (uint32_t)n, err);
        break;
    case GGUF_I32:
        if (parse_integer(old->type, text, &n))
            return gguf_set_i32(meta, old->key, (int32_t)n, err);
        break;
    case GGUF_U64:
        if (parse_integer(old->type, text, &n))
            return gguf_set_u64(meta, old->key, (uint64_t)n, err);
        break;
    default:
        return fail(err, ERR_USAGE, "%s: values of type %s cannot be set", old->key,
                    gguf_type_name(old->type));
    }
    return fail(err, ERR_USAGE, "%s: \"%.60s\" is no %s", old->key, text,
                gguf_type_name(old->type));
}

/* Keys that say where bytes are, or which tensors there must be. */
static bool is_fixed(const char *key)
{
    return strcmp(key, "general.alignment") == 0 ||
           strcmp(key, "general.architecture") == 0 || strcmp(key, slack_key) == 0 ||
           strncmp(key, "split.", strlen("split.")) == 0;
}

enum status gguf_assign(struct gguf_meta *meta, const char *pair, struct error *err)
{
    const char *equals = strchr(pair, '=');
    char *key;
    enum status st;

    if (!equals || equals == pair)
        return fail(err, ERR_USAGE, "%.100s: KEY=VALUE expected", pair);
    key = strndup(pair, (size_t)(equals - pair));
    if (!key)
        return fail(err, ERR_NOMEM, "no memory for a key");
    const struct gguf_value *old = gguf_meta_find(meta, key);
    if (is_fixed(key))
        st = fail(err, ERR_USAGE, "%.100s: what the file's layout rests on stays", key);
    else if (old && old->type != GGUF_STRING)
        st = assign_number(meta, old, equals + 1, err);
    else
        st = gguf_set_str(meta, key, equals + 1, strlen(equals + 1), err);
    free(key);
    return st;
}

enum status gguf_set_slack(struct gguf_meta *meta, struct error *err)
{
    static const uint8_t zeros[SLACK_BYTES];

    return gguf_set_array(meta, slack_key, GGUF_U8, zeros, sizeof(zeros), err);
}

/* ---- headers ---- */

struct header {
    uint8_t *bytes; /* owned */
    size_t n;
};

/* What is being patched. */
struct patch {
    const struct gguf *file;
    struct gguf_meta *meta;      /* owned: the new one */
    struct gguf_tensor *tensors; /* owned: those of the first file */
    size_t n_tensors;
    uint32_t alignment;
};

static enum status list_tensors(struct patch *p, struct error *err)
{
    const size_t n = gguf_count(p->file);

    p->tensors = calloc(n + 1, sizeof(*p->tensors));
    if (!p->tensors)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    for (size_t i = 0; i < n; i++)
        if (gguf_at(p->file, i)->file == 0)
            p->tensors[p->n_tensors++] = *gguf_at(p->file, i);
    return OK;
}

static enum status lay_out(struct patch *p, struct header *out, struct error *err)
{
    uint64_t file_bytes;

    free(out->bytes);
    *out = (struct header){0};
    return gguf_layout(p->meta, p->tensors, p->n_tensors, p->alignment, &out->bytes,
                       &out->n, &file_bytes, err);
}

static enum status set_slack(struct patch *p, size_t n, struct error *err)
{
    uint8_t *zeros = calloc(n + 1, 1);
    enum status st;

    if (!zeros)
        return fail(err, ERR_NOMEM, "no memory for a header");
    st = gguf_set_array(p->meta, slack_key, GGUF_U8, zeros, n, err);
    free(zeros);
    return st;
}

/* A header of `wanted` bytes, which it may not be able to shrink or stretch to: then one that is
 * longer, with slack in it. */
static enum status fit(struct patch *p, size_t wanted, struct header *out,
                       struct error *err)
{
    const size_t spare =
        p->alignment > SLACK_BYTES ? p->alignment : SLACK_BYTES; /* a multiple of it */
    enum status st;

    gguf_unset(p->meta, slack_key);
    st = lay_out(p, out, err);
    if (st != OK || out->n == wanted)
        return st;
    st = set_slack(p, 0, err);
    if (st == OK)
        st = lay_out(p, out, err);
    if (st != OK || out->n == wanted)
        return st;
    st = set_slack(p, out->n < wanted ? wanted - out->n : spare, err);
    return st == OK ? lay_out(p, out, err) : st;
}

/* ---- writing ---- */

static enum status copy_data(const struct file *src, uint64_t from, struct output *dst,
                             uint64_t to, const struct progress *progress,
                             struct error *err)
{
    const uint64_t n = file_size(src) - from;
    uint8_t *buf = malloc(COPY_BYTES);
    enum status st = buf ? OK : fail(err, ERR_NOMEM, "no memory to copy with");

    for (uint64_t done = 0; st == OK && done < n;) {
        const size_t some = n - done < COPY_BYTES ? (size_t)(n - done) : COPY_BYTES;

        st = file_read(src, from + done, buf, some, err);
        if (st == OK)
            st = output_write(dst, to + done, buf, some, err);
        done += some;
        progress_report(progress, "data", done, n);
        if (st == OK)
            st = interrupt_check(err);
    }
    free(buf);
    return st;
}

/* Beside the old file, which it then replaces. */
static enum status write_anew(const char *path, const struct patch *p,
                              const struct header *header,
                              const struct progress *progress, struct error *err)
{
    const struct file *src = gguf_file(p->file, 0);
    const uint64_t from = gguf_data_start(p->file, 0);
    const uint64_t n_bytes = header->n + file_size(src) - from;
    struct output *dst = NULL;
    enum status st = output_open(
        path, &(struct output_options){.force = true, .replaces_source = true}, &dst,
        err);

    if (st != OK)
        return st;
    st = output_write(dst, 0, header->bytes, header->n, err);
    if (st == OK)
        st = copy_data(src, from, dst, header->n, progress, err);
    if (st == OK)
        st = file_unchanged(src, err);
    if (st != OK) {
        output_discard(dst);
        return st;
    }
    return output_commit(dst, n_bytes, err);
}

/* The old header's place and whole blocks before it: no data are moved. *header changes to what was
 * written. */
static enum status insert_front(const char *path, struct patch *p, uint64_t data_start,
                                struct header *header, bool *done, struct error *err)
{
    const struct file *src = gguf_file(p->file, 0);
    const uint64_t more =
        (header->n - data_start + SLACK_BYTES - 1) / SLACK_BYTES * SLACK_BYTES;
    enum status st;

    *done = false;
    if (file_size(src) < INSERT_FROM || header->n < data_start ||
        SLACK_BYTES % p->alignment != 0)
        return OK;
    st = fit(p, (size_t)(data_start + more), header, err);
    if (st == OK && header->n == data_start + more)
        st = file_unchanged(src, err);
    if (st != OK || header->n != data_start + more)
        return st;
    return file_insert(path, more, header->bytes, header->n, done, err);
}

enum status gguf_patch(const char *path, const struct gguf *file,
                       const struct gguf_meta *meta, const struct progress *progress,
                       bool *in_place, struct error *err)
{
    struct patch p = {.file = file, .alignment = gguf_alignment(file, 0)};
    const uint64_t data_start = gguf_data_start(file, 0);
    struct header header = {0};
    enum status st;

    p.meta = gguf_meta_copy(meta);
    st = p.meta ? list_tensors(&p, err)
                : fail(err, ERR_NOMEM, "%s: no memory for metadata", path);
    if (st == OK)
        st = fit(&p, (size_t)data_start, &header, err);
    if (st == OK) {
        *in_place = header.n == data_start;
        st = *in_place ? file_overwrite(path, 0, header.bytes, header.n, err)
                       : insert_front(path, &p, data_start, &header, in_place, err);
    }
    if (st == OK && !*in_place)
        st = write_anew(path, &p, &header, progress, err);
    free(header.bytes);
    free(p.tensors);
    gguf_meta_free(p.meta);
    return st;
}
