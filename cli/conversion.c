/*
 * conversion.c - the options that convert, plan and verify share
 */
#include "cli/conversion.h"

#include "cli/spelling.h"
#include "quantize/quantize.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void conversion_rows(struct conversion *c, struct option rows[CONVERSION_OPTIONS])
{
    const struct option table[CONVERSION_OPTIONS] = {
        {"output", 'o', OPTION_TEXT, &c->out, "OUT.gguf", "the file to write"},
        {"type", 0, OPTION_TEXT, &c->type, "T",
         "Q4_0, Q8_0, Q4_K_S, Q4_K_M, Q5_K_M, Q6_K, BF16, F16, F32, ...; default Q4_K_M"},
        {"recipe", 0, OPTION_TEXT, &c->recipe, "FILE",
         "types by name: a line `pattern = TYPE` each, first match wins"},
        {"ple", 0, OPTION_CHOICE, &c->ple, "split|inline",
         "the per-layer table in a second file (the default), or in the one file"},
        {"ple-type", 0, OPTION_TEXT, &c->ple_type, "T", "type of the per-layer table"},
        {"target-size", 0, OPTION_SIZE, &c->target_size, "SIZE",
         "choose types so that the files take at most this, by --sensitivity"},
        {"sensitivity", 0, OPTION_TEXT, &c->sensitivity, "FILE",
         "what each tensor costs in each type, from carat sensitivity"},
        {"ple-size", 0, OPTION_SIZE, &c->ple_size, "SIZE",
         "of the target, what the per-layer table may take; the rest is for the others"},
        {"lora", 0, OPTION_TEXTS, &c->loras, "DIR[:SCALE]",
         "merge this adapter in the same pass; may be given several times"},
        {"imatrix", 0, OPTION_TEXT, &c->imatrix, "FILE",
         "importance matrix, GGUF or .dat"},
        {"stats", 0, OPTION_TEXT, &c->moments, "FILE",
         "second moments, from carat calibrate --hessian"},
        {"text", 0, OPTION_TEXTS, &c->texts, "FILE",
         "gather statistics from this text, or .jsonl of conversations, first; may be "
         "given several times; 'default', which compensate takes without this or "
         "--stats: a "
         "mixture that carat brings along"},
        {"tokens", 0, OPTION_SIZE, &c->tokens, "N", "of these texts at most (128K)"},
        {"method", 0, OPTION_CHOICE, &c->method, "plain|search|compensate",
         "rounding: llama.cpp's to the bit (the default), better scales, or error "
         "feedback"},
        {"equalize", 0, OPTION_CHOICE, &c->equalize, "auto|on|off",
         "even out columns by an exact rewrite: where held-out loss falls (the default, "
         "but for plain), everywhere, nowhere"},
        {"resume", 0, OPTION_FLAG, &c->resume, NULL,
         "continue an interrupted conversion"},
        {"max-memory", 0, OPTION_SIZE, &c->max_memory, "SIZE",
         "refuse when it cannot be done in this much; default 1G, for compensate 8G"},
        {"metadata", 0, OPTION_TEXTS, &c->metadata, "KEY=VALUE",
         "set a metadata string; may be given several times"},
        {"chat-template", 0, OPTION_TEXT, &c->chat_template, "FILE",
         "in the place of the source's own"},
        {"keep-dead", 0, OPTION_FLAG, &c->keep_dead, NULL,
         "keep k and v tensors of layers that use an earlier layer's"},
        {"force", 'f', OPTION_FLAG, &c->force, NULL, "overwrite"},
    };

    c->equalize = EQUALIZE_USUAL - 1;
    for (size_t i = 0; i < CONVERSION_OPTIONS; i++)
        rows[i] = table[i];
}

size_t conversion_source_rows(struct conversion *c, struct option rows[CONVERSION_SOURCE])
{
    static const char *const names[CONVERSION_SOURCE] = {"lora", "metadata",
                                                         "chat-template", "keep-dead"};
    struct option all[CONVERSION_OPTIONS];
    size_t n = 0;

    conversion_rows(c, all);
    for (size_t i = 0; i < CONVERSION_OPTIONS; i++)
        for (size_t j = 0; j < CONVERSION_SOURCE; j++)
            if (strcmp(all[i].name, names[j]) == 0)
                rows[n++] = all[i];
    return n;
}

/* "DIR" or "DIR:SCALE": a colon counts when a number follows it to the end. */
static enum status read_lora(struct conversion *c, const char *text,
                             struct convert_lora *out, struct error *err)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;

    *out = (struct convert_lora){.path = text, .scale = 1};
    if (!colon || colon == text || colon[1] == '\0')
        return OK;
    const double scale = strtod(colon + 1, &end);
    if (*end != '\0')
        return OK; /* part of the name */
    if (!isfinite(scale))
        return fail(err, ERR_USAGE, "--lora %s: the scale is not a finite number", text);
    out->path = arena_strndup(&c->arena, text, (size_t)(colon - text));
    out->scale = scale;
    return out->path ? OK : fail(err, ERR_NOMEM, "no memory for options");
}

enum status conversion_source(struct conversion *c, struct source_options *out,
                              struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; st == OK && i < c->loras.n; i++)
        st = read_lora(c, c->loras.at[i], &c->adapters[i], err);
    *out = (struct source_options){.loras = c->adapters,
                                   .n_loras = c->loras.n,
                                   .chat_template = c->chat_template,
                                   .metadata = c->metadata.at,
                                   .n_metadata = c->metadata.n,
                                   .keep_dead = c->keep_dead};
    return st;
}

/* The library refuses it too, but knows no other spelling. */
static enum status check_type(const char *type, struct error *err)
{
    enum { MOST = 64, LENGTH = 32 };
    const char *names[MOST], *nearest;
    char upper[LENGTH] = "";
    size_t n = 0;

    if (!type || mix_find(type))
        return OK;
    for (; n < MOST && n < mix_count(); n++)
        names[n] = mix_name(mix_at(n));
    for (size_t i = 0; i + 1 < LENGTH && type[i]; i++)
        upper[i] = (char)toupper((unsigned char)type[i]);
    nearest = spelling_nearest(upper, names, n);
    if (!nearest)
        return fail(err, ERR_USAGE, "--type %s: no such type", type);
    return fail(err, ERR_USAGE, "--type %s: no such type (did you mean %s?)", type,
                nearest);
}

enum status conversion_options(struct conversion *c, struct convert_options *out,
                               struct error *err)
{
    struct source_options source;
    enum status st = conversion_source(c, &source, err);

    if (st == OK)
        st = check_type(c->type, err);
    if (c->method == METHOD_COMPENSATE && !c->moments && c->texts.n == 0)
        c->texts = (struct texts){.at = {"default"}, .n = 1};
    if (st == OK && c->tokens && c->texts.n == 0)
        st = fail(err, ERR_USAGE,
                  "--tokens is of texts, and none is read (--text FILE gives one)");
    if (st == OK)
        st = documents_read(&c->texts, &c->documents, err);
    *out = (struct convert_options){
        .source = source,
        .type = c->type,
        .recipe = c->recipe,
        .ple_type = c->ple_type,
        .ple_inline = c->ple == 1,
        .target_size = c->target_size,
        .ple_size = c->ple_size,
        .sensitivity = c->sensitivity,
        .imatrix = c->imatrix,
        .moments = c->moments,
        .documents = c->documents.at,
        .n_documents = c->documents.n,
        .tokens = c->tokens,
        .method = (enum method)c->method,
        .equalize = (enum equalize)(c->equalize + 1),
        .force = c->force,
        .resume = c->resume,
        .max_memory = c->max_memory,
    };
    return st;
}

void conversion_free(struct conversion *c)
{
    documents_free(&c->documents);
    arena_free(&c->arena);
}
