/*
 * test_equalize_choice.c - what factors are chosen by, and which inputs are left alone
 */
#include "formats/moments/moments.h"
#include "formats/stats/stats.h"
#include "tests/convert/equalizing.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

Test(equalize_choice, plain_rounding_equalizes_only_when_told_to)
{
    struct place place = place_begin();
    char usual[65], off[65];

    convert(TRAINED, place.out, (struct convert_options){.type = "Q4_0"}, usual);
    convert(TRAINED, place.out,
            (struct convert_options){.type = "Q4_0", .equalize = EQUALIZE_OFF}, off);
    cr_expect_str_eq(usual, off);
    convert(TRAINED, place.out,
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

Test(equalize_choice, how_a_checkpoint_was_rewritten_before_does_not_matter)
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
    struct model *source = open_source(TRAINED, NULL);
    write_stats(place.stats, source, NULL);
    convert(TRAINED, place.out, options, NULL);
    write_stats(place.stats, source, keys);
    options.source.equalize_from = keys;
    convert(TRAINED, place.other, options, NULL);

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
Test(equalize_choice, what_is_zero_gives_no_infinite_factor)
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

Test(equalize_choice, sixteen_bit_outputs_and_grids_are_left_alone)
{
    struct place place = place_begin();
    struct tiny tiny;

    convert(TRAINED, place.out,
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

Test(equalize_choice, the_gate_takes_what_lowers_held_out_loss_and_leaves_what_is_even)
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

Test(equalize_choice, threads_and_instruction_sets_give_the_same_bytes)
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
