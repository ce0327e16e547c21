/* A run that is resumed: its configuration is the one it was begun with, but for what changes neither the geometry of
 * its work nor a bit of its result. */
#include <string.h>

#include "common/options.h"
#include "common/options_table.h"

/* A name, or a section with its dot. train.prefetch changes what async, where the order of steps is nobody's promise,
 * pulls ahead; in sync it can only be 0. */
static const char *const MAY_CHANGE[] = {
    "data.dir", "run.dir", "train.epochs", "train.patience", "train.prefetch", "cluster.", "snapshot.",
};

static bool may_change(const char *name) {
    for (size_t i = 0; i < sizeof MAY_CHANGE / sizeof *MAY_CHANGE; i++) {
        size_t n = strlen(MAY_CHANGE[i]);
        if (strncmp(name, MAY_CHANGE[i], n) == 0 && (name[n] == 0 || MAY_CHANGE[i][n - 1] == '.'))
            return true;
    }
    return false;
}

Err config_check_resume(const Config *before, const Config *now) {
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        char was[OPTION_VALUE], is[OPTION_VALUE];
        option_print(o, before, false, was);
        option_print(o, now, false, is);
        if (strcmp(was, is) != 0 && !may_change(o->name))
            return err_fail(ERR_CONFIG, "%s: found %s, expected %s: a run that is resumed cannot change it", o->name,
                            is, was);
    }
    return OK;
}
