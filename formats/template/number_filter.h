/*
 * number_filter.h - filters that make numbers, for the table in template_filter.c
 */
#ifndef FORMATS_TEMPLATE_NUMBER_FILTER_H
#define FORMATS_TEMPLATE_NUMBER_FILTER_H

#include "formats/template/value.h"

function_body filter_abs, filter_float, filter_int, filter_round;

#endif
