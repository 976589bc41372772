/*
 * calibrate.c - passes over the text; in each, the inputs that fit memory gather their moments
 */
#include "convert/calibrate/calibrate.h"

#include "convert/calibrate/tally.h"
#include "formats/moments/moments.h"

#include <stdio.h>
#include <stdlib.h>

static const char ple_table[] = "per_layer_token_embd.weight";

/* One distinct input, and its sums while its pass lasts. */
struct gathering {
    struct moments_item item;
    const char *weight; /* the first weight seen to read it speaks for it; borrowed */
    struct gram train, held;
};

struct calibration {
    const struct model *model;
    const struct calibrate_text *text;
    const struct calibrate_options *options;
    struct runtime *rt;
    struct tally tally;
    bool is_first_pass, is_held;
    struct gathering *inputs;     /* sorted by layer, as the model names them */
    size_t n_inputs, first, last; /* this pass gathers [first, last) */
    const char *not_finite;       /* the weight where it happened */
};

/* ---- which inputs there are ---- */

static struct gathering *input_find(struct calibration *c, const char *name)
{
    for (size_t i = c->first; i < c->last; i++)
        if (strcmp(c->inputs[i].item.name, name) == 0)
            return &c->inputs[i];
    return NULL;
}

static void list_input(struct calibration *c, const char *weight, int expert, size_t n)
{
    struct moments_item item = {.n = n};

    if (!moments_input(weight, expert, item.name))
        return;
    c->first = 0;
    c->last = c->n_inputs;
    if (!input_find(c, item.name))
        c->inputs[c->n_inputs++] = (struct gathering){.item = item};
}

/* A table that is read by row has the gates of every layer it has a slice for. */
static void list_gates(struct calibration *c, const struct gguf_tensor *table)
{
    for (size_t i = 0; i < c->model->n_tensors; i++) {
        const struct gguf_tensor *t = &c->model->tensors[i];
        unsigned layer;
        int end = 0;

        if (sscanf(t->name, "blk.%3u.inp_gate.weight%n", &layer, &end) == 1 && end > 0)
            list_input(c, table->name, (int)layer, (size_t)t->ne[1]);
    }
}

static enum status list_inputs(struct calibration *c, struct error *err)
{
    const int64_t table = model_find(c->model, ple_table);
    size_t n = 1;

    for (size_t i = 0; i < c->model->n_tensors; i++)
        n += (size_t)c->model->tensors[i].ne[2] + 1;
    c->inputs = calloc(n, sizeof(*c->inputs));
    if (!c->inputs)
        return fail(err, ERR_NOMEM, "no memory for %zu inputs", n);
    for (size_t i = 0; i < c->model->n_tensors; i++) {
        const struct gguf_tensor *t = &c->model->tensors[i];

        if (t->n_dims == 2)
            list_input(c, t->name, -1, (size_t)t->ne[0]);
        for (uint64_t e = 0; t->n_dims == 3 && e < t->ne[2]; e++)
            list_input(c, t->name, (int)e, (size_t)t->ne[0]);
    }
    if (table >= 0)
        list_gates(c, &c->model->tensors[table]);
    return OK;
}

/* ---- one pass ---- */

static void see_gate(struct calibration *c, const struct tap_event *event)
{
    char name[MOMENTS_NAME];
    struct gathering *input =
        moments_input(ple_table, event->layer, name) ? input_find(c, name) : NULL;

    if (input)
        gram_add(c->is_held ? &input->held : &input->train, event->x, event->n_rows);
}

static void see_input(void *arg, const struct tap_event *event)
{
    struct calibration *c = arg;
    char name[MOMENTS_NAME];
    struct gathering *input;

    if (strcmp(event->what, "ple_gate") == 0)
        see_gate(c, event);
    if (strcmp(event->what, "input") != 0 || event->n_rows == 0)
        return;
    if (c->is_first_pass && !tally_add(&c->tally, event))
        c->not_finite = event->weight;
    if (!moments_input(event->weight, event->expert, name))
        return;
    input = input_find(c, name);
    if (!input)
        return;
    if (!input->weight)
        input->weight = event->weight;
    if (strcmp(input->weight, event->weight) == 0)
        gram_add(c->is_held ? &input->held : &input->train, event->x, event->n_rows);
}

static bool chunk_is_held(const struct calibration *c, size_t i)
{
    unsigned every = c->options->held_every;

    return every > 0 && i % every == every - 1;
}

/* Logits are asked for so that the head's input is shown; they are of no interest themselves. */
static void drop_logits(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    (void)arg;
    (void)position;
    (void)n_rows;
    (void)logits;
}

static enum status run_text(struct calibration *c, struct sequence *seq,
                            const struct progress *progress, unsigned pass,
                            unsigned n_passes, struct error *err)
{
    const struct calibrate_text *text = c->text;
    enum status st = OK;

    runtime_tap(c->rt, see_input, c);
    for (size_t i = 0; i < text->n_chunks && st == OK; i++) {
        const struct logits_sink nothing = {.rows = drop_logits};

        c->is_held = chunk_is_held(c, i);
        sequence_reset(seq);
        st = runtime_eval(c->rt, seq, text->ids + i * text->n_ctx, text->n_ctx, &nothing,
                          err);
        if (st == OK && c->not_finite)
            st = fail(err, ERR_CORRUPT, "%s: its input is not finite in chunk %zu",
                      c->not_finite, i);
        if (st == OK)
            st = interrupt_check(err);
        progress_report(progress, "calibrating", (uint64_t)pass * text->n_chunks + i + 1,
                        (uint64_t)n_passes * text->n_chunks);
    }
    runtime_tap(c->rt, NULL, NULL);
    return st;
}

/* ---- which inputs fit a pass ---- */

static uint64_t gather_bytes(const struct gathering *input)
{
    return 2 * gram_bytes(input->item.n);
}

/* The end of the run of inputs from `first` that fits; at least one. */
static size_t pass_end(const struct calibration *c, size_t first)
{
    uint64_t budget = c->options->max_memory ? c->options->max_memory : (uint64_t)2 << 30;
    uint64_t used = 0;
    size_t i = first;

    if (!c->options->moments)
        return c->n_inputs;
    while (i < c->n_inputs &&
           (i == first || used + gather_bytes(&c->inputs[i]) <= budget))
        used += gather_bytes(&c->inputs[i++]);
    return i;
}

static unsigned count_passes(const struct calibration *c)
{
    unsigned n = 0;

    for (size_t i = 0; i < c->n_inputs; i = pass_end(c, i))
        n++;
    return n ? n : 1;
}

static void drop_grams(struct calibration *c)
{
    for (size_t i = 0; i < c->n_inputs; i++) {
        gram_free(&c->inputs[i].train);
        gram_free(&c->inputs[i].held);
    }
}

static enum status begin_pass(struct calibration *c, struct error *err)
{
    enum status st = OK;

    for (size_t i = c->first; i < c->last && c->options->moments && st == OK; i++) {
        st = gram_new(c->inputs[i].item.n, &c->inputs[i].train, err);
        if (st == OK)
            st = gram_new(c->inputs[i].item.n, &c->inputs[i].held, err);
    }
    return st;
}

static enum status file_pass(struct calibration *c, struct moments_writer *writer,
                             struct error *err)
{
    enum status st = OK;

    for (size_t i = c->first; i < c->last && st == OK; i++)
        st = moments_put(writer, i, &c->inputs[i].train, &c->inputs[i].held, err);
    drop_grams(c);
    return st;
}

static enum status open_writer(const struct calibration *c,
                               struct moments_writer **writer, struct error *err)
{
    struct moments_header header = {c->text->names, c->text->n_names, c->text->n_ctx,
                                    NULL};
    struct moments_item *items = calloc(c->n_inputs + 1, sizeof(*items));
    enum status st;

    if (!items)
        return fail(err, ERR_NOMEM, "no memory for %zu inputs", c->n_inputs);
    for (size_t i = 0; i < c->n_inputs; i++)
        items[i] = c->inputs[i].item;
    st = moments_create(c->options->moments, &header, items, c->n_inputs,
                        c->options->force, writer, err);
    free(items);
    return st;
}

static enum status run_passes(struct calibration *c, struct moments_writer *writer,
                              const struct progress *progress,
                              struct calibrate_report *report, struct error *err)
{
    struct sequence *seq = NULL;
    unsigned n_passes = count_passes(c);
    size_t next = 0;
    enum status st = sequence_new(c->rt, c->text->n_ctx, &seq, err);

    for (unsigned pass = 0; pass < n_passes && st == OK; pass++) {
        c->is_first_pass = pass == 0;
        c->first = next;
        c->last = next = pass_end(c, next);
        if (!c->options->moments)
            c->last = c->first; /* nothing gathers moments */
        st = begin_pass(c, err);
        if (st == OK)
            st = run_text(c, seq, progress, pass, n_passes, err);
        if (st == OK && writer)
            st = file_pass(c, writer, err);
    }
    report->passes = n_passes;
    sequence_free(seq);
    return st;
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

enum status calibrate_run(const struct model *model, const struct calibrate_text *text,
                          const struct calibrate_options *options,
                          const struct progress *progress,
                          struct calibrate_report *report, struct error *err)
{
    struct calibration c = {.model = model, .text = text, .options = options};
    struct runtime_options runtime = {.arithmetic = options->arithmetic};
    struct moments_writer *writer = NULL;
    enum status st;

    *report = (struct calibrate_report){0};
    if (text->n_chunks == 0)
        return fail(err, ERR_USAGE, "the text is shorter than one chunk of %u tokens",
                    text->n_ctx);
    st = tally_open(model, &c.tally, err);
    if (st == OK)
        st = list_inputs(&c, err);
    if (st == OK)
        st = runtime_open(model, &runtime, &c.rt, err);
    if (st == OK && options->moments)
        st = open_writer(&c, &writer, err);
    if (st == OK)
        st = run_passes(&c, writer, progress, report, err);
    if (st != OK)
        goto out;

    count_tokens(&c, report);
    tally_audit(&c.tally, report);
    report->n_inputs = c.n_inputs;
    if (options->imatrix)
        st = tally_write(&c.tally, text, options, err);
    if (st == OK && writer) {
        st = moments_finish(writer, err);
        writer = NULL;
    }

out:
    moments_abandon(writer);
    if (c.inputs)
        drop_grams(&c);
    free(c.inputs);
    tally_close(&c.tally);
    runtime_close(c.rt);
    return st;
}
