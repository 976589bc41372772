/*
 * test_idname.c - names taken apart as gguf-py 0.19 does; the tables are its own answers, printed
 * by tests/reference/idnames.py
 */
#include "convert/gemma/idname.h"

#include <criterion/criterion.h>

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

Test(idname, reads_names_as_gguf_py_does)
{
    static const struct {
        const char *id;
        uint64_t n_params;
        const char *title, *organization, *basename, *finetune, *version, *size_label;
    } cases[] = {
        {"e2b", 1600000U, "E2B", NULL, NULL, NULL, NULL, NULL},
        {"26b-a4b", 3300000U, "26b A4B", NULL, NULL, "26b", NULL, "a4B"},
        {"12b", 945000U, "12b", NULL, NULL, "12b", NULL, NULL},
        {"gemma3-4b", 784000U, "Gemma3 4b", NULL, "gemma3", "4b", NULL, NULL},
        {"gemma-4-E2B-it", 4647449891U, "Gemma 4 E2B It", NULL, NULL, NULL, NULL, NULL},
        {"gemma-4-31B", 30697345340U, "Gemma 4 31B", NULL, "gemma-4", NULL, NULL, "31B"},
        {"gemma-4-26B-A4B-it", 25233141790U, "Gemma 4 26B A4B It", NULL, "gemma-4", "it",
         NULL, "26B-A4B"},
        {"google/gemma-3-270m", 268098176U, "Gemma 3 270m", "google", "gemma-3", NULL,
         NULL, "270M"},
        {"gemma-4-E4B-it-qat-q4_0-unquantized", 7518069034U,
         "Gemma 4 E4B It Qat Q4_0 Unquantized", NULL, "gemma-4-E4B-it-qat", "unquantized",
         NULL, NULL},
        {"my-finetune", 6000000U, "My Finetune", NULL, NULL, NULL, NULL, NULL},
        {"Model-7B-Instruct-v0.2", 7241732096U, "Model 7B Instruct v0.2", NULL, "Model",
         "Instruct", "v0.2", "7B"},
        {"bloom-7b1", 7069016064U, "Bloom 7b1", NULL, "bloom", NULL, NULL, "7.1B"},
        {"Mixtral-8x7B-v0.1", 46702792704U, "Mixtral 8x7B v0.1", NULL, "Mixtral", NULL,
         "v0.1", "8x7B"},
        {"llama-7B-128K", 6738415616U, "Llama 7B 128K", NULL, "llama", "128k", NULL,
         "7B"},
        {"v1.5", 1000U, "v1.5", NULL, NULL, NULL, "v1.5", NULL},
        {"some sentence with spaces", 5U, "Some Sentence With Spaces", NULL, NULL, NULL,
         NULL, NULL},
        {"tiny-e2b", 6100000U, "Tiny E2B", NULL, NULL, NULL, NULL, NULL},
        {"a--b", 1U, "A B", NULL, NULL, NULL, NULL, NULL},
        {"Foo-mini-1.5B", 1500000000U, "Foo Mini 1.5B", NULL, "Foo-mini", NULL, NULL,
         "1.5B"},
        {"foo-mini", 1000000U, "Foo Mini", NULL, "foo", NULL, NULL, "mini"},
        {"x-Q4_0", 10U, "X Q4_0", NULL, NULL, NULL, NULL, NULL},
        {"./hidden", 10U, "Hidden", NULL, NULL, NULL, NULL, NULL},
        {"Gemma-4-12B-it-F16", 11907350320U, "Gemma 4 12B It F16", NULL, "Gemma-4", "it",
         NULL, "12B"},
    };
    struct arena arena = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct idname name;

        cr_assert(idname_parse(&arena, cases[i].id, cases[i].n_params, &name));
        cr_expect_str_eq(idname_title(&arena, name.full), cases[i].title);
        cr_expect(same(name.organization, cases[i].organization), "%s", cases[i].id);
        cr_expect(same(name.basename, cases[i].basename), "%s: %s", cases[i].id,
                  name.basename);
        cr_expect(same(name.finetune, cases[i].finetune), "%s: %s", cases[i].id,
                  name.finetune);
        cr_expect(same(name.version, cases[i].version), "%s: %s", cases[i].id,
                  name.version);
        cr_expect(same(name.size_label, cases[i].size_label), "%s: %s", cases[i].id,
                  name.size_label);
    }
    arena_free(&arena);
}

Test(idname, labels_sizes_with_two_digits)
{
    static const struct {
        uint64_t n;
        const char *label;
    } cases[] = {
        {0U, "0.00K"},
        {5U, "0.01K"},
        {999U, "1.0K"},
        {1000U, "1.0K"},
        {9999U, "10K"},
        {123456U, "123K"},
        {999999U, "1000K"},
        {1000000U, "1000K"},
        {1000001U, "1.0M"},
        {1540000U, "1.5M"},
        {25233141790U, "25B"},
        {4647449891U, "4.6B"},
        {9940000000U, "10B"},
        {1000000000000U, "1000B"},
        {2000000000000U, "2.0T"},
    };
    struct arena arena = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_str_eq(idname_size_label(&arena, cases[i].n, 0), cases[i].label);
    cr_expect_str_eq(idname_size_label(&arena, 1234567, 8), "8x1.2M");
    arena_free(&arena);
}
