/* What people read about options: the reference file and the keys in --help. */
#include "common/options.h"
#include "common/options_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void write_allowed(FILE *out, const Option *o) {
    char allowed[256];
    option_allowed(o, allowed, sizeof allowed);
    fprintf(out, "%c%s", toupper((unsigned char)allowed[0]), allowed + 1);
}

void config_write_reference(FILE *out) {
    fputs("# Every key of a configuration, with its default. Written by mangrove config --reference; a key that is "
          "left out\n"
          "# keeps its default. The environment (MANGROVE_TRAIN_SEED=2) overrides a file, --set train.seed=2 overrides "
          "both.\n",
          out);
    Config c;
    config_defaults(&c);
    char value[OPTION_VALUE];
    int section = -1;
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        int own = option_section(o);
        if (own != section)
            fprintf(out, "\n# %s.\n%s:\n", SECTIONS[own].sentence, SECTIONS[own].name);
        section = own;
        option_print(o, &c, false, value);
        fprintf(out, "  # %s ", o->sentence);
        write_allowed(out, o);
        fprintf(out, ".\n  %s: %s\n", option_leaf(o), value);
    }
}

void config_write_help(FILE *out) {
    Config c;
    config_defaults(&c);
    char value[OPTION_VALUE];
    fputs("Keys, their defaults, and what they may be:\n", out);
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        option_print(o, &c, false, value);
        fprintf(out, "\n  %s: %s\n      %s\n      ", o->name, value, o->sentence);
        write_allowed(out, o);
        fputs(".\n", out);
    }
}
