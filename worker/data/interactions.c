/* One domain's interactions, grouped, deduplicated, cut to the core, ordered. All passes are linear but the sorting of
 * each user's events. */
#include "worker/data/interactions.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { FIRST_ROWS = 4096 };

void interactions_free(Interactions *x) {
    free(x->rows);
    free(x->events);
    free(x->start);
    *x = (Interactions){0};
}

Err interactions_add(Interactions *x, uint32_t user, uint32_t item, int64_t time) {
    if (x->n_rows == x->capacity) {
        if (x->n_rows >= UINT32_MAX - 1)
            return err_fail(ERR_DATA, "a domain has more than %u rows", UINT32_MAX - 1);
        uint64_t more = x->capacity + (uint64_t)x->capacity / 2 + FIRST_ROWS;
        x->capacity = more < UINT32_MAX ? (uint32_t)more : UINT32_MAX - 1;
        x->rows = must_realloc(x->rows, x->capacity * sizeof *x->rows);
    }
    x->rows[x->n_rows++] = (Row){.time = time, .user = user, .item = item};
    return OK;
}

/* Counting sort by user; within a user the file's order stays. */
static void group_by_user(Interactions *x, uint32_t n_users) {
    x->n_users = n_users;
    x->start = must_calloc(n_users + (size_t)1, sizeof *x->start);
    x->events = must_alloc((x->n_rows + (size_t)1) * sizeof *x->events);
    for (uint32_t i = 0; i < x->n_rows; i++)
        x->start[x->rows[i].user]++;
    for (uint32_t u = 0, sum = 0; u <= n_users; u++) {
        sum += x->start[u];
        x->start[u] = sum; /* the end of u; filling backwards turns it into the start */
    }
    for (uint32_t i = x->n_rows; i-- > 0;) {
        const Row *row = &x->rows[i];
        x->events[--x->start[row->user]] = (Event){.time = row->time, .item = row->item, .order = i};
    }
    free(x->rows);
    x->rows = NULL;
}

static void drop_duplicates(Interactions *x, uint32_t n_items) {
    uint32_t *last_user = must_alloc(n_items * sizeof *last_user);
    memset(last_user, 0xff, n_items * sizeof *last_user);
    uint32_t kept = 0, first = 0;
    for (uint32_t u = 0; u < x->n_users; u++) {
        uint32_t end = x->start[u + 1];
        for (uint32_t i = first; i < end; i++) {
            uint32_t item = x->events[i].item;
            if (last_user[item] == u)
                continue;
            last_user[item] = u;
            x->events[kept++] = x->events[i];
        }
        first = end;
        x->start[u + 1] = kept;
    }
    x->n_duplicates = first - kept;
    free(last_user);
}

/* Drops the users with too few events, and the events of items that n_of_item (or NULL) finds too rare. */
static bool drop_rare(Interactions *x, uint32_t user_core, const uint32_t *n_of_item, uint32_t item_core) {
    uint32_t kept = 0, first = 0;
    for (uint32_t u = 0; u < x->n_users; u++) {
        uint32_t end = x->start[u + 1];
        bool is_kept = end - first >= user_core;
        for (uint32_t i = first; i < end && is_kept; i++)
            if (!n_of_item || n_of_item[x->events[i].item] >= item_core)
                x->events[kept++] = x->events[i];
        first = end;
        x->start[u + 1] = kept;
    }
    return kept < first;
}

static void keep_core(Interactions *x, uint32_t n_items, uint32_t user_core, uint32_t item_core) {
    if (item_core <= 1) {
        (void)drop_rare(x, user_core, NULL, 0);
        return;
    }
    uint32_t *n_of_item = must_alloc(n_items * sizeof *n_of_item);
    do {
        memset(n_of_item, 0, n_items * sizeof *n_of_item);
        for (uint32_t i = 0; i < interactions_count(x); i++)
            n_of_item[x->events[i].item]++;
    } while (drop_rare(x, user_core, n_of_item, item_core));
    free(n_of_item);
}

static int by_time(const void *left, const void *right) {
    const Event *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

void interactions_finish(Interactions *x, uint32_t n_users, uint32_t n_items, uint32_t user_core, uint32_t item_core) {
    group_by_user(x, n_users);
    drop_duplicates(x, n_items);
    keep_core(x, n_items, user_core, item_core);
    for (uint32_t u = 0; u < n_users; u++)
        if (x->start[u + 1] - x->start[u] > 1)
            qsort(x->events + x->start[u], x->start[u + 1] - x->start[u], sizeof *x->events, by_time);
}
