/* From a lease to the list of its steps. */
#include "worker/assignment.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* Steps of one domain in a part have consecutive numbers, in their order. */
static void name_groups(AssignedStep *steps, uint32_t n, uint32_t group) {
    uint32_t n_of[N_DOMAINS] = {0};
    for (uint32_t i = 0; i < n; i++)
        steps[i].place = (uint16_t)n_of[steps[i].domain]++;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t left = n_of[steps[i].domain] - (steps[i].place - steps[i].place % group);
        steps[i].group = (uint16_t)(left < group ? left : group);
    }
}

/* Appends the steps of a part; the first has place `order` in the epoch. */
static void append_part(Assignment *a, const Geometry *g, const Config *config, Part part, uint64_t order) {
    uint64_t seed = config->train.seed;
    StepName *names = must_alloc(geometry_part_size(g) * sizeof *names);
    uint32_t n = geometry_part_steps(g, seed, a->epoch, part, names);
    for (uint32_t i = 0; i < n; i++)
        a->steps[a->n_steps++] = (AssignedStep){.order = order + i, .domain = names[i].domain, .step = names[i].step};
    name_groups(a->steps + a->n_steps - n, n, (uint32_t)config->dense.push);
    free(names);
}

static uint32_t steps_of_epoch(const Geometry *g) {
    return geometry_steps(g, DOMAIN_A, SPLIT_TRAIN) + geometry_steps(g, DOMAIN_B, SPLIT_TRAIN);
}

/* Every step of the epoch in its global order. */
static void append_epoch(Assignment *a, const Geometry *g, const Config *config) {
    Part *parts = must_alloc(geometry_parts(g) * sizeof *parts);
    StepName *names = must_alloc((steps_of_epoch(g) + 1) * sizeof *names);
    geometry_epoch_order(g, config->train.seed, a->epoch, parts, names);
    a->n_steps = steps_of_epoch(g);
    a->steps = must_alloc((a->n_steps + 1) * sizeof *a->steps);
    for (uint32_t i = 0; i < a->n_steps; i++)
        a->steps[i] = (AssignedStep){.order = i, .domain = names[i].domain, .step = names[i].step};
    for (uint32_t i = 0, at = 0; i < geometry_parts(g); at += geometry_part_length(g, parts[i++]))
        name_groups(a->steps + at, geometry_part_length(g, parts[i]), (uint32_t)config->dense.push);
    free(names);
    free(parts);
}

static void use_ranks(Assignment *a, uint32_t n_ranks) {
    a->n_ranks = n_ranks;
    a->ranks = must_alloc(n_ranks * sizeof *a->ranks);
    for (uint32_t r = 0; r < n_ranks; r++)
        a->ranks[r] = (uint16_t)r;
}

static uint32_t all_ranks(const Config *config) {
    return config->train.consistency == CONSISTENCY_SYNC ? (uint32_t)config->train.ranks : 1;
}

static Err decode_part(Assignment *a, Message *m, const Geometry *g, const Config *config) {
    uint64_t chunk = m->lease.chunk, index = m->lease.part;
    if (chunk >= g->n_chunks)
        return err_fail(ERR_PROTOCOL, "a lease names chunk %llu of %u", (unsigned long long)chunk, g->n_chunks);
    if (index >= geometry_chunk_parts(g, (uint32_t)chunk))
        return err_fail(ERR_PROTOCOL, "a lease names part %llu of chunk %llu, which has %u", (unsigned long long)index,
                        (unsigned long long)chunk, geometry_chunk_parts(g, (uint32_t)chunk));
    a->steps = must_alloc(geometry_part_size(g) * sizeof *a->steps);
    append_part(a, g, config, (Part){.chunk = (uint32_t)chunk, .index = (uint32_t)index}, 0);
    use_ranks(a, 1);
    return OK;
}

static Err decode_ranks(Assignment *a, Message *m, const Geometry *g, const Config *config) {
    size_t bytes;
    const uint32_t *ranks = message_bytes(m, 0, m->n_frames, &bytes);
    uint32_t n_ranks = (uint32_t)config->train.ranks;
    if (bytes == 0 || bytes % sizeof *ranks || bytes / sizeof *ranks > n_ranks)
        return err_fail(ERR_PROTOCOL, "a lease lists ranks in %zu bytes; there are %u ranks", bytes, n_ranks);
    if (m->lease.order > steps_of_epoch(g))
        return err_fail(ERR_PROTOCOL, "a lease starts at step %llu of %u", (unsigned long long)m->lease.order,
                        steps_of_epoch(g));
    use_ranks(a, (uint32_t)(bytes / sizeof *ranks));
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        if (ranks[i] >= n_ranks)
            return err_fail(ERR_PROTOCOL, "a lease names rank %u of %u", ranks[i], n_ranks);
        a->ranks[i] = (uint16_t)ranks[i];
    }
    append_epoch(a, g, config);
    a->n_steps -= (uint32_t)m->lease.order;
    memmove(a->steps, a->steps + m->lease.order, a->n_steps * sizeof *a->steps);
    return OK;
}

/* Only who computes all steps of a group can push it: who wants one of them gets all. */
static void complete_groups(const Assignment *a, uint8_t *wanted[N_DOMAINS], uint32_t group) {
    for (uint32_t i = 0; i < a->n_steps; i++) {
        const AssignedStep *s = &a->steps[i];
        uint32_t first = s->step - s->place % group;
        if (bitmap_get(wanted[s->domain], s->step))
            for (uint32_t j = 0; j < s->group; j++)
                bitmap_set(wanted[s->domain], first + j);
    }
}

/* The steps of a cut, in the epoch's order whatever the order in which they are listed. */
static Err decode_steps(Assignment *a, Message *m, const Geometry *g, const Config *config) {
    size_t bytes;
    const uint32_t *pairs = message_bytes(m, 0, m->n_frames, &bytes);
    size_t n = bytes / (2 * sizeof *pairs);
    if (bytes % (2 * sizeof *pairs) || n > steps_of_epoch(g))
        return err_fail(ERR_PROTOCOL, "a lease lists steps in %zu bytes", bytes);
    uint8_t *wanted[N_DOMAINS];
    for (int d = 0; d < N_DOMAINS; d++)
        wanted[d] = must_calloc(bitmap_bytes(geometry_steps(g, d, SPLIT_TRAIN)) + 1, 1);
    Err err = OK;
    for (size_t i = 0; i < n && !err; i++) {
        uint32_t domain = pairs[2 * i], step = pairs[2 * i + 1];
        if (domain >= N_DOMAINS || step >= geometry_steps(g, (int)domain, SPLIT_TRAIN))
            err = err_fail(ERR_PROTOCOL, "a lease names step %u of domain %u, which does not exist", step, domain);
        else
            bitmap_set(wanted[domain], step);
    }
    if (!err) {
        append_epoch(a, g, config);
        if (config->dense.push > 1)
            complete_groups(a, wanted, (uint32_t)config->dense.push);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < a->n_steps; i++)
            if (bitmap_get(wanted[a->steps[i].domain], a->steps[i].step))
                a->steps[kept++] = a->steps[i];
        a->n_steps = kept;
        use_ranks(a, all_ranks(config));
    }
    for (int d = 0; d < N_DOMAINS; d++)
        free(wanted[d]);
    return err;
}

static void append_evaluation(Assignment *a, const Geometry *g, uint32_t chunk, int domain) {
    uint32_t n = geometry_chunk_steps(g, chunk, domain, a->split), first = g->first_step[domain][a->split][chunk];
    a->steps = must_alloc((n + 1) * sizeof *a->steps);
    for (uint32_t i = 0; i < n; i++)
        a->steps[a->n_steps++] = (AssignedStep){.domain = (uint8_t)domain, .step = first + i};
    use_ranks(a, 1);
}

static Err decode_evaluation(Assignment *a, Message *m, const Geometry *g, const Config *config) {
    (void)config;
    const MessageLEASE *l = &m->lease;
    if (l->chunk >= g->n_chunks || l->domain >= N_DOMAINS || (l->split != SPLIT_VALID && l->split != SPLIT_TEST) ||
        l->pass == 0 || l->pass > UINT32_MAX)
        return err_fail(ERR_PROTOCOL, "a lease names an evaluation that does not exist");
    a->pass = (uint32_t)l->pass;
    a->split = (Split)l->split;
    append_evaluation(a, g, (uint32_t)l->chunk, (int)l->domain);
    return OK;
}

typedef Err (*Decode)(Assignment *a, Message *m, const Geometry *g, const Config *config);
static const Decode DECODE[] = {
    [LEASE_PART] = decode_part,
    [LEASE_RANKS] = decode_ranks,
    [LEASE_STEPS] = decode_steps,
    [LEASE_EVALUATION] = decode_evaluation,
};

Err assignment_decode(Assignment *out, Message *m, const Geometry *g, const Config *config) {
    const MessageLEASE *l = &m->lease;
    *out = (Assignment){0};
    if (l->kind >= sizeof DECODE / sizeof *DECODE || !DECODE[l->kind])
        return err_fail(ERR_PROTOCOL, "a lease is of kind %llu, which does not exist", (unsigned long long)l->kind);
    if (l->lease == 0 || l->epoch == 0 || l->epoch > UINT32_MAX)
        return err_fail(ERR_PROTOCOL, "a lease has number %llu and epoch %llu", (unsigned long long)l->lease,
                        (unsigned long long)l->epoch);
    *out = (Assignment){.lease = l->lease, .kind = (LeaseKind)l->kind, .epoch = (uint32_t)l->epoch};
    Err err = DECODE[l->kind](out, m, g, config);
    if (err)
        assignment_free(out);
    return err;
}

void assignment_free(Assignment *a) {
    free(a->steps);
    free(a->ranks);
    *a = (Assignment){0};
}

Work assignment_work(const Assignment *a, uint32_t step_index, uint32_t rank_index) {
    assert(step_index < a->n_steps && rank_index < a->n_ranks);
    const AssignedStep *s = &a->steps[step_index];
    return (Work){.epoch = a->epoch,
                  .pass = a->pass,
                  .domain = s->domain,
                  .split = (uint8_t)a->split,
                  .rank = a->ranks[rank_index],
                  .step = s->step};
}

void assignment_write_scores(const Assignment *a, const Scored *s, Message *out) {
    _Static_assert(sizeof *s->scores == sizeof(float), "the wire carries floats");
    message_init(out, MESSAGE_SCORES);
    out->scores = (MessageSCORES){.lease = a->lease,
                                  .epoch = a->epoch,
                                  .pass = a->pass,
                                  .domain = s->work.domain,
                                  .split = s->work.split,
                                  .step = s->work.step,
                                  .n = s->n,
                                  .n_candidates = s->n_candidates};
    message_add_bytes(out, s->users, s->n * sizeof *s->users);
    message_add_bytes(out, s->scores, (size_t)s->n * s->n_candidates * sizeof *s->scores);
}
