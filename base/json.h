/*
 * json.h - two readers of JSON: a tree for configurations, a scanner for everything large
 *
 * The tree is jansson's, with limits: config.json and its like. The scanner below walks
 * strict JSON (RFC 8259) without recursion and without allocating by what the text claims:
 * safetensors headers and the 32 MB tokenizer.json go through it.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parse a configuration file of at most 16 MB and 1,048,576 values: an object at the top, unique keys, no NUL in
 * strings. NaN and Infinity literals, which Python writes, are refused; integers beyond 64 bits,
 * which it writes too, become reals. The caller owns *out
 * (json_decref). Sentences begin with the path. ERR_USAGE when missing; ERR_CORRUPT. */
MUST_CHECK enum status json_read_file(const char *path, json_t **out, struct error *err);

/* The same with an array at the top. */
MUST_CHECK enum status json_read_list(const char *path, json_t **out, struct error *err);

/* Named apart from jansson's JSON_*. */
enum json_event {
    SCAN_BAD,          /* not JSON: scanner->why says what, scanner->at where */
    SCAN_END,          /* the document is complete; only white space followed */
    SCAN_OBJECT_BEGIN, /* { */
    SCAN_OBJECT_END,   /* } */
    SCAN_ARRAY_BEGIN,  /* [ */
    SCAN_ARRAY_END,    /* ] */
    SCAN_KEY,          /* a member's name, in scanner->text */
    SCAN_STRING,       /* in scanner->text, n_text */
    SCAN_NUMBER,       /* its literal text, in scanner->text */
    SCAN_TRUE,
    SCAN_FALSE,
    SCAN_NULL,
};

enum { JSON_MAX_DEPTH = 64 };

struct json_scanner {
    const char *bytes; /* borrowed; needs no NUL */
    size_t n_bytes, at;
    const char *text; /* decoded, NUL-terminated, valid until the next call */
    size_t n_text;    /* may hold NUL bytes from \u0000 */
    const char *why;
    int depth;
    /* private */
    char *buffer;
    size_t buffer_size;
    uint64_t is_object;
    int state;
};

/* Begin at the first byte. Strings must be UTF-8; lone surrogates are refused. */
void json_scan_begin(struct json_scanner *scanner, const char *bytes, size_t n_bytes);
enum json_event json_scan_next(struct json_scanner *scanner);
/* Skip the value that comes next, whole (also the value of a key just read). */
bool json_scan_skip(struct json_scanner *scanner);
/* True when scanner->text is a non-negative integer literal that fits u64. */
bool json_scan_u64(const struct json_scanner *scanner, uint64_t *out);
void json_scan_end(struct json_scanner *scanner); /* free the buffer */

#endif
