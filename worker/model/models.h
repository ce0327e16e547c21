/* One line for every model; each is defined in the file of its name. */
#ifndef MANGROVE_WORKER_MODEL_MODELS_H
#define MANGROVE_WORKER_MODEL_MODELS_H

#include "worker/model/model.h"

extern const Model MAN_MODEL; /* man.c */

/* Those that model_find() knows, and NULL. In a file of its own (models.c), so that a test can link another list. */
extern const Model *const MODELS[];

#endif
