#include "runtime/pace.h"
#include "runtime/runtime.h"

enum { LONGEST_PAUSE = 32 };

/* What a step's verdict still counts a step later; and at first the drafter is believed to be right two times
 * in three. */
static const double MEMORY = 0.9, FIRST_TRUE = 2.0, FIRST_FALSE = 1.0;

double drafted_tokens(double acceptance, size_t n_guesses)
{
    double tokens = 1.0, all_true = 1.0;

    for (size_t i = 0; i < n_guesses; i++) {
        all_true *= acceptance;
        tokens += all_true;
    }
    return tokens;
}

/* The number of guesses with the most tokens for their time; 0 when no number pays. */
static size_t best(const struct pace *pace)
{
    const double acceptance = pace->n_true / (pace->n_true + pace->n_false);
    double most = 1.0;
    size_t n = 0;

    for (size_t i = 1; i <= pace->most; i++) {
        const double gain =
            drafted_tokens(acceptance, i) / (1.0 + pace->price * (double)i);

        if (gain > most) {
            most = gain;
            n = i;
        }
    }
    return n;
}

struct pace pace_new(size_t most, double price)
{
    struct pace pace = {
        .most = most, .price = price, .n_true = FIRST_TRUE, .n_false = FIRST_FALSE};

    pace.n = best(&pace);
    return pace;
}

size_t pace_guesses(const struct pace *pace)
{
    if (pace->rest > 0 || pace->most == 0)
        return 0;
    return pace->n > 0 ? pace->n : 1;
}

void pace_learn(struct pace *pace, size_t n_guesses, size_t n_true)
{
    if (n_guesses == 0) {
        pace->rest -= pace->rest > 0;
        return;
    }
    pace->n_true = MEMORY * pace->n_true + (double)n_true;
    pace->n_false = MEMORY * pace->n_false + (n_true < n_guesses ? 1.0 : 0.0);
    pace->n = best(pace);
    if (pace->n > 0 || n_true > 0) {
        pace->pause = 0;
        return;
    }
    pace->pause = pace->pause == 0 ? 1 : 2 * pace->pause;
    if (pace->pause > LONGEST_PAUSE)
        pace->pause = LONGEST_PAUSE;
    pace->rest = pace->pause;
}
