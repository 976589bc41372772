/*
 * runtime_source.c - a runtime as a source of logits
 */
#include "verify/verify.h"

#include <stdlib.h>

struct runtime_source {
    struct runtime *rt;
    struct sequence *seq;
};

static enum status run(void *self, const int32_t *ids, size_t n,
                       const struct logits_sink *sink, struct error *err)
{
    struct runtime_source *source = self;

    sequence_reset(source->seq);
    return runtime_eval(source->rt, source->seq, ids, n, sink, err);
}

enum status runtime_source_new(struct runtime *rt, uint32_t n_ctx,
                               struct runtime_source **out, struct error *err)
{
    struct runtime_source *source;

    if (!runtime_facts(rt)->is_causal)
        return fail(err, ERR_USAGE, "a %s model has no logits",
                    runtime_facts(rt)->architecture);
    source = calloc(1, sizeof(*source));
    if (!source)
        return fail(err, ERR_NOMEM, "out of memory");
    source->rt = rt;
    if (sequence_new(rt, n_ctx, &source->seq, err) != OK) {
        free(source);
        return err->code;
    }
    *out = source;
    return OK;
}

struct logits_source runtime_source_view(struct runtime_source *source)
{
    return (struct logits_source){
        .self = source,
        .n_vocab = runtime_facts(source->rt)->n_vocab,
        .run = run,
    };
}

void runtime_source_free(struct runtime_source *source)
{
    if (!source)
        return;
    sequence_free(source->seq);
    free(source);
}
