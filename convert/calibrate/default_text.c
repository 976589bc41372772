/*
 * default_text.c - files of data/calibration as constants
 *
 * The assembler copies the files in: there is nothing to generate, to inflate or to fail. They are
 * read-only pages of the program that cost nothing until somebody calibrates.
 */
#include "convert/calibrate/calibrate.h"

#ifdef __APPLE__
#define READ_ONLY   ".section __TEXT,__const\n"
#define LABEL(name) "_" #name
#else
#define READ_ONLY   ".section .rodata\n"
#define LABEL(name) #name
#endif

/* From `name` up to, not including, the NUL at name_end. */
#define CARRY(name, file)                                                             \
    __asm__(READ_ONLY ".globl " LABEL(name) "\n" LABEL(                               \
        name) ":\n"                                                                   \
              ".incbin \"" CARAT_CALIBRATION "/" file "\"\n"                          \
              ".globl " LABEL(name##_end) "\n" LABEL(name##_end) ":\n"                \
                                                                 ".byte 0\n.text\n"); \
    extern const char name[], name##_end[]

CARRY(carat_text_prose, "prose.txt");
CARRY(carat_text_code, "code.txt");
CARRY(carat_text_multilingual, "multilingual.txt");
CARRY(carat_text_structured, "structured.txt");
CARRY(carat_text_chat, "chat.jsonl");

static const struct {
    const char *name, *bytes, *end;
} carried[N_CALIBRATE_DEFAULTS] = {
    {"carat:prose.txt", carat_text_prose, carat_text_prose_end},
    {"carat:code.txt", carat_text_code, carat_text_code_end},
    {"carat:multilingual.txt", carat_text_multilingual, carat_text_multilingual_end},
    {"carat:structured.txt", carat_text_structured, carat_text_structured_end},
    {"carat:chat.jsonl", carat_text_chat, carat_text_chat_end},
};

void calibrate_default_documents(struct calibrate_document out[N_CALIBRATE_DEFAULTS])
{
    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++)
        out[i] =
            (struct calibrate_document){.name = carried[i].name,
                                        .bytes = carried[i].bytes,
                                        .n = (size_t)(carried[i].end - carried[i].bytes)};
}
