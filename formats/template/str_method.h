/*
 * str_method.h - methods of texts, for the table in template_method.c
 */
#ifndef FORMATS_TEMPLATE_STR_METHOD_H
#define FORMATS_TEMPLATE_STR_METHOD_H

#include "formats/template/value.h"

/* Where `part` stands first (or last) in str, in bytes; -1 when it does not. */
int64_t str_find(struct str str, struct str part, bool from_end);
/* What that costs: every place may be compared. */
size_t str_search_steps(struct str str, struct str part);
bool str_begins(struct str str, struct str part);
bool str_ends(struct str str, struct str part);

function_body str_lstrip, str_removeprefix, str_removesuffix, str_rsplit, str_rstrip,
    str_split, str_splitlines, str_strip;

#endif
