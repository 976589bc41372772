/*
 * gathering.c - which inputs there are, and what becomes of their sums
 */
#include "convert/calibrate/gathering.h"

#include <stdio.h>
#include <stdlib.h>

static const char ple_table[] = "per_layer_token_embd.weight";

/* ---- which there are ---- */

static struct gathering *find(const struct inputs *inputs, const char *name,
                              bool in_hand_only)
{
    for (size_t i = 0; i < inputs->n; i++)
        if ((inputs->list[i].is_in_hand || !in_hand_only) &&
            strcmp(inputs->list[i].item.name, name) == 0)
            return &inputs->list[i];
    return NULL;
}

/* The embedding is step 0, layer i step i + 1, heads the last. */
static uint32_t step_of(const char *name, uint32_t n_steps)
{
    unsigned layer;

    if (sscanf(name, "blk.%9u.", &layer) == 1)
        return layer + 1;
    return strcmp(name, "head_in") == 0 || strncmp(name, "dense_", 6) == 0 ? n_steps - 1
                                                                           : 0;
}

static void list_input(struct inputs *inputs, const char *weight, int expert, size_t n,
                       bool is_diagonal, uint32_t n_steps)
{
    struct moments_item item = {.n = n, .is_diagonal = is_diagonal};

    if (n > 0 && moments_input(weight, expert, item.name) &&
        !find(inputs, item.name, false))
        inputs->list[inputs->n++] =
            (struct gathering){.item = item, .step = step_of(item.name, n_steps)};
}

/* A table that is read by row has the gates of every layer it has a slice for. */
static void list_gates(struct inputs *inputs, const struct model *model, uint32_t n_steps)
{
    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct gguf_tensor *t = &model->tensors[i];
        unsigned layer;
        int end = 0;

        if (sscanf(t->name, "blk.%9u.inp_gate.weight%n", &layer, &end) == 1 && end > 0)
            list_input(inputs, ple_table, (int)layer, (size_t)t->ne[1], false, n_steps);
    }
}

/* What the experts of a layer read, in one matrix: only their input is shown as a whole. */
static bool shares_correlations(const struct gguf_tensor *t, enum expert_moments experts)
{
    char input[MOMENTS_NAME];
    const size_t n =
        t->n_dims == 3 && moments_input(t->name, -1, input) ? strlen(input) : 0;

    if (n < 8 || strcmp(input + n - 8, ".exps_in") != 0)
        return false;
    return experts == EXPERTS_SHARED ||
           (experts == EXPERTS_BY_BYTES && t->ne[2] * t->ne[0] * t->ne[0] > EXPERTS_MOST);
}

enum status inputs_list(struct inputs *inputs, const struct model *model,
                        enum expert_moments experts, uint32_t n_steps, struct error *err)
{
    size_t n = 1;

    for (size_t i = 0; i < model->n_tensors; i++)
        n += (size_t)model->tensors[i].ne[2] + 1;
    inputs->list = calloc(n, sizeof(*inputs->list));
    if (!inputs->list)
        return fail(err, ERR_NOMEM, "no memory for %zu inputs", n);
    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct gguf_tensor *t = &model->tensors[i];

        const bool is_shared = shares_correlations(t, experts);

        if (t->n_dims == 2 || is_shared)
            list_input(inputs, t->name, -1, (size_t)t->ne[0], false, n_steps);
        for (uint64_t e = 0; t->n_dims == 3 && e < t->ne[2]; e++)
            list_input(inputs, t->name, (int)e, (size_t)t->ne[0], is_shared, n_steps);
    }
    if (model_find(model, ple_table) >= 0)
        list_gates(inputs, model, n_steps);
    return OK;
}

static void let_go(struct gathering *input)
{
    gram_free(&input->train);
    gram_free(&input->held);
    input->is_in_hand = false;
}

void inputs_free(struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->n; i++)
        let_go(&inputs->list[i]);
    free(inputs->list);
    *inputs = (struct inputs){0};
}

/* ---- turns ---- */

static uint64_t bytes_of(const struct gathering *input)
{
    return 2 * (input->item.is_diagonal ? input->item.n * sizeof(double)
                                        : gram_bytes(input->item.n));
}

uint64_t inputs_largest(const struct inputs *inputs)
{
    uint64_t largest = 0;

    for (size_t i = 0; i < inputs->n; i++)
        if (bytes_of(&inputs->list[i]) > largest)
            largest = bytes_of(&inputs->list[i]);
    return largest;
}

void inputs_skip(struct inputs *inputs, uint32_t steps_done)
{
    for (size_t i = 0; i < inputs->n; i++)
        inputs->list[i].is_filed = inputs->list[i].step < steps_done;
}

static enum status new_sums(struct gathering *input, struct error *err)
{
    enum status (*new)(size_t, struct gram *, struct error *) =
        input->item.is_diagonal ? gram_new_diagonal : gram_new;
    const enum status st = new (input->item.n, &input->train, err);

    return st == OK ? new (input->item.n, &input->held, err) : st;
}

bool inputs_left(const struct inputs *inputs, uint32_t step)
{
    for (size_t i = 0; i < inputs->n; i++)
        if (inputs->list[i].step == step && !inputs->list[i].is_filed)
            return true;
    return false;
}

enum status inputs_take(struct inputs *inputs, uint32_t step, uint64_t budget,
                        struct error *err)
{
    uint64_t used = 0;
    enum status st = OK;

    for (size_t i = 0; i < inputs->n && st == OK; i++) {
        struct gathering *input = &inputs->list[i];

        if (input->step != step || input->is_filed ||
            (used > 0 && used + bytes_of(input) > budget))
            continue;
        used += bytes_of(input);
        input->is_in_hand = true;
        st = new_sums(input, err);
    }
    return st;
}

void inputs_add(struct inputs *inputs, const struct tap_event *event, bool is_held)
{
    const bool is_gate = strcmp(event->what, "ple_gate") == 0;
    const bool is_common = strcmp(event->what, "exps_in") == 0;
    const char *weight = is_gate ? ple_table : is_common ? "" : event->weight;
    struct gathering *input;
    char name[MOMENTS_NAME];

    if (is_common)
        snprintf(name, sizeof(name), "blk.%d.exps_in", event->layer);
    else if (!moments_input(weight, is_gate ? event->layer : event->expert, name))
        return;
    input = find(inputs, name, true);
    if (!input)
        return;
    if (!input->weight)
        input->weight = weight;
    if (strcmp(input->weight, weight) == 0)
        gram_add(is_held ? &input->held : &input->train, event->x, event->n_rows);
}

enum status inputs_file(struct inputs *inputs, struct moments_writer *writer,
                        struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < inputs->n && st == OK; i++) {
        struct gathering *input = &inputs->list[i];

        if (!input->is_in_hand)
            continue;
        st = moments_put(writer, i, &input->train, &input->held, err);
        input->is_filed = true;
        let_go(input);
    }
    return st;
}

enum status inputs_create_file(const struct inputs *inputs, const char *path,
                               const struct moments_header *header,
                               const struct output_options *options,
                               struct moments_writer **out, struct error *err)
{
    struct moments_item *items = calloc(inputs->n + 1, sizeof(*items));
    enum status st;

    if (!items)
        return fail(err, ERR_NOMEM, "no memory for %zu inputs", inputs->n);
    for (size_t i = 0; i < inputs->n; i++)
        items[i] = inputs->list[i].item;
    st = moments_create(path, header, items, inputs->n, options, out, err);
    free(items);
    return st;
}
