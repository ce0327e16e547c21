/* A look at real batches, for the plan: what a step of each domain will pull. */
#ifndef MANGROVE_DEPLOY_PLAN_SAMPLE_H
#define MANGROVE_DEPLOY_PLAN_SAMPLE_H

#include "common/config.h"
#include "common/err.h"
#include "common/schema.h"
#include "deploy/plan.h"
#include "worker/data/dataset.h"

/* Builds a few training batches of each domain, spread over the first epoch, and counts the keys that the model looks
 * up in them. A second at most. */
Err plan_sample(const Config *config, const Dataset *data, const Schema *schema, PlanSample out[N_DOMAINS]) MUST_CHECK;

#endif
