/*
 * kld.h - the divergence of one row of logits from one reference record
 */
#ifndef VERIFY_KLD_H
#define VERIFY_KLD_H

#include "formats/logits/logits.h"

/* One scored token. p is the reference, q the model. */
struct kld_token {
    double kld;      /* estimate of sum p log(p / q), nats; without bias */
    double variance; /* of that estimate, from the sampled tail */
    double certain;  /* kld is at least this */
    double nll_base, nll_model;
    double dp; /* q(target) - p(target) */
    bool same_top;
};

struct kld_token kld_token(const struct logits_record *p, int32_t target,
                           const struct logits_row *q);

#endif
