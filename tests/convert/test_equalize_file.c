/*
 * test_equalize_file.c - what an equalized file says of itself, and who believes it
 */
#include "tests/convert/equalizing.h"
#include "verify/verify.h"

#include <criterion/criterion.h>

static bool holds(const struct model *file, const struct model *source)
{
    struct certificate certificate;
    struct error err = {0};

    cr_assert_eq(verify_certify(file, source, true, NULL, &certificate, &err), OK, "%s",
                 err.text);
    return certificate_holds(&certificate);
}

Test(equalize_file, an_equalized_file_is_certified_against_its_source_rewritten)
{
    struct place place = place_begin();

    convert(TRAINED, place.out,
            (struct convert_options){.type = "Q4_K_M", .equalize = EQUALIZE_ON}, NULL);
    struct model *file = open_file(place.out);
    struct model *plain = open_source(TRAINED, NULL);
    struct model *rewritten = open_source(TRAINED, file->meta);

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
    rewritten = open_source(TRAINED, keys);
    cr_expect_not(holds(file, rewritten));

    model_close(file);
    model_close(plain);
    model_close(rewritten);
    gguf_meta_free(keys);
    fixture_remove(place.folder);
}

Test(equalize_file, a_file_made_from_an_equalized_one_does_not_claim_its_factors)
{
    struct place place = place_begin();

    convert(TRAINED, place.out,
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

    cr_expect_eq(convert_open_source(TRAINED, &options, &model, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, says), "%s", err.text);
    gguf_meta_free(keys);
}

Test(equalize_file, keys_that_do_not_fit_are_refused_in_a_sentence)
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
