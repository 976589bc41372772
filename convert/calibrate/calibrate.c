/*
 * calibrate.c - from layer to layer over the text, what each reads gathered and filed
 */
#include "convert/calibrate/calibrate.h"

#include "convert/calibrate/gathering.h"
#include "convert/calibrate/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct calibration {
    const struct model *model;
    const struct calibrate_text *text;
    const struct calibrate_options *options;
    const struct progress *progress;
    struct walk *walk;
    struct tally tally;
    struct inputs inputs;
    struct moments_writer *writer; /* NULL: only the importance matrix is wanted */
    uint64_t budget;               /* bytes for sums in hand */
    bool has_begun;                /* to run a step, and not only to open what it takes */
    bool is_first_turn, is_held;
    double gathering;       /* seconds in gram_add and the tally */
    const char *not_finite; /* the weight where it happened */
    uint8_t identity[32];
};

/* ---- one turn of one step ---- */

static void see(void *arg, const struct tap_event *event)
{
    struct calibration *c = arg;
    const bool is_input = strcmp(event->what, "input") == 0;
    const double start = clock_seconds();

    if ((!is_input && strcmp(event->what, "ple_gate") != 0 &&
         strcmp(event->what, "exps_in") != 0) ||
        event->n_rows == 0)
        return;
    if (is_input && c->is_first_turn && !tally_add(&c->tally, event))
        c->not_finite = event->weight;
    inputs_add(&c->inputs, event, c->is_held);
    c->gathering += clock_seconds() - start;
}

static bool chunk_is_held(const struct calibration *c, size_t i)
{
    return c->text->is_held && c->text->is_held[i];
}

static void tell(const struct calibration *c, size_t chunk)
{
    const uint32_t step = walk_step(c->walk), n_layers = walk_steps(c->walk) - 2;
    char what[64] = "the embedding";

    if (step > n_layers)
        snprintf(what, sizeof(what), "the head");
    else if (step > 0)
        snprintf(what, sizeof(what), "layer %u of %u", step, n_layers);
    progress_report(c->progress, what, (uint64_t)step * c->text->n_chunks + chunk,
                    (uint64_t)walk_steps(c->walk) * c->text->n_chunks);
}

static enum status run_turn(struct calibration *c, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < c->text->n_chunks && st == OK; i++) {
        c->is_held = chunk_is_held(c, i);
        st = walk_chunk(c->walk, i, err);
        if (st == OK && c->not_finite)
            st = fail(err, ERR_CORRUPT, "%s: its input is not finite in chunk %zu",
                      c->not_finite, i);
        if (st == OK)
            tell(c, i + 1);
    }
    return st;
}

/* ---- steps ---- */

/* Inputs in turns, as memory allows; then the step counts as done. */
static enum status run_step(struct calibration *c, struct calibrate_report *report,
                            struct error *err)
{
    const uint32_t step = walk_step(c->walk);
    unsigned turns = 0;
    enum status st = walk_begin(c->walk, err);

    while (st == OK && (turns == 0 || (c->writer && inputs_left(&c->inputs, step)))) {
        c->is_first_turn = turns++ == 0;
        if (c->writer)
            st = inputs_take(&c->inputs, step, c->budget, err);
        if (st == OK)
            st = run_turn(c, err);
        if (st == OK && c->writer)
            st = inputs_file(&c->inputs, c->writer, err);
    }
    report->passes = turns > report->passes ? turns : report->passes;
    if (st == OK)
        st = tally_save(&c->tally, c->walk, err);
    if (st == OK && c->writer)
        st = moments_sync(c->writer, err);
    return st == OK ? walk_end(c->walk, err) : st;
}

static enum status run_steps(struct calibration *c, struct calibrate_report *report,
                             struct error *err)
{
    const double start = clock_seconds();
    enum status st = OK;

    c->has_begun = true;
    runtime_tap(walk_runtime(c->walk), see, c);
    while (st == OK && walk_step(c->walk) < walk_steps(c->walk))
        st = run_step(c, report, err);
    runtime_tap(walk_runtime(c->walk), NULL, NULL);
    report->seconds = clock_seconds() - start;
    report->gathering_seconds = c->gathering;
    return st;
}

/* ---- opening ---- */

static void hash_text(struct sha256 *hash, const char *text)
{
    sha256_update(hash, text, strlen(text) + 1);
}

/* Everything that decides the bytes: the model by its tensors and their first rows, the text, the
 * options. */
static enum status identify(struct calibration *c, struct error *err)
{
    const struct calibrate_text *text = c->text;
    const uint64_t numbers[] = {text->n_chunks,
                                text->n_ctx,
                                (uint64_t)c->options->arithmetic,
                                c->options->moments != NULL,
                                MOMENTS_VERSION,
                                (uint64_t)c->options->experts};
    struct sha256 *hash = sha256_new();
    enum status st = hash ? OK : fail(err, ERR_NOMEM, "no memory for a hash");

    if (st == OK) {
        sha256_update(hash, numbers, sizeof(numbers));
        sha256_update(hash, text->ids, text->n_chunks * text->n_ctx * sizeof(*text->ids));
        if (text->is_held)
            sha256_update(hash, text->is_held, text->n_chunks);
    }
    for (size_t i = 0; i < c->model->n_tensors && st == OK; i++) {
        const struct gguf_tensor *t = &c->model->tensors[i];
        const size_t n = block_row_bytes(t->type, (size_t)t->ne[0]);
        void *row = malloc(n + 1);

        st = row ? model_read_rows(c->model, i, 0, 1, row, err)
                 : fail(err, ERR_NOMEM, "%s: no memory for a row", t->name);
        if (st == OK) {
            hash_text(hash, t->name);
            sha256_update(hash, t->ne, sizeof(t->ne));
            sha256_update(hash, &t->type, sizeof(t->type));
            sha256_update(hash, row, n);
        }
        free(row);
    }
    if (st == OK)
        sha256_final(hash, c->identity);
    else
        sha256_free(hash);
    return st;
}

static enum status open_walk(struct calibration *c, struct error *err)
{
    const struct walk_text text = {c->text->ids, c->text->n_chunks, c->text->n_ctx};
    struct walk_options options = {.arithmetic = c->options->arithmetic,
                                   .path = c->options->moments ? c->options->moments
                                                               : c->options->imatrix,
                                   .n_state = tally_bytes(&c->tally),
                                   .resume = c->options->resume};
    enum status st;

    memcpy(options.identity, c->identity, sizeof(options.identity));
    st = walk_open(c->model, &options, &text, &c->walk, err);
    return st == OK ? tally_load(&c->tally, c->walk, err) : st;
}

/* What the sums may take: the limit less the walk, the tally, a square on its way and the program. */
static enum status find_budget(struct calibration *c, struct error *err)
{
    const uint64_t limit =
        c->options->max_memory ? c->options->max_memory : (uint64_t)8 << 30;
    const uint64_t square =
        (uint64_t)MOMENTS_COLUMNS * (MOMENTS_COLUMNS + 1) / 2 * sizeof(float);
    const uint64_t fixed = ((uint64_t)64 << 20) + walk_bytes(c->walk) +
                           tally_bytes(&c->tally) + (c->options->moments ? square : 0);
    const uint64_t least = fixed + (c->options->moments ? inputs_largest(&c->inputs) : 0);

    if (least > limit)
        return fail(err, ERR_USAGE,
                    "%s: calibrating it takes %" PRIu64
                    " MiB of memory (--max-memory %" PRIu64 " MiB)",
                    c->model->path, (least + (1 << 20) - 1) >> 20, limit >> 20);
    c->budget = limit - fixed;
    return OK;
}

static enum status open_writer(struct calibration *c, struct error *err)
{
    char source[65];
    const struct moments_header header = {.datasets = c->text->names,
                                          .digests = c->text->digests,
                                          .n_datasets = c->text->n_names,
                                          .source = source,
                                          .chunk_size = c->text->n_ctx,
                                          .tokens = (uint64_t)c->text->n_chunks *
                                                    c->text->n_ctx};
    const struct output_options options = {.force = c->options->force,
                                           .resume = c->options->resume};

    if (!c->options->moments)
        return OK;
    sha256_hex(c->identity, source);
    return inputs_create_file(&c->inputs, c->options->moments, &header, &options,
                              &c->writer, err);
}

/* True when a run to resume was done to the end: the moments come last of what it writes. */
static enum status look_for_whole(const struct calibration *c, bool *is_whole,
                                  struct error *err)
{
    struct moments *moments = NULL;
    char source[65];
    enum status st;

    *is_whole = false;
    if (!c->options->resume || !c->options->moments || !file_exists(c->options->moments))
        return OK;
    st = moments_open(c->options->moments, &moments, err);
    if (st != OK)
        return st;
    sha256_hex(c->identity, source);
    *is_whole = moments_source(moments) && strcmp(moments_source(moments), source) == 0;
    moments_close(moments);
    return *is_whole ? OK
                     : fail(err, ERR_USAGE,
                            "%s: there already, of another model, text or option",
                            c->options->moments);
}

static void count_tokens(const struct calibration *c, struct calibrate_report *report)
{
    for (size_t i = 0; i < c->text->n_chunks; i++) {
        if (chunk_is_held(c, i))
            report->held_tokens += c->text->n_ctx;
        else
            report->tokens += c->text->n_ctx;
    }
}

static enum status finish(struct calibration *c, struct calibrate_report *report,
                          struct error *err)
{
    enum status st = OK;

    count_tokens(c, report);
    tally_audit(&c->tally, report);
    report->n_inputs = c->inputs.n;
    if (c->options->imatrix)
        st = tally_write(&c->tally, c->text, c->options, err);
    if (st == OK && c->writer) {
        st = moments_finish(c->writer, err);
        c->writer = NULL;
    }
    return st;
}

/* After trouble that is not the input's fault, what was done stays for another try; and what an earlier
 * run did, when this one could not even go on with it. */
static void close_all(struct calibration *c, enum status st, struct error *err)
{
    const bool can_go_on = st == ERR_IO || st == ERR_NOMEM || st == ERR_INTERRUPTED;
    const bool keep = c->walk && walk_step(c->walk) > 0 && (can_go_on || !c->has_begun);
    const size_t n = strlen(err->text);

    if (keep && can_go_on)
        snprintf(err->text + n, sizeof(err->text) - n, " (--resume continues)");
    if (keep)
        moments_keep(c->writer);
    else
        moments_abandon(c->writer);
    walk_close(c->walk, keep);
    inputs_free(&c->inputs);
    tally_close(&c->tally);
}

enum status calibrate_run(const struct model *model, const struct calibrate_text *text,
                          const struct calibrate_options *options,
                          const struct progress *progress,
                          struct calibrate_report *report, struct error *err)
{
    struct calibration c = {
        .model = model, .text = text, .options = options, .progress = progress};
    bool is_whole;
    enum status st;

    *report = (struct calibrate_report){0};
    if (text->n_chunks == 0)
        return fail(err, ERR_USAGE, "the text is shorter than one chunk of %u tokens",
                    text->n_ctx);
    st = identify(&c, err);
    if (st == OK)
        st = look_for_whole(&c, &is_whole, err);
    if (st != OK || is_whole)
        return st;
    st = tally_open(model, &c.tally, err);
    if (st == OK)
        st = open_walk(&c, err);
    if (st == OK)
        st = inputs_list(&c.inputs, model, options->experts, walk_steps(c.walk), err);
    if (st == OK)
        st = find_budget(&c, err);
    if (st == OK)
        st = open_writer(&c, err);
    if (st == OK) {
        inputs_skip(&c.inputs, walk_step(c.walk));
        report->n_resumed = walk_step(c.walk);
        st = run_steps(&c, report, err);
    }
    if (st == OK)
        st = finish(&c, report, err);
    close_all(&c, st, err);
    return st;
}
