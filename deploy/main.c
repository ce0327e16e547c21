/* mangrove <command>: finds the command's row and calls it. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "deploy/commands.h"

typedef struct Command {
    const char *name, *sentence, *example;
    int (*run)(int argc, char **argv);
} Command;

static const Command COMMAND_TABLE[] = {
#define X(name, sentence, example) {#name, sentence, example, cmd_##name},
    COMMANDS(X)
#undef X
        {NULL, NULL, NULL, NULL}};

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

static const Command *find_command(const char *name) {
    const Command *c = COMMAND_TABLE;
    while (c->name && strcmp(c->name, name))
        c++;
    return c->name ? c : NULL;
}

static bool asks_for_help(char **argv) {
    for (; *argv; argv++)
        if (!strcmp(*argv, "--help") || !strcmp(*argv, "-?"))
            return true;
    return false;
}

/* The example comes before argp's own text, which begins with the usage. */
static int run_command(const Command *c, int argc, char **argv) {
    char name[64];
    snprintf(name, sizeof name, "mangrove %s", c->name);
    argv[0] = name;
    if (asks_for_help(argv + 1))
        printf("Example: %s\n\n", c->example);
    return c->run(argc, argv);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return err_exit_code(ERR_USAGE);
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?") || !strcmp(argv[1], "help")) {
        print_help(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("mangrove " MANGROVE_VERSION);
        return 0;
    }
    const Command *c = find_command(argv[1]);
    if (c)
        return run_command(c, argc - 1, argv + 1);
    fprintf(stderr, "mangrove: there is no command \"%s\"; mangrove --help lists them\n", argv[1]);
    return err_exit_code(ERR_USAGE);
}
