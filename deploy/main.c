/* mangrove <command>: finds the command's row and calls it. */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "deploy/commands.h"

typedef struct Command {
    const char *name, *sentence;
    int (*run)(int argc, char **argv);
} Command;

static const Command COMMAND_TABLE[] = {
#define X(name, sentence) {#name, sentence, cmd_##name},
    COMMANDS(X)
#undef X
        {NULL, NULL, NULL}};

static void print_help(FILE *out) {
    fputs("Example: mangrove train configs/quickstart.yaml\n\n"
          "Usage: mangrove COMMAND [ARGUMENTS]   (mangrove COMMAND --help says more)\n\n"
          "Trains cross-domain sequential recommenders on clusters of ordinary machines.\n\n",
          out);
    for (const Command *c = COMMAND_TABLE; c->name; c++)
        fprintf(out, "  %-10s %s\n", c->name, c->sentence);
    fputs("\nExit codes: 0 ok, 1 failed, 2 usage, 3 bad configuration or data, 4 peer or protocol,\n"
          "5 snapshot corrupt, 6 restart budget spent, 75 stopped before the end (try again)\n",
          out);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return err_exit_code(ERR_USAGE);
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("mangrove " MANGROVE_VERSION);
        return 0;
    }
    for (const Command *c = COMMAND_TABLE; c->name; c++) {
        if (!strcmp(argv[1], c->name)) {
            char name[64];
            snprintf(name, sizeof name, "mangrove %s", c->name);
            argv[1] = name;
            return c->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "mangrove: there is no command \"%s\"; mangrove --help lists them\n", argv[1]);
    return err_exit_code(ERR_USAGE);
}
