/*
 * journal.c - the journal's file, and the identity of a conversion
 */
#include "convert/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[] = "carat journal 1 ", wide_word[] = "wide";

enum {
    MAGIC_BYTES = sizeof(magic) - 1,
    HEAD_BYTES = MAGIC_BYTES + 64 + 1,
    LINE_BYTES = 16 + 1,
    POSITION_BYTES = 1 + 20,      /* of a tensor, in the second line */
    JOURNAL_MAX_BYTES = 64 << 20, /* four million slabs: 8 * 10^12 weights */
};

struct journal {
    char *path;
    FILE *file;
    char *head; /* owned: the lines before the hashes */
    size_t n_head;
    uint64_t *hashes;
    uint64_t n;
};

/* ---- identity ---- */

static void add_bytes(struct sha256 *hash, const void *bytes, size_t n)
{
    const uint64_t length = n;

    sha256_update(hash, &length, sizeof(length));
    sha256_update(hash, bytes, n);
}

/* A file as the system knows it: hashing gigabytes would cost as much as converting them. */
static void add_file(struct sha256 *hash, const char *path)
{
    struct stat s;
    int64_t facts[4] = {0};

    if (stat(path, &s) == 0) {
        facts[0] = (int64_t)s.st_size;
        facts[1] = (int64_t)s.st_mtim.tv_sec;
        facts[2] = (int64_t)s.st_mtim.tv_nsec;
        facts[3] = (int64_t)s.st_ino;
    }
    add_bytes(hash, path, strlen(path));
    add_bytes(hash, facts, sizeof(facts));
}

/* Configurations say how stored numbers are to be read; those that are not there count as that. */
static bool add_configs(struct sha256 *hash, const char *folder, const char *const *names)
{
    for (; *names; names++) {
        struct arena arena = {0};
        const char *path = arena_printf(&arena, "%s/%s", folder, *names);

        if (path)
            add_file(hash, path);
        arena_free(&arena);
        if (!path)
            return false;
    }
    return true;
}

static bool add_sources(struct sha256 *hash, const struct work *work,
                        const struct source_options *options)
{
    static const char *const of_checkpoint[] = {"config.json", "quantize_config.json",
                                                "quant_config.json", NULL};
    static const char *const of_adapter[] = {"adapter_config.json", NULL};
    const struct checkpoint *cp = work->src->cp;
    bool ok = !cp || add_configs(hash, checkpoint_folder(cp), of_checkpoint);

    for (size_t i = 0; i < source_n_files(work->src); i++)
        add_file(hash, file_path(source_file(work->src, i)));
    for (size_t i = 0; ok && i < options->n_loras; i++) {
        ok = add_configs(hash, options->loras[i].path, of_adapter);
        add_bytes(hash, &options->loras[i].scale, sizeof(double));
    }
    return ok;
}

enum status journal_identity(const struct work *work,
                             const struct convert_options *options, uint8_t identity[32],
                             struct error *err)
{
    const int method = (int)work->method;
    struct sha256 *hash = sha256_new();

    if (!hash)
        return fail(err, ERR_NOMEM, "no memory for a hash");
    add_bytes(hash, CARAT_VERSION, strlen(CARAT_VERSION));
    add_bytes(hash, &method, sizeof(method));
    for (size_t i = 0; i < work->n_files; i++)
        add_bytes(hash, work->files[i].header, work->files[i].n_header);
    if (!add_sources(hash, work, &options->source)) {
        sha256_free(hash);
        return fail(err, ERR_NOMEM, "no memory for a path");
    }
    sha256_final(hash, identity);
    return OK;
}

/* ---- the file ---- */

/* "dir/name" to "dir/.name.journal" */
static char *journal_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t n_folder = slash ? (size_t)(slash - path) + 1 : 0;
    const size_t n = strlen(path) + sizeof("..journal");
    char *out = malloc(n);

    if (out)
        snprintf(out, n, "%.*s.%s.journal", (int)n_folder, path, path + n_folder);
    return out;
}

bool journal_exists(const char *path)
{
    char *name = journal_path(path);
    const bool answer = name && file_exists(name);

    free(name);
    return answer;
}

/* The lines before the hashes: identity, and tensors that had to stay wider. */
static enum status make_head(struct journal *journal, const struct work *work,
                             const uint8_t identity[32], struct error *err)
{
    size_t room = HEAD_BYTES + sizeof(wide_word) + 1, n_wide = 0;
    char hex[65];

    for (size_t i = 0; i < work->n_items; i++)
        n_wide += work->items[i].is_widened;
    room += n_wide * POSITION_BYTES;
    journal->head = malloc(room);
    if (!journal->head)
        return fail(err, ERR_NOMEM, "%s: no memory for a journal", journal->path);
    sha256_hex(identity, hex);
    int at =
        snprintf(journal->head, room, "%s%s\n%s", magic, hex, n_wide ? wide_word : "");
    for (size_t i = 0; i < work->n_items; i++)
        if (work->items[i].is_widened)
            at += snprintf(journal->head + at, room - (size_t)at, " %zu", i);
    if (n_wide)
        at += snprintf(journal->head + at, room - (size_t)at, "\n");
    journal->n_head = (size_t)at;
    return OK;
}

/* The positions of a second line; false when it is not one, or not of so many items. */
static bool parse_wide(const char *text, bool *at, size_t n_items, size_t *n)
{
    while (*text == ' ') {
        const char *digits = ++text;
        size_t item = 0;

        for (; *text >= '0' && *text <= '9' && item < n_items; text++)
            item = item * 10 + (size_t)(*text - '0');
        if (text == digits || item >= n_items)
            return false;
        *n += !at[item];
        at[item] = true;
    }
    return *text == '\n';
}

enum status journal_wide(const char *path, bool *at, size_t n_items, size_t *n,
                         struct error *err)
{
    const size_t n_word = sizeof(wide_word) - 1;
    char *name = journal_path(path), *text = NULL;
    size_t n_text = 0;
    enum status st =
        name ? OK : fail(err, ERR_NOMEM, "%s: no memory for a journal", path);

    *n = 0;
    if (st == OK && file_exists(name))
        st = file_read_all(name, JOURNAL_MAX_BYTES, &text, &n_text, err);
    if (text && n_text > HEAD_BYTES + n_word && memcmp(text, magic, MAGIC_BYTES) == 0 &&
        memcmp(text + HEAD_BYTES, wide_word, n_word) == 0 &&
        !parse_wide(text + HEAD_BYTES + n_word, at, n_items, n)) {
        memset(at, 0, n_items * sizeof(*at));
        *n = 0;
    }
    free(text);
    free(name);
    return st;
}

/* The lines after the head; a line cut short by a crash ends the list. */
static enum status parse(struct journal *journal, const char *text, size_t n_bytes,
                         struct error *err)
{
    const size_t most = n_bytes / LINE_BYTES;

    journal->hashes = malloc((most + 1) * sizeof(*journal->hashes));
    if (!journal->hashes)
        return fail(err, ERR_NOMEM, "%s: no memory to read it", journal->path);
    for (size_t i = 0; i < most; i++) {
        const char *line = text + i * LINE_BYTES;
        char *end;

        if (line[LINE_BYTES - 1] != '\n')
            break;
        journal->hashes[i] = strtoull(line, &end, 16);
        if (end != line + LINE_BYTES - 1)
            break;
        journal->n = i + 1;
    }
    return OK;
}

static enum status read_old(struct journal *journal, struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    enum status st;

    if (!file_exists(journal->path))
        return fail(err, ERR_USAGE, "%s: no journal to resume from", journal->path);
    st = file_read_all(journal->path, JOURNAL_MAX_BYTES, &text, &n, err);
    if (st != OK)
        return st;
    if (n < journal->n_head || memcmp(text, journal->head, journal->n_head) != 0)
        st = fail(
            err, ERR_USAGE,
            "%s: the journal of another conversion (source, options or version differ)",
            journal->path);
    else
        st = parse(journal, text + journal->n_head, n - journal->n_head, err);
    free(text);
    return st;
}

/* Nobody's link is followed: the name is known before, and the folder may be anybody's. */
static FILE *open_file(const char *path, bool resume)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (resume ? 0 : O_CREAT | O_TRUNC);
    const int fd = open(path, flags, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, resume ? "r+" : "w") : NULL;

    if (fd >= 0 && !file)
        close(fd);
    return file;
}

enum status journal_open(const struct work *work, const uint8_t identity[32], bool resume,
                         struct journal **out, struct error *err)
{
    const char *path = work->files[0].path;
    struct journal *journal = calloc(1, sizeof(*journal));
    enum status st;

    if (journal)
        journal->path = journal_path(path);
    if (!journal || !journal->path) {
        free(journal);
        return fail(err, ERR_NOMEM, "%s: no memory for a journal", path);
    }
    st = make_head(journal, work, identity, err);
    if (st == OK && resume)
        st = read_old(journal, err);
    if (st == OK) {
        journal->file = open_file(journal->path, resume);
        if (!journal->file || (!resume && fputs(journal->head, journal->file) < 0) ||
            fflush(journal->file) != 0)
            st = fail(err, ERR_IO, "%s: %s", journal->path, strerror(errno));
    }
    if (st != OK) {
        journal_close(journal, resume); /* what was only begun is of no use */
        return st;
    }
    *out = journal;
    return OK;
}

uint64_t journal_count(const struct journal *journal)
{
    return journal->n;
}

uint64_t journal_hash(const struct journal *journal, uint64_t number)
{
    return journal->hashes[number];
}

enum status journal_cut(struct journal *journal, uint64_t n, struct error *err)
{
    const off_t end = (off_t)journal->n_head + (off_t)n * LINE_BYTES;

    journal->n = n;
    if (ftruncate(fileno(journal->file), end) != 0 ||
        fseeko(journal->file, end, SEEK_SET) != 0)
        return fail(err, ERR_IO, "%s: %s", journal->path, strerror(errno));
    return OK;
}

enum status journal_add(struct journal *journal, uint64_t hash, struct error *err)
{
    if (fprintf(journal->file, "%016" PRIx64 "\n", hash) < 0 ||
        fflush(journal->file) != 0)
        return fail(err, ERR_IO, "%s: %s", journal->path, strerror(errno));
    return OK;
}

void journal_close(struct journal *journal, bool keep)
{
    if (!journal)
        return;
    if (journal->file && !keep)
        remove(journal->path);
    if (journal->file)
        fclose(journal->file);
    free(journal->path);
    free(journal->head);
    free(journal->hashes);
    free(journal);
}
