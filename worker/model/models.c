/* The list of models: a new one is a line here and a file of its own. */
#include "worker/model/models.h"

#include <stddef.h>

const Model *const MODELS[] = {&MAN_MODEL, NULL};
