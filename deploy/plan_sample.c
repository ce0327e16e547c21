/* A look at real batches: the batcher and the model's own lookup, nothing pulled. */
#include "deploy/plan_sample.h"

#include "worker/data/batch.h"
#include "worker/model/model.h"
#include "worker/model/step.h"

enum { PLAN_BATCHES = 8 }; /* of each domain; their sizes differ by a few percent */

static void count_keys(Step *step, Batcher *batcher, const Work *work, PlanSample *sum) {
    Batch batch;
    uint32_t n_keys;
    size_t n_values;
    step_reset(step);
    batcher_train(batcher, work, step_arena(step), &batch);
    step_begin(step, &batch, true);
    step_pull_keys(step, &n_keys, &n_values);
    sum->n_batches++;
    sum->n_keys += n_keys;
    sum->n_values += (double)n_values;
}

static PlanSample sample_domain(Step *step, Batcher *batcher, const Geometry *geometry, int domain) {
    PlanSample s = {0};
    uint32_t n_steps = geometry_steps(geometry, domain, SPLIT_TRAIN);
    uint32_t n = n_steps < PLAN_BATCHES ? n_steps : PLAN_BATCHES;
    for (uint32_t i = 0; i < n; i++) {
        Work work = {.epoch = 1, .domain = (uint8_t)domain, .split = SPLIT_TRAIN};
        work.step = (uint32_t)((uint64_t)n_steps * i / n);
        count_keys(step, batcher, &work, &s);
    }
    if (s.n_batches > 0) {
        s.n_keys /= (double)s.n_batches;
        s.n_values /= (double)s.n_batches;
    }
    return s;
}

Err plan_sample(const Config *config, const Dataset *data, const Schema *schema, PlanSample out[N_DOMAINS]) {
    const DataInfo *info = dataset_info(data);
    const Model *model = model_find(config->model.name);
    Geometry geometry;
    if (!model)
        return ERR_CONFIG;
    Err e = geometry_init(&geometry, info->counts[config->eval.protocol], info->n_chunks, (uint32_t)config->train.ranks,
                          (uint32_t)config->train.batch, (uint32_t)config->eval.batch);
    if (e)
        return e;
    Batcher *batcher = batcher_open(data, &geometry, config, model->inputs);
    Step *step = step_open(model, config, schema);
    for (int d = 0; d < N_DOMAINS; d++)
        out[d] = sample_domain(step, batcher, &geometry, d);
    step_close(&step);
    batcher_close(&batcher);
    geometry_free(&geometry);
    return OK;
}
