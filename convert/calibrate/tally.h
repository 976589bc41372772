/*
 * tally.h - sums over inputs, by weight: the importance matrix in the making (private)
 */
#ifndef CONVERT_CALIBRATE_TALLY_H
#define CONVERT_CALIBRATE_TALLY_H

#include "convert/calibrate/calibrate.h"

/* One weight of the model: sums of squared inputs per matrix and column. */
struct tally_entry {
    const char *weight; /* borrowed from the model */
    size_t n_cols, n_mats;
    double *sum2;   /* [n_mats][n_cols] */
    double *counts; /* [n_mats]; behind the sums */
    /* Behind the counts: how many steps of the walk were done with the one that read this weight;
     * 0: none has. A weight is read in one step. Saved sums of a step that did not get to its end are
     * known by it. */
    double *steps;
    uint64_t at; /* where they lie in the walk's state */
    bool is_new; /* there is something to save */
};

struct tally {
    struct tally_entry *entries; /* sorted by name */
    size_t n_entries;
    uint64_t n_bytes;
    struct arena arena; /* owns the sums */
};

/* One entry for every weight that a product may read. ERR_NOMEM. */
MUST_CHECK enum status tally_open(const struct model *model, struct tally *tally,
                                  struct error *err);
/* Add one event's rows; weights that are not in the tally are passed over. False when a value is
 * not finite. */
bool tally_add(struct tally *tally, const struct tap_event *event);
/* Bytes of all sums, and of the walk's state that keeps them. */
uint64_t tally_bytes(const struct tally *tally);
/* Write what is new to the walk's state, of the step in hand; read all of it but what belongs to
 * steps that are still to be done. */
MUST_CHECK enum status tally_save(struct tally *tally, struct walk *walk,
                                  struct error *err);
MUST_CHECK enum status tally_load(struct tally *tally, struct walk *walk,
                                  struct error *err);
/* Name what was hardly seen, count it in the report. */
void tally_audit(const struct tally *tally, struct calibrate_report *report);
MUST_CHECK enum status tally_write(const struct tally *tally,
                                   const struct calibrate_text *text,
                                   const struct calibrate_options *options,
                                   struct error *err);
void tally_close(struct tally *tally);

#endif
