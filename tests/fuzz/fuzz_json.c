/*
 * fuzz_json.c - the scanner and jansson agree on what is JSON
 */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* True for a whole document. *is_too_deep: refused for its depth, which is the scanner's own
 * rule. */
static bool scans(const char *text, size_t n, bool *is_too_deep)
{
    struct json_scanner scanner;
    enum json_event event;

    json_scan_begin(&scanner, text, n);
    do {
        event = json_scan_next(&scanner);
        if (scanner.text[scanner.n_text] != '\0' || scanner.at > n)
            abort();
    } while (event != SCAN_END && event != SCAN_BAD);
    *is_too_deep = event == SCAN_BAD && scanner.depth == JSON_MAX_DEPTH;
    json_scan_end(&scanner);
    return event == SCAN_END;
}

/* What jansson refuses although it is JSON: numbers out of range, NUL in names, its own depth. */
static bool is_own_rule(const json_error_t *trouble)
{
    switch (json_error_code(trouble)) {
    case json_error_numeric_overflow:
    case json_error_null_byte_in_key:
    case json_error_stack_overflow:
    case json_error_out_of_memory:
        return true;
    default:
        return false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *text = (const char *)bytes;
    json_error_t trouble;
    bool is_too_deep;
    const bool accepted = scans(text, n_bytes, &is_too_deep);
    json_t *tree;

    /* No NUL byte is part of any JSON; jansson takes some for the end of the text. */
    if (n_bytes > 0 && memchr(text, '\0', n_bytes)) {
        if (accepted)
            abort();
        return 0;
    }
    tree = json_loadb(text, n_bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &trouble);

    if (tree && !accepted && !is_too_deep)
        abort();
    if (!tree && accepted && !is_own_rule(&trouble))
        abort();
    json_decref(tree);
    return 0;
}
