/* The trainer: does the steps of an assignment on the compute thread, against a parameter client. It knows neither wire
 * nor scheduler; the same code trains in the cluster and in `train --local`. */
#ifndef MANGROVE_WORKER_TRAINER_H
#define MANGROVE_WORKER_TRAINER_H

#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"
#include "common/schema.h"
#include "worker/assignment.h"
#include "worker/client.h"
#include "worker/data/dataset.h"
#include "worker/model/model.h"

typedef struct Trainer Trainer;

typedef struct TrainerEnv {
    void *ctx;
    ParameterClient client;
    /* After every step: what of the assignment has been done. False: give the lease back now. */
    bool (*stepped)(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances);
    /* The scores of an evaluation step; borrowed until it returns. An error ends the trainer's run with it. */
    Err (*scored)(void *ctx, const Assignment *a, const Scored *scored);
} TrainerEnv;

typedef struct TrainerResult {
    bool is_done; /* every step was pushed and acknowledged, or scored; else the lease is to be given back */
    uint64_t n_steps, n_instances;
} TrainerResult;

/* Borrows everything. */
void trainer_open(Trainer **out, const Dataset *data, const Geometry *geometry, const Config *config,
                  const Schema *schema, const Model *model, const TrainerEnv *env);
void trainer_close(Trainer **t);

/* OK: see result. Else the error that ends this worker, with its sentence; ERR_STOPPED if the run ends. */
Err trainer_run(Trainer *t, const Assignment *a, TrainerResult *result) MUST_CHECK;

#endif
