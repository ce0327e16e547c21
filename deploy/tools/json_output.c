#include "deploy/tools/json_output.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "deploy/tools/name_text.h"

void json_output_line(json_t *json, int n_digits) {
    if (!json)
        log_die(ERR_MEMORY, "no memory for the JSON text");
    if (json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(n_digits)) || putchar('\n') == EOF ||
        fflush(stdout))
        log_die(ERR_IO, "cannot write to stdout: %m");
    json_decref(json);
}

json_t *json_output_text(const char *text) {
    json_t *json = text ? json_string(text) : NULL;
    return json ? json : json_null();
}

json_t *json_output_spelled(const char *text) {
    json_t *json = text ? json_string(text) : json_null();
    if (json)
        return json;
    char *spelled = name_text_spelled(text, NAME_LINE);
    json = json_string(spelled);
    free(spelled);
    return json;
}
