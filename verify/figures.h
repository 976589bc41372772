/*
 * figures.h - order statistics, and bootstrap intervals over blocks of text
 */
#ifndef VERIFY_FIGURES_H
#define VERIFY_FIGURES_H

#include "verify/verify.h"

/* The f-quantile of n >= 1 ascending values, by linear interpolation at f * (n - 1). */
double figures_quantile(const double *sorted, size_t n, double f);

/* Sort ascending, in place. */
void figures_sort(double *x, size_t n);

/* The 95 % interval of sum(num) / sum(den) when whole blocks are drawn anew with replacement.
 *
 * Tokens of one passage share its difficulty, so they are not independent but passages nearly
 * are: blocks are chunks of text. The percentile interval is widened for few blocks, and Student's
 * takes its place below six (figures.c), which may leave the range of what is measured. The draw
 * depends on n and seed alone, so two calls are paired. Not known for one block, or when memory is
 * out. */
struct interval figures_bootstrap(const double *num, const double *den, size_t n_blocks,
                                  uint64_t seed);

#endif
