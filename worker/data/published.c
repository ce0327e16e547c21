/* Published files, line by line. A group is read as its positive, whose fields are kept, and the negatives, which are
 * compared with it. */
#include "worker/data/published.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/data/fields.h"

enum { MAX_NAME = 255, MAX_DIGITS = 11, N_ROWS = RANKING_CANDIDATES };
enum { MAX_POSITIVES = UINT32_MAX / N_ROWS };

enum { LABEL, USER, ITEM, CATEGORY, TIME, ITEMS, CATEGORIES, TIMES, N_FIELDS };

typedef struct Reader {
    char path[PATH_MAX];
    Input *in;
    Splitter *splitter;
    Line line;     /* in hand */
    Fields fields; /* of it */
    uint32_t positives_capacity;
    uint64_t history_capacity;
} Reader;

#define bad(r, format, ...)                                                                                            \
    err_fail(ERR_DATA, "%s:%llu: " format, (r)->path, (unsigned long long)(r)->line.number, __VA_ARGS__)

/* ---- files and lines ---- */

/* Sets the path to dir/name.tsv.gz or dir/name.tsv. False: neither is there. */
static bool find_file(Reader *r, const char *dir, const char *name) {
    static const char *const ENDS[] = {"", ".gz"};
    for (int i = 2; i-- > 0;) {
        snprintf(r->path, sizeof r->path, "%s/%s.tsv%s", dir, name, ENDS[i]);
        if (!access(r->path, F_OK))
            return true;
    }
    return false;
}

static Err open_reader(Reader *r) {
    r->splitter = splitter_open(FIELDS_TABS, NULL);
    return input_open(&r->in, r->path);
}

static void close_reader(Reader *r) {
    input_close(&r->in);
    splitter_close(&r->splitter);
}

/* The next line that is not empty, with exactly n_fields. */
static Err read_fields(Reader *r, int n_fields, bool *has_line) {
    do {
        Err err = input_read_line(r->in, &r->line, has_line);
        if (err)
            return err_wrap(err, "%s:%llu", r->path, (unsigned long long)r->line.number);
    } while (*has_line && r->line.length == 0 && !r->line.is_too_long);
    if (!*has_line)
        return OK;
    if (r->line.is_too_long)
        return bad(r, "the line is longer than %d bytes", INPUT_MAX_LINE);
    if (splitter_split(r->splitter, &r->line, &r->fields) || r->fields.n != n_fields)
        return bad(r, "%d tab-separated fields%s were found, %d are expected", r->fields.n,
                   r->fields.n == FIELDS_MAX ? " or more" : "", n_fields);
    return OK;
}

/* ---- fields ---- */

/* What a message shows of it: its first bytes, without what a terminal would obey. */
typedef struct Shown {
    char text[24];
} Shown;

static Shown show(const Field *f) {
    Shown s = {0};
    for (size_t i = 0; i < f->length && i + 1 < sizeof s.text; i++)
        s.text[i] = f->text[i] >= ' ' && f->text[i] <= '~' ? f->text[i] : '?';
    return s;
}

static bool parse_number(const Field *f, int64_t *out) {
    if (f->length == 0 || f->length > MAX_DIGITS)
        return false;
    *out = 0;
    for (size_t i = 0; i < f->length; i++) {
        if (f->text[i] < '0' || f->text[i] > '9')
            return false;
        *out = *out * 10 + (f->text[i] - '0');
    }
    return true;
}

static bool is_name(const Field *f) {
    return f->length > 0 && f->length <= MAX_NAME;
}

/* Cuts the first element off a list. False: the list has ended; rest->text NULL says so. */
static bool next_element(Field *rest, Field *out) {
    if (!rest->text)
        return false;
    const char *comma = memchr(rest->text, ',', rest->length);
    *out = (Field){.text = rest->text, .length = comma ? (size_t)(comma - rest->text) : rest->length};
    rest->length -= out->length + (comma != NULL);
    rest->text = comma ? comma + 1 : NULL;
    return true;
}

static size_t count_elements(Field list) {
    size_t n = 0;
    for (Field element; next_element(&list, &element);)
        n++;
    return n;
}

static bool is_same(const Fields *a, const Fields *b, int field) {
    const Field *x = &a->at[field], *y = &b->at[field];
    return x->length == y->length && !memcmp(x->text, y->text, x->length);
}

/* ---- a group of ten ---- */

typedef struct Group {
    uint64_t line;                 /* of the positive */
    Fields fields;                 /* of it */
    char text[INPUT_MAX_LINE + 1]; /* which they point into */
    int n_rows;                    /* so far */
} Group;

static void reserve_history(Reader *r, Published *p, uint64_t n) {
    if (n <= r->history_capacity)
        return;
    r->history_capacity = n + n / 2;
    p->history = must_realloc(p->history, r->history_capacity * sizeof *p->history);
    p->history_time = must_realloc(p->history_time, r->history_capacity * sizeof *p->history_time);
}

static void reserve_positive(Reader *r, Published *p) {
    if (p->n < r->positives_capacity)
        return;
    size_t n = r->positives_capacity = p->n + p->n / 2 + 64;
    p->candidates = must_realloc(p->candidates, n * N_ROWS * sizeof *p->candidates);
    p->user = must_realloc(p->user, n * sizeof *p->user);
    p->time = must_realloc(p->time, n * sizeof *p->time);
    p->start = must_realloc(p->start, (n + 1) * sizeof *p->start);
}

static Err append_history(Reader *r, Published *p, const Fields *f) {
    Field items = f->at[ITEMS], times = f->at[TIMES], item, time;
    size_t n = count_elements(items), at = p->start[p->n];
    if (count_elements(times) != n)
        return bad(r, "the history has %zu items and %zu times", n, count_elements(times));
    reserve_history(r, p, at + n);
    for (; next_element(&items, &item) && next_element(&times, &time); at++) {
        if (!is_name(&item))
            return bad(r, "a name in the history has %zu bytes, 1 to %d are expected", item.length, MAX_NAME);
        if (!parse_number(&time, &p->history_time[at]))
            return bad(r, "the time \"%s\" in the history is no number of seconds", show(&time).text);
        p->history[at] = vocab_intern(&p->items, item.text, item.length);
    }
    p->start[p->n + 1] = at;
    return OK;
}

static void keep_line(const Reader *r, Group *g) {
    memcpy(g->text, r->line.text, r->line.length);
    g->fields = r->fields;
    for (int i = 0; i < N_FIELDS; i++)
        g->fields.at[i].text = g->text + (r->fields.at[i].text - r->line.text);
    g->line = r->line.number;
}

static Err begin_group(Reader *r, Published *p, Group *g) {
    if (p->n == MAX_POSITIVES)
        return bad(r, "the file holds more than %u positives", MAX_POSITIVES);
    keep_line(r, g);
    reserve_positive(r, p);
    const Field *user = &g->fields.at[USER], *time = &g->fields.at[TIME];
    if (!is_name(user))
        return bad(r, "the user's name has %zu bytes, 1 to %d are expected", user->length, MAX_NAME);
    if (!parse_number(time, &p->time[p->n]))
        return bad(r, "the time \"%s\" is no number of seconds", show(time).text);
    p->user[p->n] = vocab_intern(&p->users, user->text, user->length);
    return append_history(r, p, &g->fields);
}

static Err check_negative(const Reader *r, const Group *g) {
    static const struct {
        int field;
        const char *name;
    } SHARED[] = {{USER, "user"}, {TIME, "time"}, {ITEMS, "history"}, {TIMES, "history of times"}};
    for (size_t i = 0; i < sizeof SHARED / sizeof *SHARED; i++)
        if (!is_same(&r->fields, &g->fields, SHARED[i].field))
            return bad(r, "the negative's %s differs from that of its positive in line %llu", SHARED[i].name,
                       (unsigned long long)g->line);
    return OK;
}

/* The group is complete where its tenth row has come. */
static Err add_row(Reader *r, Published *p, Group *g) {
    const Field *label = &r->fields.at[LABEL], *item = &r->fields.at[ITEM];
    bool is_positive = field_is(label, "1");
    if (!is_positive && !field_is(label, "0"))
        return bad(r, "the label is \"%s\", 0 or 1 is expected", show(label).text);
    if (is_positive && g->n_rows > 0)
        return bad(r, "a positive, but that of line %llu has %d of its %d negatives", (unsigned long long)g->line,
                   g->n_rows - 1, N_ROWS - 1);
    if (!is_positive && g->n_rows == 0)
        return bad(r, "a negative without its positive: %d negatives follow a line of label 1", N_ROWS - 1);
    if (!is_name(item))
        return bad(r, "the item's name has %zu bytes, 1 to %d are expected", item->length, MAX_NAME);
    Err err = is_positive ? begin_group(r, p, g) : check_negative(r, g);
    if (err)
        return err;
    p->candidates[(size_t)p->n * N_ROWS + (size_t)g->n_rows] = vocab_intern(&p->items, item->text, item->length);
    if (++g->n_rows == N_ROWS) {
        p->n++;
        g->n_rows = 0;
    }
    return OK;
}

static Err check_end(const Reader *r, const Published *p, const Group *g) {
    if (g->n_rows > 0)
        return bad(r, "the file ends here, but the positive of line %llu has %d of its %d negatives",
                   (unsigned long long)g->line, g->n_rows - 1, N_ROWS - 1);
    return p->n ? OK : err_fail(ERR_DATA, "%s holds no positive", r->path);
}

static Err read_groups(Reader *r, Published *p) {
    Group *g = must_calloc(1, sizeof *g);
    bool has_line = true;
    Err err = open_reader(r);
    while (!err && has_line) {
        err = read_fields(r, N_FIELDS, &has_line);
        if (!err)
            err = has_line ? add_row(r, p, g) : check_end(r, p, g);
    }
    close_reader(r);
    free(g);
    return err;
}

/* ---- interface ---- */

Err published_read(Published *out, const char *dir, int domain, Split split, bool *exists) {
    char name[16];
    Reader *r = must_calloc(1, sizeof *r);
    *out = (Published){0};
    snprintf(name, sizeof name, "%s_%c", split == SPLIT_VALID ? "valid" : "test", "AB"[domain]);
    *exists = find_file(r, dir, name);
    Err err = OK;
    if (*exists) {
        vocab_init(&out->items);
        vocab_init(&out->users);
        reserve_positive(r, out);
        out->start[0] = 0;
        err = read_groups(r, out);
    }
    if (err)
        published_free(out);
    free(r);
    return err;
}

void published_free(Published *p) {
    vocab_free(&p->items);
    vocab_free(&p->users);
    free(p->candidates);
    free(p->user);
    free(p->time);
    free(p->start);
    free(p->history);
    free(p->history_time);
    *p = (Published){0};
}

static Err map_line(const Reader *r, const Vocab *names, uint32_t *ids) {
    const Field *number = &r->fields.at[0], *name = &r->fields.at[1];
    int64_t id;
    if (!parse_number(number, &id) || id > INT32_MAX)
        return bad(r, "the id \"%s\" is no number below 2^31", show(number).text);
    if (!is_name(name))
        return bad(r, "the name has %zu bytes, 1 to %d are expected", name->length, MAX_NAME);
    uint32_t found = vocab_find(names, name->text, name->length);
    if (found)
        ids[found] = (uint32_t)id;
    return OK;
}

static Err map_names(const char *dir, const char *file, const Vocab *names, uint32_t *ids) {
    bool has_line = true;
    memset(ids, 0, names->n * sizeof *ids);
    Reader *r = must_calloc(1, sizeof *r);
    Err err =
        find_file(r, dir, file) ? open_reader(r) : err_fail(ERR_DATA, "neither %s nor %s.gz exists", r->path, r->path);
    while (!err && has_line) {
        err = read_fields(r, 2, &has_line);
        if (!err && has_line)
            err = map_line(r, names, ids);
    }
    close_reader(r);
    free(r);
    return err;
}

Err published_map_items(const char *dir, const Vocab *names, uint32_t *ids) {
    return map_names(dir, "item_vocab", names, ids);
}

Err published_map_users(const char *dir, const Vocab *names, uint32_t *ids) {
    return map_names(dir, "user_vocab", names, ids);
}
