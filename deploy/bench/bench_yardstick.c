/* A command as yardstick. */
#include <stdio.h>
#include <string.h>

#include "deploy/bench/bench.h"

Err bench_yardstick(const char *command, double *rate) {
    char line[4096], last[4096] = "";
    FILE *out = popen(command, "r");
    if (!out)
        return err_fail(ERR_FAILED, "cannot run the yardstick \"%s\"", command);
    while (fgets(line, sizeof line, out))
        strcpy(last, line);
    int status = pclose(out);
    const char *found = strstr(last, "speed ");
    if (status != 0 || !found || sscanf(found, "speed %lf instances/s", rate) != 1 || !(*rate > 0))
        return err_fail(ERR_FAILED,
                        "the yardstick \"%s\" ended with status %d and the line \"%.*s\": expected 0 and a last line "
                        "with \"speed N instances/s\"",
                        command, status, (int)strcspn(last, "\n"), last);
    return OK;
}
