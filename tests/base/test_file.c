/*
 * test_file.c - reading is exact, writing is whole or not there
 */
#include "base/base.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[FIXTURE_PATH], path[FIXTURE_PATH], hidden[FIXTURE_PATH];

static void enter(void)
{
    fixture_folder(folder);
    fixture_join(path, folder, "x.bin");
    fixture_join(hidden, folder, ".x.bin.partial");
}

static void leave(void)
{
    fixture_remove(folder);
}

TestSuite(file, .init = enter, .fini = leave);
TestSuite(output, .init = enter, .fini = leave);

Test(file, reads_exactly_what_was_asked_at_any_offset)
{
    struct file *file = NULL;
    struct error err = {0};
    char buf[4] = "";

    fixture_write(path, "0123456789", 10);
    cr_assert_eq(file_open(path, &file, &err), OK);
    cr_assert_eq(file_size(file), 10);
    cr_assert_str_eq(file_path(file), path);
    cr_assert_eq(file_read(file, 7, buf, 3, &err), OK);
    cr_assert_str_eq(buf, "789");
    cr_assert_eq(file_read(file, 10, buf, 0, &err), OK);
    cr_assert_eq(file_read(file, 8, buf, 3, &err), ERR_CORRUPT);
    cr_assert_eq(strncmp(err.text, path, strlen(path)), 0, "%s", err.text);
    cr_assert_eq(file_read(file, UINT64_MAX, buf, 1, &err), ERR_CORRUPT);
    cr_assert_eq(file_read(file, 0, buf, SIZE_MAX, &err), ERR_CORRUPT);
    file_close(file);
    file_close(NULL);
}

static enum status try_open(const char *name, struct error *err)
{
    struct file *file = NULL;
    enum status st = file_open(name, &file, err);

    cr_assert_eq(st == OK, file != NULL);
    file_close(file);
    return st;
}

Test(file, refuses_what_is_no_regular_file_without_blocking)
{
    struct error err = {0};

    cr_expect_eq(try_open(path, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "No such file"));
    cr_expect_eq(try_open(folder, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "folder"));
    cr_expect_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(try_open(path, &err), ERR_USAGE);
    cr_expect_eq(try_open("/dev/null", &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "regular"));
}

Test(file, maps_once_and_an_empty_file_too)
{
    const uint8_t *a = NULL, *b = NULL;
    struct file *file = NULL;
    struct error err = {0};

    fixture_write(path, "abc", 3);
    cr_assert_eq(file_open(path, &file, &err), OK);
    cr_assert_eq(file_map(file, &a, &err), OK);
    cr_assert_eq(file_map(file, &b, &err), OK);
    cr_assert(a == b && memcmp(a, "abc", 3) == 0);
    file_close(file);

    fixture_write(path, "", 0);
    cr_assert_eq(file_open(path, &file, &err), OK);
    cr_assert_eq(file_map(file, &a, &err), OK);
    cr_assert_not_null(a);
    file_close(file);
}

Test(file, notices_that_it_changed)
{
    struct file *file = NULL;
    struct error err = {0};

    fixture_write(path, "abc", 3);
    cr_assert_eq(file_open(path, &file, &err), OK);
    cr_assert_eq(file_unchanged(file, &err), OK);
    fixture_write(path, "abcd", 4);
    cr_assert_eq(file_unchanged(file, &err), ERR_IO);
    remove(path);
    cr_assert_eq(file_unchanged(file, &err), ERR_IO);
    file_close(file);
}

Test(file, read_all_ends_in_a_nul_and_keeps_to_its_limit)
{
    struct error err = {0};
    char *text = NULL;
    size_t n = 0;

    fixture_write(path, "four", 4);
    cr_assert_eq(file_read_all(path, 4, &text, &n, &err), OK);
    cr_assert(n == 4 && strcmp(text, "four") == 0);
    free(text);
    cr_assert_eq(file_read_all(path, 3, &text, &n, &err), ERR_CORRUPT);
    cr_assert(file_exists(path) && !file_is_folder(path));
    cr_assert(file_is_folder(folder) && !file_exists(folder));
}

/* ---- writing ---- */

static const struct output_options fresh = {0}, forced = {.force = true};

static void expect_content(const char *want)
{
    struct error err = {0};
    char *text = NULL;
    size_t n = 0;

    cr_assert_eq(file_read_all(path, 100, &text, &n, &err), OK);
    cr_assert_str_eq(text, want);
    free(text);
}

Test(output, appears_whole_under_its_name_at_commit)
{
    struct output *dst = NULL;
    struct error err = {0};
    char back[3] = "";

    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    cr_assert_str_eq(output_path(dst), path);
    cr_assert_str_eq(output_temporary(dst), hidden);
    cr_assert_eq(output_write(dst, 4, "45", 2, &err), OK);
    cr_assert_eq(output_write(dst, 0, "0123", 4, &err), OK);
    cr_assert_eq(output_write(dst, 6, "extra", 5, &err), OK);
    cr_assert_eq(output_size(dst), 11);
    cr_assert_eq(output_read(dst, 3, back, 2, &err), OK);
    cr_assert_str_eq(back, "34");
    cr_assert_eq(output_read(dst, 10, back, 2, &err), ERR_IO);
    cr_assert_not(file_exists(path));
    cr_assert_eq(output_commit(dst, 6, &err), OK);
    cr_assert_not(file_exists(hidden));
    expect_content("012345");
}

Test(output, never_replaces_without_force)
{
    struct output *dst = NULL;
    struct error err = {0};

    fixture_write(path, "old", 3);
    cr_assert_eq(output_open(path, &fresh, &dst, &err), ERR_USAGE);
    cr_assert_not(file_exists(hidden));
    expect_content("old");
    cr_assert_eq(output_open(path, &forced, &dst, &err), OK);
    cr_assert_eq(output_write(dst, 0, "new", 3, &err), OK);
    expect_content("old");
    cr_assert_eq(output_commit(dst, 3, &err), OK);
    expect_content("new");
}

Test(output, does_not_replace_a_file_that_came_meanwhile)
{
    struct output *dst = NULL;
    struct error err = {0};

    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    fixture_write(path, "theirs", 6);
    cr_assert_eq(output_commit(dst, 0, &err), ERR_USAGE);
    expect_content("theirs");
    cr_assert_not(file_exists(hidden));
}

/* The second of two that belong together cannot have its name: the first gives up its own, unless there
 * would be neither the old file nor the new one. */
Test(output, is_withdrawn_unless_it_replaced_a_file)
{
    char other[FIXTURE_PATH];
    struct output *dst = NULL, *second = NULL;
    struct error err = {0};

    fixture_join(other, folder, "y.bin");
    for (int is_old = 0; is_old < 2; is_old++) {
        if (is_old)
            fixture_write(path, "old", 3);
        cr_assert_eq(output_open(path, &forced, &dst, &err), OK);
        cr_assert_eq(output_open(other, &forced, &second, &err), OK);
        cr_assert_eq(output_write(dst, 0, "new", 3, &err), OK);
        cr_assert_eq(output_seal(dst, 3, &err), OK);
        cr_assert_eq(output_seal(second, 0, &err), OK);
        cr_expect_not(!is_old && file_exists(path));
        cr_assert_eq(output_rename(dst, &err), OK);
        cr_assert_eq(mkdir(other, 0777), 0);
        cr_expect_eq(output_rename(second, &err), ERR_IO);
        output_withdraw(dst);
        cr_expect_eq(file_exists(path), is_old);
        cr_expect_neq(file_exists(hidden), is_old);
        output_keep(dst);
        output_discard(second);
        cr_assert_eq(rmdir(other), 0);
    }
    expect_content("new");
}

Test(output, is_kept_when_it_cannot_be_sealed)
{
    struct output *dst = NULL;
    struct error err = {0};

    interrupt_install();
    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){5, 5}), 0);
    cr_expect_eq(output_seal(dst, 10, &err), ERR_IO);
    output_keep(dst);
    cr_expect(file_exists(hidden));
}

/* Opened and closed long ago, or only after the output was begun; by its name or by another. */
Test(output, guarded_does_not_replace_a_source)
{
    static const struct output_options edit = {.force = true, .replaces_source = true};
    char other[FIXTURE_PATH], third[FIXTURE_PATH];
    struct output *dst = NULL;
    struct error err = {0};

    fixture_join(other, folder, "y.bin");
    fixture_join(third, folder, "z.bin");
    fixture_write(path, "old", 3);
    fixture_write(third, "late", 4);
    cr_assert_eq(link(path, other), 0);
    file_guard_sources();
    cr_assert_eq(try_open(path, &err), OK);
    cr_expect_eq(output_open(path, &forced, &dst, &err), ERR_USAGE);
    cr_expect_eq(output_open(other, &forced, &dst, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "it is what is read here"), "%s", err.text);
    cr_expect_eq(output_check(other, true, &err), ERR_USAGE);
    cr_expect_not(file_exists(hidden));
    expect_content("old");

    cr_assert_eq(output_open(third, &forced, &dst, &err), OK);
    cr_assert_eq(try_open(third, &err), OK);
    cr_expect_eq(output_commit(dst, 0, &err), ERR_USAGE);
    cr_expect_eq(output_open(path, &edit, &dst, &err), OK, "%s", err.text);
    cr_expect_eq(output_commit(dst, 0, &err), OK);
    expect_content("");
}

Test(output, refuses_devices_folders_and_missing_folders)
{
    static const char *const names[] = {"/dev/null", "no/such/folder/x", "", ".",
                                        "sub/.."};
    struct output *dst = NULL;
    struct error err = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_expect_eq(output_open(names[i], &forced, &dst, &err), ERR_USAGE, "%s",
                     names[i]);
    cr_expect_eq(output_open(folder, &forced, &dst, &err), ERR_USAGE);
    cr_assert_null(dst);
}

Test(output, a_link_in_the_place_of_the_temporary_is_not_followed)
{
    char victim[FIXTURE_PATH];
    struct output *dst = NULL;
    struct error err = {0};

    fixture_join(victim, folder, "victim");
    fixture_write(victim, "precious", 8);
    cr_assert_eq(symlink(victim, hidden), 0);
    cr_assert_neq(output_open(path, &fresh, &dst, &err), OK);
    memcpy(path, victim, sizeof(path));
    expect_content("precious");
}

Test(output, what_was_kept_can_be_resumed_and_what_was_discarded_is_gone)
{
    const struct output_options resume = {.resume = true};
    struct output *dst = NULL;
    struct error err = {0};

    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    cr_assert_eq(output_write(dst, 0, "half", 4, &err), OK);
    output_keep(dst);
    cr_assert_eq(output_open(path, &resume, &dst, &err), OK);
    cr_assert_eq(output_size(dst), 4);
    output_keep(dst);
    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    cr_assert_eq(output_size(dst), 0);
    output_discard(dst);
    cr_assert_not(file_exists(hidden));
    output_discard(NULL);
}

Test(output, two_processes_do_not_write_the_same_file)
{
    struct output *dst = NULL;
    struct error err = {0};
    int code = 0;
    pid_t child;

    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    cr_assert_eq(output_write(dst, 0, "ours", 4, &err), OK);
    child = fork();
    if (child == 0)
        _exit((int)output_open(path, &fresh, &dst, &err));
    cr_assert_eq(waitpid(child, &code, 0), child);
    cr_assert(WIFEXITED(code) && WEXITSTATUS(code) == ERR_USAGE);
    cr_assert_eq(output_commit(dst, 4, &err), OK);
    expect_content("ours");
}

Test(output, a_limit_of_the_system_is_an_error_of_the_machine)
{
    const struct rlimit limit = {.rlim_cur = 5, .rlim_max = 5};
    struct output *dst = NULL;
    struct error err = {0};

    interrupt_install();
    cr_assert_eq(output_open(path, &fresh, &dst, &err), OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(output_write(dst, 0, "0123456789", 10, &err), ERR_IO);
    cr_assert_not_null(strstr(err.text, "File too large at byte 5"), "%s", err.text);
    output_discard(dst);
}

Test(output, says_beforehand_that_the_disk_is_too_small)
{
    const struct output_options options = {0};
    struct output *dst = NULL;
    struct error err = {0};

    cr_assert_eq(output_open(path, &options, &dst, &err), OK, "%s", err.text);
    cr_expect_eq(output_fits(dst, 1, &err), OK);
    cr_expect_eq(output_fits(dst, (uint64_t)1 << 60, &err), ERR_IO);
    cr_expect(strstr(err.text, "MiB are free"), "%s", err.text);
    output_discard(dst);
}

Test(output, small_files_are_written_whole)
{
    struct error err = {0};

    cr_assert_eq(file_write_all(path, "abc", 3, false, &err), OK);
    cr_assert_eq(file_write_all(path, "xyz", 3, false, &err), ERR_USAGE);
    expect_content("abc");
    cr_assert_eq(file_write_all(path, "", 0, true, &err), OK);
    expect_content("");
}
