/*
 * keys.c - scalar keys of an architecture
 */
#include "convert/gemma/keys.h"

#include <stdio.h>

const char *key_name(char name[KEY_NAME], const char *architecture, const char *key)
{
    snprintf(name, KEY_NAME, "%s.%s", architecture, key);
    return name;
}

enum status keys_set(const char *architecture, const struct key_row *rows, size_t n,
                     struct gguf_meta *meta, struct error *err)
{
    char key[KEY_NAME];
    enum status st = OK;

    for (size_t i = 0; i < n && st == OK; i++) {
        if (rows[i].left_out)
            continue;
        key_name(key, architecture, rows[i].key);
        st = rows[i].type == GGUF_F32
                 ? gguf_set_f32(meta, key, (float)rows[i].value, err)
                 : gguf_set_u32(meta, key, (uint32_t)rows[i].value, err);
    }
    return st;
}
