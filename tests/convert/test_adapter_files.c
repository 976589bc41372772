/*
 * test_adapter_files.c - an adapter's files, names and patterns: what is read of them, and what is refused
 */
#include "tests/convert/adapters.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- files and names ---- */

#define Q0 "base_model.model.model.language_model.layers.0.self_attn.q_proj"

static size_t q_elements(struct tiny *tiny, size_t *out, size_t *in)
{
    const struct tiny_tensor *t = tiny_tensor(tiny, "layers.0.self_attn.q_proj.weight");

    *out = (size_t)t->dims[0];
    *in = (size_t)t->dims[1];
    return *out * *in;
}

/* A base, and an adapter with a pair of factors for its layer 0's q_proj. */
static void begin_with_pair(struct tiny *tiny, struct adapter_files *ad)
{
    size_t out, in;

    adapters_begin(tiny, ad, TINY_E2B);
    q_elements(tiny, &out, &in);
    adapters_add(ad, Q0 ".lora_A.weight", RANK, in, 0);
    adapters_add(ad, Q0 ".lora_B.weight", out, RANK, 0);
}

Test(adapter_files, its_own_name_in_a_path_and_modules_of_the_towers_change_nothing)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    adapters_begin(&tiny, &ad, TINY_E2B);
    const size_t n = q_elements(&tiny, &out, &in);
#define TOWER "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj"
    adapters_add(&ad, TOWER ".linear.lora_A.weight", RANK, 7, 0);
    adapters_add(&ad, TOWER ".linear.lora_B.weight", 9, RANK, 0);
    const float *a = adapters_add(&ad, Q0 ".lora_A.french.weight", RANK, in, 0);
    const float *b = adapters_add(&ad, Q0 ".lora_B.french.weight", out, RANK, 0);
    adapters_write(&ad, PEFT);
    double *want = adapters_stored(&tiny, "layers.0.self_attn.q_proj.weight");

    adapters_product(want, b, a, out, in);
    adapters_finish(&tiny, &ad, "blk.0.attn_q.weight", want, n);
}

Test(adapter_files, the_file_of_its_weights_names_it_too)
{
    struct tiny tiny;
    struct adapter_files ad;
    struct model *model = NULL;
    struct error err = {0};
    char path[FIXTURE_PATH];

    begin_with_pair(&tiny, &ad);
    adapters_write(&ad, PEFT);
    fixture_join(path, ad.folder, "adapter_model.safetensors");
    cr_expect_eq(adapters_open(&tiny, path, &model, &err), OK, "%s", err.text);
    model_close(model);
    fixture_join(path, ad.folder, "adapter.gguf");
    fixture_write(path, "GGUF", 4);
    adapters_refused(&tiny, path, "a GGUF adapter is for llama.cpp to apply");
    adapters_end(&tiny, &ad);
}

Test(adapter_files, a_gguf_takes_none)
{
    const struct convert_lora lora = {.path = "folder", .scale = 1};
    const struct source_options options = {.loras = &lora, .n_loras = 1};
    struct model *model = NULL;
    struct error err = {0};

    cr_expect_eq(convert_open_model("base.gguf", &options, &model, &err),
                 ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.text, "not into a GGUF (--lora folder)"), "%s",
                       err.text);
}

Test(adapter_files, numbers_that_are_text_and_weights_in_two_forms_are_refused)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    begin_with_pair(&tiny, &ad);
    adapters_write(&ad, "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": \"6\"}");
    adapters_refused(&tiny, ad.folder, "lora_alpha: a number expected");
    adapters_write(&ad, "{\"peft_type\": \"LORA\", \"r\": true, \"lora_alpha\": 6}");
    adapters_refused(&tiny, ad.folder, "r: a number expected");
    q_elements(&tiny, &out, &in);
    adapters_add(&ad, Q0 ".weight", out, in, 0);
    adapters_write(&ad, PEFT);
    adapters_refused(&tiny, ad.folder, "a whole weight beside factors");
    adapters_end(&tiny, &ad);
}

/* Whether the expression gives layer 0's q_proj the alpha it needs. */
static void expect_pattern(struct tiny *tiny, struct adapter_files *ad,
                           const double *want, size_t n, const char *expression)
{
    char config[512];

    snprintf(config, sizeof(config),
             "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 1, "
             "\"alpha_pattern\": {\"%s\": 6}}",
             expression);
    adapters_write(ad, config);
    struct model *model = adapters_merged(tiny, ad);

    adapters_expect(model, "blk.0.attn_q.weight", want, n);
    model_close(model);
}

Test(adapter_files, patterns_mean_what_they_mean_in_python)
{
    static const char *const expressions[] = {
        "layers\\\\.[\\\\d]+\\\\.self_attn\\\\.q_proj", "[\\\\w.]+\\\\.q_proj",
        "layers\\\\.[^\\\\D1-9]\\\\.[\\\\w\\\\-]+[.]q\\\\_proj",
        "layers\\\\.(?:0|1)\\\\.self_attn\\\\.[qk]\\\\wproj",
        "layers.\\\\d.[]^\\\\[a-z_]*.q[\\\\]_-]proj"};
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    adapters_begin(&tiny, &ad, TINY_E2B);
    const size_t n = q_elements(&tiny, &out, &in);
    const float *a = adapters_add(&ad, Q0 ".lora_A.weight", RANK, in, 0);
    const float *b = adapters_add(&ad, Q0 ".lora_B.weight", out, RANK, 0);
    double *want = adapters_stored(&tiny, "layers.0.self_attn.q_proj.weight");

    adapters_product(want, b, a, out, in);
    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++)
        expect_pattern(&tiny, &ad, want, n, expressions[i]);
    free(want);
    adapters_end(&tiny, &ad);
}

Test(adapter_files, patterns_that_posix_cannot_say_are_refused)
{
    static const char *const expressions[] = {
        "(?!vision).*q_proj", "q_proj\\\\Z",  "[\\\\n]q_proj", "[q_proj",
        "[z-a]_proj",         "(q)\\\\1proj", "q_?+proj"};
    struct tiny tiny;
    struct adapter_files ad;
    char config[256];

    begin_with_pair(&tiny, &ad);
    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++) {
        snprintf(config, sizeof(config),
                 "{\"peft_type\": \"LORA\", \"r\": 3, \"alpha_pattern\": {\"%s\": 6}}",
                 expressions[i]);
        adapters_write(&ad, config);
        adapters_refused(&tiny, ad.folder, "is not an expression known here");
    }
    adapters_end(&tiny, &ad);
}

/* The sentences that were said, one after another. */
static char said[4096];

static void keep(void *arg, const char *sentence)
{
    (void)arg;
    strncat(said, sentence, sizeof(said) - strlen(said) - 1);
}

static void said_of(const struct tiny *tiny, const struct adapter_files *ad)
{
    said[0] = '\0';
    log_set_sink(keep, NULL);
    model_close(adapters_merged(tiny, ad));
    log_set_sink(NULL, NULL);
}

/* The base's tokenizer.json with one word everywhere in the place of another of its length. */
static void write_tokenizer(const struct adapter_files *ad, const char *from,
                            const char *to)
{
    char path[FIXTURE_PATH], *text, *at;
    struct error err = {0};
    size_t n;

    cr_assert_eq(
        file_read_all(CARAT_DATA "/golden/e2b/tokenizer.json", 1 << 24, &text, &n, &err),
        OK, "%s", err.text);
    cr_assert(strstr(text, from) && strlen(from) == strlen(to));
    while ((at = strstr(text, from)) != NULL)
        memcpy(at, to, strlen(to));
    fixture_join(path, ad->folder, "tokenizer.json");
    fixture_write(path, text, n);
    free(text);
}

static void write_template(const char *folder, const char *text)
{
    char path[FIXTURE_PATH];

    fixture_join(path, folder, "chat_template.jinja");
    fixture_write(path, text, strlen(text));
}

Test(adapter_files, another_template_or_tokenizer_beside_it_is_said)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin_with_pair(&tiny, &ad);
    adapters_write(&ad, PEFT);
    write_template(tiny.folder, "{{ bos_token }}");
    write_template(ad.folder, "{{ bos_token }}");
    write_tokenizer(&ad, "\"version\":\"1.0\"", "\"version\":\"1.1\"");
    said_of(&tiny, &ad);
    cr_expect_null(strstr(said, "chat_template.jinja"), "%s", said);
    cr_expect_null(strstr(said, "tokenizer.json"), "%s", said);

    write_template(ad.folder, "{{ eos_token }}");
    write_tokenizer(&ad, "<|think|>", "<|thunk|>");
    said_of(&tiny, &ad);
    cr_expect_not_null(strstr(said, "chat_template.jinja differs from the base's"), "%s",
                       said);
    cr_expect_not_null(strstr(said, "tokenizer.json has other tokens than"), "%s", said);
    adapters_end(&tiny, &ad);
}

Test(adapter_files, two_whole_kronecker_factors_take_the_rank_of_the_configuration)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    adapters_begin(&tiny, &ad, TINY_E2B);
    const size_t n = q_elements(&tiny, &out, &in);
    const float *w1 = adapters_add(&ad, Q0 ".lokr_w1", 2, 4, 0);
    const float *w2 = adapters_add(&ad, Q0 ".lokr_w2", out / 2, in / 4, 0);
    adapters_write(&ad, "{\"peft_type\": \"LOKR\", \"r\": 8, \"alpha\": 8, "
                        "\"rank_pattern\": {\"q_proj\": 4}}"); /* alpha / r is 2 */
    double *want = adapters_stored(&tiny, "layers.0.self_attn.q_proj.weight");

    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            want[o * in + i] += SCALE * (double)w1[o / (out / 2) * 4 + i / (in / 4)] *
                                (double)w2[o % (out / 2) * (in / 4) + i % (in / 4)];
    adapters_finish(&tiny, &ad, "blk.0.attn_q.weight", want, n);
}
