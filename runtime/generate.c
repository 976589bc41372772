/*
 * generate.c - draw token after token; with a drafter, several from one pass
 *
 * Each step evaluates the token drawn last, followed by what the drafter guesses comes next, and
 * keeps a row of logits for each. Rows are drawn from as long as the draw is what was guessed: so
 * every token is drawn from the logits it would have had anyway, with the same random numbers.
 */
#include "runtime/pace.h"
#include "runtime/runtime.h"

#include <math.h>
#include <stdlib.h>

/* A step is one batch, and far fewer guesses than this ever come true. */
enum { MAX_GUESSES = 63 };

struct generation {
    struct runtime *rt;
    struct sequence *seq;
    struct sampler sampler;
    struct drafter *drafter;
    size_t n_vocab, max_guesses;
    int32_t *banned;
    size_t n_banned;

    int32_t *tokens;  /* the last one drawn, then the guesses under way */
    float *rows;      /* logits after each of them */
    float *scratch;   /* n_vocab */
    size_t n_guesses; /* under way */
    size_t n_true;    /* of them, so far */
    struct pace pace;
    size_t n_rows, next_row;
    uint32_t begin; /* position after which rows[0] stands */
    struct generation_counts counts;
};

static void keep_rows(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct generation *gen = arg;
    float *to = gen->rows + gen->n_rows * gen->n_vocab;

    (void)position;
    memcpy(to, logits, n_rows * gen->n_vocab * sizeof(*to));
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < gen->n_banned; i++)
            to[r * gen->n_vocab + (size_t)gen->banned[i]] = -INFINITY;
    gen->n_rows += n_rows;
}

/* Evaluate n tokens and keep the rows of logits of the last `n_kept`. */
static enum status evaluate(struct generation *gen, const int32_t *ids, size_t n,
                            size_t n_kept, struct error *err)
{
    uint32_t first = sequence_length(gen->seq) + (uint32_t)(n - n_kept);

    gen->n_rows = gen->next_row = 0;
    gen->begin = first;
    return runtime_eval(
        gen->rt, gen->seq, ids, n,
        &(struct logits_sink){.arg = gen, .first = first, .rows = keep_rows}, err);
}

static enum status allocate(struct generation *gen,
                            const struct generation_options *options, struct error *err)
{
    size_t n = gen->max_guesses + 1;

    gen->tokens = calloc(n, sizeof(*gen->tokens));
    gen->rows = calloc(n * gen->n_vocab, sizeof(*gen->rows));
    gen->scratch = calloc(gen->n_vocab, sizeof(*gen->scratch));
    gen->banned = calloc(options->n_banned + 1, sizeof(*gen->banned));
    if (!gen->tokens || !gen->rows || !gen->scratch || !gen->banned)
        return fail(err, ERR_NOMEM, "no memory for %zu rows of logits", n);
    for (size_t i = 0; i < options->n_banned; i++)
        if (options->banned[i] >= 0 && (size_t)options->banned[i] < gen->n_vocab)
            gen->banned[gen->n_banned++] = options->banned[i];
    return OK;
}

enum status generation_new(struct runtime *rt, struct sequence *seq,
                           const struct generation_options *options,
                           struct generation **out, struct error *err)
{
    struct generation *gen = calloc(1, sizeof(*gen));
    enum status st;

    if (!gen)
        return fail(err, ERR_NOMEM, "no memory to generate");
    *gen = (struct generation){
        .rt = rt,
        .seq = seq,
        .sampler = options->sampler,
        .drafter = options->drafter,
        .n_vocab = runtime_facts(rt)->n_vocab,
        .max_guesses = options->drafter ? options->n_guesses : 0,
    };
    if (gen->max_guesses > MAX_GUESSES)
        gen->max_guesses = MAX_GUESSES;
    gen->pace = pace_new(gen->max_guesses, runtime_facts(rt)->token_price);
    st = allocate(gen, options, err);
    if (st != OK) {
        generation_free(gen);
        return st;
    }
    *out = gen;
    return OK;
}

enum status generation_prompt(struct generation *gen, const int32_t *ids, size_t n,
                              struct error *err)
{
    gen->n_guesses = 0;
    return evaluate(gen, ids, n, 1, err);
}

/* Evaluate the token drawn last, and guesses at what follows it. */
static enum status step(struct generation *gen, struct error *err)
{
    uint32_t length = sequence_length(gen->seq);
    const float *hidden = length ? sequence_hidden(gen->seq, length - 1) : NULL;
    size_t room = sequence_room(gen->seq), n;
    enum status st = OK;

    if (gen->counts.n_steps > 0)
        pace_learn(&gen->pace, gen->n_guesses, gen->n_true);
    n = pace_guesses(&gen->pace);
    gen->n_guesses = gen->n_true = 0;
    if (n > 0 && hidden && room > 1) {
        gen->n_guesses = n < room - 1 ? n : room - 1;
        st = drafter_guess(gen->drafter, gen->seq, gen->tokens[0], hidden, gen->n_guesses,
                           gen->tokens + 1, err);
    }
    if (st == OK)
        st = evaluate(gen, gen->tokens, gen->n_guesses + 1, gen->n_guesses + 1, err);
    gen->counts.n_steps++;
    gen->counts.n_guessed += gen->n_guesses;
    return st;
}

bool generation_is_full(const struct generation *gen)
{
    return gen->next_row >= gen->n_rows && sequence_room(gen->seq) == 0;
}

enum status generation_next(struct generation *gen, int32_t *token, struct error *err)
{
    enum status st = gen->next_row < gen->n_rows ? OK : step(gen, err);
    size_t row = gen->next_row;

    if (st != OK)
        return st;
    *token = sampler_draw(&gen->sampler, gen->rows + row * gen->n_vocab, gen->n_vocab,
                          gen->scratch);
    if (row < gen->n_guesses && *token == gen->tokens[row + 1]) {
        gen->counts.n_accepted++;
        gen->n_true++;
        gen->next_row++;
        return OK;
    }
    sequence_truncate(gen->seq, gen->begin + (uint32_t)row + 1);
    gen->next_row = gen->n_rows;
    gen->tokens[0] = *token;
    return OK;
}

struct generation_counts generation_counts(const struct generation *gen)
{
    return gen->counts;
}

void generation_free(struct generation *gen)
{
    if (!gen)
        return;
    free(gen->tokens);
    free(gen->rows);
    free(gen->scratch);
    free(gen->banned);
    free(gen);
}
