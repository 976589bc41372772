/*
 * describe.c - the metadata of the output, key by key as llama.cpp's converter writes it
 */
#include "convert/source.h"
#include "formats/chat/chat.h"

#include <stdio.h>

/* Elements in all, outside expert tensors, and of one expert, for the size label. Tensors that are
 * not written count as well: the label names the model, not the file. */
static void count_parameters(const struct source *src, struct gemma_identity *id)
{
    uint64_t experts = 0, n_expert_tensors = 0;

    for (size_t i = 0; i < src->n_entries; i++) {
        const struct source_entry *e = &src->entries[i];
        const uint64_t n = e->ne[0] * e->ne[1] * e->ne[2] * e->ne[3];

        id->n_params += n;
        if (!strstr(e->name, "_exps.") || e->n_dims < 3) {
            id->n_shared += n;
            continue;
        }
        id->n_expert += n / e->ne[2];
        experts += e->ne[2];
        n_expert_tensors++;
    }
    id->n_experts = n_expert_tensors ? experts / n_expert_tensors : 0;
}

/* general.file_type of the unquantized file: by the type of most bytes. */
static uint32_t kept_file_type(const struct source *src)
{
    enum { FILE_F32 = 0, FILE_F16 = 1, FILE_BF16 = 32 };
    uint64_t f16 = 0, bf16 = 0, other = 0;

    for (size_t i = 0; i < src->n_entries; i++) {
        const struct source_entry *e = &src->entries[i];

        *(e->kept == TYPE_BF16  ? &bf16
          : e->kept == TYPE_F16 ? &f16
                                : &other) += e->t->n_bytes;
    }
    return bf16 > f16 && bf16 > other ? FILE_BF16 : f16 > other ? FILE_F16 : FILE_F32;
}

/* generation_config.json, or NULL when there is none (it is optional). */
static enum status read_generation(struct source *src, json_t **out, struct error *err)
{
    const char *path = arena_printf(&src->arena, "%s/generation_config.json",
                                    checkpoint_folder(src->cp));

    *out = NULL;
    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    return file_exists(path) ? json_read_file(path, out, err) : OK;
}

/* Tokens that must never be drawn: only the unified model's converter writes them. */
static enum status describe_suppressed(struct source *src, const json_t *generation,
                                       struct error *err)
{
    const json_t *list = json_object_get(generation, "suppress_tokens");
    const size_t n = json_array_size(list);

    if (n == 0 || !strstr(src->config.model_type, "unified"))
        return OK;
    int32_t *ids = arena_array(&src->arena, n, sizeof(*ids));
    if (!ids)
        return fail(err, ERR_NOMEM, "no memory for suppress_tokens");
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(list, i);

        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > INT32_MAX)
            return fail(err, ERR_CORRUPT,
                        "%s/generation_config.json: suppress_tokens holds "
                        "something that is no token id",
                        checkpoint_folder(src->cp));
        ids[i] = (int32_t)json_integer_value(id);
    }
    return gguf_set_array(src->meta, "tokenizer.ggml.suppress_tokens", GGUF_I32, ids, n,
                          err);
}

static struct source_entry *find_entry(struct source *src, const char *name)
{
    for (size_t i = 0; i < src->n_entries; i++)
        if (strcmp(src->entries[i].name, name) == 0)
            return &src->entries[i];
    return NULL;
}

/* The widths of an encoder's dense heads, and how it gets from tokens to one vector. */
static enum status describe_encoder(struct source *src, struct error *err)
{
    enum { POOLING_MEAN = 1 };
    const char *arch = src->config.family->architecture;
    char key[128], name[32];
    enum status st = OK;

    for (int head = 2; st == OK && head <= 3; head++) {
        snprintf(name, sizeof(name), "dense_%d.weight", head);
        const struct source_entry *e = find_entry(src, name);
        if (!e)
            continue;
        snprintf(key, sizeof(key), "%s.dense_%d_feat_in", arch, head);
        st = gguf_set_u32(src->meta, key, (uint32_t)e->ne[0], err);
        snprintf(key, sizeof(key), "%s.dense_%d_feat_out", arch, head);
        if (st == OK)
            st = gguf_set_u32(src->meta, key, (uint32_t)e->ne[1], err);
    }
    snprintf(key, sizeof(key), "%s.pooling_type", arch);
    return st == OK ? gguf_set_u32(src->meta, key, POOLING_MEAN, err) : st;
}

/* Rows of the table without a piece are never looked up: the converter leaves them out. */
static enum status trim_vocabulary(struct source *src, uint64_t n_pieces,
                                   struct error *err)
{
    static const char *const tables[] = {"token_embd.weight", "output.weight"};
    const uint32_t n_rows = src->config.n_vocab;

    for (int i = 0; i < 2; i++) {
        struct source_entry *e = find_entry(src, tables[i]);

        if (!e)
            continue;
        e->t = source_cut(&src->arena, e->t, n_pieces);
        if (!e->t)
            return fail(err, ERR_NOMEM, "no memory for %s", e->name);
        e->ne[1] = n_pieces;
    }
    src->config.n_vocab = (uint32_t)n_pieces;
    return source_note(src, err, "%u rows of the embedding without a piece left out",
                       n_rows - (uint32_t)n_pieces);
}

/* A template that is broken goes into the file all the same: others may read it. */
static enum status note_template(struct source *src, struct error *err)
{
    const enum status st = chat_check(src->meta, err);

    if (st == ERR_CORRUPT || st == ERR_UNSUPPORTED)
        return source_note(src, err, "%s; written as it is", err->text);
    return st;
}

static enum status describe_tokenizer(struct source *src,
                                      const struct source_options *options,
                                      struct error *err)
{
    const char *folder = checkpoint_folder(src->cp);
    struct chat_templates templates = {0};
    struct tokenizer *tok = NULL;
    enum status st;

    st = options->chat_template
             ? chat_read_template(options->chat_template, &templates, err)
             : chat_find_templates(folder, &templates, err);
    if (st == OK)
        st = tokenizer_open_folder(folder, checkpoint_config(src->cp), &tok, err);
    if (st == OK)
        st = tokenizer_to_meta(tok, src->config.family->architecture, &templates,
                               src->meta, err);
    if (st == OK)
        st = note_template(src, err);
    if (st == OK)
        st = source_note_beside(src, options, &templates, tok, err);
    const size_t n = st == OK ? tokenizer_size(tok) : 0;
    if (st == OK && src->config.family->trims_vocabulary && n < src->config.n_vocab)
        st = trim_vocabulary(src, n, err);
    if (st == OK && n != src->config.n_vocab)
        st = fail(err, ERR_SHAPE, "%s: the tokenizer has %zu pieces (vocab_size is %u)",
                  folder, n, src->config.n_vocab);
    tokenizer_free(tok);
    chat_templates_free(&templates);
    return st;
}

enum status source_describe(struct source *src, const struct source_options *options,
                            struct error *err)
{
    const json_t *config = checkpoint_config(src->cp);
    const struct gemma_family *family = src->config.family;
    json_t *generation = NULL;
    enum status st = read_generation(src, &generation, err);

    struct gemma_identity identity = {
        .folder = checkpoint_folder(src->cp),
        .name_or_path = json_string_value(json_object_get(config, "_name_or_path")),
        .generation = generation};
    count_parameters(src, &identity);
    if (st == OK)
        st = gemma_describe_general(family->architecture, &identity, src->meta, err);
    if (st == OK)
        st = family->describe(&src->config, kept_file_type(src), src->meta, err);
    if (st == OK && family->is_encoder)
        st = describe_encoder(src, err);
    if (st == OK)
        st = describe_suppressed(src, generation, err);
    if (st == OK)
        st = gguf_set_u32(src->meta, "general.quantization_version", 2, err);
    if (st == OK)
        st = describe_tokenizer(src, options, err);
    if (st == OK)
        st = source_describe_ordered_head(src, err);
    json_decref(generation);
    return st;
}

/* One KEY=VALUE. Numbers and what a file's layout rests on stay as the source has them. */
static enum status override_one(struct source *src, const char *pair, struct error *err)
{
    const char *key = arena_strndup(&src->arena, pair, strcspn(pair, "="));

    if (!key)
        return fail(err, ERR_NOMEM, "no memory for metadata");
    const struct gguf_value *old = gguf_meta_find(src->meta, key);
    if (old && old->type != GGUF_STRING)
        return fail(err, ERR_USAGE, "%s: %s is not a string", pair, key);
    return gguf_assign(src->meta, pair, err);
}

enum status source_override(struct source *src, const struct source_options *options,
                            struct error *err)
{
    enum status st = OK;

    if (src->gguf && options->chat_template)
        st = chat_replace_template(src->meta, options->chat_template, err);
    for (size_t i = 0; st == OK && i < options->n_metadata; i++) {
        st = override_one(src, options->metadata[i], err);
        if (st != OK)
            return fail_at(err, "--metadata");
    }
    return st;
}
