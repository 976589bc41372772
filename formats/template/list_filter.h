/*
 * list_filter.h - filters over lists and dicts, for the table in template_filter.c
 */
#ifndef FORMATS_TEMPLATE_LIST_FILTER_H
#define FORMATS_TEMPLATE_LIST_FILTER_H

#include "formats/template/value.h"

function_body filter_batch, filter_dictsort, filter_first, filter_items, filter_join,
    filter_last, filter_list, filter_map, filter_max, filter_min, filter_reject,
    filter_rejectattr, filter_reverse, filter_select, filter_selectattr, filter_sort,
    filter_sum, filter_unique;

#endif
