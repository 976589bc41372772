/*
 * inspect.h - the parts of carat inspect
 */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "cli/ui.h"
#include "formats/gguf/gguf.h"

struct inspection {
    const char *path,
        *key;      /* key: print this one value, whole, and nothing else; or NULL */
    bool is_full;  /* arrays and strings whole */
    bool is_brief; /* no list of tensors */
};

MUST_CHECK enum status inspect_gguf(const struct inspection *want, const struct ui *ui,
                                    struct error *err);
/* A safetensors file or a folder of them. */
MUST_CHECK enum status inspect_safetensors(const struct inspection *want,
                                           const struct ui *ui, struct error *err);

/* Say one sentence for each thing that llama.cpp 0.5.0 would refuse, or silently take for
 * something else, although the file is well formed. */
void loader_rules(const struct gguf *file, void (*tell)(void *arg, const char *sentence),
                  void *arg);

/* "[2048, 256]" of n dimensions, slowest first. */
enum { SHAPE_TEXT = 96 };
const char *shape_text(char text[SHAPE_TEXT], const uint64_t *dims, int n_dims);

/* "4.65 billion weights" */
const char *weights_text(char text[SHAPE_TEXT], uint64_t n);

/* A value as people read it, cut to fit `size` bytes: "gemma4", 30, [1, 106], ["<pad>", ...]. */
void key_text(char *text, size_t size, const struct gguf_value *value);

/* {"type", "count", "value"}: count for arrays only, value only when it is short or is_full.
 * NULL when memory is out. */
json_t *key_json(const struct gguf_value *value, bool is_full);

/* The value alone on stdout: a string as it is, the elements of an array one a line. */
void metadata_print(const struct gguf_value *value);

#endif
