/*
 * certificate.c - is this file the quantization of that source? one finding a question
 */
#include "verify/certify.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void certificate_add(struct certificate *out, const char *check, bool holds,
                     const char *fmt, ...)
{
    struct finding *finding;
    char raw[sizeof(finding->detail)];
    va_list list;

    assert(out->n < CERTIFICATE_MAX);
    finding = &out->findings[out->n++];
    finding->check = check;
    finding->holds = holds;
    va_start(list, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, list);
    va_end(list);
    text_escape(finding->detail, sizeof(finding->detail), raw, strlen(raw));
}

/* ---- metadata ---- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool same_value(const struct gguf_value *a, const struct gguf_value *b)
{
    if (a->type != b->type || a->count != b->count ||
        (a->type == GGUF_ARRAY && a->element != b->element))
        return false;
    enum gguf_type type = a->type == GGUF_ARRAY ? a->element : a->type;
    for (uint64_t i = 0; i < a->count; i++) {
        if (type == GGUF_STRING) {
            struct gguf_str x = gguf_value_str(a, i), y = gguf_value_str(b, i);
            if (x.n != y.n || memcmp(x.text, y.text, x.n) != 0)
                return false;
        } else if (type == GGUF_F32 || type == GGUF_F64) {
            if (gguf_value_real(a, i) != gguf_value_real(b, i))
                return false;
        } else if (gguf_value_int(a, i) != gguf_value_int(b, i)) {
            return false;
        }
    }
    return true;
}

/* Keys that begin with `prefix` must be those of the source, with the same values. */
static void check_keys(const struct model *file, const struct model *source,
                       const char *check, const char *prefix, struct certificate *out)
{
    size_t n = 0;

    for (size_t i = 0; i < gguf_meta_count(source->meta); i++) {
        const struct gguf_value *want = gguf_meta_at(source->meta, i);
        const struct gguf_value *got = gguf_meta_find(file->meta, want->key);

        if (!begins(want->key, prefix))
            continue;
        n++;
        if (!got || !same_value(want, got)) {
            certificate_add(out, check, false, "%s %s", want->key,
                            got ? "has another value than the source's" : "is missing");
            return;
        }
    }
    for (size_t i = 0; i < gguf_meta_count(file->meta); i++) {
        const char *key = gguf_meta_at(file->meta, i)->key;

        if (begins(key, prefix) && !gguf_meta_find(source->meta, key)) {
            certificate_add(out, check, false, "%s is not in the source", key);
            return;
        }
    }
    certificate_add(out, check, true, "%zu keys as the source has them", n);
}

static void check_metadata(const struct model *file, const struct model *source,
                           struct certificate *out)
{
    struct gguf_str arch = {"?", 1}, got = {"?", 1};
    char prefix[80];

    (void)gguf_get_str(source->meta, "general.architecture", &arch);
    (void)gguf_get_str(file->meta, "general.architecture", &got);
    if (arch.n != got.n || memcmp(arch.text, got.text, arch.n) != 0) {
        certificate_add(out, "metadata", false,
                        "general.architecture is %s, the source is %s", got.text,
                        arch.text);
    } else {
        (void)snprintf(prefix, sizeof(prefix), "%s.", arch.text);
        check_keys(file, source, "metadata", prefix, out);
    }
    check_keys(file, source, "tokenizer", "tokenizer.ggml.", out);
    check_keys(file, source, "template", "tokenizer.chat_template", out);
}

/* An equalized file is not the source's numbers: say what it is compared with. */
static void tell_equalized(const struct model *file, struct certificate *out)
{
    size_t n = 0;

    for (size_t i = 0; i < gguf_meta_count(file->meta); i++)
        n += begins(gguf_meta_at(file->meta, i)->key, "carat.equalize.");
    if (n)
        certificate_add(out, "equalize", true,
                        "%zu inputs, an exact rewrite: every check is against the source "
                        "rewritten by the file's own factors",
                        n);
}

/* ---- coverage ---- */

static bool same_shape(const struct gguf_tensor *a, const struct gguf_tensor *b)
{
    for (int i = 0; i < 4; i++)
        if (a->ne[i] != b->ne[i])
            return false;
    return true;
}

static void check_coverage(const struct model *file, const struct model *source,
                           struct certificate *out)
{
    for (size_t i = 0; i < source->n_tensors; i++) {
        int64_t at = model_find(file, source->tensors[i].name);
        if (at < 0 || !same_shape(&file->tensors[at], &source->tensors[i])) {
            certificate_add(out, "coverage", false, "%s %s", source->tensors[i].name,
                            at < 0 ? "is missing"
                                   : "has another shape than in the source");
            return;
        }
    }
    for (size_t i = 0; i < file->n_tensors; i++)
        if (model_find(source, file->tensors[i].name) < 0) {
            certificate_add(out, "coverage", false, "%s is not in the source",
                            file->tensors[i].name);
            return;
        }
    certificate_add(out, "coverage", true,
                    "%zu tensors, each from the source, none left over", file->n_tensors);
}

/* ---- tensors ---- */

struct worst {
    double share; /* error over bound */
    const char *name;
    uint64_t n_different_rows;
    const char *different, *bad; /* names of the first ones */
    char why[160];
};

/* Bytes that only --method plain asks for are told by themselves: they leave a bound kept. */
static void judge(const struct gguf_tensor *t, const struct tensor_figures *f,
                  struct worst *worst)
{
    if (f->n_different_rows > 0 && !worst->different)
        worst->different = t->name;
    worst->n_different_rows += f->n_different_rows;
    if (f->bound > 0.0 && f->error / f->bound > worst->share) {
        worst->share = f->error / f->bound;
        worst->name = t->name;
    }
    bool is_good = f->is_finite && f->error <= f->bound &&
                   (f->n_different_rows == 0 || f->bound > 0.0);
    if ((is_good && f->row_share <= 1.0) || worst->bad)
        return;
    worst->bad = t->name;
    if (is_good) {
        (void)snprintf(worst->why, sizeof(worst->why),
                       "%s: row %llu: %.2g times the error that a row of %s may have",
                       t->name, (unsigned long long)f->row, f->row_share,
                       block_type_name(t->type));
        return;
    }
    (void)snprintf(worst->why, sizeof(worst->why),
                   "%s: error %.3g of its blocks' size, bound %.3g of %s", t->name,
                   f->error, f->bound, block_type_name(t->type));
}

/* The table of per-layer embeddings is read a row at a time, from disk: each row is a token's. */
static void tell_table(const struct gguf_tensor *t, const struct tensor_figures *f,
                       struct certificate *out)
{
    const unsigned long long n = (unsigned long long)gguf_tensor_rows(t);

    if (strcmp(t->name, "per_layer_token_embd.weight") != 0)
        return;
    if (f->bound > 0.0)
        certificate_add(out, "ple rows", f->is_finite && f->row_share <= 1.0,
                        "%llu rows; the worst, %llu, errs by %.0f %% of what one may", n,
                        (unsigned long long)f->row, 100.0 * f->row_share);
    else
        certificate_add(out, "ple rows", f->is_finite && f->n_different_rows == 0,
                        "%llu rows, %llu of them not the source's", n,
                        (unsigned long long)f->n_different_rows);
}

static enum status check_tensors(const struct model *file, const struct model *source,
                                 bool exact, const struct progress *progress,
                                 struct certificate *out, struct error *err)
{
    struct worst worst = {.name = "none"};

    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct gguf_tensor *t = &file->tensors[i];
        int64_t j = model_find(source, t->name);
        struct tensor_figures figures;

        if (j < 0 || !same_shape(t, &source->tensors[j]))
            continue; /* told by check_coverage() */
        progress_report(progress, t->name, i, file->n_tensors);
        if (tensor_compare(file, i, source, (size_t)j, exact, &figures, err) != OK)
            return err->code;
        judge(t, &figures, &worst);
        tell_table(t, &figures, out);
    }
    if (worst.bad)
        certificate_add(out, "tensors", false, "%s", worst.why);
    else
        certificate_add(out, "tensors", true,
                        "all within the bounds of their types; the worst, %s, at %.0f %%",
                        worst.name, 100.0 * worst.share);
    if (exact && worst.different)
        certificate_add(out, "bytes", false,
                        "%llu rows are not those of plain rounding, the first in %s",
                        (unsigned long long)worst.n_different_rows, worst.different);
    else if (exact)
        certificate_add(out, "bytes", true, "all those of plain rounding");
    return OK;
}

enum status verify_certify(const struct model *file, const struct model *source,
                           bool is_plain, const struct progress *progress,
                           struct certificate *out, struct error *err)
{
    *out = (struct certificate){0};
    certificate_add(out, "structure", true,
                    "%zu tensors, every one within its file and beside the others",
                    file->n_tensors);
    check_metadata(file, source, out);
    tell_equalized(file, out);
    check_coverage(file, source, out);
    return check_tensors(file, source, is_plain, progress, out, err);
}

bool certificate_holds(const struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->n; i++)
        if (!certificate->findings[i].holds)
            return false;
    return certificate->n > 0;
}
