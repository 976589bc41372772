/*
 * idname.c - names taken apart, as gguf-py does
 */
#include "convert/gemma/idname.h"

#include <inttypes.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

enum part_kind {
    PART_VERSION = 1,
    PART_TYPE = 2,
    PART_SIZE = 4,
    PART_FINETUNE = 8,
    PART_BASENAME = 16,
};

enum { MAX_PARTS = 64 };

struct part {
    char *text;
    unsigned kinds;
};

static const char version_form[] = "^(v|iter)?[0-9]+([.][0-9]+)*$";
static const char type_form[] = "^(i?q[0-9](_[A-Za-z0-9_])*|b?fp?(16|32))$";
static const char size_form[] =
    "^((a|[0-9]+x)?[0-9]+([._][0-9]+)?[kmbt][0-9]?|small|mini|medium|large|x?xl)$";
static const char finetune_form[] = "^(chat|instruct|vision|lora)$";
static const char untitled_form[] = "^(v[0-9]+([.][0-9]+)*|[0-9].*)$";

static bool has_form(const char *text, const char *form, int flags)
{
    regex_t re;

    if (regcomp(&re, form, REG_EXTENDED | REG_NOSUB | flags) != 0)
        return false;
    const bool yes = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return yes;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* True when a label like "128K" is too far from the real size: a context length, rather. */
static bool is_far_from(const char *label, size_t n, uint64_t n_params)
{
    const char *const powers = " KMBT";
    char *end;
    char number[64];

    if (n_params == 0 || n < 2 || n > sizeof(number))
        return false;
    memcpy(number, label, n - 1);
    number[n - 1] = '\0';
    const double value = strtod(number, &end);
    if (*end != '\0' || !is_digit(number[0]))
        return false; /* not a number after all: "A4", "8x7" */
    const char *power = strchr(powers, label[n - 1]);
    const double size = value * pow(1000, power ? (double)(power - powers) : -1);
    return fabs(size - (double)n_params) > (double)(7 * n_params / 8);
}

/* A size in its usual spelling: "7b1" is 7.1B, "4b" is 4B. */
static void annotate_size(struct part *part, uint64_t n_params)
{
    char *text = part->text;
    const size_t n = strlen(text);

    for (char *c = text; *c; c++)
        if (*c == '_')
            *c = '.';
    if (is_digit(text[n - 1])) { /* one byte longer: room was left */
        const char unit = text[n - 2], digit = text[n - 1];
        text[n - 2] = '.';
        text[n - 1] = digit;
        text[n] = unit;
        text[n + 1] = '\0';
    }
    const size_t len = strlen(text);
    if (len > 1 && is_digit(text[len - 2]) && strchr("kmbt", text[len - 1]))
        text[len - 1] = upper(text[len - 1]);
    if (is_far_from(text, len, n_params)) {
        part->kinds |= PART_FINETUNE;
        text[len - 1] = lower(text[len - 1]);
    } else {
        part->kinds |= PART_SIZE;
    }
}

static void annotate(struct part *part, bool is_first, uint64_t n_params)
{
    if (has_form(part->text, version_form, REG_ICASE)) {
        part->kinds |= PART_VERSION;
    } else if (has_form(part->text, type_form, REG_ICASE)) {
        part->kinds |= PART_TYPE;
        for (char *c = part->text; *c; c++)
            *c = upper(*c);
    } else if (!is_first && has_form(part->text, size_form, REG_ICASE)) {
        annotate_size(part, n_params);
    } else if (!is_first && has_form(part->text, finetune_form, REG_ICASE)) {
        part->kinds |= PART_FINETUNE;
    }
}

/* Sizes in words count only where none is in figures. */
static void drop_worded_sizes(struct part *parts, size_t n)
{
    bool in_figures = false;

    for (size_t i = 0; i < n; i++)
        in_figures |=
            (parts[i].kinds & PART_SIZE) && strpbrk(parts[i].text, "0123456789");
    for (size_t i = 0; i < n && in_figures; i++)
        if ((parts[i].kinds & PART_SIZE) && !strpbrk(parts[i].text, "0123456789."))
            parts[i].kinds &= ~(unsigned)PART_SIZE;
}

/* The basename is what stands in front, without versions at its end; the rest is fine-tuning. */
static void find_basename(struct part *parts, size_t n)
{
    bool at_start = true;

    for (size_t i = 0; i < n; i++) {
        struct part *p = &parts[i];

        if (at_start &&
            ((p->kinds == 0 && is_letter(p->text[0])) || (p->kinds & PART_VERSION))) {
            p->kinds |= PART_BASENAME;
            continue;
        }
        at_start = false;
        if (p->kinds == 0)
            p->kinds = PART_FINETUNE;
    }
    for (size_t i = n; i-- > 0;) {
        if (!(parts[i].kinds & PART_BASENAME) || parts[i].kinds == PART_BASENAME)
            break;
        parts[i].kinds &= ~(unsigned)PART_BASENAME;
    }
}

static bool came_before(const struct part *parts, size_t i, unsigned kind)
{
    for (size_t j = 0; j < i; j++)
        if ((parts[j].kinds & kind) && strcmp(parts[j].text, parts[i].text) == 0)
            return true;
    return false;
}

/* Parts of a kind joined by '-'; NULL when there is none. Clears *ok when memory is out. */
static const char *join(struct arena *arena, const struct part *parts, size_t n,
                        unsigned kind, unsigned but_not, bool *ok)
{
    const char *joined = NULL;

    for (size_t i = 0; i < n; i++) {
        if (!(parts[i].kinds & kind) || (parts[i].kinds & but_not))
            continue;
        if (kind == PART_SIZE && came_before(parts, i, kind))
            continue;
        joined = joined ? arena_printf(arena, "%s-%s", joined, parts[i].text)
                        : arena_strdup(arena, parts[i].text);
        if (!joined)
            *ok = false;
    }
    return joined;
}

/* Cut at '-', without empty parts; each has room for one more byte. */
static bool split(struct arena *arena, const char *name, struct part *parts, size_t *n)
{
    *n = 0;
    while (*name) {
        const size_t len = strcspn(name, "-");

        if (len > 0 && *n < MAX_PARTS) {
            char *text = arena_alloc(arena, len + 2);
            if (!text)
                return false;
            memcpy(text, name, len);
            parts[(*n)++] = (struct part){.text = text};
        }
        name += len + (name[len] == '-');
    }
    return true;
}

bool idname_parse(struct arena *arena, const char *id, uint64_t n_params,
                  struct idname *out)
{
    struct part parts[MAX_PARTS];
    const char *slash = strchr(id, '/');
    size_t n = 0;
    bool ok = true;

    *out = (struct idname){0};
    if (strchr(id, ' ')) { /* a sentence, not an identifier */
        out->full = arena_strdup(arena, id);
        return out->full != NULL;
    }
    if (slash && slash != id && id[0] != '.') {
        out->organization = arena_strndup(arena, id, (size_t)(slash - id));
        ok = out->organization != NULL;
    }
    out->full = arena_strdup(arena, slash ? slash + 1 : id);
    if (!ok || !out->full || !split(arena, out->full, parts, &n))
        return false;

    for (size_t i = 0; i < n; i++)
        annotate(&parts[i], i == 0, n_params);
    drop_worded_sizes(parts, n);
    find_basename(parts, n);
    out->basename = join(arena, parts, n, PART_BASENAME, 0, &ok);
    out->size_label = join(arena, parts, n, PART_SIZE, 0, &ok);
    out->finetune = join(arena, parts, n, PART_FINETUNE, 0, &ok);
    out->version = join(arena, parts, n, PART_VERSION, PART_BASENAME, &ok);
    if (!out->size_label && !out->finetune && !out->version)
        out->basename = NULL; /* too ambiguous */
    return ok;
}

static bool is_lower_word(const char *word, size_t n)
{
    bool has_letter = false;

    for (size_t i = 0; i < n; i++) {
        if (word[i] >= 'A' && word[i] <= 'Z')
            return false;
        has_letter |= is_letter(word[i]);
    }
    return has_letter;
}

const char *idname_title(struct arena *arena, const char *name)
{
    static const char gaps[] = " -\t\n\v\f\r";
    const char *title = NULL;

    while (*(name += strspn(name, gaps))) {
        const size_t n = strcspn(name, gaps);
        char *word = arena_strndup(arena, name, n);

        if (!word)
            return NULL;
        if (is_lower_word(word, n) && !has_form(word, untitled_form, 0))
            for (size_t i = 0; i < n; i++)
                if (i == 0 || !is_letter(word[i - 1]))
                    word[i] = upper(word[i]);
        title = title ? arena_printf(arena, "%s %s", title, word) : word;
        if (!title)
            return NULL;
        name += n;
    }
    return title ? title : "";
}

const char *idname_size_label(struct arena *arena, uint64_t n_params, uint64_t n_experts)
{
    static const struct {
        double above, scale;
        char unit;
    } units[] = {{1e12, 1e-12, 'T'}, {1e9, 1e-9, 'B'}, {1e6, 1e-6, 'M'}, {-1, 1e-3, 'K'}};
    const double n = (double)n_params;
    size_t u = 0;

    while (n <= units[u].above)
        u++;
    /* two digits at least; numbers round to even here as printf does */
    const double scaled = n * units[u].scale;
    const double whole = nearbyint(scaled);
    const int decimals = whole >= 10 ? 0 : whole >= 1 ? 1 : 2;
    if (n_experts)
        return arena_printf(arena, "%" PRIu64 "x%.*f%c", n_experts, decimals, scaled,
                            units[u].unit);
    return arena_printf(arena, "%.*f%c", decimals, scaled, units[u].unit);
}
