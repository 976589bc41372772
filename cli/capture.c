/*
 * capture.c - what a forward pass shows, gathered into named arrays
 */
#include "cli/capture.h"
#include "formats/safetensors/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct capture_array *find(const struct capture *capture, const char *name)
{
    for (size_t i = 0; i < capture->n_arrays; i++)
        if (strcmp(capture->arrays[i].name, name) == 0)
            return &capture->arrays[i];
    return NULL;
}

const struct capture_array *capture_find(const struct capture *capture, const char *name)
{
    return find(capture, name);
}

static struct capture_array *add(struct capture *capture, const char *name, size_t n_cols)
{
    const size_t room = 2 * capture->room + 16;
    struct capture_array *grown, *array;

    if (capture->n_arrays == capture->room) {
        grown = realloc(capture->arrays, room * sizeof(*grown));
        if (!grown)
            return NULL;
        capture->arrays = grown;
        capture->room = room;
    }
    array = &capture->arrays[capture->n_arrays];
    *array = (struct capture_array){.n_rows = capture->n_positions, .n_cols = n_cols};
    (void)snprintf(array->name, sizeof(array->name), "%s", name);
    array->x = calloc(array->n_rows * n_cols, sizeof(*array->x));
    if (!array->x)
        return NULL;
    capture->n_arrays++;
    return array;
}

void capture_rows(struct capture *capture, const char *name, uint32_t position,
                  size_t n_rows, size_t n_cols, const float *x)
{
    struct capture_array *array = find(capture, name);

    if (!array)
        array = add(capture, name, n_cols);
    if (array)
        memcpy(array->x + position * n_cols, x, n_rows * n_cols * sizeof(*x));
    else
        capture->is_short = true;
}

void capture_event(void *arg, const struct tap_event *event)
{
    static const char *const kept[] = {"embed", "ple", "final_norm"};
    struct capture *capture = arg;
    char name[32];

    if (strcmp(event->what, "hidden") == 0) {
        (void)snprintf(name, sizeof(name), "hidden.%d", event->layer);
        capture_rows(capture, name, event->position, event->n_rows, event->n_cols,
                     event->x);
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (strcmp(event->what, kept[i]) == 0)
            capture_rows(capture, kept[i], event->position, event->n_rows, event->n_cols,
                         event->x);
}

static struct safetensors_item item(const struct capture_array *array, size_t n_ple)
{
    struct safetensors_item out = {.name = array->name,
                                   .dtype = DTYPE_F32,
                                   .n_dims = 2,
                                   .dims = {array->n_rows, array->n_cols},
                                   .data = array->x};

    if (n_ple > 0 && strcmp(array->name, "ple") == 0) {
        out.n_dims = 3;
        out.dims[1] = array->n_cols / n_ple;
        out.dims[2] = n_ple;
    }
    return out;
}

enum status capture_write(const struct capture *capture, const char *path, size_t n_ple,
                          bool force, struct error *err)
{
    struct safetensors_item *items = calloc(capture->n_arrays + 1, sizeof(*items));
    size_t n = 0;
    enum status st;

    if (!items || capture->is_short) {
        free(items);
        return fail(err, ERR_NOMEM, "no memory for what the model computed");
    }
    for (size_t i = 0; i < capture->n_arrays; i++)
        items[n++] = item(&capture->arrays[i], n_ple);
    if (capture->n_greedy > 0)
        items[n++] = (struct safetensors_item){.name = "greedy",
                                               .dtype = DTYPE_I32,
                                               .n_dims = 1,
                                               .dims = {capture->n_greedy},
                                               .data = capture->greedy};
    st = safetensors_write(path, items, n, NULL, force, err);
    free(items);
    return st;
}

void capture_free(struct capture *capture)
{
    for (size_t i = 0; i < capture->n_arrays; i++)
        free(capture->arrays[i].x);
    free(capture->arrays);
    free(capture->greedy);
    *capture = (struct capture){0};
}
