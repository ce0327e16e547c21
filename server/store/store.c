/* The store: what is applied, what is held, and the tables.
 *
 * DESIGN. A push passes five gates in this order: its epoch and bit (store_push), its keys and numbers (check_push),
 * while a cut lives its copies (may_change), the other ranks of its step (hold), and only then the rows (apply).
 * Nothing has changed before the last one, so a push is applied whole or not at all. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/store/optimizer.h"
#include "server/store/store_parts.h"
#include "server/store/vectorize.h"

Err store_open(Store **out, const Schema *schema, const OptimizerConfig *optimizer, uint64_t seed, uint32_t ranks) {
    *out = NULL;
    for (int i = 0; i < schema->n_tables; i++)
        if (schema->tables[i].n_rows > UINT32_MAX)
            return err_fail(ERR_CONFIG, "table %s has %" PRIu64 " rows, a store keeps at most %" PRIu32,
                            schema->tables[i].name, schema->tables[i].n_rows, UINT32_MAX);
    assert(ranks >= 1);
    Store *s = must_calloc(1, sizeof *s);
    s->schema = schema;
    s->optimizer = *optimizer;
    s->n_ranks = ranks;
    held_init(&s->held, ranks);
    for (int i = 0; i < schema->n_tables; i++)
        rowtable_init(&s->tables[i], schema, i, optimizer->kind, seed);
    *out = s;
    return OK;
}

void store_close(Store **s) {
    if (!*s)
        return;
    assert(!(*s)->cut);
    for (int i = 0; i < (*s)->schema->n_tables; i++)
        rowtable_free(&(*s)->tables[i]);
    for (int d = 0; d < N_DOMAINS; d++) {
        free((*s)->bits[d]);
        free((*s)->group_bits[d]);
    }
    held_free(&(*s)->held);
    keyset_free(&(*s)->keys);
    free(*s);
    *s = NULL;
}

/* ---- what is applied ------------------------------------------------------------------------------------------ */

static void reset_bits(Store *s, uint32_t epoch, const uint32_t n_steps[N_DOMAINS]) {
    s->epoch = epoch;
    for (int d = 0; d < N_DOMAINS; d++) {
        free(s->bits[d]);
        s->bits[d] = must_calloc(bitmap_bytes(n_steps[d]) + 1, 1);
        s->n_steps[d] = n_steps[d];
        s->n_applied[d] = 0;
        if (s->group_bits[d])
            groups_reset(s, d);
    }
    held_drop_all(&s->held);
}

static void die_without_copy(void) {
    log_die(ERR_MEMORY, "no memory for a snapshot's copy of a row: lower snapshot.copy_mb or use more servers");
}

static void reset_sums(Store *s) {
    for (int i = 0; i < s->schema->n_tensors; i++) {
        const Tensor *t = &s->schema->tensors[i];
        for (uint64_t row = t->first_row; t->kind == TENSOR_SUM && row < t->first_row + t->n_rows; row++) {
            uint64_t key = key_of(t->table, row);
            if (!rowtable_protect(s->tables, &key, 1, false))
                die_without_copy();
            real *values = rowtable_change(s->tables, key);
            if (values)
                memset(values, 0, s->tables[t->table].width * sizeof(real));
        }
    }
}

void store_open_epoch(Store *s, uint32_t epoch, const uint32_t n_steps[N_DOMAINS]) {
    assert(epoch > s->epoch);
    reset_bits(s, epoch, n_steps);
    reset_sums(s);
}

uint32_t store_epoch(const Store *s) {
    return s->epoch;
}

const uint8_t *store_bitmap(const Store *s, int domain, uint32_t *n_bits) {
    *n_bits = s->n_steps[domain];
    return s->group_bits[domain] ? s->group_bits[domain] : s->bits[domain];
}

const uint8_t *store_begun(const Store *s, int domain) {
    return s->bits[domain];
}

bool store_is_applied(const Store *s, const Work *work) {
    if (work->epoch != s->epoch)
        return work->epoch < s->epoch;
    uint32_t n_bits;
    const uint8_t *bits = store_bitmap(s, work->domain, &n_bits);
    assert(work->domain < N_DOMAINS && work->step < n_bits);
    return bitmap_get(bits, work->step);
}

bool store_has_push(const Store *s, const Work *work) {
    if (work->epoch != s->epoch || work->group)
        return store_is_applied(s, work);
    assert(work->domain < N_DOMAINS && work->step < s->n_steps[work->domain]);
    return bitmap_get(s->bits[work->domain], work->step);
}

uint64_t store_applied_count(const Store *s) {
    return (uint64_t)s->n_applied[DOMAIN_A] + s->n_applied[DOMAIN_B];
}

/* ---- pull ----------------------------------------------------------------------------------------------------- */

Err store_check_keys(const Store *s, const uint64_t *keys, uint32_t n_keys, size_t *n_values) {
    size_t n = 0;
    for (uint32_t i = 0; i < n_keys; i++) {
        int table = key_table(keys[i]);
        if (table >= s->schema->n_tables)
            return err_fail(ERR_PROTOCOL, "key %" PRIu32 " names table %d, there are %d", i, table,
                            s->schema->n_tables);
        if (key_row(keys[i]) >= s->schema->tables[table].n_rows)
            return err_fail(ERR_PROTOCOL, "key %" PRIu32 " names row %" PRIu64 " of table %s, which has %" PRIu64, i,
                            key_row(keys[i]), s->schema->tables[table].name, s->schema->tables[table].n_rows);
        n += s->schema->tables[table].width;
    }
    if (n_values)
        *n_values = n;
    return OK;
}

void store_pull(const Store *s, const uint64_t *keys, uint32_t n_keys, real *values) {
    rowtable_pull(s->tables, keys, n_keys, values);
}

/* ---- push ----------------------------------------------------------------------------------------------------- */

/* x - x is 0 for a number and NaN for the rest; the or of the bits does not care for order, so it becomes vector code.
 */
VECTORIZE static bool all_finite(const real *x, size_t n) {
    int n_bad = 0;
    for (size_t i = 0; i < n; i++)
        n_bad |= !(x[i] - x[i] == 0);
    return !n_bad;
}

/* Gate two: distinct keys of tables that the domain reaches, finite numbers. Gives the number of values. */
static Err check_push(Store *s, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                      size_t *n_values) {
    *n_values = 0;
    keyset_reset(&s->keys, n_keys);
    for (uint32_t i = 0; i < n_keys; i++) {
        bool is_new;
        const Table *table = &s->schema->tables[key_table(keys[i])];
        keyset_add(&s->keys, keys[i], &is_new);
        if (!is_new)
            return err_fail(ERR_PROTOCOL, "a push names row %" PRIu64 " of table %s twice", key_row(keys[i]),
                            table->name);
        if (!(table->reached_by >> work->domain & 1))
            return err_fail(ERR_PROTOCOL, "a push of domain %c changes table %s, which its steps do not reach",
                            'A' + work->domain, table->name);
        if (!groups_allow(s, work, table))
            return err_fail(ERR_PROTOCOL, "a push of a %s changes table %s: dense tables are changed by groups alone",
                            work->group ? "group" : "step", table->name);
        *n_values += table->width;
    }
    if (!all_finite(grads, *n_values))
        return err_fail(ERR_PROTOCOL,
                        "the gradients of epoch %" PRIu32 ", domain %c, step %" PRIu32
                        " are not finite: has the training diverged?",
                        work->epoch, 'A' + work->domain, work->step);
    return OK;
}

/* Gate three: a push that would change rows, its own and, as the last of its step, those of the other ranks. Where
 * there is room for a copy of each, they are made as the rows are changed, which finds them in the cache; else all of
 * them come first, so that nothing has changed where the room runs out. A push may take more than there is while no
 * copy is held: it could wait for ever. */
static bool may_change(Store *s, const Work *work, const uint64_t *keys, uint32_t n_keys) {
    bool is_bounded = store_cut_stats(s->cut).copied_bytes > 0;
    const HeldStep *step = s->n_ranks > 1 ? held_find(&s->held, work) : NULL;
    uint64_t n_rows = n_keys;
    if (s->n_ranks > 1 && (!step || step->n_here + 1 < s->n_ranks))
        return true;
    for (uint32_t r = 0; step && r < s->n_ranks; r++)
        n_rows += step->is_here[r] ? step->ranks[r].n_keys : 0;
    if (store_cut_has_room(s->cut, n_rows))
        return true;
    for (uint32_t r = 0; step && r < s->n_ranks; r++)
        if (step->is_here[r] && !rowtable_protect(s->tables, step->ranks[r].keys, step->ranks[r].n_keys, is_bounded))
            return false;
    return rowtable_protect(s->tables, keys, n_keys, is_bounded);
}

/* Gate five: from here on the step counts. */
static void apply(Store *s, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads) {
    s->t[work->domain] += !work->group;
    Update update = optimizer_update(&s->optimizer, s->t[work->domain]);
    if (!rowtable_push(s->tables, &update, work->domain, keys, n_keys, grads))
        die_without_copy(); /* gate three has seen to the room */
    if (work->group) {
        groups_set(s, work);
        return;
    }
    bitmap_set(s->bits[work->domain], work->step);
    s->n_applied[work->domain]++;
}

/* Gate four: keeps the push until all ranks of its step are here. */
static Err hold(Store *s, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads, size_t n_values,
                PushResult *result) {
    HeldStep *step = held_step(&s->held, work);
    if (!step)
        return err_fail(ERR_PROTOCOL, "%d steps wait for their ranks: sync steps are pushed in order", HELD_MAX_STEPS);
    held_add(step, work->rank, keys, n_keys, grads, n_values);
    *result = PUSH_HELD;
    if (step->n_here < s->n_ranks)
        return OK;
    const Gradients *sum = held_sum(&s->held, step, s->schema);
    held_drop(step);
    if (!all_finite(sum->grads, sum->n_grads))
        return err_fail(ERR_PROTOCOL,
                        "the sum of the ranks' gradients of epoch %" PRIu32 ", domain %c, step %" PRIu32
                        " is not finite: has the training diverged?",
                        work->epoch, 'A' + work->domain, work->step);
    apply(s, work, sum->keys, sum->n_keys, sum->grads);
    *result = PUSH_APPLIED;
    return OK;
}

Err store_push(Store *s, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
               PushResult *result) {
    size_t n_values;
    assert(work->domain < N_DOMAINS && work->rank < s->n_ranks);
    if (work->group && !s->group_bits[work->domain])
        return err_fail(ERR_PROTOCOL, "a push of a group, but this store has none: steps bring their dense gradients");
    if (work->epoch > s->epoch || (work->epoch == s->epoch && !groups_are_begun(s, work))) {
        *result = PUSH_RETRY;
        return OK;
    }
    if (store_has_push(s, work)) {
        *result = PUSH_DUPLICATE;
        return OK;
    }
    if (s->n_ranks > 1 && held_has(&s->held, work)) {
        *result = PUSH_HELD;
        return OK;
    }
    Err e = check_push(s, work, keys, n_keys, grads, &n_values);
    if (e != OK)
        return e;
    if (s->cut && !store_cut_is_read(s->cut) && !may_change(s, work, keys, n_keys)) {
        *result = PUSH_WAIT;
        return OK;
    }
    if (s->n_ranks > 1)
        return hold(s, work, keys, n_keys, grads, n_values, result);
    apply(s, work, keys, n_keys, grads);
    *result = PUSH_APPLIED;
    return OK;
}

/* ---- as a whole ----------------------------------------------------------------------------------------------- */

StoreStats store_stats(const Store *s) {
    StoreStats stats = {.held_bytes = held_bytes(&s->held)};
    for (int i = 0; i < s->schema->n_tables; i++) {
        stats.used_bytes += sizeof s->tables[i] + s->tables[i].slab.total_bytes;
        for (int slot = 0; slot < N_SLOTS; slot++) {
            const SubTable *sub = s->tables[i].slots[slot];
            if (!sub)
                continue;
            stats.n_rows += sub->n_rows;
            stats.used_bytes += subtable_bytes(sub);
        }
    }
    memcpy(stats.t, s->t, sizeof stats.t);
    return stats;
}

uint32_t store_row_reals(const Store *s, int table) {
    return s->tables[table].shape.row_reals;
}

uint32_t store_slot_rows(const Store *s, int table, uint32_t slot) {
    const SubTable *sub = s->tables[table].slots[slot];
    return sub ? sub->n_rows : 0;
}

void store_visit(const Store *s, int table, uint32_t slot, StoreVisit visit, void *ctx) {
    const RowTable *t = &s->tables[table];
    const SubTable *sub = t->slots[slot];
    if (!sub)
        return;
    SubTablePlace *places = must_alloc(2 * sub->n_rows * sizeof *places);
    subtable_list(sub, sub->n_rows, places);
    subtable_sort(places, places + sub->n_rows, sub->n_rows);
    for (uint32_t i = 0; i < sub->n_rows; i++)
        visit(ctx, key_of(table, places[i].row), subtable_row(sub, t->shape, places[i].place));
    free(places);
}

void store_put(Store *s, uint64_t key, const real *row) {
    RowTable *t = &s->tables[key_table(key)];
    if (s->cut && !rowtable_protect(s->tables, &key, 1, false))
        die_without_copy();
    rowtable_put(t, key_row(key), row);
}

void store_restore(Store *s, uint32_t epoch, const uint32_t n_steps[N_DOMAINS], const uint8_t *const bitmap[N_DOMAINS],
                   const uint64_t t[N_DOMAINS]) {
    reset_bits(s, epoch, n_steps);
    for (int d = 0; d < N_DOMAINS; d++) {
        memcpy(s->bits[d], bitmap[d], bitmap_bytes(n_steps[d]));
        s->n_applied[d] = bitmap_count(s->bits[d], n_steps[d]);
        s->t[d] = t[d];
        if (s->group_bits[d])
            groups_reset(s, d);
    }
}
