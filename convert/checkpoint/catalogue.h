/*
 * catalogue.h - how a checkpoint comes together: raw tensors are claimed by steps
 *
 * Opening puts every stored tensor on the raw list under its canonical name. Steps then run in
 * order (checkpoint.c has the table); each looks for raw tensors it understands, marks them taken
 * and adds source tensors that provide their rows:
 *
 *     quantized   NAME.weight_packed + NAME.weight_scale ... ──► NAME.weight
 *     plain       NAME, any float type                        ──► NAME
 *     experts     layers.N.experts.E.gate_proj.weight ...      ──► layers.N.experts.gate_up_proj
 *     adapters    wrap source tensors that are already there
 *     modules     2_Dense/model.safetensors and its like        ──► dense_2.linear.weight
 *
 * To teach carat another container of numbers: write a step, add it to the table.
 */
#ifndef CONVERT_CHECKPOINT_CATALOGUE_H
#define CONVERT_CHECKPOINT_CATALOGUE_H

#include "convert/checkpoint/checkpoint.h"

/* One stored tensor. */
struct raw_tensor {
    const char *name;        /* canonical */
    const struct tensor *t;  /* as stored; t->name is the file's own name */
    const struct file *file; /* t->offset counts in it */
    uint64_t order;
    const struct archive *archive; /* NULL; or the tensor is not in one piece */
    const void *held;              /* NULL; or its bytes, which stand in no file */
    bool taken;                    /* some step has claimed it */
};

/* Read bytes [at, at + n) of the dense row-major tensor, however it lies in the file. Sentences begin
 * with the path. */
MUST_CHECK enum status raw_read(const struct raw_tensor *raw, uint64_t at, size_t n,
                                void *dst, struct error *err);

/* All of it as f32 in the checkpoint's arena, of numbers of whole bytes each. */
MUST_CHECK enum status raw_floats(struct checkpoint *cp, const struct raw_tensor *raw,
                                  const float **out, struct error *err);

struct checkpoint {
    struct arena arena; /* owns every small thing below */
    const char *path, *folder;
    const char *quantizer; /* what made its codes, as people call it; or NULL */
    json_t *config;        /* owned */
    const char *files;     /* "2 shards" */
    const char *layout;    /* the same and what its weights are: "2 shards, BF16" */

    struct shards *shards;   /* owned; NULL when the weights are in an archive */
    struct archive *archive; /* owned; NULL when they are in shards */
    struct raw_tensor *raws; /* sorted by name */
    size_t n_raws;

    struct source_tensor *
        *tensors; /* by order once open; malloc'd array of arena things */
    struct source_tensor **by_name; /* the same, sorted by name when `sorted` */
    size_t n_tensors, room;
    bool sorted;

    struct dense_module *modules; /* in the arena; their files stay open */
    size_t n_modules;

    const char **notes;
    size_t n_notes, notes_room;

    const struct convert_lora *loras; /* borrowed while opening */
    size_t n_loras;
    struct adapter *adapters; /* in the arena; their files stay open */
    size_t n_adapters;
};

/* The raw tensor of that canonical name, or NULL. */
struct raw_tensor *catalogue_raw(struct checkpoint *cp, const char *name);

/* A zeroed source tensor, added under `name` (copied). NULL when memory is out. The caller fills
 * in everything else. */
struct source_tensor *catalogue_add(struct checkpoint *cp, const char *name);

/* The source tensor of that name, or NULL; its fields may be rewritten to wrap it (copy the old
 * struct first and keep the copy as the new one's base). */
struct source_tensor *catalogue_find(struct checkpoint *cp, const char *name);

/* Bring the lookup table up to date; catalogue_find() does it by itself. False: memory is out. */
bool catalogue_sort(struct checkpoint *cp);

/* Take out the source tensors that are marked as parts of others. */
void catalogue_drop_parts(struct checkpoint *cp);

/* A number of the model's config: in text_config, else at the top. False when absent or null. */
bool catalogue_config_u64(const struct checkpoint *cp, const char *key, uint64_t *out);

/* Remember a sentence for the user. ERR_NOMEM. */
__attribute__((format(printf, 3, 4))) MUST_CHECK enum status
catalogue_note(struct checkpoint *cp, struct error *err, const char *fmt, ...);

/* Open the weights and fill the raw list. */
MUST_CHECK enum status containers_open(struct checkpoint *cp, struct error *err);
void containers_close(struct checkpoint *cp);

/* ---- names ---- */

/* The canonical form of a stored tensor's name, from the arena; NULL when memory is out. */
const char *canonical_name(struct arena *arena, const char *found);

enum leftover {
    LEFTOVER_NO, /* a tensor like any other */
    LEFTOVER_HARMLESS, /* computed buffers, tools' and optimizers' leavings: ignored, with a note */
    LEFTOVER_ASIDE, /* no tensor of the model's, but read: checkpoint_read_aside() */
    LEFTOVER_TOWER, /* vision and audio: not part of the text model */
};
enum leftover canonical_leftover(const char *canonical);

/* ---- steps ---- */

MUST_CHECK enum status quantized_claim(struct checkpoint *cp, struct error *err);
MUST_CHECK enum status plain_claim(struct checkpoint *cp, struct error *err);
MUST_CHECK enum status experts_claim(struct checkpoint *cp, struct error *err);
MUST_CHECK enum status adapters_claim(struct checkpoint *cp, struct error *err);
const struct file *adapters_file(const struct checkpoint *cp,
                                 size_t i); /* has one each */
void adapters_close(struct checkpoint *cp);
MUST_CHECK enum status modules_claim(struct checkpoint *cp, struct error *err);
const struct file *modules_file(const struct checkpoint *cp, size_t i);
void modules_close(struct checkpoint *cp);

/* True for numbers as they are stored: nobody has wrapped them. */
bool is_plain(const struct source_tensor *t);

/* Fill t so that its rows are those of one stored tensor of a float type. */
MUST_CHECK enum status plain_source(struct checkpoint *cp, struct source_tensor *t,
                                    const struct raw_tensor *raw, struct error *err);

/* A run of rows of another source tensor. */
struct row_part {
    const struct source_tensor *t;
    uint64_t first, n;
};

/* Fill t's provider so that its rows are those of `parts` (from the arena), one after another; all
 * have t's columns and at least one row. False when memory is out. */
bool stack_source(struct source_tensor *t, const struct row_part *parts, size_t n_parts,
                  struct arena *arena);

#endif
