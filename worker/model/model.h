/* A model: the tensors it declares, the rows it looks up for a batch, and its forward pass. Adding a model is one file
 * and one line of the registry (registry.c).
 *
 * A step of a model (step.h) runs: lookup() names the rows -> they are pulled -> encode() -> score() -> the tape runs
 * backward -> the gradients are pushed. Dense tensors that the batch's domain reaches are pulled whole in every step.
 * What these functions may ask of their step is in model_api.h. */
#ifndef MANGROVE_WORKER_MODEL_MODEL_H
#define MANGROVE_WORKER_MODEL_MODEL_H

#include "common/config.h"
#include "common/schema.h"
#include "worker/data/batch.h"

typedef struct Step Step; /* step.h */

typedef struct Model {
    const char *name;
    int inputs; /* mask of INPUT_*: what the batch must carry beyond hist and cand */

    /* Declares every tensor; ids are below n_items and n_users. ERR_CONFIG with one sentence where the model cannot be
     * built from the configuration. */
    Err (*declare)(const ModelConfig *config, uint32_t n_items, uint32_t n_users, Schema *schema);

    /* What the functions below need to know of the declaration, usually the indices of its tensors, found once and
     * not in every step; they get it from step_layout(). The caller free()s it. */
    void *(*layout)(const ModelConfig *config);

    /* Calls step_lookup() for every sparse tensor and list of ids that encode() or score() will read. */
    void (*lookup)(Step *step, const ModelConfig *config, const Batch *batch);

    /* The forward pass for step's batch, which is not empty, in two parts. encode(): what the candidates of an instance
     * share, and step_add_regulariser(); returns what score() needs of it, in the tape's arena, or NULL. score(): the
     * candidates on top of that; hands its result to step_set_logits(). In evaluation one encode() may be followed by
     * many score(), each for other candidates of the same histories (scorer.h). */
    const void *(*encode)(Step *step, const ModelConfig *config, const Batch *batch);
    void (*score)(Step *step, const ModelConfig *config, const Batch *batch, const void *encoded);
} Model;

/* NULL and the error sentence (with the known names) if there is none of this name. */
const Model *model_find(const char *name);

/* declare + schema_finish, with the loss sums of the trainer added. The one way to get a schema. */
Err model_schema(const Config *config, uint32_t n_items, uint32_t n_users, Schema *out) MUST_CHECK;

#endif
