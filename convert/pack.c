/*
 * pack.c - the pipeline: a thread reads, all cores pack, a thread writes and hashes
 *
 * The source is read once, in the order of writing. SHA-256 of each output is taken on the way, so
 * nothing is read back, except what a resumed run finds already there.
 */
#include "convert/pack.h"
#include "convert/journal.h"
#include "convert/ring.h"
#include "convert/rows.h"

#include <stdio.h>
#include <stdlib.h>

struct pack {
    const struct work *work;
    struct output *files[MAX_FILES];
    struct sha256 *hashes[MAX_FILES];
    struct journal *journal;
    struct slab_cursor cursor; /* the reader's */
    struct ring ring;
};

static const uint8_t zeros[4096]; /* as long as the largest alignment */

static_assert(SLAB_WEIGHTS <= UINT32_MAX,
              "a slab's floats are counted in 32 bits elsewhere");

/* ---- one slab ---- */

static enum status write_bytes(struct pack *pack, int file, uint64_t offset,
                               const void *bytes, size_t n, struct error *err)
{
    const enum status st = output_write(pack->files[file], offset, bytes, n, err);

    if (st == OK)
        sha256_update(pack->hashes[file], bytes, n);
    return st;
}

static enum status write_slab(struct pack *pack, const struct slab *slab,
                              const void *packed, struct error *err)
{
    enum status st =
        write_bytes(pack, slab->file, slab->offset, packed, slab->n_bytes, err);

    if (st == OK && slab->n_padding)
        st = write_bytes(pack, slab->file, slab->offset + slab->n_bytes, zeros,
                         slab->n_padding, err);
    return st == OK ? journal_add(pack->journal, hash_bytes(packed, slab->n_bytes), err)
                    : st;
}

static enum status fetch_slab(const struct pack *pack, const struct slab *slab, void *raw,
                              struct error *err)
{
    const struct source_tensor *t = pack->work->items[slab->item].e->t;

    return t->provider->fetch(t, slab->first, slab->n_rows, raw, err);
}

/* ---- the three stages ---- */

static void *read_all(void *arg)
{
    struct pack *pack = arg;
    struct error err = {0};
    struct slab slab;

    while (slabs_next(&pack->cursor, &slab)) {
        struct ring_slot *slot = ring_take(&pack->ring, RING_READ);
        if (!slot)
            return NULL;
        slot->slab = slab;
        if (fetch_slab(pack, &slab, slot->raw, &err) != OK) {
            ring_stop(&pack->ring, &err);
            return NULL;
        }
        ring_pass(&pack->ring, RING_READ);
    }
    ring_finish(&pack->ring);
    return NULL;
}

static void *write_all(void *arg)
{
    struct pack *pack = arg;
    struct error err = {0};
    struct ring_slot *slot;

    while ((slot = ring_take(&pack->ring, RING_WRITE)) != NULL) {
        if (write_slab(pack, &slot->slab, slot->packed, &err) != OK) {
            ring_stop(&pack->ring, &err);
            return NULL;
        }
        ring_pass(&pack->ring, RING_WRITE);
    }
    return NULL;
}

/* Source bytes up to the end of a slab, for the progress bar. */
static uint64_t share_of(const struct work_item *item, const struct slab *slab)
{
    return item->n_rows
               ? item->e->t->n_bytes / item->n_rows * (slab->first + slab->n_rows)
               : 0;
}

static uint64_t total_bytes(const struct work *work)
{
    uint64_t n = 0;

    for (size_t i = 0; i < work->n_items; i++)
        n += work->items[i].e->t->n_bytes;
    return n;
}

/* Pack slabs as they come, in the calling thread and those of parallel_for(). */
static void pack_all(struct pack *pack, struct row_packer *packer,
                     const struct progress *progress, struct pack_result *result)
{
    const uint64_t total = total_bytes(pack->work);
    uint64_t before = 0; /* source bytes of finished items */
    size_t item = 0;
    struct error err = {0};
    struct ring_slot *slot;

    while ((slot = ring_take(&pack->ring, RING_PACK)) != NULL) {
        const struct slab *slab = &slot->slab;

        for (; item < slab->item; item++)
            before += pack->work->items[item].e->t->n_bytes;
        enum status st = interrupt_check(&err);
        if (st == OK)
            st = row_packer_run(packer, slab, slot->raw, slot->packed,
                                &result->is_too_wide, &err);
        if (st == OK && result->is_too_wide) {
            result->wide_item = slab->item;
            st = fail(&err, ERR_UNSUPPORTED, "%s: a block's scale does not fit F16",
                      pack->work->items[slab->item].e->t->found);
        }
        if (st != OK) {
            ring_stop(&pack->ring, &err);
            return;
        }
        progress_report(progress, pack->work->items[slab->item].e->name,
                        before + share_of(&pack->work->items[slab->item], slab), total);
        ring_pass(&pack->ring, RING_PACK);
    }
}

static enum status run_stages(struct pack *pack, struct row_packer *packer,
                              const struct progress *progress, struct pack_result *result,
                              struct error *err)
{
    pthread_t reader, writer;

    if (pthread_create(&reader, NULL, read_all, pack) != 0)
        return fail(err, ERR_NOMEM, "no thread for reading");
    if (pthread_create(&writer, NULL, write_all, pack) != 0) {
        ring_stop(&pack->ring, &(struct error){ERR_NOMEM, "no thread for writing"});
        pthread_join(reader, NULL);
        return fail(err, ERR_NOMEM, "no thread for writing");
    }
    pack_all(pack, packer, progress, result);
    pthread_join(reader, NULL);
    pthread_join(writer, NULL);
    if (pack->ring.is_stopped)
        *err = pack->ring.trouble;
    return pack->ring.is_stopped ? err->code : OK;
}

/* ---- before and after ---- */

/* What a journal lists and the temporaries still hold is hashed instead of made again. */
static enum status skip_written(struct pack *pack, size_t n_packed, struct error *err)
{
    struct slab_cursor ahead = pack->cursor;
    void *bytes = malloc(n_packed + 1);
    uint64_t n = 0;
    struct slab slab;
    enum status st = bytes ? OK : fail(err, ERR_NOMEM, "no memory to resume");

    while (st == OK && n < journal_count(pack->journal) && slabs_next(&ahead, &slab)) {
        struct error ignored;

        /* whatever cannot be read back was lost: it is written again */
        if (output_read(pack->files[slab.file], slab.offset, bytes, slab.n_bytes,
                        &ignored) != OK ||
            hash_bytes(bytes, slab.n_bytes) != journal_hash(pack->journal, n))
            break;
        sha256_update(pack->hashes[slab.file], bytes, slab.n_bytes);
        if (slab.n_padding)
            st = write_bytes(pack, slab.file, slab.offset + slab.n_bytes, zeros,
                             slab.n_padding, err);
        pack->cursor = ahead;
        n++;
        if (st == OK)
            st = interrupt_check(err);
    }
    free(bytes);
    return st == OK ? journal_cut(pack->journal, n, err) : st;
}

static enum status open_outputs(struct pack *pack, const struct convert_options *options,
                                struct error *err)
{
    const struct work *work = pack->work;
    const struct output_options how = {.force = options->force,
                                       .resume = options->resume};
    uint8_t identity[32];
    enum status st = OK;

    for (size_t i = 0; st == OK && i < work->n_files; i++) {
        pack->hashes[i] = sha256_new();
        st = pack->hashes[i]
                 ? output_open(work->files[i].path, &how, &pack->files[i], err)
                 : fail(err, ERR_NOMEM, "no memory for a hash");
    }
    if (st == OK)
        st = journal_identity(work, options, identity, err);
    if (st == OK)
        st = journal_open(work, identity, options->resume, &pack->journal, err);
    for (size_t i = 0; st == OK && i < work->n_files; i++)
        st = write_bytes(pack, (int)i, 0, work->files[i].header, work->files[i].n_header,
                         err);
    return st;
}

static enum status check_sources(const struct work *work, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; st == OK && i < source_n_files(work->src); i++)
        st = file_unchanged(source_file(work->src, i), err);
    return st;
}

/* No name is given before every file is on the device and may have its own. The table's goes first:
 * when the main file is there, so is everything it names. */
static enum status commit(struct pack *pack, struct pack_result *result,
                          struct error *err)
{
    const struct work *work = pack->work;
    enum status st = OK;

    for (size_t i = 0; st == OK && i < work->n_files; i++) {
        sha256_final(pack->hashes[i], result->digest[i]);
        pack->hashes[i] = NULL;
        st = output_seal(pack->files[i], work->files[i].n_bytes, err);
    }
    for (size_t i = work->n_files; st == OK && i-- > 0;)
        st = output_rename(pack->files[i], err);
    for (size_t i = 0; st != OK && i < work->n_files; i++)
        output_withdraw(pack->files[i]);
    return st;
}

static bool can_resume(enum status st)
{
    return st == ERR_IO || st == ERR_NOMEM || st == ERR_INTERRUPTED;
}

/* With a journal: what the machine cut short. Without one nothing was begun here, but a run that
 * could not be resumed like this is still there to be resumed as it should. */
static bool leaves_parts(const struct pack *pack, bool resume, enum status st)
{
    return pack->journal ? can_resume(st)
                         : resume && journal_exists(pack->work->files[0].path);
}

static void pack_close(struct pack *pack, bool keep)
{
    for (size_t i = 0; i < MAX_FILES; i++) {
        sha256_free(pack->hashes[i]);
        if (keep)
            output_keep(pack->files[i]);
        else
            output_discard(pack->files[i]);
    }
    journal_close(pack->journal, keep);
}

enum status pack_run(const struct work *work, const struct convert_options *options,
                     const struct progress *progress, struct pack_result *result,
                     struct error *err)
{
    const struct slab_sizes sizes = slabs_sizes(work);
    struct pack pack = {.work = work, .cursor = slabs_begin(work)};
    struct row_packer packer = {0};
    enum status st;

    *result = (struct pack_result){0};
    st = ring_open(&pack.ring, &sizes, err);
    if (st != OK)
        return st;
    st = row_packer_open(&packer, work, sizes.row, err);
    if (st == OK)
        st = open_outputs(&pack, options, err);
    if (st == OK && options->resume)
        st = skip_written(&pack, sizes.packed, err);
    if (st == OK)
        st = run_stages(&pack, &packer, progress, result, err);
    if (st == OK)
        st = check_sources(work, err);
    const bool had_begun = pack.journal != NULL;
    if (st == OK)
        st = commit(&pack, result, err);
    if (st == OK) {
        result->tallies = packer.tallies;
        packer.tallies = NULL;
    }
    pack_close(&pack, leaves_parts(&pack, options->resume, st));
    row_packer_close(&packer);
    ring_close(&pack.ring);
    if (can_resume(st) && had_begun) {
        const size_t n = strlen(err->text);
        snprintf(err->text + n, sizeof(err->text) - n, " (--resume continues)");
    }
    return st;
}
