/*
 * test_certify.c - a file is certified against its own source and against no other
 */
#include "convert/convert.h"
#include "tests/fixture.h"
#include "verify/certify.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define E2B CARAT_DATA "/golden/e2b"
#define E4B CARAT_DATA "/golden/e4b"

static char folder[FIXTURE_PATH], path[FIXTURE_PATH];

static void convert(const char *type)
{
    struct convert_options options = {.type = type, .ple_inline = true, .force = true};
    struct convert_result result = {0};
    struct error err = {0};

    cr_assert_eq(convert_run(E2B, path, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    convert_result_free(&result);
}

static void begin(void)
{
    fixture_folder(folder);
    fixture_join(path, folder, "e2b.gguf");
    convert("Q8_0");
}

static void end(void)
{
    fixture_remove(folder);
}

TestSuite(certify, .init = begin, .fini = end);

static struct certificate certify(const char *source_path, bool is_plain)
{
    struct model *file = NULL, *source = NULL;
    struct certificate out;
    struct error err = {0};

    cr_assert_eq(model_open_gguf(path, &file, &err), OK, "%s", err.text);
    cr_assert_eq(
        convert_open_model(source_path, &(struct source_options){0}, &source, &err), OK,
        "%s", err.text);
    cr_assert_eq(verify_certify(file, source, is_plain, NULL, &out, &err), OK, "%s",
                 err.text);
    model_close(file);
    model_close(source);
    return out;
}

static const struct finding *find(const struct certificate *certificate,
                                  const char *check)
{
    for (size_t i = 0; i < certificate->n; i++)
        if (strcmp(certificate->findings[i].check, check) == 0)
            return &certificate->findings[i];
    cr_assert(false, "no finding about %s", check);
    return NULL;
}

/* The file with `row` of a tensor changed: every byte becomes itself & keep ^ flip. Rows above the last
 * mean the byte in the middle. */
static void damage(const char *name, uint64_t row, uint8_t keep, uint8_t flip)
{
    struct gguf *file = NULL;
    struct error err = {0};
    char *bytes = NULL;
    size_t n = 0;

    cr_assert_eq(gguf_open(path, &file, &err), OK);
    const struct gguf_tensor *t = gguf_find(file, name);
    const uint64_t row_bytes = t->n_bytes / gguf_tensor_rows(t);
    const bool is_row = row < gguf_tensor_rows(t);
    const uint64_t first = t->offset + (is_row ? row * row_bytes : t->n_bytes / 2);
    const uint64_t last = first + (is_row ? row_bytes : 1);
    gguf_close(file);
    cr_assert_eq(file_read_all(path, 1 << 26, &bytes, &n, &err), OK);
    for (uint64_t at = first; at < last; at++)
        bytes[at] = (char)(((uint8_t)bytes[at] & keep) ^ flip);
    fixture_write(path, bytes, n);
    free(bytes);
}

Test(certify, a_file_is_the_quantization_of_its_own_source)
{
    struct certificate got = certify(E2B, true);

    cr_expect(certificate_holds(&got));
    cr_expect_not_null(strstr(find(&got, "bytes")->detail, "plain rounding"));
    cr_expect(find(&got, "structure")->holds);
    cr_expect_not_null(strstr(find(&got, "ple rows")->detail, "4096 rows"), "%s",
                       find(&got, "ple rows")->detail);
}

Test(certify, a_file_is_not_the_quantization_of_another_source)
{
    struct certificate got = certify(E4B, false);

    cr_expect_not(certificate_holds(&got));
    cr_expect_not(find(&got, "metadata")->holds);
    cr_expect_not(find(&got, "coverage")->holds);
    cr_expect(find(&got, "tokenizer")->holds);
}

/* One code of one block: too small to leave the type's bound, but not what rounding gives. */
Test(certify, one_changed_byte_is_seen_when_bytes_are_asked_for)
{
    damage("blk.1.ffn_up.weight", UINT64_MAX, 0xff, 4);
    struct certificate got = certify(E2B, true);

    cr_expect_not(certificate_holds(&got));
    cr_expect_not_null(strstr(find(&got, "bytes")->detail, "1 rows"), "%s",
                       find(&got, "bytes")->detail);
    cr_expect_not_null(strstr(find(&got, "bytes")->detail, "blk.1.ffn_up.weight"));
    cr_expect(find(&got, "tensors")->holds, "%s", find(&got, "tensors")->detail);
}

/* A unit that is gone: the error of the whole matrix hardly moves. */
Test(certify, one_row_of_zeros_is_seen)
{
    convert("Q4_0");
    damage("blk.1.ffn_up.weight", 7, 0, 0);
    struct certificate got = certify(E2B, false);

    cr_expect_not(find(&got, "tensors")->holds);
    cr_expect_not_null(
        strstr(find(&got, "tensors")->detail, "blk.1.ffn_up.weight: row 7"), "%s",
        find(&got, "tensors")->detail);
}

/* Loaders go by keys that the source knows nothing of. */
Test(certify, a_key_of_its_own_is_seen)
{
    static const struct {
        const char *pair, *check;
    } cases[] = {
        {"tokenizer.chat_template.tool_use={{ messages }}", "template"},
        {"tokenizer.ggml.pre=llama-bpe", "tokenizer"},
        {"gemma4.rope.scaling.type=linear", "metadata"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gguf *file = NULL;
        struct error err = {0};
        bool in_place;

        cr_assert_eq(gguf_open(path, &file, &err), OK, "%s", err.text);
        struct gguf_meta *meta = gguf_meta_copy(gguf_metadata(file));
        cr_assert_eq(gguf_assign(meta, cases[i].pair, &err), OK, "%s", err.text);
        cr_assert_eq(gguf_patch(path, file, meta, NULL, &in_place, &err), OK, "%s",
                     err.text);
        gguf_meta_free(meta);
        gguf_close(file);
        struct certificate got = certify(E2B, false);
        cr_expect_not(find(&got, cases[i].check)->holds, "%s", cases[i].pair);
    }
}

/* Norms are kept as they are, so any change is too much. */
Test(certify, a_changed_norm_is_never_within_bounds)
{
    damage("blk.1.ffn_norm.weight", UINT64_MAX, 0xff, 0x40);
    struct certificate got = certify(E2B, false);

    cr_expect_not(find(&got, "tensors")->holds);
    cr_expect_not_null(strstr(find(&got, "tensors")->detail, "blk.1.ffn_norm.weight"));
}

/* Types that others write and this program only reads: neither yes nor no. */
Test(certify, a_type_without_a_bound_is_not_judged)
{
    struct gguf_tensor of_file = {.name = "a", .type = TYPE_IQ4_NL, .ne = {32, 1, 1, 1}};
    struct gguf_tensor of_source = {.name = "a", .type = TYPE_F32, .ne = {32, 1, 1, 1}};
    const struct model file = {.tensors = &of_file, .n_tensors = 1};
    const struct model source = {.tensors = &of_source, .n_tensors = 1};
    struct tensor_figures figures;
    struct error err = {0};

    cr_expect_eq(tensor_compare(&file, 0, &source, 0, false, &figures, &err),
                 ERR_UNSUPPORTED);
    cr_expect_str_eq(err.text, "a: how far rounding to IQ4_NL may go is not known");
}

Test(certify, the_probe_finds_a_file_near_its_source)
{
    const struct runtime_options options = {.arithmetic = ARITH_F32};
    struct model *models[2] = {NULL};
    struct runtime *rts[2] = {NULL};
    struct tokenizer *tok = NULL;
    struct certificate got = {0};
    struct error err = {0};

    cr_assert_eq(model_open_gguf(path, &models[0], &err), OK);
    cr_assert_eq(convert_open_model(E2B, &(struct source_options){0}, &models[1], &err),
                 OK);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(runtime_open(models[i], &options, &rts[i], &err), OK, "%s",
                     err.text);
    cr_assert_eq(tokenizer_from_meta(models[0]->meta, &tok, &err), OK);
    cr_assert_eq(verify_probe(rts[0], rts[1], tok, &got, &err), OK, "%s", err.text);
    cr_expect(find(&got, "layers")->holds, "%s", find(&got, "layers")->detail);
    cr_expect(find(&got, "logits")->holds, "%s", find(&got, "logits")->detail);
    tokenizer_free(tok);
    for (int i = 0; i < 2; i++) {
        runtime_close(rts[i]);
        model_close(models[i]);
    }
}
