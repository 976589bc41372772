/*
 * pack_codes.h - codes and scales in visiting order to blocks in file order (private)
 */
#ifndef QUANTIZE_COMPENSATE_PACK_CODES_H
#define QUANTIZE_COMPENSATE_PACK_CODES_H

#include "quantize/compensate/feedback_table.h"

/* Write row `r` of the tile: block_row_bytes() bytes at `out`. */
void pack_row(const struct metric *metric, const struct tile *tile, size_t r,
              uint8_t *out);

#endif
