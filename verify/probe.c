/*
 * probe.c - a short text through the file and its source, layer by layer
 */
#include "verify/certify.h"

#include <math.h>
#include <stdlib.h>

static const char TEXT[] =
    "The river rises in the hills north of the town and runs for forty miles to the sea. "
    "Its "
    "water is clear in summer; in 1897 it froze, and people crossed it on foot. \n\n"
    "int main(void) { return 0; }";

/* What one run showed: hidden states and, of a model that has them, logits. */
struct trace {
    size_t n_ids, n_layers, n_embd, n_vocab;
    float *hidden; /* n_layers x n_ids x n_embd */
    float *logits; /* n_ids x n_vocab */
};

static enum status trace_open(struct trace *trace, const struct runtime_facts *facts,
                              size_t n_ids, struct error *err)
{
    *trace = (struct trace){.n_ids = n_ids,
                            .n_layers = facts->n_layers,
                            .n_embd = facts->n_embd,
                            .n_vocab = facts->n_vocab};
    trace->hidden = calloc(trace->n_layers * n_ids, trace->n_embd * sizeof(float));
    trace->logits = calloc(n_ids, trace->n_vocab * sizeof(float));
    if (!trace->hidden || !trace->logits)
        return fail(err, ERR_NOMEM, "out of memory for the probe");
    return OK;
}

static void trace_close(struct trace *trace)
{
    free(trace->hidden);
    free(trace->logits);
}

static void keep_hidden(void *arg, const struct tap_event *event)
{
    struct trace *trace = arg;
    size_t n = event->n_rows * event->n_cols;
    size_t at = ((size_t)event->layer * trace->n_ids + event->position) * trace->n_embd;

    if (strcmp(event->what, "hidden") == 0 && event->n_cols == trace->n_embd &&
        event->position + event->n_rows <= trace->n_ids)
        memcpy(trace->hidden + at, event->x, n * sizeof(float));
}

static void keep_logits(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct trace *trace = arg;

    memcpy(trace->logits + position * trace->n_vocab, logits,
           n_rows * trace->n_vocab * sizeof(float));
}

static enum status run(struct runtime *rt, const int32_t *ids, size_t n_ids,
                       struct trace *trace, struct error *err)
{
    struct logits_sink sink = {.arg = trace, .first = 0, .rows = keep_logits};
    struct sequence *seq = NULL;
    enum status st = trace_open(trace, runtime_facts(rt), n_ids, err);

    if (st == OK)
        st = sequence_new(rt, (uint32_t)n_ids, &seq, err);
    runtime_tap(rt, keep_hidden, trace);
    if (st == OK)
        st = runtime_eval(rt, seq, ids, n_ids,
                          runtime_facts(rt)->is_causal ? &sink : NULL, err);
    runtime_tap(rt, NULL, NULL);
    sequence_free(seq);
    return st;
}

/* RMS of the difference of two layers over the RMS of the second. */
static double distance(const float *a, const float *b, size_t n)
{
    double error = 0.0, size = 0.0;

    for (size_t i = 0; i < n; i++) {
        double e = (double)a[i] - (double)b[i];
        error += e * e;
        size += (double)b[i] * (double)b[i];
    }
    return size > 0.0 ? sqrt(error / size) : sqrt(error);
}

static void judge_hidden(const struct trace *file, const struct trace *source,
                         struct certificate *out)
{
    size_t n = source->n_ids * source->n_embd, worst = 0;
    double farthest = 0.0;

    for (size_t l = 0; l < source->n_layers; l++) {
        double far = distance(file->hidden + l * n, source->hidden + l * n, n);
        if (!(far <= farthest)) { /* also when it is not a number */
            farthest = far;
            worst = l;
        }
    }
    certificate_add(
        out, "layers", farthest <= VERIFY_PROBE_HIDDEN,
        "outputs of layer %zu are %.3g of their size from the source's, the farthest "
        "of %zu layers",
        worst, farthest, source->n_layers);
}

/* Mean divergence of `file`'s rows from those of `source` `shift` positions before, over the whole
 * vocabulary. NaN when a row is not numbers. */
static double divergence(const struct trace *file, const struct trace *source,
                         size_t shift)
{
    size_t n = source->n_vocab;
    float *weights = malloc(2 * n * sizeof(*weights));
    double sum = 0.0;

    for (size_t r = 0; r + shift < source->n_ids && weights; r++) {
        struct logits_row p, q;
        if (!logits_row_make(source->logits + r * n, n, weights, &p) ||
            !logits_row_make(file->logits + (r + shift) * n, n, weights + n, &q)) {
            sum = (double)NAN;
            break;
        }
        for (size_t i = 0; i < n; i++)
            if (p.weights[i] > 0.0f)
                sum += (double)p.weights[i] / p.sum *
                       (((double)p.z[i] - p.lse) - ((double)q.z[i] - q.lse));
    }
    sum = weights ? sum / (double)(source->n_ids - shift) : (double)NAN;
    free(weights);
    return sum;
}

static void judge_logits(const struct trace *file, const struct trace *source,
                         struct certificate *out)
{
    double kld = divergence(file, source, 0),
           strangers = divergence(source, source, source->n_ids / 2);

    certificate_add(
        out, "logits", kld <= VERIFY_PROBE_STRANGERS * strangers,
        "%.3g nats a token from the source on a probe of %zu tokens (%.3g from other "
        "positions)",
        kld, source->n_ids, strangers);
}

enum status verify_probe(struct runtime *file, struct runtime *source,
                         const struct tokenizer *tok, struct certificate *out,
                         struct error *err)
{
    const struct runtime_facts *a = runtime_facts(file), *b = runtime_facts(source);
    struct trace ours = {0}, theirs = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    enum status st = OK;

    if (a->n_layers != b->n_layers || a->n_embd != b->n_embd ||
        a->n_vocab != b->n_vocab) {
        certificate_add(out, "layers", false,
                        "other numbers of layers, widths or pieces");
        return OK;
    }
    st = tokenizer_encode(tok, TEXT, sizeof(TEXT) - 1, TOKENIZE_BOS, &ids, &n_ids, err);
    if (st == OK)
        st = run(source, ids, n_ids, &theirs, err);
    if (st == OK)
        st = run(file, ids, n_ids, &ours, err);
    if (st == OK) {
        judge_hidden(&ours, &theirs, out);
        if (a->is_causal)
            judge_logits(&ours, &theirs, out);
    }
    trace_close(&ours);
    trace_close(&theirs);
    free(ids);
    return st;
}
