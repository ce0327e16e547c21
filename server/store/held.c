/* Held pushes, and their sum in rank order. */
#include "server/store/held.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

void held_init(Held *h, uint32_t n_ranks) {
    *h = (Held){.n_ranks = n_ranks};
}

static void gradients_free(Gradients *g) {
    free(g->keys);
    free(g->grads);
}

void held_free(Held *h) {
    for (int i = 0; i < HELD_MAX_STEPS; i++) {
        for (uint32_t r = 0; h->steps[i].ranks && r < h->n_ranks; r++)
            gradients_free(&h->steps[i].ranks[r]);
        free(h->steps[i].ranks);
        free(h->steps[i].is_here);
    }
    gradients_free(&h->sum);
    keyset_free(&h->keys);
    free(h->offsets);
    *h = (Held){0};
}

void held_drop(HeldStep *s) {
    s->is_used = false;
}

void held_drop_all(Held *h) {
    for (int i = 0; i < HELD_MAX_STEPS; i++)
        held_drop(&h->steps[i]);
}

size_t held_bytes(const Held *h) {
    size_t bytes = 0;
    for (const HeldStep *s = h->steps; s < h->steps + HELD_MAX_STEPS; s++)
        for (uint32_t r = 0; s->is_used && r < h->n_ranks; r++)
            if (s->is_here[r])
                bytes += s->ranks[r].n_keys * sizeof(uint64_t) + s->ranks[r].n_grads * sizeof(real);
    return bytes;
}

const HeldStep *held_find(const Held *h, const Work *work) {
    for (int i = 0; i < HELD_MAX_STEPS; i++)
        if (h->steps[i].is_used && h->steps[i].domain == work->domain && h->steps[i].step == work->step)
            return &h->steps[i];
    return NULL;
}

bool held_has(const Held *h, const Work *work) {
    const HeldStep *s = held_find(h, work);
    return s && s->is_here[work->rank];
}

HeldStep *held_step(Held *h, const Work *work) {
    const HeldStep *found = held_find(h, work);
    if (found)
        return &h->steps[found - h->steps];
    for (HeldStep *s = h->steps; s < h->steps + HELD_MAX_STEPS; s++) {
        if (s->is_used)
            continue;
        if (!s->ranks) {
            s->ranks = must_calloc(h->n_ranks, sizeof *s->ranks);
            s->is_here = must_calloc(h->n_ranks, sizeof *s->is_here);
        }
        memset(s->is_here, 0, h->n_ranks * sizeof *s->is_here);
        s->is_used = true;
        s->domain = work->domain;
        s->step = work->step;
        s->n_here = 0;
        return s;
    }
    return NULL;
}

/* Grows an array to hold n elements, by at least half. */
static void *reserve(void *array, size_t *capacity, size_t n, size_t size) {
    if (n <= *capacity)
        return array;
    *capacity = n > *capacity + *capacity / 2 ? n : *capacity + *capacity / 2;
    return must_realloc(array, *capacity * size);
}

static void gradients_reserve(Gradients *g, size_t n_keys, size_t n_grads) {
    g->keys = reserve(g->keys, &g->key_capacity, n_keys, sizeof *g->keys);
    g->grads = reserve(g->grads, &g->grad_capacity, n_grads, sizeof *g->grads);
}

void held_add(HeldStep *s, uint16_t rank, const uint64_t *keys, uint32_t n_keys, const real *grads, size_t n_grads) {
    Gradients *g = &s->ranks[rank];
    assert(s->is_used && !s->is_here[rank]);
    gradients_reserve(g, n_keys, n_grads);
    if (n_keys) {
        memcpy(g->keys, keys, n_keys * sizeof *keys);
        memcpy(g->grads, grads, n_grads * sizeof *grads);
    }
    g->n_keys = n_keys;
    g->n_grads = n_grads;
    s->is_here[rank] = true;
    s->n_here++;
}

static void add_rank(Held *h, const Gradients *rank, const Schema *schema) {
    const real *grads = rank->grads;
    for (uint32_t i = 0; i < rank->n_keys; i++) {
        bool is_new;
        uint32_t width = schema->tables[key_table(rank->keys[i])].width;
        uint32_t number = keyset_add(&h->keys, rank->keys[i], &is_new);
        if (is_new) {
            h->sum.keys[number] = rank->keys[i];
            h->offsets[number] = h->sum.n_grads;
            memcpy(h->sum.grads + h->sum.n_grads, grads, width * sizeof(real));
            h->sum.n_grads += width;
        } else {
            real *sum = h->sum.grads + h->offsets[number];
            for (uint32_t k = 0; k < width; k++)
                sum[k] += grads[k];
        }
        grads += width;
    }
}

const Gradients *held_sum(Held *h, const HeldStep *s, const Schema *schema) {
    size_t n_keys = 0, n_grads = 0;
    assert(s->n_here == h->n_ranks);
    for (uint32_t r = 0; r < h->n_ranks; r++) {
        n_keys += s->ranks[r].n_keys;
        n_grads += s->ranks[r].n_grads;
    }
    gradients_reserve(&h->sum, n_keys, n_grads);
    h->offsets = reserve(h->offsets, &h->offset_capacity, n_keys, sizeof *h->offsets);
    keyset_reset(&h->keys, (uint32_t)n_keys);
    h->sum.n_grads = 0;
    for (uint32_t r = 0; r < h->n_ranks; r++)
        add_rank(h, &s->ranks[r], schema);
    h->sum.n_keys = h->keys.n;
    return &h->sum;
}
