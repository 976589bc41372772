/*
 * ends.c - which tokens end an answer
 *
 * GGUF has one eos, one eot and one eom id; everything else is known by its text. The list is
 * that of llama.cpp 0.5.0, so that a file stops in the same places everywhere.
 */
#include "formats/tokenizer/vocabulary.h"

#include <string.h>

static const char *const end_texts[] = {
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<end_of_turn>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
};

static void add_end(struct tokenizer *tok, int32_t id)
{
    int at = tok->n_ends;

    if (id < 0 || tok->n_ends == ENDS_MAX)
        return;
    while (at > 0 && tok->ends[at - 1] > id)
        at--;
    if (at > 0 && tok->ends[at - 1] == id)
        return;
    memmove(&tok->ends[at + 1], &tok->ends[at],
            (size_t)(tok->n_ends - at) * sizeof(tok->ends[0]));
    tok->ends[at] = id;
    tok->n_ends++;
}

static void drop_end(struct tokenizer *tok, const char *text)
{
    const int32_t id = tokenizer_find(tok, text);
    int kept = 0;

    for (int i = 0; i < tok->n_ends; i++)
        if (tok->ends[i] != id)
            tok->ends[kept++] = tok->ends[i];
    tok->n_ends = kept;
}

static bool has_end(const struct tokenizer *tok, const char *text)
{
    return tokenizer_is_end(tok, tokenizer_find(tok, text));
}

void vocabulary_find_ends(struct tokenizer *tok)
{
    tok->n_ends = 0;
    for (size_t i = 0; i < sizeof(end_texts) / sizeof(end_texts[0]); i++)
        add_end(tok, tokenizer_find(tok, end_texts[i]));
    add_end(tok, tok->ids[SPECIAL_EOS]);
    add_end(tok, tok->ids[SPECIAL_EOT]);
    add_end(tok, tok->ids[SPECIAL_EOM]);

    /* In vocabularies with both, <|end|> ends a channel, and "</s>" is an HTML tag. */
    if ((has_end(tok, "<|return|>") && has_end(tok, "<|call|>")) ||
        (has_end(tok, "<|calls|>") && has_end(tok, "<|flush|>")))
        drop_end(tok, "<|end|>");
    if (has_end(tok, "<|tool_response>"))
        drop_end(tok, "</s>");
}
