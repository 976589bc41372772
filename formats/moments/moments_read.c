/*
 * moments_read.c - the file of second moments, read entry by entry
 */
#include "formats/moments/layout.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct moments {
    struct gguf *file;
    char sha256[65];
    float **factors; /* by item: of its columns, or NULL; owned; NULL: none anywhere */
};

void moments_close(struct moments *moments)
{
    if (!moments)
        return;
    for (size_t i = 0; moments->factors && i < gguf_count(moments->file) / PARTS; i++)
        free(moments->factors[i]);
    free(moments->factors);
    gguf_close(moments->file);
    free(moments);
}

static bool has_diagonal(const struct gguf_tensor *t)
{
    const size_t n = strlen(t->name);

    return n > 2 && strcmp(t->name + n - 2, ".d") == 0;
}

/* Columns of a group; 0 when the tensor is no row of triangles (or a diagonal) of F32. */
static size_t group_of(const struct gguf_tensor *t, bool is_diagonal)
{
    size_t g;

    if (t->type != TYPE_F32 || t->ne[0] == 0 || t->ne[1] > MOMENTS_MOST ||
        t->ne[2] != 1 || t->ne[3] != 1)
        return 0;
    if (is_diagonal)
        return t->ne[0] <= MOMENTS_MOST && t->ne[1] == 1
                   ? moments_group_columns((size_t)t->ne[0])
                   : 0;
    if (t->ne[0] > triangle(MOMENTS_MOST))
        return 0;
    g = (size_t)((sqrt(8.0 * (double)t->ne[0] + 1) - 1) / 2 + 0.5);
    return triangle(g) == t->ne[0] && moments_group_columns(g * (size_t)t->ne[1]) == g
               ? g
               : 0;
}

/* The three tensors of item i are I.h or I.d, I.held and I.tokens. */
static bool are_named_alike(const struct gguf_tensor *h, const struct gguf_tensor *held,
                            const struct gguf_tensor *tokens)
{
    const size_t n = strlen(h->name);

    return n > 2 && (strcmp(h->name + n - 2, ".h") == 0 || has_diagonal(h)) &&
           strncmp(held->name, h->name, n - 1) == 0 &&
           strcmp(held->name + n - 1, "held") == 0 &&
           strncmp(tokens->name, h->name, n - 1) == 0 &&
           strcmp(tokens->name + n - 1, "tokens") == 0;
}

static enum status check_version(const struct moments *moments, const char *path,
                                 struct error *err)
{
    uint32_t version = 1;

    if (!gguf_get_u32(gguf_metadata(moments->file), "moments.version", &version))
        version = 1;
    if (version == MOMENTS_VERSION)
        return OK;
    return fail(err, ERR_USAGE,
                "%s: second moments of version %" PRIu32
                ", where this program reads %d: gather them anew",
                path, version, MOMENTS_VERSION);
}

/* The item "blk.3.exps_in.h" of as many columns, for "blk.3.exps_in.7.d". */
static bool find_common(const struct moments *moments, const struct gguf_tensor *diagonal,
                        size_t *index)
{
    const char *name = diagonal->name;
    size_t n = strlen(name) - 2;

    while (n > 0 && name[n - 1] != '.')
        n--;
    for (size_t i = 0; n > 1 && i < gguf_count(moments->file); i += PARTS) {
        const struct gguf_tensor *t = gguf_at(moments->file, i);

        if (strncmp(t->name, name, n) != 0 || strcmp(t->name + n, "h") != 0)
            continue;
        *index = i;
        return group_of(t, false) * (size_t)t->ne[1] == diagonal->ne[0];
    }
    return false;
}

/* Every tensor belongs to a whole item. */
static enum status check_items(const struct moments *moments, const char *path,
                               struct error *err)
{
    struct gguf_str type;

    if (!gguf_get_str(gguf_metadata(moments->file), "general.type", &type) ||
        strcmp(type.text, "moments") != 0)
        return fail(err, ERR_USAGE, "%s: not a file of second moments", path);
    if (check_version(moments, path, err) != OK)
        return err->code;
    if (gguf_count(moments->file) % PARTS != 0)
        return fail(err, ERR_CORRUPT, "%s: an input's tensors are not complete", path);
    for (size_t i = 0; i < gguf_count(moments->file); i += PARTS) {
        const struct gguf_tensor *h = gguf_at(moments->file, i);
        const struct gguf_tensor *held = gguf_at(moments->file, i + 1);
        const struct gguf_tensor *tokens = gguf_at(moments->file, i + 2);
        size_t common;

        if (!are_named_alike(h, held, tokens))
            return fail(err, ERR_CORRUPT, "%s: %s, %s and %s are not one input's", path,
                        h->name, held->name, tokens->name);
        if (!group_of(h, has_diagonal(h)) ||
            group_of(held, has_diagonal(h)) != group_of(h, has_diagonal(h)) ||
            held->ne[1] != h->ne[1] || tokens->type != TYPE_F32 || tokens->ne[0] != 2 ||
            tokens->n_dims != 1)
            return fail(err, ERR_CORRUPT,
                        "%s: %s is not triangles or a diagonal of F32 with their counts",
                        path, h->name);
        if (has_diagonal(h) && !find_common(moments, h, &common))
            return fail(err, ERR_CORRUPT, "%s: %s has no matrix that its layer shares",
                        path, h->name);
    }
    return OK;
}

enum status moments_open(const char *path, struct moments **out, struct error *err)
{
    struct moments *moments = calloc(1, sizeof(*moments));
    uint8_t digest[32];
    enum status st = moments ? gguf_open(path, &moments->file, err)
                             : fail(err, ERR_NOMEM, "%s: no memory to read it", path);

    if (st == OK)
        st = check_items(moments, path, err);
    if (st == OK)
        st = sha256_file(path, digest, err);
    if (st != OK) {
        moments_close(moments);
        return st;
    }
    sha256_hex(digest, moments->sha256);
    *out = moments;
    return OK;
}

const struct gguf_meta *moments_meta(const struct moments *moments)
{
    return gguf_metadata(moments->file);
}

const char *moments_source(const struct moments *moments)
{
    struct gguf_str source;

    return gguf_get_str(moments_meta(moments), "moments.source", &source) ? source.text
                                                                          : NULL;
}

const char *moments_sha256(const struct moments *moments)
{
    return moments->sha256;
}

static bool is_named(const struct gguf_tensor *t, const char *input, size_t n)
{
    return strncmp(t->name, input, n) == 0 && t->name[n] == '.' &&
           (t->name[n + 1] == 'h' || t->name[n + 1] == 'd') && t->name[n + 2] == '\0';
}

bool moments_find(const struct moments *moments, const char *input,
                  struct moments_entry *entry)
{
    const size_t n = strlen(input);
    float tokens[2];
    struct error err;

    for (size_t i = 0; i < gguf_count(moments->file); i += PARTS) {
        const struct gguf_tensor *t = gguf_at(moments->file, i);
        const struct gguf_tensor *counts = gguf_at(moments->file, i + 2);

        if (!is_named(t, input, n))
            continue;
        if (file_read(gguf_file(moments->file, 0), counts->offset, tokens, sizeof(tokens),
                      &err))
            return false;
        *entry = (struct moments_entry){.group = group_of(t, has_diagonal(t)),
                                        .tokens = (double)tokens[0],
                                        .held_tokens = (double)tokens[1],
                                        .is_diagonal = has_diagonal(t),
                                        .index = i};
        entry->n =
            entry->is_diagonal ? (size_t)t->ne[0] : entry->group * (size_t)t->ne[1];
        return !entry->is_diagonal || find_common(moments, t, &entry->common);
    }
    return false;
}

/* ---- inputs of weights that were rewritten ---- */

enum status moments_rescale(struct moments *moments, const char *input, const float *s,
                            size_t n, struct error *err)
{
    struct moments_entry entry;
    float *copy;

    if (!moments_find(moments, input, &entry) || entry.n != n)
        return OK;
    if (!moments->factors)
        moments->factors =
            calloc(gguf_count(moments->file) / PARTS, sizeof(*moments->factors));
    copy = malloc((n + 1) * sizeof(*copy));
    if (!moments->factors || !copy) {
        free(copy);
        return fail(err, ERR_NOMEM, "%s: no memory for its factors", input);
    }
    memcpy(copy, s, n * sizeof(*copy));
    free(moments->factors[entry.index / PARTS]);
    moments->factors[entry.index / PARTS] = copy;
    return OK;
}

static const float *factors_of(const struct moments *moments,
                               const struct moments_entry *entry)
{
    return moments->factors ? moments->factors[entry->index / PARTS] : NULL;
}

/* Number `first` on of a tensor's: read, and looked at. */
static enum status read_numbers(const struct moments *moments,
                                const struct gguf_tensor *t, uint64_t first, size_t n,
                                float *x, struct error *err)
{
    const struct file *file = gguf_file(moments->file, 0);
    enum status st =
        file_read(file, t->offset + first * sizeof(*x), x, n * sizeof(*x), err);

    for (size_t i = 0; i < n && st == OK; i++)
        if (!isfinite(x[i]))
            st = fail(err, ERR_CORRUPT, "%s: %s: number %" PRIu64 " is not finite",
                      file_path(file), t->name, first + i);
    return st;
}

/* The square of columns [first, first + count), in memory; symmetric before and after. */
static void rescale_square(const struct moments *moments,
                           const struct moments_entry *entry, size_t first, size_t count,
                           float *h)
{
    const float *s = factors_of(moments, entry);

    for (size_t i = 0; s && i < count; i++)
        for (size_t j = 0; j < count; j++)
            h[i * count + j] *= s[first + i] * s[first + j];
}

/* The square of columns [first, first + count) of an item that has triangles, as filed. */
static enum status read_triangle(const struct moments *moments, size_t index,
                                 size_t group, size_t first, size_t count, float *h,
                                 struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, index);
    const size_t at = first % group;
    const uint64_t square = first / group * triangle(group);
    enum status st = OK;

    for (size_t i = 0; i < count && st == OK; i++) {
        st = read_numbers(moments, t, square + triangle(at + i) + at, i + 1,
                          h + i * count, err);
        for (size_t j = 0; j < i && st == OK; j++)
            h[j * count + i] = h[i * count + j];
    }
    return st;
}

/* D^1/2 R D^1/2 in the place of the matrix that R comes from. Columns it knows nothing of stand alone. */
static enum status take_diagonal(const struct moments *moments,
                                 const struct moments_entry *entry, bool held,
                                 size_t first, size_t count, float *h, struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index + (held ? 1 : 0));
    float *d = malloc(2 * count * sizeof(*d)), *scale = d + count;
    enum status st = d ? read_numbers(moments, t, first, count, d, err)
                       : fail(err, ERR_NOMEM, "%s: no memory to read it", t->name);

    for (size_t i = 0; i < count && st == OK; i++)
        scale[i] = h[i * count + i] > 0 ? sqrtf(d[i] / h[i * count + i]) : 0.0f;
    for (size_t i = 0; i < count && st == OK; i++)
        for (size_t j = 0; j < count; j++)
            h[i * count + j] = i == j ? d[i] : scale[i] * scale[j] * h[i * count + j];
    free(d);
    return st;
}

enum status moments_read_square(const struct moments *moments,
                                const struct moments_entry *entry, bool held,
                                size_t first, size_t count, float *h, struct error *err)
{
    const size_t index = entry->is_diagonal ? entry->common : entry->index;
    enum status st;

    assert(first + count <= entry->n && first % entry->group + count <= entry->group);
    st = read_triangle(moments, index + (held ? 1 : 0), entry->group, first, count, h,
                       err);
    if (st == OK && entry->is_diagonal)
        st = take_diagonal(moments, entry, held, first, count, h, err);
    if (st == OK)
        rescale_square(moments, entry, first, count, h);
    return st;
}

enum status moments_read_common(const struct moments *moments,
                                const struct moments_entry *entry, bool held,
                                size_t first, size_t count, float *h, struct error *err)
{
    enum status st;

    assert(entry->is_diagonal);
    st = read_triangle(moments, entry->common + (held ? 1 : 0), entry->group, first,
                       count, h, err);
    if (st == OK)
        rescale_square(moments, entry, first, count, h);
    return st;
}

enum status moments_read(const struct moments *moments, const struct moments_entry *entry,
                         bool held, float *h, struct error *err)
{
    const size_t n = entry->group;
    enum status st = OK;

    for (size_t first = 0; st == OK && first < entry->n; first += n, h += n * n)
        st = moments_read_square(moments, entry, held, first, n, h, err);
    return st;
}

enum status moments_diagonal(const struct moments *moments,
                             const struct moments_entry *entry, float *diagonal,
                             struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index);
    const float *s = factors_of(moments, entry);
    const size_t n = entry->group;
    enum status st = OK;

    if (entry->is_diagonal)
        st = read_numbers(moments, t, 0, entry->n, diagonal, err);
    for (size_t j = 0; j < entry->n && st == OK && !entry->is_diagonal; j++) {
        const uint64_t at = j / n * triangle(n) + triangle(j % n) + j % n;

        st = read_numbers(moments, t, at, 1, &diagonal[j], err);
    }
    for (size_t j = 0; j < entry->n && st == OK && s; j++)
        diagonal[j] *= s[j] * s[j];
    return st;
}
