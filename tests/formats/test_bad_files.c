/*
 * test_bad_files.c - each file of data/bad breaks one rule, and is refused in words that say so
 */
#include "formats/archive/archive.h"
#include "formats/gguf/gguf.h"
#include "formats/safetensors/safetensors.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static enum status open_and_close(const char *path, struct error *err)
{
    struct safetensors *st = NULL;
    struct archive *archive = NULL;
    struct gguf *gguf = NULL;
    enum status status;

    if (strstr(path, ".gguf"))
        status = gguf_open(path, &gguf, err);
    else if (strstr(path, ".bin"))
        status = archive_open(path, &archive, err);
    else
        status = safetensors_open(path, &st, err);
    gguf_close(gguf);
    archive_close(archive);
    safetensors_close(st);
    return status;
}

/* True when the n bytes of `word` stand in the text, not as part of a longer word. */
static bool has_word(const char *text, const char *word, size_t n)
{
    for (const char *at = text; strlen(at) >= n; at++) {
        bool begins = at == text || !isalnum((unsigned char)at[-1]);

        if (begins && strncmp(at, word, n) == 0 && !isalnum((unsigned char)at[n]))
            return true;
    }
    return false;
}

/* `words` asks for all of a;b and one of a|b. */
static bool says(const char *text, const char *words)
{
    while (*words) {
        size_t n_group = strcspn(words, ";");
        bool found = false;

        for (const char *word = words; word < words + n_group;) {
            size_t n = strcspn(word, ";|");

            found = found || has_word(text, word, n);
            word += n + 1;
        }
        if (!found)
            return false;
        words += n_group + (words[n_group] == ';');
    }
    return true;
}

static void check_case(const char *file, const char *expect, const char *words)
{
    struct error err = {0};
    char path[2048];
    enum status st;

    snprintf(path, sizeof(path), "%s/bad/%s", CARAT_DATA, file);
    st = open_and_close(path, &err);
    if (strcmp(expect, "accept") == 0) {
        cr_expect_eq(st, OK, "%s: %s", file, err.text);
        return;
    }
    cr_expect(st == ERR_CORRUPT || st == ERR_UNSUPPORTED || st == ERR_USAGE, "%s", file);
    cr_expect_eq(strncmp(err.text, path, strlen(path)), 0, "%s: %s", file, err.text);
    if (strncmp(err.text, path, strlen(path)) == 0)
        cr_expect(says(err.text + strlen(path), words), "%s: wants %s: %s", file, words,
                  err.text);
}

Test(bad_files, are_refused_by_the_rule_they_break)
{
    FILE *f = fopen(CARAT_DATA "/bad/cases.tsv", "r");
    char line[1024];
    int n = 0;

    cr_assert_not_null(f);
    cr_assert_not_null(fgets(line, sizeof(line), f));
    while (fgets(line, sizeof(line), f)) {
        char *fields[4] = {line};

        for (int i = 1; i < 4; i++) {
            fields[i] = strchr(fields[i - 1], '\t');
            cr_assert_not_null(fields[i], "%s", line);
            *fields[i]++ = '\0';
        }
        fields[3][strcspn(fields[3], "\n")] = '\0';
        check_case(fields[0], fields[1], fields[3]);
        n++;
    }
    fclose(f);
    cr_assert_eq(n, 127);
}
