/*
 * tap.c - what passes by, shown to whoever looks
 */
#include "runtime/pass.h"

void runtime_tap(struct runtime *rt, void (*fn)(void *arg, const struct tap_event *event),
                 void *arg)
{
    rt->tap = fn;
    rt->tap_arg = arg;
}

void tap_rows(const struct pass *p, const char *what, int layer, size_t n_cols,
              const float *x)
{
    if (!p->rt->tap)
        return;
    p->rt->tap(p->rt->tap_arg, &(struct tap_event){.what = what,
                                                   .layer = layer,
                                                   .expert = -1,
                                                   .position = p->position,
                                                   .n_rows = p->n,
                                                   .n_cols = n_cols,
                                                   .x = x});
}

void tap_input(struct runtime *rt, int layer, const struct linear *linear, int expert,
               uint32_t position, size_t n_rows, const float *x)
{
    if (!rt->tap || !linear->name)
        return;
    rt->tap(rt->tap_arg, &(struct tap_event){.what = "input",
                                             .layer = layer,
                                             .weight = linear->name,
                                             .expert = expert,
                                             .position = position,
                                             .n_rows = n_rows,
                                             .n_cols = linear->matrix.n_cols,
                                             .x = x});
}

void pass_multiply(const struct pass *p, int layer, const struct linear *linear,
                   const float *x, float *y)
{
    struct runtime *rt = p->rt;

    tap_input(rt, layer, linear, -1, p->position, p->n, x);
    kernels_matmul(rt->kernels, rt->scratch.workspace, rt->arithmetic, &linear->matrix, x,
                   p->n, y);
}
