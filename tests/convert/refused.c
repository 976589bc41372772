/*
 * refused.c - checkpoints that must not open
 */
#include "tests/convert/refused.h"

#include "convert/convert.h"

#include <criterion/criterion.h>

void expect_refused(const struct tiny *tiny, enum status want, const char *says,
                    const char *says_too)
{
    struct model *model = NULL;
    struct error err = {0};

    tiny_write(tiny);
    const enum status st = convert_open_source(tiny->folder, NULL, &model, &err);
    cr_expect_eq(st, want, "status %d (%d): %s", (int)st, (int)want, err.text);
    cr_expect_not_null(strstr(err.text, says), "%s: %s", says, err.text);
    cr_expect_not_null(strstr(err.text, says_too), "%s: %s", says_too, err.text);
    if (st == OK)
        model_close(model);
}
