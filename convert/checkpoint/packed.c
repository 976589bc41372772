/*
 * packed.c - sections, windows and the provider over them
 */
#include "convert/checkpoint/packed.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- which units rows need ---- */

static void units_of(const struct packed *p, const struct section *s, uint64_t first,
                     uint64_t n, uint64_t *from, uint64_t *count)
{
    const uint64_t a = s->across ? first : first * p->cols;
    const uint64_t b = s->across ? first + n - 1 : (first + n) * p->cols - 1;

    *from = a / s->per_unit;
    *count = b / s->per_unit - *from + 1;
}

static uint64_t section_bytes(const struct packed *p, const struct section *s,
                              uint64_t first, uint64_t n)
{
    uint64_t from, count;

    if (!s->raw)
        return 0;
    units_of(p, s, first, n, &from, &count);
    return count * s->unit_bytes * (s->across ? s->n_lines : 1);
}

static size_t packed_fetch_bytes(const struct source_tensor *t, uint64_t first,
                                 uint64_t n)
{
    const struct packed *p = t->self;
    uint64_t sum = 0;

    for (int i = 0; i < N_SECTIONS; i++)
        sum += section_bytes(p, &p->sections[i], first, n);
    return (size_t)sum;
}

static enum status fetch_section(const struct packed *p, const struct section *s,
                                 uint64_t first, uint64_t n, uint8_t *to,
                                 struct error *err)
{
    const uint64_t n_lines = s->across ? s->n_lines : 1;
    uint64_t from, count;
    enum status st = OK;

    units_of(p, s, first, n, &from, &count);
    for (uint64_t line = 0; line < n_lines && st == OK; line++) {
        st = raw_read(s->raw, (line * s->n_units + from) * s->unit_bytes,
                      (size_t)(count * s->unit_bytes), to, err);
        to += count * s->unit_bytes;
    }
    return st == OK ? OK : fail_at(err, s->raw->t->name);
}

static enum status packed_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                                void *raw, struct error *err)
{
    const struct packed *p = t->self;
    uint8_t *to = raw;
    enum status st = OK;

    for (int i = 0; i < N_SECTIONS && st == OK; i++) {
        const struct section *s = &p->sections[i];

        if (!s->raw)
            continue;
        st = fetch_section(p, s, first, n, to, err);
        to += section_bytes(p, s, first, n);
    }
    return st;
}

static void open_windows(const struct packed *p, const struct fetched *in,
                         struct window windows[N_SECTIONS])
{
    const uint8_t *at = in->raw;

    for (int i = 0; i < N_SECTIONS; i++) {
        const struct section *s = &p->sections[i];

        windows[i] = (struct window){.bytes = at};
        if (!s->raw)
            continue;
        units_of(p, s, in->first, in->n, &windows[i].first, &windows[i].n);
        at += section_bytes(p, s, in->first, in->n);
    }
}

const uint8_t *window_element(const struct packed *p, const struct window *windows,
                              enum section_role role, uint64_t element)
{
    const struct section *s = &p->sections[role];

    return windows[role].bytes +
           (element / s->per_unit - windows[role].first) * s->unit_bytes;
}

const uint8_t *window_column(const struct packed *p, const struct window *windows,
                             enum section_role role, uint64_t line, uint64_t row)
{
    const struct section *s = &p->sections[role];
    const struct window *w = &windows[role];

    return w->bytes + (line * w->n + row / s->per_unit - w->first) * s->unit_bytes;
}

static void packed_decode(const struct source_tensor *t, const struct fetched *in,
                          uint64_t from, uint64_t n, float *x)
{
    const struct packed *p = t->self;
    struct window windows[N_SECTIONS];

    open_windows(p, in, windows);
    for (uint64_t r = from; r < from + n; r++, x += p->cols)
        p->decode(p, windows, r, x);
}

static void packed_repack(const struct source_tensor *t, const struct fetched *in,
                          uint64_t from, uint64_t n, void *blocks)
{
    const struct packed *p = t->self;
    const size_t row_bytes = block_row_bytes(t->exact, p->cols);
    struct window windows[N_SECTIONS];
    uint8_t *out = blocks;

    open_windows(p, in, windows);
    for (uint64_t r = from; r < from + n; r++, out += row_bytes)
        p->repack(p, windows, r, out);
}

static const struct provider decodes = {
    .fetch_bytes = packed_fetch_bytes, .fetch = packed_fetch, .decode = packed_decode};
static const struct provider repacks = {.fetch_bytes = packed_fetch_bytes,
                                        .fetch = packed_fetch,
                                        .decode = packed_decode,
                                        .repack = packed_repack};

/* ---- modules ---- */

const struct raw_tensor *module_take(const struct module *m, const char *suffix)
{
    char name[512];
    struct raw_tensor *raw;

    if (snprintf(name, sizeof(name), "%s%s", m->path, suffix) >= (int)sizeof(name))
        return NULL;
    raw = catalogue_raw(m->cp, name);
    if (raw)
        raw->taken = true;
    return raw;
}

enum status module_need(const struct module *m, const char *suffix,
                        const struct raw_tensor **out, struct error *err)
{
    *out = module_take(m, suffix);
    return *out ? OK
                : fail(err, ERR_CORRUPT, "%s: %s%s is missing, so its codes mean nothing",
                       m->cp->path, m->path, suffix);
}

enum status module_number(const struct module *m, const struct raw_tensor *raw,
                          float *out, struct error *err)
{
    uint8_t bytes[8];
    enum status st;

    if (tensor_elements(raw->t) != 1 || raw->t->n_bytes > sizeof(bytes))
        return module_misfit(m, raw, err, "one number expected");
    st = raw_read(raw, 0, (size_t)raw->t->n_bytes, bytes, err);
    if (st != OK)
        return fail_at(err, raw->t->name);
    dtype_widen(raw->t->dtype, bytes, out, 1);
    return isfinite(*out) ? OK : module_misfit(m, raw, err, "it is not finite");
}

enum status module_bytes(const struct module *m, const struct raw_tensor *raw,
                         size_t limit, const uint8_t **out, struct error *err)
{
    uint8_t *bytes;

    if (raw->t->n_bytes > limit)
        return module_misfit(m, raw, err, "at most %zu bytes expected", limit);
    bytes = arena_alloc(&m->cp->arena, (size_t)raw->t->n_bytes + 1);
    if (!bytes)
        return fail(err, ERR_NOMEM, "%s: no memory for it", raw->t->name);
    *out = bytes;
    const enum status st = raw_read(raw, 0, (size_t)raw->t->n_bytes, bytes, err);
    return st == OK ? OK : fail_at(err, raw->t->name);
}

enum status module_misfit(const struct module *m, const struct raw_tensor *raw,
                          struct error *err, const char *fmt, ...)
{
    char why[200], shape[120] = "";
    size_t at = 0;
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    for (int i = 0; i < raw->t->n_dims && at < sizeof(shape) - 24; i++)
        at += (size_t)snprintf(shape + at, sizeof(shape) - at, "%s%" PRIu64,
                               i ? " x " : "", raw->t->dims[i]);
    return fail(err, ERR_SHAPE, "%s: %s: %s {%s} (%s)", m->cp->path, raw->t->name,
                dtype_name(raw->t->dtype), shape, why);
}

enum status module_each(struct checkpoint *cp, const json_t *quantization,
                        const char *suffix,
                        enum status (*fn)(const struct module *m, struct error *err),
                        struct error *err)
{
    const size_t n_suffix = strlen(suffix);
    enum status st = OK;

    for (size_t i = 0; i < cp->n_raws && st == OK; i++) {
        const char *name = cp->raws[i].name;
        const size_t n = strlen(name);
        struct module m = {.cp = cp, .quantization = quantization};

        if (cp->raws[i].taken || n <= n_suffix ||
            strcmp(name + n - n_suffix, suffix) != 0 ||
            canonical_leftover(name) == LEFTOVER_TOWER)
            continue;
        m.path = arena_strndup(&cp->arena, name, n - n_suffix);
        m.weight = m.path ? arena_printf(&cp->arena, "%s.weight", m.path) : NULL;
        st = m.weight ? fn(&m, err)
                      : fail(err, ERR_NOMEM, "no memory for names of tensors");
    }
    return st;
}

/* ---- sections ---- */

enum status section_along(const struct module *m, struct packed *p,
                          enum section_role role, const struct raw_tensor *raw,
                          uint64_t per_unit, uint64_t unit_bytes, struct error *err)
{
    const uint64_t elements = p->rows * p->cols;

    if (elements == 0 || per_unit == 0)
        return module_misfit(m, raw, err, "the weight is empty");
    const uint64_t n_units = elements / per_unit + (elements % per_unit != 0);

    if (raw->t->n_bytes != n_units * unit_bytes)
        return module_misfit(m, raw, err,
                             "%" PRIu64 " bytes expected for %" PRIu64 " x %" PRIu64
                             " weights",
                             n_units * unit_bytes, p->rows, p->cols);
    p->sections[role] = (struct section){
        .raw = raw, .per_unit = per_unit, .unit_bytes = unit_bytes, .n_units = n_units};
    return OK;
}

enum status section_across(const struct module *m, struct packed *p,
                           enum section_role role, const struct raw_tensor *raw,
                           uint64_t n_lines, uint64_t per_unit, uint64_t unit_bytes,
                           struct error *err)
{
    const uint64_t n_units = (p->rows + per_unit - 1) / per_unit;

    if (p->rows == 0 || p->cols == 0)
        return module_misfit(m, raw, err, "the weight is empty");
    if (raw->t->n_bytes != n_lines * n_units * unit_bytes)
        return module_misfit(m, raw, err,
                             "%" PRIu64 " lines of %" PRIu64 " bytes expected", n_lines,
                             n_units * unit_bytes);
    p->sections[role] = (struct section){.raw = raw,
                                         .across = true,
                                         .per_unit = per_unit,
                                         .unit_bytes = unit_bytes,
                                         .n_units = n_units,
                                         .n_lines = n_lines};
    return OK;
}

enum status packed_add(const struct module *m, const struct packed *p,
                       const uint64_t *dims, int n_dims, const char *type,
                       enum block_type exact, struct error *err)
{
    struct packed *kept = arena_alloc(&m->cp->arena, sizeof(*kept));
    struct source_tensor *t = catalogue_add(m->cp, m->weight);
    const struct raw_tensor *codes = p->sections[CODES].raw;

    if (!kept || !t)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    *kept = *p;
    kept->found = codes->t->name;
    t->found = codes->t->name;
    t->type = arena_strdup(&m->cp->arena, type);
    t->n_dims = n_dims;
    memcpy(t->dims, dims, (size_t)n_dims * sizeof(*dims));
    t->exact = p->repack ? exact : TYPE_F32;
    t->transform = p->repack ? "repack or decode" : "decode";
    t->order = codes->order;
    for (int i = 0; i < N_SECTIONS; i++)
        t->n_bytes += p->sections[i].raw ? p->sections[i].raw->t->n_bytes : 0;
    t->provider = p->repack ? &repacks : &decodes;
    t->self = kept;
    return t->type ? OK : fail(err, ERR_NOMEM, "no memory for the table of tensors");
}

/* ---- looking at scales ---- */

bool packed_fits_f16(float x)
{
    return isfinite(x) && f32_from_f16(f16_from_f32(x)) == x;
}

enum status packed_look(const struct packed *p, uint64_t first, uint64_t n, void **raw,
                        struct window windows[N_SECTIONS], struct error *err)
{
    struct packed scales = *p;
    const struct source_tensor t = {.self = &scales};
    enum status st;

    scales.sections[CODES].raw = NULL;
    *raw = malloc(packed_fetch_bytes(&t, first, n) + 1);
    if (!*raw)
        return fail(err, ERR_NOMEM, "%s: no memory for its scales",
                    p->sections[CODES].raw->t->name);
    st = packed_fetch(&t, first, n, *raw, err);
    open_windows(&scales, &(struct fetched){first, n, *raw}, windows);
    return st;
}

uint64_t packed_config_u64(const json_t *object, const char *key, uint64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) && json_integer_value(value) >= 0
               ? (uint64_t)json_integer_value(value)
               : otherwise;
}

/* ---- what integer formats share ---- */

unsigned packed_string_code(const struct packed *p, const struct window *windows,
                            uint64_t row, uint64_t col)
{
    return packed_code(window_element(p, windows, CODES, row * p->cols), col, p->bits);
}

float packed_group_scale(const struct packed *p, const struct window *windows,
                         enum section_role role, uint64_t row, uint64_t group)
{
    const struct section *s = &p->sections[role];
    const uint8_t *at = window_element(p, windows, role, row * p->cols);

    return packed_number(s, at + group * (dtype_bits(s->raw->t->dtype) / 8));
}
