/*
 * zip_members.c - read a zip's directory and hold it against the file
 */
#include "formats/archive/zip_members.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    END_BYTES = 22,     /* the end record, before its comment */
    END64_BYTES = 56,   /* the zip64 end record */
    LOCATOR_BYTES = 20, /* says where that is */
    CENTRAL_BYTES = 46, /* a directory entry before its name */
    LOCAL_BYTES = 30,   /* a local header before its name */
    COMMENT_MOST = 65535,
    NAME_MOST = 4096,
    DIRECTORY_MOST = 256 << 20,
    MEMBERS_MOST = 1 << 20,
    FLAG_ENCRYPTED = 1,
};

static const uint32_t end_magic = 0x06054b50, end64_magic = 0x06064b50,
                      locator_magic = 0x07064b50, central_magic = 0x02014b50,
                      local_magic = 0x04034b50;

/* Where the directory lies. */
struct directory {
    uint64_t n_entries, offset, n_bytes;
    uint64_t end; /* nothing of the directory may lie beyond */
};

bool members_look_like_zip(const uint8_t *start, size_t n)
{
    return n >= 4 && (load_u32(start) == local_magic || load_u32(start) == end_magic);
}

/* ---- the end of the file ---- */

/* The zip64 end record takes over the fields that are full in the old one. */
static enum status read_end64(const struct file *file, uint64_t end,
                              struct directory *dir, struct error *err)
{
    uint8_t locator[LOCATOR_BYTES], record[END64_BYTES];
    uint64_t at;
    enum status st;

    if (end < LOCATOR_BYTES)
        return fail(err, ERR_CORRUPT, "zip: no room for its zip64 locator");
    st = file_read(file, end - LOCATOR_BYTES, locator, sizeof(locator), err);
    if (st != OK)
        return st;
    at = load_u64(locator + 8);
    if (load_u32(locator) != locator_magic)
        return fail(err, ERR_CORRUPT, "zip: no zip64 locator");
    if (end < END64_BYTES || at > end - END64_BYTES)
        return fail(err, ERR_CORRUPT, "zip: the offset of its zip64 record is beyond it");
    st = file_read(file, at, record, sizeof(record), err);
    if (st != OK)
        return st;
    if (load_u32(record) != end64_magic)
        return fail(err, ERR_CORRUPT, "zip: no zip64 end record");
    if (load_u32(record + 16) != 0 || load_u32(record + 20) != 0)
        return fail(err, ERR_UNSUPPORTED, "zip: spread over several disks");
    *dir = (struct directory){
        .n_entries = load_u64(record + 32),
        .n_bytes = load_u64(record + 40),
        .offset = load_u64(record + 48),
        .end = at,
    };
    return OK;
}

static enum status use_end(const struct file *file, const uint8_t *record, uint64_t at,
                           struct directory *dir, struct error *err)
{
    enum status st = OK;

    *dir = (struct directory){
        .n_entries = load_u16(record + 10),
        .n_bytes = load_u32(record + 12),
        .offset = load_u32(record + 16),
        .end = at,
    };
    if (load_u16(record + 4) != 0 && load_u16(record + 4) != 0xffff)
        return fail(err, ERR_UNSUPPORTED, "zip: spread over several disks");
    if (dir->n_entries == 0xffff || dir->n_bytes == 0xffffffff ||
        dir->offset == 0xffffffff)
        st = read_end64(file, at, dir, err);
    if (st != OK)
        return st;
    if (dir->n_bytes > dir->end || dir->offset > dir->end - dir->n_bytes)
        return fail(err, ERR_CORRUPT,
                    "zip: the offset %" PRIu64 " of its directory lies past the file",
                    dir->offset);
    if (dir->n_entries > dir->n_bytes / CENTRAL_BYTES || dir->n_entries > MEMBERS_MOST ||
        dir->n_bytes > DIRECTORY_MOST)
        return fail(err, ERR_CORRUPT,
                    "zip: %" PRIu64 " members in a directory of %" PRIu64 " bytes",
                    dir->n_entries, dir->n_bytes);
    return OK;
}

/* The end record stands last, but for a comment whose length it knows. */
static enum status find_directory(const struct file *file, struct directory *dir,
                                  struct error *err)
{
    const uint64_t size = file_size(file);
    size_t n = size < END_BYTES + COMMENT_MOST ? (size_t)size : END_BYTES + COMMENT_MOST;
    uint8_t *tail = malloc(n ? n : 1);
    enum status st;

    if (!tail)
        return fail(err, ERR_NOMEM, "no memory to read a zip");
    st = file_read(file, size - n, tail, n, err);
    if (st == OK)
        st = fail(err, ERR_CORRUPT, "zip: truncated: no end of its directory");
    for (size_t i = n; i >= END_BYTES; i--) {
        const uint8_t *record = tail + i - END_BYTES;

        if (load_u32(record) == end_magic && load_u16(record + 20) == n - i) {
            st = use_end(file, record, size - n + (i - END_BYTES), dir, err);
            break;
        }
    }
    free(tail);
    return st;
}

/* ---- entries ---- */

static enum status check_name(const char *name, size_t n, struct error *err)
{
    if (memchr(name, '\0', n) || n == 0)
        return fail(err, ERR_CORRUPT, "zip: a member name is empty or holds a NUL");
    if (name[0] == '/' || strchr(name, '\\') || strcmp(name, "..") == 0 ||
        strncmp(name, "../", 3) == 0 || strstr(name, "/../") ||
        (n >= 3 && strcmp(name + n - 3, "/..") == 0))
        return fail(err, ERR_CORRUPT, "zip: the member name %s leads outside", name);
    return OK;
}

/* Sizes and offset that are full in the entry stand in extra field 1, in this order. */
static enum status read_extra(const uint8_t *extra, size_t n, struct member *member,
                              struct error *err)
{
    uint64_t *fields[] = {&member->size, &member->packed, &member->header};

    for (size_t at = 0; n - at >= 4;) {
        uint16_t id = load_u16(extra + at), length = load_u16(extra + at + 2);
        size_t used = 0;

        at += 4;
        if (length > n - at)
            break;
        for (int i = 0; id == 1 && i < 3; i++) {
            if (*fields[i] != 0xffffffff || length - used < 8)
                continue;
            *fields[i] = load_u64(extra + at + used);
            used += 8;
        }
        at += length;
    }
    if (member->size == 0xffffffff && member->packed == 0xffffffff)
        return fail(err, ERR_CORRUPT, "zip: %s: its size is missing", member->name);
    return OK;
}

static enum status check_member(const struct member *member, unsigned flags,
                                struct error *err)
{
    if (flags & FLAG_ENCRYPTED)
        return fail(err, ERR_UNSUPPORTED, "zip: %s is encrypted", member->name);
    if (member->method != METHOD_STORED && member->method != METHOD_DEFLATED)
        return fail(err, ERR_UNSUPPORTED, "zip: %s: compression %u is not known",
                    member->name, member->method);
    if (member->method == METHOD_STORED && member->packed != member->size)
        return fail(err, ERR_CORRUPT,
                    "zip: %s: stored, but in %" PRIu64 " bytes for %" PRIu64,
                    member->name, member->packed, member->size);
    return OK;
}

static enum status add_member(struct members *members, const struct member *member,
                              struct error *err)
{
    if (name_index_find(&members->index, member->name) >= 0)
        return fail(err, ERR_CORRUPT, "zip: %s stands in it twice", member->name);
    if (!name_index_add(&members->index, member->name, members->n))
        return fail(err, ERR_NOMEM, "no memory for the members of a zip");
    members->list[members->n++] = *member;
    return OK;
}

/* One entry of the directory at p, of which `left` bytes are there; *used is its length. */
static enum status read_entry(struct members *members, const uint8_t *p, size_t left,
                              size_t *used, struct error *err)
{
    struct member member = {0};
    size_t n_name, n_extra, n_comment;
    char *name;
    enum status st;

    if (left < CENTRAL_BYTES || load_u32(p) != central_magic)
        return fail(err, ERR_CORRUPT, "zip: its directory is damaged");
    n_name = load_u16(p + 28);
    n_extra = load_u16(p + 30);
    n_comment = load_u16(p + 32);
    if (n_name + n_extra + n_comment > left - CENTRAL_BYTES || n_name > NAME_MOST)
        return fail(err, ERR_CORRUPT, "zip: an entry of its directory is too long");
    *used = CENTRAL_BYTES + n_name + n_extra + n_comment;
    name = arena_strndup(&members->arena, (const char *)p + CENTRAL_BYTES, n_name);
    if (!name)
        return fail(err, ERR_NOMEM, "no memory for the members of a zip");
    st = check_name(name, n_name, err);
    if (st != OK)
        return st;
    if (name[n_name - 1] == '/')
        return OK; /* a folder */
    member.name = name;
    member.method = load_u16(p + 10);
    member.crc = load_u32(p + 16);
    member.packed = load_u32(p + 20);
    member.size = load_u32(p + 24);
    member.header = load_u32(p + 42);
    st = read_extra(p + CENTRAL_BYTES + n_name, n_extra, &member, err);
    if (st == OK)
        st = check_member(&member, load_u16(p + 8), err);
    return st == OK ? add_member(members, &member, err) : st;
}

static enum status read_entries(const struct file *file, const struct directory *dir,
                                struct members *members, struct error *err)
{
    const size_t n = (size_t)dir->n_bytes;
    uint8_t *bytes = malloc(n ? n : 1);
    enum status st = OK;

    members->list =
        calloc(dir->n_entries ? (size_t)dir->n_entries : 1, sizeof(*members->list));
    if (!bytes || !members->list)
        st = fail(err, ERR_NOMEM, "no memory for the directory of a zip");
    if (st == OK)
        st = file_read(file, dir->offset, bytes, n, err);
    for (uint64_t i = 0, at = 0; st == OK && i < dir->n_entries; i++) {
        size_t used = 0;

        st = read_entry(members, bytes + at, n - (size_t)at, &used, err);
        at += used;
    }
    free(bytes);
    return st;
}

/* ---- local headers ---- */

/* Find where the member's data begins, and that its own header says the same of it. */
static enum status read_local(const struct file *file, const struct directory *dir,
                              struct member *member, struct error *err)
{
    const size_t n_name = strlen(member->name);
    uint8_t local[LOCAL_BYTES + NAME_MOST];
    uint64_t end;
    enum status st;

    if (member->header > dir->offset ||
        dir->offset - member->header < LOCAL_BYTES + n_name)
        return fail(err, ERR_CORRUPT,
                    "zip: %s: the offset %" PRIu64 " of its header lies past the data",
                    member->name, member->header);
    st = file_read(file, member->header, local, LOCAL_BYTES + n_name, err);
    if (st != OK)
        return st;
    if (load_u32(local) != local_magic)
        return fail(err, ERR_CORRUPT, "zip: %s: no header at its offset %" PRIu64,
                    member->name, member->header);
    if (load_u16(local + 26) != n_name ||
        memcmp(local + LOCAL_BYTES, member->name, n_name) != 0)
        return fail(err, ERR_CORRUPT, "zip: %s: its own header has another name",
                    member->name);
    if (load_u16(local + 8) != member->method)
        return fail(err, ERR_CORRUPT, "zip: %s: its own header has another compression",
                    member->name);
    member->offset = member->header + LOCAL_BYTES + n_name + load_u16(local + 28);
    if (!add_u64(member->offset, member->packed, &end) || end > dir->offset)
        return fail(err, ERR_CORRUPT,
                    "zip: %s: its data runs past the offset %" PRIu64 " of the directory",
                    member->name, dir->offset);
    return OK;
}

static int by_header(const void *a, const void *b)
{
    const struct member *x = *(const struct member *const *)a;
    const struct member *y = *(const struct member *const *)b;

    return (x->header > y->header) - (x->header < y->header);
}

/* No two members may share bytes: that is how a small file claims to hold a large one. */
static enum status check_apart(const struct members *members, struct error *err)
{
    const struct member **order =
        malloc((members->n ? members->n : 1) * sizeof(struct member *));
    enum status st = OK;

    if (!order)
        return fail(err, ERR_NOMEM, "no memory for the members of a zip");
    for (size_t i = 0; i < members->n; i++)
        order[i] = &members->list[i];
    qsort(order, members->n, sizeof(struct member *), by_header);
    for (size_t i = 1; i < members->n && st == OK; i++)
        if (order[i]->header < order[i - 1]->offset + order[i - 1]->packed)
            st = fail(err, ERR_CORRUPT, "zip: %s and %s overlap", order[i - 1]->name,
                      order[i]->name);
    free(order);
    return st;
}

enum status members_read(const struct file *file, struct members *members,
                         struct error *err)
{
    struct directory dir = {0};
    enum status st = find_directory(file, &dir, err);

    if (st == OK)
        st = read_entries(file, &dir, members, err);
    for (size_t i = 0; i < members->n && st == OK; i++)
        st = read_local(file, &dir, &members->list[i], err);
    if (st == OK)
        st = check_apart(members, err);
    return st;
}

const struct member *members_find(const struct members *members, const char *name)
{
    int64_t at = name_index_find(&members->index, name);

    return at < 0 ? NULL : &members->list[at];
}

void members_free(struct members *members)
{
    arena_free(&members->arena);
    free(members->list);
    name_index_free(&members->index);
    *members = (struct members){0};
}
