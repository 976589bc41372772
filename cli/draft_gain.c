#include "cli/draft_gain.h"
#include "runtime/runtime.h"

#include <math.h>

double draft_speed_up(const struct draft_costs *costs, double acceptance, int n_guesses)
{
    return drafted_tokens(acceptance, (size_t)n_guesses) /
           (n_guesses * costs->guess + costs->verify[n_guesses + 1]);
}

int draft_best_guesses(const struct draft_costs *costs, double acceptance)
{
    int best = 0;

    for (int n = 1; n < DRAFT_PASS; n++)
        if (draft_speed_up(costs, acceptance, n) >
            draft_speed_up(costs, acceptance, best))
            best = n;
    return best;
}

double draft_break_even(const struct draft_costs *costs)
{
    double vain = 0.0, pays = 1.0;

    if (draft_best_guesses(costs, 1.0) == 0)
        return INFINITY;
    while (pays - vain > 0x1p-30) {
        const double middle = (vain + pays) / 2;

        if (draft_best_guesses(costs, middle) > 0)
            pays = middle;
        else
            vain = middle;
    }
    return pays;
}
