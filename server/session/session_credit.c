/* How much credit a worker gets: (prefetch + 2) of the largest step it may plan, in request and reply bytes. */
#include "common/ranking.h"
#include "server/session/session_parts.h"

static uint64_t at_most(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Keys and values of the rows that a batch of domain d may touch, as if this server held all of them. */
static uint64_t rows_bytes(const Schema *schema, int domain, uint64_t n_ids) {
    uint64_t bytes = 0;
    for (int i = 0; i < schema->n_tables; i++) {
        const Table *t = &schema->tables[i];
        if (!t->is_stats && !(t->reached_by >> domain & 1))
            continue;
        uint64_t n_rows = t->is_sparse ? at_most(n_ids, t->n_rows) : t->n_rows;
        bytes += n_rows * (sizeof(uint64_t) + t->width * sizeof(float));
    }
    return bytes;
}

uint64_t session_plan_step(const Config *config, const Schema *schema) {
    const ModelConfig *model = &config->model;
    uint64_t history = 2 * (uint64_t)model->seq_len; /* of the batch's domain, and of the other */
    uint64_t train = (uint64_t)config->train.batch * (history + (uint64_t)config->train.negatives + 1);
    uint64_t eval = (uint64_t)config->eval.batch * (history + RANKING_CANDIDATES);
    uint64_t most = 0;
    for (int d = 0; d < N_DOMAINS; d++) {
        uint64_t step = 2 * rows_bytes(schema, d, train), pass = rows_bytes(schema, d, eval);
        most = step > most ? step : most;
        most = pass > most ? pass : most;
    }
    return most;
}

uint64_t session_plan_credit(const Config *config, const Schema *schema) {
    uint64_t want = ((uint64_t)config->train.prefetch + 2) * session_plan_step(config, schema);
    return at_most(want, (uint64_t)config->cluster.credit_mb << 20);
}
