/*
 * utf8.h - the shape of UTF-8, and text that is safe to show
 *
 * Source: RFC 3629; the table of well-formed sequences in Unicode 15, section 3.9.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes (1 to 4) of the well-formed sequence that starts at text[0], of which n bytes are
 * there; 0 when it is malformed, cut short, overlong, a surrogate or above U+10FFFF. */
size_t utf8_length(const char *text, size_t n);

/* True when n bytes are well-formed sequences one after the other. */
bool utf8_is_valid(const char *text, size_t n);

/* The code point of a sequence that utf8_length() found to have `length` bytes. */
uint32_t utf8_decode(const char *text, size_t length);

/* Write a code point below 0x110000 as 1 to 4 bytes; return how many. */
size_t utf8_encode(uint32_t code_point, char out[4]);

/* Copy n bytes of text to out[0 .. size), NUL-terminated, with control characters and bytes
 * that are not UTF-8 written as \xNN: nothing in it can disturb a terminal or a log. Cut at a
 * whole character when it does not fit (size >= 1). Returns the length written. */
size_t text_escape(char *out, size_t size, const char *text, size_t n);

#endif
