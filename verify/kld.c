/*
 * kld.c - the divergence of one row of logits from one reference record
 *
 * With d_i = log(p_i / q_i), top the certain part, T the tail, m pieces of T drawn with
 * probability p_i / s, s = p(T) / m:
 *
 *     KLD = sum over top of p d  +  sum over T of p d
 *
 * The first sum is computed as it stands. For the second, let C be the pieces of T with
 * q_i < 4 s, a set that q and s alone decide, and add and subtract p - q there:
 *
 *     sum over T of p d  =  sum over T of g  +  p(T) - q(C),    g_i = p_i d_i - p_i + [i in C] q_i
 *
 * p(T) and q(C) are known exactly; sum g is estimated by s * sum over the drawn of g_i / p_i.
 * The point of the detour: g_i / p_i = d - 1 + exp(-d) is about d^2 / 2, never negative, so the
 * estimate of a small divergence has a small error, where sampling p d itself would drown in
 * terms of first order that cancel. Pieces the model likes far better than the reference
 * (outside C) would give rare huge terms; there g_i / p_i = d - 1 is harmless.
 *
 * Never below: sum over T of p d >= p(T) log(p(T) / q(T)), the log-sum inequality.
 * Derivation and measured errors: docs/reference-file.md.
 */
#include "verify/kld.h"

#include <math.h>

static const double LIKED_BETTER = 4.0;

/* No weight that a float holds as 0 is larger: the least number above 0. */
static const double UNSEEN = 0x1p-149;

/* q(T), not less than it is, and q(C): sums over the pieces that are not certain. */
struct tail_mass {
    double all, near;
};

static struct tail_mass tail_mass(const struct logits_record *p,
                                  const struct logits_row *q, double step)
{
    struct tail_mass mass = {0};
    double limit = LIKED_BETTER * step * q->sum;
    uint32_t t = 0;

    for (size_t i = 0; i < q->n; i++) {
        double w = (double)q->weights[i];
        if (t < p->n_top && p->entries[t].id == i) {
            t++;
            continue;
        }
        mass.all += w;
        mass.near += w < limit ? w : 0.0;
    }
    mass.all = (mass.all + UNSEEN * (double)q->n) / q->sum;
    mass.near /= q->sum;
    return mass;
}

/* log(p / q) of an entry. */
static double log_ratio(const struct logits_record *p, const struct logits_entry *entry,
                        const struct logits_row *q)
{
    return ((double)entry->logit - p->lse) - ((double)q->z[entry->id] - q->lse);
}

static double sum_certain(const struct logits_record *p, const struct logits_row *q)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < p->n_top; i++) {
        double pi = exp((double)p->entries[i].logit - p->lse);
        if (pi > 0.0)
            sum += pi * log_ratio(p, &p->entries[i], q);
    }
    return sum;
}

/* The estimate of sum g and the variance of that estimate: with m independent draws the sample
 * variance of the terms, times m; systematic draws do at least as well in any usual order. */
static double sum_sampled(const struct logits_record *p, const struct logits_row *q,
                          double step, double *variance)
{
    double n = (double)p->n_tail, limit = LIKED_BETTER * step * q->sum;
    double sum = 0.0, squares = 0.0;

    for (uint32_t i = p->n_top; i < p->n_top + p->n_tail; i++) {
        const struct logits_entry *entry = &p->entries[i];
        double d = log_ratio(p, entry, q);
        bool is_near = (double)q->weights[entry->id] < limit;
        double term = step * (d - 1.0 + (is_near ? exp(-d) : 0.0));

        sum += term;
        squares += term * term;
    }
    *variance = n > 1.0 ? fmax(0.0, (squares - sum * sum / n) * n / (n - 1.0)) : 0.0;
    return sum;
}

struct kld_token kld_token(const struct logits_record *p, int32_t target,
                           const struct logits_row *q)
{
    struct kld_token out = {
        .nll_base = p->lse - (double)p->target,
        .nll_model = q->lse - (double)q->z[target],
        .same_top = logits_record_argmax(p) == q->argmax,
    };
    double certain = sum_certain(p, q);

    out.dp = exp(-out.nll_model) - exp(-out.nll_base);
    out.kld = out.certain = certain;
    if (p->n_tail == 0)
        return out;

    double step = p->tail / (double)p->n_tail;
    struct tail_mass mass = tail_mass(p, q, step);
    out.kld += sum_sampled(p, q, step, &out.variance) + p->tail - mass.near;
    out.certain += p->tail * log(p->tail / mass.all);
    return out;
}
