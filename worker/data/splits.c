/* Training, validation, test, and chunks. */
#include "worker/data/splits.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* The k-th smallest of x (Hoare's selection, middle pivot); reorders x. */
static int64_t select_nth(int64_t *x, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t pivot = x[low + (high - low) / 2], i = low, j = high;
        while (i <= j) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i <= j) {
                int64_t kept = x[i];
                x[i++] = x[j];
                x[j--] = kept;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return x[k];
}

/* floor(share n) of the double product, as other programs compute it, too. */
static int64_t quantile_index(double share, uint32_t n) {
    return (int64_t)(share * n);
}

static void cut_by_quantile(PreparedDomain *d) {
    int64_t *times = must_alloc(d->n_events * sizeof *times);
    memcpy(times, d->times, d->n_events * sizeof *times);
    d->valid_start = select_nth(times, d->n_events, quantile_index(0.8, d->n_events));
    d->test_start = select_nth(times, d->n_events, quantile_index(0.9, d->n_events));
    free(times);
}

void splits_find_cuts(PreparedDomain *d, SplitKind kind, int days) {
    d->valid_start = d->test_start = INT64_MAX;
    if (kind == SPLIT_BY_QUANTILE) {
        cut_by_quantile(d);
    } else if (kind == SPLIT_BY_DAYS) {
        int64_t newest = INT64_MIN;
        for (uint32_t i = 0; i < d->n_events; i++)
            newest = d->times[i] > newest ? d->times[i] : newest;
        d->test_start = newest - (int64_t)days * DAY_SECONDS;
        d->valid_start = d->test_start - (int64_t)days * DAY_SECONDS;
    }
}

/* The split of a user's i-th of n events. */
static Split split_of(const PreparedDomain *d, SplitKind kind, int64_t time, uint32_t i, uint32_t n) {
    if (kind == SPLIT_LEAVE_ONE_OUT)
        return i + 1 == n ? SPLIT_TEST : i + 2 == n ? SPLIT_VALID : SPLIT_TRAIN;
    return time < d->valid_start ? SPLIT_TRAIN : time < d->test_start ? SPLIT_VALID : SPLIT_TEST;
}

static void append(InstanceList *list, Instance instance) {
    if (list->n == list->capacity) {
        list->capacity += list->capacity / 2 + 1024;
        list->at = must_realloc(list->at, list->capacity * sizeof *list->at);
    }
    list->at[list->n++] = instance;
}

static void mark_warm(PreparedDomain *d, uint32_t event) {
    uint8_t *is_warm = &d->is_warm[d->items[event]];
    d->n_warm_items += !*is_warm;
    *is_warm = 1;
}

/* Training events are the first of a user, so that each is a target or the first of a history. */
static void list_user(PreparedDomain *d, SplitKind kind, uint32_t user) {
    UserRange range = d->users[user];
    for (uint32_t i = 1; i < range.n; i++) {
        uint32_t event = range.first + i;
        Split split = split_of(d, kind, d->times[event], i, range.n);
        append(&d->lists[list_index(split, PROTOCOL_ALL)],
               (Instance){.user = user, .first = range.first, .target = event});
        if (split != SPLIT_TRAIN)
            continue;
        mark_warm(d, event);
        if (i == 1)
            mark_warm(d, range.first);
    }
}

static void list_warm(PreparedDomain *d, Split split) {
    const InstanceList *all = &d->lists[list_index(split, PROTOCOL_ALL)];
    for (uint32_t i = 0; i < all->n; i++)
        if (d->is_warm[d->items[all->at[i].target]])
            append(&d->lists[list_index(split, PROTOCOL_WARM)], all->at[i]);
}

void splits_make_lists(Prepared *p, int domain, SplitKind kind) {
    PreparedDomain *d = &p->domains[domain];
    d->is_warm = must_calloc(p->n_items, 1);
    for (uint32_t i = 0; i < p->n_layout; i++)
        list_user(d, kind, p->layout[i]);
    list_warm(d, SPLIT_VALID);
    list_warm(d, SPLIT_TEST);
}

/* Moves *at past the user's instances; returns their number. */
static uint32_t skip_user(const InstanceList *list, uint32_t user, uint32_t *at) {
    uint32_t first = *at;
    while (*at < list->n && list->at[*at].user == user)
        ++*at;
    return *at - first;
}

/* ends (n_layout) out: position in the layout behind each chunk. Returns the number of chunks. */
static uint32_t cut_layout(const Prepared *p, uint32_t chunk_instances, uint32_t *ends) {
    uint32_t n_chunks = 0, at[N_DOMAINS] = {0};
    uint64_t n = 0;
    for (uint32_t i = 0; i < p->n_layout; i++) {
        for (int d = 0; d < N_DOMAINS; d++)
            n += skip_user(&p->domains[d].lists[0], p->layout[i], &at[d]);
        if (n >= chunk_instances) {
            ends[n_chunks++] = i + 1;
            n = 0;
        }
    }
    if (n_chunks == 0)
        n_chunks = 1;
    ends[n_chunks - 1] = p->n_layout;
    return n_chunks;
}

static void start_chunks(const Prepared *p, InstanceList *list, const uint32_t *ends) {
    list->chunk_start = must_calloc(p->n_chunks + (size_t)1, sizeof *list->chunk_start);
    uint32_t at = 0, i = 0;
    for (uint32_t c = 0; c < p->n_chunks; c++) {
        for (; i < ends[c]; i++)
            (void)skip_user(list, p->layout[i], &at);
        list->chunk_start[c + 1] = at;
    }
}

void splits_make_chunks(Prepared *p, uint32_t chunk_instances) {
    uint32_t *ends = must_alloc((p->n_layout + (size_t)1) * sizeof *ends);
    p->n_chunks = cut_layout(p, chunk_instances, ends);
    for (int d = 0; d < N_DOMAINS; d++)
        for (int l = 0; l < N_LISTS; l++)
            start_chunks(p, &p->domains[d].lists[l], ends);
    free(ends);
}
