/*
 * test_safetensors.c - what is written is read back; cut files and odd folders are refused
 */
#include "formats/safetensors/safetensors.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[FIXTURE_PATH];

static void make_folder(void)
{
    fixture_folder(folder);
}

static void remove_folder(void)
{
    fixture_remove(folder);
}

TestSuite(safetensors, .init = make_folder, .fini = remove_folder);
TestSuite(shards, .init = make_folder, .fini = remove_folder);

static const float ones[] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
static const uint16_t halves[] = {0x3c00, 0x4000};

static const struct safetensors_item items[] = {
    {"a.weight", DTYPE_F32, 2, {2, 3}, ones},
    {"b\"\n", DTYPE_F16, 1, {2}, halves},
    {"nothing", DTYPE_I64, 2, {0, 7}, NULL},
    {"scalar", DTYPE_F32, 0, {0}, ones},
};

enum { N_ITEMS = sizeof(items) / sizeof(items[0]) };

static void write_items(const char *name, const struct safetensors_item *list, size_t n)
{
    static const char *const metadata[] = {"format", "pt", "note", "two\twords", NULL};
    char path[FIXTURE_PATH];
    struct error err;

    fixture_join(path, folder, name);
    cr_assert_eq(safetensors_write(path, list, n, metadata, true, &err), OK, "%s",
                 err.text);
}

Test(safetensors, are_read_back_as_they_were_written)
{
    struct safetensors *st = NULL;
    char path[FIXTURE_PATH];
    struct error err;
    float back[6];

    write_items("model.safetensors", items, N_ITEMS);
    fixture_join(path, folder, "model.safetensors");
    cr_assert_eq(safetensors_open(path, &st, &err), OK, "%s", err.text);
    cr_assert_eq(safetensors_count(st), N_ITEMS);
    for (size_t i = 0; i < N_ITEMS; i++) {
        const struct tensor *t = safetensors_find(st, items[i].name);

        cr_assert_not_null(t, "%s", items[i].name);
        cr_assert_eq(t->dtype, items[i].dtype);
        cr_assert_eq(t->n_dims, items[i].n_dims);
        cr_assert_arr_eq(t->dims, items[i].dims, sizeof(t->dims));
    }
    cr_assert_eq(safetensors_at(st, 0)->offset % 8, 0, "data begins aligned");
    cr_assert_eq(file_read(safetensors_file(st), safetensors_find(st, "a.weight")->offset,
                           back, sizeof(back), &err),
                 OK);
    cr_assert_arr_eq(back, ones, sizeof(back));
    cr_assert_str_eq(safetensors_metadata(st, "note"), "two\twords");
    cr_assert_null(safetensors_metadata(st, "absent"));
    cr_assert_null(safetensors_find(st, "a.weigh"));
    safetensors_close(st);
}

Test(safetensors, cut_at_any_byte_are_refused)
{
    char path[FIXTURE_PATH], *bytes = NULL;
    struct error err = {0};
    size_t n = 0;

    write_items("model.safetensors", items, N_ITEMS);
    fixture_join(path, folder, "model.safetensors");
    cr_assert_eq(file_read_all(path, 4096, &bytes, &n, &err), OK);
    for (size_t cut = 0; cut < n; cut++) {
        struct safetensors *st = NULL;
        uint8_t *part = fixture_guarded(cut ? cut : 1);

        memcpy(part, bytes, cut);
        cr_assert_eq(safetensors_parse(part, cut, &st, &err), ERR_CORRUPT, "%zu bytes",
                     cut);
        fixture_unguard(part, cut ? cut : 1);
    }
    free(bytes);
}

Test(safetensors, of_other_writers_are_read)
{
    static const struct {
        const char *name;
        enum dtype dtype;
        int n_dims;
        uint64_t n_bytes;
    } cases[] = {
        {"tensor-1d-int32", DTYPE_I32, 1, 12},
        {"tensor-2d-float64", DTYPE_F64, 2, 48},
        {"tensor-3d-float32", DTYPE_F32, 3, 48},
        {"tensor-4d-float32", DTYPE_F32, 4, 72},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct safetensors *st = NULL;
        struct error err;
        char path[512];

        snprintf(path, sizeof(path), "%s/vectors/safetensors/%s.safetensors", CARAT_DATA,
                 cases[i].name);
        cr_assert_eq(safetensors_open(path, &st, &err), OK, "%s", err.text);
        cr_assert_eq(safetensors_count(st), 1);
        cr_expect_eq(safetensors_at(st, 0)->dtype, cases[i].dtype, "%s", path);
        cr_expect_eq(safetensors_at(st, 0)->n_dims, cases[i].n_dims, "%s", path);
        cr_expect_eq(safetensors_at(st, 0)->n_bytes, cases[i].n_bytes, "%s: %lu", path,
                     (unsigned long)safetensors_at(st, 0)->n_bytes);
        safetensors_close(st);
    }
}

Test(safetensors, that_are_no_regular_file_are_refused_by_name)
{
    struct safetensors *st = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    fixture_join(path, folder, "loop.safetensors");
    cr_assert_eq(symlink("loop.safetensors", path), 0);
    cr_assert_eq(safetensors_open(path, &st, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "loop.safetensors"));
    cr_assert_eq(safetensors_open(folder, &st, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, folder));
}

/* ---- shards ---- */

static char warnings[1024];

static void keep_warning(void *arg, const char *sentence)
{
    (void)arg;
    snprintf(warnings + strlen(warnings), sizeof(warnings) - strlen(warnings), "%s\n",
             sentence);
}

static void write_text(const char *name, const char *text)
{
    char path[FIXTURE_PATH];

    fixture_join(path, folder, name);
    fixture_write(path, text, strlen(text));
}

static const char INDEX[] = "model.safetensors.index.json";

Test(shards, of_an_index_come_in_byte_order_as_one_list)
{
    struct shards *set = NULL;
    struct error err;

    write_items("b.safetensors", items, 1);
    write_items("a.safetensors", items + 1, 3);
    write_text(INDEX,
               "{\"metadata\":{\"total_size\":9223372036854775807},\"weight_map\":{"
               "\"a.weight\":\"b.safetensors\",\"b\\\"\\n\":\"a.safetensors\","
               "\"nothing\":\"a.safetensors\",\"scalar\":\"a.safetensors\"}}");
    log_set_sink(keep_warning, NULL);
    cr_assert_eq(shards_open(folder, &set, &err), OK, "%s", err.text);
    cr_assert_eq(shards_count(set), 4);
    cr_assert_eq(shards_n_files(set), 2);
    cr_assert_eq(shards_find(set, "a.weight")->file, 1);
    cr_assert_str_eq(shards_at(set, 3)->name, "a.weight");
    cr_assert_str_eq(warnings, "", "a true index needs no warning");
    shards_close(set);
}

Test(shards, an_index_may_be_wrong_about_are_warned_about)
{
    struct shards *set = NULL;
    struct error err;

    write_items("a.safetensors", items, 1);
    write_items("b.safetensors", items + 1, 2);
    write_text(INDEX, "{\"weight_map\":{\"a.weight\":\"b.safetensors\","
                      "\"nothing\":\"b.safetensors\",\"ghost\":\"a.safetensors\"}}");
    log_set_sink(keep_warning, NULL);
    cr_assert_eq(shards_open(folder, &set, &err), OK, "%s", err.text);
    cr_assert_eq(shards_count(set), 3);
    cr_assert_not_null(strstr(warnings, "a.weight is not in the shard the index names"));
    cr_assert_not_null(strstr(warnings, "is not in the index but in a shard"));
    cr_assert_not_null(strstr(warnings, "ghost is in the index but in no shard"));
    shards_close(set);
}

/* A model saved anew in one file beside the index, and maybe the shards, of an older one. */
Test(shards, that_one_file_has_outlived_are_not_read)
{
    static const struct {
        size_t n_saved; /* in model.safetensors; the index lists the first two */
        bool has_shards;
        size_t n; /* what is read */
        const char *warned;
    } cases[] = {
        {3, false, 3, "index.json is not read"},
        {3, true, 3, "a.safetensors and 1 more: each is not read"},
        {1, false, 1, "index.json is not read"},
        {1, true, 2, "model.safetensors is not read"}, /* it cannot take their place */
    };

    write_text(INDEX, "{\"weight_map\":{\"a.weight\":\"model-a.safetensors\","
                      "\"b\\\"\\n\":\"model-b.safetensors\"}}");
    log_set_sink(keep_warning, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shards *set = NULL;
        struct error err = {0};

        warnings[0] = '\0';
        write_items("model.safetensors", items, cases[i].n_saved);
        for (int k = 0; k < 2; k++) {
            static const char *const names[] = {"model-a.safetensors",
                                                "model-b.safetensors"};
            char path[FIXTURE_PATH];

            fixture_join(path, folder, names[k]);
            if (cases[i].has_shards)
                write_items(names[k], items + k, 1);
            else
                (void)remove(path);
        }
        cr_assert_eq(shards_open(folder, &set, &err), OK, "%zu: %s", i, err.text);
        cr_expect_eq(shards_count(set), cases[i].n, "%zu: %zu", i, shards_count(set));
        cr_expect_not_null(strstr(warnings, cases[i].warned), "%zu: %s", i, warnings);
        shards_close(set);
    }
}

/* It is one of the shards itself. */
Test(shards, may_be_called_as_a_whole_model_is)
{
    struct shards *set = NULL;
    struct error err;

    write_items("model.safetensors", items, 1);
    write_items("more.safetensors", items + 1, 1);
    write_text(INDEX, "{\"weight_map\":{\"a.weight\":\"model.safetensors\","
                      "\"b\\\"\\n\":\"more.safetensors\"}}");
    cr_assert_eq(shards_open(folder, &set, &err), OK, "%s", err.text);
    cr_expect_eq(shards_count(set), 2);
    shards_close(set);
}

Test(shards, that_hold_one_tensor_twice_must_agree_on_it)
{
    struct safetensors_item again = items[0];
    struct shards *set = NULL;
    struct error err;

    write_items("model-1.safetensors", items, 1);
    write_items("model-2.safetensors", &again, 1);
    cr_assert_eq(shards_open(folder, &set, &err), OK, "equal twins: %s", err.text);
    cr_assert_eq(shards_count(set), 1);
    shards_close(set);

    again.data = (const float[]){1.0f, 2.0f, 3.0f, 4.0f, 5.0f, -6.0f};
    write_items("model-2.safetensors", &again, 1);
    cr_assert_eq(shards_open(folder, &set, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "a.weight"));
    cr_assert_not_null(strstr(err.text, "model-1.safetensors"));
    cr_assert_not_null(strstr(err.text, "model-2.safetensors"));
}

Test(shards, are_looked_for_by_name_when_there_is_no_index)
{
    struct shards *set = NULL;
    struct error err;

    cr_assert_eq(shards_open(folder, &set, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "no weights"));

    write_items("other.safetensors", items, 1);
    cr_assert_eq(shards_open(folder, &set, &err), OK, "the only one: %s", err.text);
    cr_assert_eq(shards_count(set), 1);
    shards_close(set);

    write_items("model.safetensors", items, 2);
    cr_assert_eq(shards_open(folder, &set, &err), OK, "%s", err.text);
    cr_assert_eq(shards_count(set), 2, "model.safetensors goes before others");
    shards_close(set);
}

/* Each index that must not be followed, and a word the user must see. */
Test(shards, of_a_bad_index_are_refused)
{
    static const struct {
        const char *text;
        enum status want;
        const char *says;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"../secret.safetensors\"}}", ERR_CORRUPT,
         "../secret.safetensors leads outside"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", ERR_CORRUPT, "/etc/passwd"},
        {"{\"weight_map\":{\"a\":\"..\\\\x.safetensors\"}}", ERR_CORRUPT,
         "..\\x.safetensors"},
        {"{\"weight_map\":{\"a\":\"model.safetensors\\u0000.txt\"}}", ERR_CORRUPT,
         "shard name"},
        {"{\"weight_map\":{\"a\":\".\"}}", ERR_CORRUPT, "\".\""},
        {"{\"weight_map\":{\"a\":\"gone.safetensors\"}}", ERR_USAGE, "gone.safetensors"},
        {"{\"weight_map\":{\"a\":3}}", ERR_CORRUPT, "a: its shard name is not a string"},
        {"{\"weight_map\":{}}", ERR_CORRUPT, "weight_map is empty"},
        {"{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}", ERR_CORRUPT, "duplicate"},
        {"{\"metadata\":{}}", ERR_CORRUPT, "no weight_map"},
        {"{\"weight_map\":{\"a\":", ERR_CORRUPT, "not JSON"},
        {"[]", ERR_CORRUPT, "not a JSON object"},
        {"", ERR_CORRUPT, "not JSON"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shards *set = NULL;
        struct error err = {0};

        write_text(INDEX, cases[i].text);
        cr_expect_eq(shards_open(folder, &set, &err), cases[i].want, "%s", cases[i].text);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s: %s", cases[i].text,
                           err.text);
    }
}
