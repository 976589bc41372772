/*
 * yes_no.c - two logits of the last position, and their softmax
 */
#include "cli/yes_no.h"

#include <math.h>

static enum status find_tokens(const struct gguf_meta *meta, const struct tokenizer *tok,
                               size_t n_vocab, struct yes_no *out, struct error *err)
{
    static const char *const keys[] = {"carat.yes_token_id", "carat.no_token_id"};
    static const char *const pieces[] = {"Yes", "No"};

    for (int i = 0; i < 2; i++) {
        uint32_t id;

        out->ids[i] = gguf_get_u32(meta, keys[i], &id) ? (int32_t)id
                                                       : tokenizer_find(tok, pieces[i]);
        if (out->ids[i] < 0 || (size_t)out->ids[i] >= n_vocab)
            return fail(
                err, ERR_USAGE,
                "no token says %s: the file has no %s, and the vocabulary no piece "
                "\"%s\"",
                pieces[i], keys[i], pieces[i]);
    }
    return OK;
}

static void pick(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct yes_no *answer = arg;

    (void)position, (void)n_rows; /* one: the last position's */
    for (int i = 0; i < 2; i++)
        answer->logits[i] = logits[answer->ids[i]];
}

enum status yes_no_answer(struct runtime *rt, struct sequence *seq,
                          const struct gguf_meta *meta, const struct tokenizer *tok,
                          const int32_t *ids, size_t n, struct yes_no *out,
                          struct error *err)
{
    const struct logits_sink sink = {.arg = out, .first = (uint32_t)n - 1, .rows = pick};
    enum status st = find_tokens(meta, tok, runtime_facts(rt)->n_vocab, out, err);

    if (st == OK)
        st = runtime_eval(rt, seq, ids, n, &sink, err);
    if (st == OK)
        out->p_yes = 1.0 / (1.0 + exp((double)out->logits[1] - (double)out->logits[0]));
    return st;
}
