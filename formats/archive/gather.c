/*
 * gather.c - strided views, read as the row-major tensors they stand for
 */
#include "formats/archive/archive_file.h"

#include <stdlib.h>

enum { GATHER_BYTES = 1 << 20 };

/* Elements that lie evenly apart in a file, to be laid evenly apart in memory. */
struct line {
    const struct file *file;
    uint64_t at;    /* byte of the first */
    uint64_t apart; /* bytes from one to the next */
    uint64_t n;
    size_t width; /* bytes of one */
};

/* Through a buffer that takes in what lies between. */
static enum status gather_line(const struct line *line, uint8_t *dst, size_t dst_apart,
                               uint8_t *buffer, struct error *err)
{
    /* Elements whose span fits the buffer; one alone always does. */
    const uint64_t many =
        line->apart ? (GATHER_BYTES - line->width) / line->apart + 1 : line->n;

    for (uint64_t i = 0; i < line->n; i += many) {
        uint64_t n = line->n - i < many ? line->n - i : many;
        size_t span = (size_t)((n - 1) * line->apart) + line->width;
        enum status st =
            file_read(line->file, line->at + i * line->apart, buffer, span, err);

        if (st != OK)
            return st;
        for (uint64_t k = 0; k < n; k++)
            memcpy(dst + (i + k) * dst_apart, buffer + k * line->apart, line->width);
    }
    return OK;
}

/* A part of one matrix of the view. */
struct patch {
    uint64_t at; /* byte of the first element */
    uint64_t n_rows, n_cols;
};

/* Lines are taken along the dimension whose elements lie closer: a transposed matrix is read column
 * by column. */
static enum status gather_patch(const struct archive_entry *entry,
                                const struct file *file, const struct patch *patch,
                                uint8_t *dst, uint8_t *buffer, struct error *err)
{
    const struct tensor *view = &entry->public.view;
    const int last = view->n_dims - 1;
    const size_t width = dtype_bits(view->dtype) / 8;
    const uint64_t col_apart = (last >= 0 ? entry->strides[last] : 1) * width;
    const uint64_t row_apart = (last >= 1 ? entry->strides[last - 1] : 0) * width;
    const bool by_row = patch->n_rows == 1 || col_apart <= row_apart;
    const uint64_t n_lines = by_row ? patch->n_rows : patch->n_cols;
    struct line line = {.file = file, .width = width};
    enum status st = OK;

    line.apart = by_row ? col_apart : row_apart;
    line.n = by_row ? patch->n_cols : patch->n_rows;
    for (uint64_t i = 0; i < n_lines && st == OK; i++) {
        line.at = patch->at + i * (by_row ? row_apart : col_apart);
        if (by_row)
            st = gather_line(&line, dst + i * patch->n_cols * width, width, buffer, err);
        else
            st = gather_line(&line, dst + i * width, (size_t)patch->n_cols * width,
                             buffer, err);
    }
    return st;
}

/* The element, counted from the first, where row `row` begins. */
static uint64_t row_begin(const struct archive_entry *entry, uint64_t row)
{
    const struct tensor *view = &entry->public.view;
    uint64_t at = 0;

    for (int i = view->n_dims - 2; i >= 0; i--) {
        at += row % view->dims[i] * entry->strides[i];
        row /= view->dims[i];
    }
    return at;
}

/* The largest patch that row-major elements [from, end) begin with: the rest of a row, or whole rows
 * of one matrix. */
static struct patch first_patch(const struct archive_entry *entry, uint64_t from,
                                uint64_t end)
{
    const struct tensor *view = &entry->public.view;
    const int last = view->n_dims - 1;
    const uint64_t width = dtype_bits(view->dtype) / 8, cols = tensor_cols(view);
    const uint64_t matrix_rows = last >= 1 ? view->dims[last - 1] : 1;
    const uint64_t row = from / cols, col = from % cols, n = end - from;
    const uint64_t left = matrix_rows - row % matrix_rows;
    struct patch patch = {.n_rows = 1, .n_cols = n < cols - col ? n : cols - col};

    if (patch.n_cols == cols)
        patch.n_rows = n / cols < left ? n / cols : left;
    patch.at =
        entry->first +
        (row_begin(entry, row) + (last >= 0 ? col * entry->strides[last] : 0)) * width;
    return patch;
}

static enum status gather_elements(const struct archive_entry *entry,
                                   const struct file *file, uint64_t from, uint64_t end,
                                   uint8_t *dst, struct error *err)
{
    const size_t width = dtype_bits(entry->public.view.dtype) / 8;
    uint8_t *buffer = malloc(GATHER_BYTES);
    enum status st = OK;

    if (!buffer)
        return fail(err, ERR_NOMEM, "%s: no memory to gather it",
                    entry->public.view.name);
    while (from < end && st == OK) {
        const struct patch patch = first_patch(entry, from, end);

        st = gather_patch(entry, file, &patch, dst, buffer, err);
        from += patch.n_rows * patch.n_cols;
        dst += patch.n_rows * patch.n_cols * width;
    }
    free(buffer);
    return st;
}

enum status gather_bytes(const struct archive_entry *entry, const struct file *file,
                         uint64_t at, size_t n, void *dst, struct error *err)
{
    const size_t width = dtype_bits(entry->public.view.dtype) / 8;
    const uint64_t from = at / width, end = (at + n + width - 1) / width;
    uint8_t *whole;
    enum status st;

    if (at % width == 0 && n % width == 0)
        return gather_elements(entry, file, from, end, dst, err);
    whole =
        malloc((size_t)(end - from) * width); /* codes, a byte each, stored as wider */
    if (!whole)
        return fail(err, ERR_NOMEM, "%s: no memory to gather it",
                    entry->public.view.name);
    st = gather_elements(entry, file, from, end, whole, err);
    if (st == OK)
        memcpy(dst, whole + at % width, n);
    free(whole);
    return st;
}
