/*
 * test_equalize.c - rewrites that change no function, what they are chosen by, and how a file tells
 */
#include "convert/convert.h"
#include "formats/moments/moments.h"
#include "formats/stats/stats.h"
#include "runtime/runtime.h"
#include "tests/convert/tiny.h"
#include "verify/verify.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char trained[] = CARAT_DATA "/models/tiny-e2b";

/* An input and how many factors it has. */
struct input {
    const char *name;
    size_t n;
};

/* Sizes of tests/convert/tiny.c. */
static const struct input e2b_inputs[] = {{"blk.0.attn_in", 32}, {"blk.0.ffn_in", 32},
                                          {"blk.0.ffn_mid", 32}, {"blk.3.attn_in", 32},
                                          {"blk.3.ffn_in", 32},  {"blk.3.ffn_mid", 64},
                                          {"ple_mid", 16},       {NULL, 0}};
static const struct input moe_inputs[] = {
    {"blk.0.attn_in", 32},      {"blk.0.ffn_in", 32},
    {"blk.0.ffn_mid", 32},      {"blk.1.attn_in", 32},
    {"blk.1.exps_in", 32},      {"blk.0.exps_mid", 4 * 32},
    {"blk.1.exps_mid", 4 * 32}, {NULL, 0}};
static const struct input gemma3_inputs[] = {
    {"blk.0.attn_in", 32}, {"blk.0.attn_out", 32}, {"blk.1.attn_out", 32},
    {"blk.1.ffn_in", 32},  {"blk.1.ffn_mid", 32},  {NULL, 0}};

/* ---- keys ---- */

static void set_key(struct gguf_meta *meta, const char *input, const int8_t *k, size_t n)
{
    char key[96];
    struct error err = {0};

    snprintf(key, sizeof(key), "carat.equalize.%s", input);
    cr_assert_eq(gguf_set_array(meta, key, GGUF_I8, k, n, &err), OK, "%s", err.text);
}

/* Keys with factors of up to 2^(most/16) either way. */
static struct gguf_meta *random_keys(const struct input *inputs, int most, uint64_t seed)
{
    struct gguf_meta *meta = gguf_meta_new();

    cr_assert_not_null(meta);
    for (; inputs->name; inputs++) {
        int8_t *k = calloc(inputs->n, sizeof(*k));

        for (size_t j = 0; most && j < inputs->n; j++)
            k[j] =
                (int8_t)((int)(fixture_random(&seed) % (2 * (unsigned)most + 1)) - most);
        set_key(meta, inputs->name, k, inputs->n);
        free(k);
    }
    return meta;
}

/* ---- models ---- */

static struct model *open_source(const char *path, const struct gguf_meta *keys)
{
    const struct source_options options = {.equalize_from = keys};
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(convert_open_source(path, &options, &model, &err), OK, "%s", err.text);
    return model;
}

enum { TOKENS = 24, VOCAB = 4096 };

static void keep(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    memcpy((float *)arg + (size_t)position * VOCAB, logits,
           n_rows * VOCAB * sizeof(float));
}

/* Logits of a text of scattered ids, in F32. */
static float *run(const struct model *model)
{
    const struct runtime_options options = {.arithmetic = ARITH_F32};
    float *logits = calloc((size_t)TOKENS * VOCAB, sizeof(*logits));
    const struct logits_sink sink = {logits, 0, keep};
    struct sequence *seq = NULL;
    struct runtime *rt = NULL;
    struct error err = {0};
    int32_t ids[TOKENS];

    for (int i = 0; i < TOKENS; i++)
        ids[i] = 2 + i * 167 % 4000;
    cr_assert_eq(runtime_open(model, &options, &rt, &err), OK, "%s", err.text);
    cr_assert_eq(sequence_new(rt, TOKENS, &seq, &err), OK, "%s", err.text);
    cr_assert_eq(runtime_eval(rt, seq, ids, TOKENS, &sink, &err), OK, "%s", err.text);
    sequence_free(seq);
    runtime_close(rt);
    return logits;
}

/* Largest difference over largest magnitude. */
static double distance(const float *a, const float *b)
{
    double most = 0, size = 0;

    for (size_t i = 0; i < (size_t)TOKENS * VOCAB; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)a[i]));
    }
    cr_assert_gt(size, 0);
    return most / size;
}

static float *read_tensor(const struct model *model, const char *name)
{
    const int64_t at = model_find(model, name);
    struct error err = {0};
    float *x = NULL;

    cr_assert_geq(at, 0, "%s", name);
    cr_assert_eq(model_read_f32(model, (size_t)at, &x, &err), OK, "%s", err.text);
    return x;
}

/* ---- the function ---- */

static void expect_same_function(enum tiny_kind kind, const struct input *inputs)
{
    struct tiny tiny;

    tiny_begin(&tiny, kind);
    tiny_write(&tiny);
    struct gguf_meta *keys = random_keys(inputs, 32, 7);
    struct model *plain = open_source(tiny.folder, NULL);
    struct model *rewritten = open_source(tiny.folder, keys);
    float *a = run(plain), *b = run(rewritten);

    /* factors of up to 4 in other orders of rounding: a few units of 2^-24 a product */
    cr_expect_lt(distance(a, b), 1e-5);
    free(a);
    free(b);
    a = read_tensor(plain, "blk.0.attn_q.weight");
    b = read_tensor(rewritten, "blk.0.attn_q.weight");
    cr_expect_neq(memcmp(a, b, 32 * 32 * sizeof(*a)), 0, "nothing was rewritten");
    free(a);
    free(b);
    model_close(plain);
    model_close(rewritten);
    gguf_meta_free(keys);
    tiny_end(&tiny);
}

Test(equalize, any_factors_leave_e2b_the_function_it_is)
{
    expect_same_function(TINY_E2B, e2b_inputs);
}

Test(equalize, any_factors_leave_experts_the_function_they_are)
{
    expect_same_function(TINY_MOE, moe_inputs);
}

Test(equalize, any_factors_leave_gemma_3_the_function_it_is)
{
    expect_same_function(TINY_GEMMA3, gemma3_inputs);
}

/* A rewrite that went to one side only would pass for exact if it did nothing to the logits. */
Test(equalize, one_side_alone_changes_the_function)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
    struct model *model = open_source(tiny.folder, NULL);
    float *before = run(model);
    model_close(model);
    for (const char *const *name =
             (const char *const[]){"layers.0.input_layernorm.weight",
                                   "layers.0.pre_feedforward_layernorm.weight",
                                   "per_layer_projection_norm.weight", NULL};
         *name; name++) {
        struct tiny_tensor *t = tiny_tensor(&tiny, *name);

        for (uint64_t i = 0; i < tiny_elements(t); i += 2)
            t->bf16[i] = (uint16_t)(t->bf16[i] + (1 << 7)); /* twice as large */
        tiny_write(&tiny);
        model = open_source(tiny.folder, NULL);
        float *after = run(model);
        cr_expect_gt(distance(before, after), 2e-5, "%s", *name);
        free(after);
        model_close(model);
        for (uint64_t i = 0; i < tiny_elements(t); i += 2)
            t->bf16[i] = (uint16_t)(t->bf16[i] - (1 << 7));
    }
    free(before);
    tiny_end(&tiny);
}

/* ---- conversions ---- */

struct place {
    char folder[FIXTURE_PATH], out[FIXTURE_PATH], other[FIXTURE_PATH],
        stats[FIXTURE_PATH];
};

static struct place place_begin(void)
{
    struct place place;

    fixture_folder(place.folder);
    fixture_join(place.out, place.folder, "out.gguf");
    fixture_join(place.other, place.folder, "other.gguf");
    fixture_join(place.stats, place.folder, "stats.gguf");
    return place;
}

static void convert(const char *source, const char *out, struct convert_options options,
                    char sha256[65])
{
    struct convert_result result;
    struct error err = {0};

    options.force = options.ple_inline = true;
    cr_assert_eq(convert_run(source, out, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    if (sha256)
        memcpy(sha256, result.files[0].sha256, 65);
    convert_result_free(&result);
}

static struct model *open_file(const char *path)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(model_open_gguf(path, &model, &err), OK, "%s", err.text);
    return model;
}

static size_t count_keys(const struct model *model)
{
    size_t n = 0;

    for (size_t i = 0; i < gguf_meta_count(model->meta); i++)
        n += strncmp(gguf_meta_at(model->meta, i)->key, "carat.equalize.", 15) == 0;
    return n;
}

Test(equalize, factors_of_one_give_the_same_bytes)
{
    struct place place = place_begin();
    struct gguf_meta *keys = random_keys(
        (const struct input[]){{"blk.0.attn_in", 256}, {"blk.7.ffn_mid", 512}, {NULL, 0}},
        0, 1);
    char with[65], without[65];

    convert(trained, place.out, (struct convert_options){.type = "Q4_0"}, without);
    convert(trained, place.out,
            (struct convert_options){.type = "Q4_0", .source = {.equalize_from = keys}},
            with);
    cr_expect_str_eq(with, without);
    gguf_meta_free(keys);
    fixture_remove(place.folder);
}

Test(equalize, plain_rounding_equalizes_only_when_told_to)
{
    struct place place = place_begin();
    char usual[65], off[65];

    convert(trained, place.out, (struct convert_options){.type = "Q4_0"}, usual);
    convert(trained, place.out,
            (struct convert_options){.type = "Q4_0", .equalize = EQUALIZE_OFF}, off);
    cr_expect_str_eq(usual, off);
    convert(trained, place.out,
            (struct convert_options){.type = "Q4_0", .equalize = EQUALIZE_ON}, NULL);
    struct model *model = open_file(place.out);
    cr_expect_gt(count_keys(model), 0);
    model_close(model);
    fixture_remove(place.folder);
}

/* Weights made larger and smaller by powers of two, and the statistics with them: the same matrices
 * come out, bit for bit. As many doublings as halvings, so that the mean of log2 s stays. */
static void write_stats(const char *path, const struct model *model,
                        const struct gguf_meta *keys)
{
    static const char *const readers[][2] = {
        {"attn_q.weight", "attn_in"}, {"attn_k.weight", "attn_in"},
        {"attn_v.weight", "attn_in"}, {"ffn_gate.weight", "ffn_in"},
        {"ffn_up.weight", "ffn_in"},  {"ffn_down.weight", "ffn_mid"}};
    struct stats stats = {.n_chunks = 1, .chunk_size = 512};
    struct error err = {0};

    stats.entries = arena_array(&stats.arena, model->n_tensors, sizeof(*stats.entries));
    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct gguf_tensor *t = &model->tensors[i];
        const char *rest = strncmp(t->name, "blk.", 4) == 0 ? t->name + 6 : "";
        const struct gguf_value *k = NULL;

        for (size_t r = 0; r < sizeof(readers) / sizeof(readers[0]); r++) {
            char key[96];

            if (strcmp(rest, readers[r][0]) != 0)
                continue;
            snprintf(key, sizeof(key), "carat.equalize.blk.%c.%s", t->name[4],
                     readers[r][1]);
            struct stats_entry *e = &stats.entries[stats.n_entries++];
            uint64_t seed = hash_bytes(key, strlen(key));
            *e = (struct stats_entry){.name = t->name, .n_cols = t->ne[0], .n_mats = 1};
            e->sum2 = arena_array(&stats.arena, (size_t)t->ne[0], sizeof(float));
            e->counts = arena_array(&stats.arena, 1, sizeof(float));
            e->counts[0] = 512;
            k = keys ? gguf_meta_find(keys, key) : NULL;
            for (uint64_t j = 0; j < t->ne[0]; j++) {
                const int by = k ? (int)gguf_value_int(k, j) / 16 : 0;
                e->sum2[j] = ldexpf(1.0F + fixture_uniform(&seed), 2 * by);
            }
        }
    }
    for (size_t i = 1; i < stats.n_entries; i++) /* by name */
        for (size_t j = i;
             j > 0 && strcmp(stats.entries[j - 1].name, stats.entries[j].name) > 0; j--) {
            const struct stats_entry e = stats.entries[j];
            stats.entries[j] = stats.entries[j - 1];
            stats.entries[j - 1] = e;
        }
    cr_assert_eq(stats_write(&stats, path, false, true, &err), OK, "%s", err.text);
    arena_free(&stats.arena);
}

static void set_balanced(struct gguf_meta *keys, const char *input, size_t n)
{
    int8_t *k = calloc(n, sizeof(*k));
    uint64_t seed = hash_bytes(input, strlen(input));

    for (size_t j = 0; j + 1 < n; j += 2) {
        k[j] = (int8_t)(16 * ((int)(fixture_random(&seed) % 7) - 3));
        k[j + 1] = (int8_t)-k[j];
    }
    set_key(keys, input, k, n);
    free(k);
}

Test(equalize, how_a_checkpoint_was_rewritten_before_does_not_matter)
{
    struct place place = place_begin();
    struct gguf_meta *keys = gguf_meta_new();
    char name[32];

    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "blk.%d.attn_in", i);
        set_balanced(keys, name, 256);
        snprintf(name, sizeof(name), "blk.%d.ffn_in", i);
        set_balanced(keys, name, 256);
        snprintf(name, sizeof(name), "blk.%d.ffn_mid", i);
        set_balanced(keys, name, i < 4 ? 256 : 512);
    }
    struct convert_options options = {
        .type = "F32", .equalize = EQUALIZE_ON, .imatrix = place.stats};
    struct model *source = open_source(trained, NULL);
    write_stats(place.stats, source, NULL);
    convert(trained, place.out, options, NULL);
    write_stats(place.stats, source, keys);
    options.source.equalize_from = keys;
    convert(trained, place.other, options, NULL);

    struct model *a = open_file(place.out), *b = open_file(place.other);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct gguf_tensor *t = &a->tensors[i];

        if (t->ne[1] == 1) /* norms as well, but for the factor that went into them */
            continue;
        float *x = read_tensor(a, t->name), *y = read_tensor(b, t->name);
        cr_expect_eq(memcmp(x, y, (size_t)t->n_bytes), 0, "%s", t->name);
        free(x);
        free(y);
    }
    model_close(a);
    model_close(b);
    model_close(source);
    gguf_meta_free(keys);
    fixture_remove(place.folder);
}

static void expect_finite_file(const char *path)
{
    struct model *model = open_file(path);
    size_t at;

    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct gguf_tensor *t = &model->tensors[i];
        float *x = read_tensor(model, t->name);

        cr_expect(quantize_all_finite(x, (size_t)(t->ne[0] * gguf_tensor_rows(t)), &at),
                  "%s", t->name);
        free(x);
    }
    model_close(model);
}

/* Channels that nothing drives, norms and columns of zeros, and a matrix of zeros. */
Test(equalize, what_is_zero_gives_no_infinite_factor)
{
    struct place place = place_begin();
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    struct tiny_tensor *norm = tiny_tensor(&tiny, "layers.0.input_layernorm.weight");
    struct tiny_tensor *q = tiny_tensor(&tiny, "layers.0.self_attn.q_proj.weight");
    struct tiny_tensor *down = tiny_tensor(&tiny, "layers.1.mlp.down_proj.weight");
    memset(norm->bf16, 0, 8 * sizeof(uint16_t));
    for (uint64_t r = 0; r < q->dims[0]; r++)
        memset(q->bf16 + r * q->dims[1] + 4, 0, 8 * sizeof(uint16_t));
    memset(down->bf16, 0, (size_t)tiny_elements(down) * sizeof(uint16_t));
    tiny_write(&tiny);

    struct model *source = open_source(tiny.folder, NULL);
    write_stats(place.stats, source, NULL);
    model_close(source);
    convert(tiny.folder, place.out,
            (struct convert_options){
                .type = "Q8_0", .equalize = EQUALIZE_ON, .imatrix = place.stats},
            NULL);
    expect_finite_file(place.out);
    convert(tiny.folder, place.out,
            (struct convert_options){.type = "Q4_0", .equalize = EQUALIZE_ON}, NULL);
    expect_finite_file(place.out);
    tiny_end(&tiny);
    fixture_remove(place.folder);
}

Test(equalize, sixteen_bit_outputs_and_grids_are_left_alone)
{
    struct place place = place_begin();
    struct tiny tiny;

    convert(trained, place.out,
            (struct convert_options){.type = "BF16", .equalize = EQUALIZE_ON}, NULL);
    struct model *model = open_file(place.out);
    cr_expect_eq(count_keys(model), 0);
    model_close(model);

    tiny_begin(&tiny, TINY_E2B); /* one matrix on a grid bars the input that it reads */
    struct tiny_tensor *k = tiny_tensor(&tiny, "layers.0.self_attn.k_proj.weight");
    for (uint64_t i = 0; i < tiny_elements(k); i++) {
        const float x = (float)((int)(i * 7 % 16) - 8) / 64.0F; /* -8 in each block */
        uint32_t bits;

        memcpy(&bits, &x, sizeof(bits));
        k->bf16[i] = (uint16_t)(bits >> 16);
    }
    tiny_write(&tiny);
    convert(tiny.folder, place.out,
            (struct convert_options){.type = "Q4_0", .equalize = EQUALIZE_ON}, NULL);
    model = open_file(place.out);
    cr_expect_null(gguf_meta_find(model->meta, "carat.equalize.blk.0.attn_in"));
    cr_expect_not_null(gguf_meta_find(model->meta, "carat.equalize.blk.1.attn_in"));
    model_close(model);
    tiny_end(&tiny);
    fixture_remove(place.folder);
}

/* ---- the gate ---- */

/* Second moments of inputs whose channels have the sizes of scale[j]. */
static void write_moments(const char *path, const struct input *inputs,
                          const double *scale)
{
    enum { MOST = 16, ROWS = 128 };
    struct moments_item items[MOST];
    struct moments_writer *writer = NULL;
    struct error err = {0};
    size_t n = 0;

    for (; inputs[n].name; n++) {
        items[n] = (struct moments_item){.n = inputs[n].n};
        snprintf(items[n].name, sizeof(items[n].name), "%s", inputs[n].name);
    }
    cr_assert_eq(moments_create(path, &(struct moments_header){.chunk_size = 512}, items,
                                n, &(struct output_options){.force = true}, &writer,
                                &err),
                 OK, "%s", err.text);
    for (size_t i = 0; i < n; i++) {
        struct gram grams[2];
        float *x = malloc(ROWS * inputs[i].n * sizeof(*x));

        for (uint64_t half = 0; half < 2; half++) {
            uint64_t seed = 2 * i + half;

            cr_assert_eq(gram_new(inputs[i].n, &grams[half], &err), OK, "%s", err.text);
            for (size_t j = 0; j < ROWS * inputs[i].n; j++)
                x[j] = (fixture_uniform(&seed) + fixture_uniform(&seed) - 1.0F) *
                       (float)scale[j % inputs[i].n];
            gram_add(&grams[half], x, ROWS);
        }
        cr_assert_eq(moments_put(writer, i, &grams[0], &grams[1], &err), OK, "%s",
                     err.text);
        gram_free(&grams[0]);
        gram_free(&grams[1]);
        free(x);
    }
    cr_assert_eq(moments_finish(writer, &err), OK, "%s", err.text);
}

/* Evenly sized weights in every matrix of layers 0 and 1; columns of layer 0's attention scaled. */
static void flatten(struct tiny *tiny, const double *scale)
{
    for (size_t i = 0; i < tiny->n; i++) {
        struct tiny_tensor *t = &tiny->tensors[i];
        uint64_t seed = hash_bytes(t->name, strlen(t->name));
        const bool is_attention = strncmp(t->name, "layers.0.self_attn.", 19) == 0 &&
                                  t->dims[1] == 32 && !strstr(t->name, "o_proj");

        for (uint64_t j = 0; t->n_dims == 2 && j < tiny_elements(t); j++) {
            const float flat = fixture_uniform(&seed) + fixture_uniform(&seed) +
                               fixture_uniform(&seed) - 1.5F;
            const float x = is_attention ? flat / (float)scale[j % 32] : flat;
            uint32_t bits;

            memcpy(&bits, &x, sizeof(bits));
            t->bf16[j] = (uint16_t)(bits >> 16);
        }
    }
}

Test(equalize, the_gate_takes_what_lowers_held_out_loss_and_leaves_what_is_even)
{
    static const struct input inputs[] = {
        {"blk.0.attn_in", 32}, {"blk.1.attn_in", 32}, {NULL, 0}};
    struct place place = place_begin();
    double scale[32], even[32];
    struct tiny tiny;

    for (int j = 0; j < 32; j++) {
        scale[j] = j % 8 == 0 ? 1.0 / 32 : 1; /* small inputs, large weights */
        even[j] = 1;
    }
    for (int outliers = 0; outliers < 2; outliers++) {
        tiny_begin(&tiny, TINY_E2B);
        flatten(&tiny, outliers ? scale : even);
        tiny_write(&tiny);
        write_moments(place.stats, inputs, outliers ? scale : even);
        convert(tiny.folder, place.out,
                (struct convert_options){
                    .type = "Q4_0", .method = METHOD_SEARCH, .moments = place.stats},
                NULL);
        struct model *model = open_file(place.out);
        const struct gguf_value *k =
            gguf_meta_find(model->meta, "carat.equalize.blk.0.attn_in");
        if (!outliers) {
            cr_expect_null(k, "an even input was rewritten");
        } else {
            cr_assert_not_null(k);
            cr_expect_gt(gguf_value_int(k, 0), 40); /* 2^5 but for the mean: about 60 */
            cr_expect_leq(gguf_value_int(k, 1), 0);
        }
        model_close(model);
        tiny_end(&tiny);
    }
    fixture_remove(place.folder);
}

/* ---- the same bytes ---- */

static void convert_gated(const struct tiny *tiny, const struct place *place,
                          char sha256[65])
{
    convert(tiny->folder, place->out,
            (struct convert_options){
                .type = "Q4_0", .method = METHOD_COMPENSATE, .moments = place->stats},
            sha256);
}

/* What the machine can do is asked once a process, and threads do not survive a fork: the child comes
 * first. */
static void convert_scalar(const struct tiny *tiny, const struct place *place,
                           char sha256[65])
{
    int pipes[2], how = 1;

    cr_assert_eq(pipe(pipes), 0);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        char own[65];

        setenv("CARAT_CPU", "scalar", 1);
        parallel_set_threads(1);
        convert_gated(tiny, place, own);
        _exit(write(pipes[1], own, sizeof(own)) == sizeof(own) ? 0 : 1);
    }
    close(pipes[1]);
    cr_assert_eq(waitpid(child, &how, 0), child);
    cr_assert_eq(how, 0);
    cr_assert_eq(read(pipes[0], sha256, 65), 65);
    close(pipes[0]);
}

Test(equalize, threads_and_instruction_sets_give_the_same_bytes)
{
    static const struct input inputs[] = {
        {"blk.0.attn_in", 32}, {"blk.1.ffn_in", 32}, {"blk.2.ple_mid", 16}, {NULL, 0}};
    const double sizes[32] = {1, 2, 3, 1, 1, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                              1, 1, 1, 1, 1, 1, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct place place = place_begin();
    char one[65], two[65], scalar[65];
    struct tiny tiny;

    parallel_set_threads(1);
    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
    write_moments(place.stats, inputs, sizes);
    convert_scalar(&tiny, &place, scalar);
    convert_gated(&tiny, &place, one);
    parallel_set_threads(2);
    convert_gated(&tiny, &place, two);
    cr_expect_str_eq(one, two);
    cr_expect_str_eq(one, scalar);
    struct model *model = open_file(place.out);
    cr_expect_gt(count_keys(model), 0, "nothing was equalized");
    model_close(model);
    tiny_end(&tiny);
    fixture_remove(place.folder);
}

/* ---- what the file says of itself ---- */

static bool holds(const struct model *file, const struct model *source)
{
    struct certificate certificate;
    struct error err = {0};

    cr_assert_eq(verify_certify(file, source, true, NULL, &certificate, &err), OK, "%s",
                 err.text);
    return certificate_holds(&certificate);
}

Test(equalize, an_equalized_file_is_certified_against_its_source_rewritten)
{
    struct place place = place_begin();

    convert(trained, place.out,
            (struct convert_options){.type = "Q4_K_M", .equalize = EQUALIZE_ON}, NULL);
    struct model *file = open_file(place.out);
    struct model *plain = open_source(trained, NULL);
    struct model *rewritten = open_source(trained, file->meta);

    cr_expect(holds(file, rewritten));
    cr_expect_not(holds(file, plain));
    model_close(rewritten);

    /* other factors are another rewrite: norms and matrices give it away */
    struct gguf_meta *keys = gguf_meta_copy(file->meta);
    const struct gguf_value *value = gguf_meta_find(keys, "carat.equalize.blk.0.ffn_in");
    int8_t k[256];
    cr_assert_not_null(value);
    for (uint64_t i = 0; i < 256; i++)
        k[i] = (int8_t)gguf_value_int(value, i);
    k[200] = (int8_t)(k[200] + 1);
    set_key(keys, "blk.0.ffn_in", k, 256);
    rewritten = open_source(trained, keys);
    cr_expect_not(holds(file, rewritten));

    model_close(file);
    model_close(plain);
    model_close(rewritten);
    gguf_meta_free(keys);
    fixture_remove(place.folder);
}

Test(equalize, a_file_made_from_an_equalized_one_does_not_claim_its_factors)
{
    struct place place = place_begin();

    convert(trained, place.out,
            (struct convert_options){.type = "F32", .equalize = EQUALIZE_ON}, NULL);
    convert(place.out, place.other, (struct convert_options){.type = "Q4_0"}, NULL);
    struct model *file = open_file(place.other), *source = open_file(place.out);

    cr_expect_gt(count_keys(source), 0);
    cr_expect_eq(count_keys(file), 0);
    cr_expect(holds(file, source));
    model_close(file);
    model_close(source);
    fixture_remove(place.folder);
}

static void expect_refused(struct gguf_meta *keys, const char *says)
{
    const struct source_options options = {.equalize_from = keys};
    struct model *model = NULL;
    struct error err = {0};

    cr_expect_eq(convert_open_source(trained, &options, &model, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, says), "%s", err.text);
    gguf_meta_free(keys);
}

Test(equalize, keys_that_do_not_fit_are_refused_in_a_sentence)
{
    const int8_t steps[257] = {[3] = 97};
    struct error err = {0};
    struct gguf_meta *keys = gguf_meta_new();

    set_key(keys, "blk.0.attn_in", steps, 257);
    expect_refused(keys, "not the array of 256 i8");
    keys = gguf_meta_new();
    set_key(keys, "blk.0.attn_in", steps, 256);
    expect_refused(keys, "factor 3 is 2^(97/16)");
    keys = gguf_meta_new();
    set_key(keys, "blk.8.attn_in", steps, 256);
    expect_refused(keys, "no such input");
    keys = gguf_meta_new(); /* values have a norm here: v and o do not trade */
    set_key(keys, "blk.0.attn_out", steps, 64);
    expect_refused(keys, "no such input");
    keys = gguf_meta_new();
    cr_assert_eq(gguf_set_u32(keys, "carat.equalize.ple_mid", 3, &err), OK);
    expect_refused(keys, "not the array of 32 i8");
}
