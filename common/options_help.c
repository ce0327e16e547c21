/* What people read about options: the reference file and the keys in --help. */
#include "common/options.h"
#include "common/options_message.h"
#include "common/options_table.h"

#include <stdio.h>

void config_write_reference(FILE *out) {
    fputs("# Every key of a configuration, with its default. Written by mangrove config --reference; a key that is "
          "left out\n"
          "# keeps its default. The environment (MANGROVE_TRAIN_SEED=2) overrides a file, --set train.seed=2 overrides "
          "both.\n",
          out);
    Config c;
    config_defaults(&c);
    char value[OPTION_VALUE], allowed[256];
    int section = -1;
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        int own = option_section(o);
        if (own != section)
            fprintf(out, "\n# %s.\n%s:\n", SECTIONS[own].sentence, SECTIONS[own].name);
        section = own;
        option_print(o, &c, false, value);
        option_allowed(o, allowed, sizeof allowed);
        fprintf(out, "  # %s\n  %s: %s # %s\n", o->sentence, option_leaf(o), value, allowed);
    }
}

void config_write_help(FILE *out) {
    Config c;
    config_defaults(&c);
    char value[OPTION_VALUE], allowed[256];
    fputs("Keys, their defaults, and what they may be:\n", out);
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        option_print(o, &c, false, value);
        option_allowed(o, allowed, sizeof allowed);
        fprintf(out, "\n  %s: %s\n      %s\n      (%s)\n", o->name, value, o->sentence, allowed);
    }
}
