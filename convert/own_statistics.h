/*
 * own_statistics.h - statistics that a conversion gathers for itself, from texts (private)
 */
#ifndef CONVERT_OWN_STATISTICS_H
#define CONVERT_OWN_STATISTICS_H

#include "convert/convert.h"

struct own_statistics {
    double forward_seconds, gathering_seconds; /* what they took */
    char *path;                                /* the file; owned; NULL: there is none */
    bool is_made;       /* by this conversion or the one it resumes: it may go */
    const char *option; /* the one that takes such a file, without its dashes */
};

/* Where they will go, when `how` names texts. Nothing is done yet. ERR_USAGE for texts beside a file
 * of statistics, and when that file is there and nothing is to be resumed; ERR_NOMEM. */
MUST_CHECK enum status own_statistics_name(struct own_statistics *own,
                                           const char *out_path,
                                           const struct convert_options *how,
                                           struct error *err);

/* When they have a name: gather what the method of `how` asks for, and name the file in `how` as if the
 * user had. `how->resume` then says whether the conversion itself was begun. What calibrate_run()
 * gives. */
MUST_CHECK enum status own_statistics_gather(struct own_statistics *own,
                                             const char *source, const char *out_path,
                                             struct convert_options *how,
                                             struct error *err);

/* `st` is what became of the conversion: the file goes when it is whole. Otherwise it stays, for it
 * may have taken hours; a warning says so where the error will not speak of --resume. */
void own_statistics_close(struct own_statistics *own, enum status st);

#endif
