/*
 * test_hash.c - digests are the standard's; warnings and interruptions arrive
 */
#include "base/base.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <signal.h>

/* Source: NIST FIPS 180-2, appendix B. */
static const char abc_hex[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

Test(sha256, gives_the_digest_of_the_standard_by_every_way)
{
    char folder[FIXTURE_PATH], path[FIXTURE_PATH], hex[65];
    struct sha256 *hash = sha256_new();
    struct error err = {0};
    uint8_t digest[32];

    sha256_bytes("abc", 3, digest);
    sha256_hex(digest, hex);
    cr_assert_str_eq(hex, abc_hex);

    sha256_update(hash, "a", 1);
    sha256_update(hash, "", 0);
    sha256_update(hash, "bc", 2);
    sha256_final(hash, digest);
    sha256_hex(digest, hex);
    cr_assert_str_eq(hex, abc_hex);

    fixture_folder(folder);
    fixture_join(path, folder, "abc");
    fixture_write(path, "abc", 3);
    cr_assert_eq(sha256_file(path, digest, &err), OK);
    sha256_hex(digest, hex);
    cr_assert_str_eq(hex, abc_hex);
    fixture_remove(folder);
    cr_assert_eq(sha256_file(path, digest, &err), ERR_USAGE);
    sha256_free(sha256_new());
}

/* Source: the xxHash specification's test vector for XXH3, 64 bits, of no bytes. */
Test(hash, xxh3_of_nothing_is_known)
{
    cr_assert_eq(hash_bytes("", 0), 0x2d06800538d394c2u);
    cr_assert_neq(hash_bytes("a", 1), hash_bytes("b", 1));
}

static void keep(void *arg, const char *sentence)
{
    strcpy(arg, sentence);
}

Test(log, a_warning_reaches_the_sink_on_one_line)
{
    char seen[200] = "";

    log_warn("into the void");
    log_set_sink(keep, seen);
    log_warn("%s: odd", "a\nb");
    cr_assert_str_eq(seen, "a\\x0ab: odd");
    log_set_sink(NULL, NULL);
    log_warn("again");
    cr_assert_str_eq(seen, "a\\x0ab: odd");
}

static void add_up(void *arg, const char *what, uint64_t done, uint64_t total)
{
    *(uint64_t *)arg += done + total + strlen(what);
}

Test(progress, reports_when_somebody_listens)
{
    uint64_t sum = 0;
    const struct progress progress = {&sum, add_up}, deaf = {0};

    progress_report(NULL, "x", 1, 2);
    progress_report(&deaf, "x", 1, 2);
    progress_report(&progress, "x", 10, 100);
    cr_assert_eq(sum, 111);
}

Test(interrupt, the_first_signal_asks_and_is_seen)
{
    struct error err = {0};

    interrupt_install();
    cr_assert_eq(interrupt_check(&err), OK);
    raise(SIGINT);
    cr_assert(interrupt_pending());
    cr_assert_eq(interrupt_check(&err), ERR_INTERRUPTED);
}

Test(interrupt, a_terminal_that_closes_is_a_wish_to_stop)
{
    cr_assert_neq(signal(SIGHUP, SIG_DFL), SIG_ERR); /* this may run behind nohup */
    interrupt_install();
    cr_assert_not(interrupt_pending());
    raise(SIGHUP);
    cr_assert(interrupt_pending());
}

Test(interrupt, a_terminal_that_closes_does_not_matter_behind_nohup)
{
    cr_assert_neq(signal(SIGHUP, SIG_IGN), SIG_ERR);
    interrupt_install();
    raise(SIGHUP);
    cr_assert_not(interrupt_pending());
}

Test(interrupt, the_second_signal_ends_the_program, .signal = SIGINT)
{
    interrupt_install();
    raise(SIGINT);
    raise(SIGINT);
}
