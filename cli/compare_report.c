/*
 * compare_report.c - the figures of `carat compare` as a table or as JSON
 */
#include "cli/compare_report.h"

#include "cli/judge.h"
#include "cli/table.h"

#include <stdlib.h>

/* ---- JSON ---- */

static json_t *json_spread(const struct comparison *c)
{
    const struct spread *s = &c->kld;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mean",
                     ui_json_real(s->mean), "ci95", judge_interval(&s->ci95), "median",
                     ui_json_real(s->median), "p90", ui_json_real(s->p90), "p99",
                     ui_json_real(s->p99), "p999", ui_json_real(s->p999), "max",
                     ui_json_real(s->max), "at_least", ui_json_real(c->kld_certain),
                     "error999", ui_json_real(c->kld_error));
}

static json_t *json_noise(const struct compare_row *row)
{
    const struct comparison *c = &row->noise;

    if (!row->has_noise)
        return json_null();
    return json_pack("{s:o, s:o, s:I}", "kld", ui_json_real(c->kld.mean), "same_top",
                     ui_json_real(c->same_top), "tokens", (json_int_t)c->n_tokens);
}

static json_t *json_row(const struct compare_row *row)
{
    const struct comparison *c = &row->figures;

    return json_pack(
        "{s:o, s:{s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:o, s:I, s:o}", "kld",
        json_spread(c), "same_top", "share", ui_json_real(c->same_top), "ci95",
        judge_interval(&c->same_top_ci95), "ppl", "base", ui_json_real(c->ppl_base),
        "model", ui_json_real(c->ppl_model), "ratio", ui_json_real(c->ppl_ratio), "ci95",
        judge_interval(&c->ppl_ratio_ci95), "rms_dp", ui_json_real(c->rms_dp), "tokens",
        (json_int_t)c->n_tokens, "noise_floor", json_noise(row));
}

static json_t *json_reference(const struct compare_report *report)
{
    char file_hex[65], text_hex[65];

    sha256_hex(report->sha256, file_hex);
    sha256_hex(report->facts->text.sha256, text_hex);
    return json_pack("{s:s, s:o, s:s}", "sha256", file_hex, "source",
                     ui_json_string(report->facts->source), "text_sha256", text_hex);
}

static json_t *json_pair(const struct compare_report *report, size_t i)
{
    const struct compare_row *a = &report->rows[i - 1], *b = &report->rows[i];
    struct interval ci = verify_paired(&a->figures, &b->figures, report->seed);

    return json_pack("{s:o, s:o, s:o, s:o}", "a", ui_json_string(a->model), "b",
                     ui_json_string(b->model), "kld_difference",
                     ui_json_real(b->figures.kld.mean - a->figures.kld.mean), "ci95",
                     judge_interval(&ci));
}

static enum status print_json(const struct compare_report *report, struct error *err)
{
    json_t *models, *paired, *tree;

    if (report->n_rows == 1) {
        tree = json_row(&report->rows[0]);
        json_object_set_new(tree, "reference", json_reference(report));
        return ui_json(tree, err);
    }
    models = json_array();
    paired = json_array();
    for (size_t i = 0; i < report->n_rows; i++) {
        json_t *row = json_row(&report->rows[i]);
        json_object_set_new(row, "model", ui_json_string(report->rows[i].model));
        json_array_append_new(models, row);
        if (i > 0)
            json_array_append_new(paired, json_pair(report, i));
    }
    return ui_json(json_pack("{s:o, s:o, s:o}", "models", models, "paired", paired,
                             "reference", json_reference(report)),
                   err);
}

/* ---- text ---- */

static void cell_interval(struct table *table, const char *fmt, const struct interval *ci,
                          double unit)
{
    char lo[32], hi[32];

    if (!ci->is_known) {
        table_cell(table, "-");
        return;
    }
    snprintf(lo, sizeof(lo), fmt, unit * ci->lo);
    snprintf(hi, sizeof(hi), fmt, unit * ci->hi);
    table_cell(table, "%s..%s", lo, hi);
}

static void add_row(struct table *table, const char *name, const struct comparison *c)
{
    table_cell(table, "%s", name);
    table_cell(table, "%.3g", c->kld.mean);
    cell_interval(table, "%.3g", &c->kld.ci95, 1.0);
    table_cell(table, "%.3g", c->kld.median);
    table_cell(table, "%.3g", c->kld.p99);
    table_cell(table, "%.3g", c->kld.max);
    table_cell(table, "%.2f %%", 100.0 * c->same_top);
    cell_interval(table, "%.2f", &c->same_top_ci95, 100.0);
    table_cell(table, "%.4f", c->ppl_model);
    table_cell(table, "%.5f", c->ppl_ratio);
    table_cell(table, "%.3f %%", 100.0 * c->rms_dp);
}

static bool print_table(const struct compare_report *report)
{
    static const char *const heads[] = {"model",      "KLD",   "95 %",     "median",
                                        "p99",        "max",   "same top", "95 %",
                                        "perplexity", "ratio", "RMS dp"};
    struct table table;

    table_begin(&table, "lrrrrrrrrrr");
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < report->n_rows; i++) {
        add_row(&table, report->rows[i].model, &report->rows[i].figures);
        if (report->rows[i].has_noise)
            add_row(&table, "  noise floor", &report->rows[i].noise);
    }
    return table_print(&table, stdout);
}

static void print_pairs(const struct compare_report *report)
{
    for (size_t i = 1; i < report->n_rows; i++) {
        const struct compare_row *a = &report->rows[i - 1], *b = &report->rows[i];
        struct interval ci = verify_paired(&a->figures, &b->figures, report->seed);

        printf("KLD of %s less that of %s: %+.3g", b->model, a->model,
               b->figures.kld.mean - a->figures.kld.mean);
        if (ci.is_known)
            printf(" (95 %% paired: %+.3g..%+.3g)", ci.lo, ci.hi);
        putchar('\n');
    }
}

static void print_bounds(const struct compare_report *report)
{
    for (size_t i = 0; i < report->n_rows; i++) {
        const struct comparison *c = &report->rows[i].figures;

        printf("%s: KLD from compact records within %.2g of the whole vocabulary's (99.9 "
               "%%), and "
               "certainly at least %.3g\n",
               report->rows[i].model, c->kld_error, c->kld_certain);
    }
}

enum status compare_report_print(const struct ui *ui, const struct compare_report *report,
                                 struct error *err)
{
    const char *source = report->facts->source;
    char name[4 * LOGITS_SOURCE_BYTES];

    if (ui->json)
        return print_json(report, err);
    if (!print_table(report))
        return fail(err, ERR_NOMEM, "no memory for the table");
    print_pairs(report);
    print_bounds(report);
    text_escape(name, sizeof(name), source, strlen(source));
    printf(
        "%llu tokens against %s of %s (perplexity %.4f); divergences in nats a token\n",
        (unsigned long long)report->rows[0].figures.n_tokens, report->path, name,
        report->rows[0].figures.ppl_base);
    return OK;
}

void compare_report_free(struct compare_report *report)
{
    for (size_t i = 0; report->rows && i < report->n_rows; i++) {
        comparison_free(&report->rows[i].figures);
        comparison_free(&report->rows[i].noise);
    }
    free(report->rows);
    report->rows = NULL;
}
