/*
 * reads.h - which files this process has read, so that it does not write over them (private)
 *
 * A verb learns of its inputs piece by piece: the shards an index names, a tokenizer, a template, the
 * other files of a split. Whoever writes asks here once for all of them, by device and inode, so that
 * a link or another spelling of the name is the same file. The list lasts as long as the process: a
 * configuration is closed long before the output is begun, and must outlive it all the same.
 */
#ifndef BASE_READS_H
#define BASE_READS_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/stat.h>

/* Remember it. ERR_NOMEM. Safe from several threads at once, as is reads_has(). */
MUST_CHECK enum status reads_add(const struct stat *info, struct error *err);
bool reads_has(const struct stat *info);

#endif
