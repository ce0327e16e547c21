/* Where a configuration comes from: defaults, file, environment, --set, and who beats whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/options.h"
#include "common/options_table.h"

#define SECTION_LIST "data, run, model, optimizer, train, dense, eval, cluster, snapshot"
#define TRAIN_LIST   "seed, batch, negatives, epochs, patience, consistency, ranks, prefetch, wire, init_moments"

static Config loaded(const char *path, const char *const *sets, int n_sets) {
    Config c;
    if (config_load(&c, path, sets, n_sets))
        fail_msg("refused: %s", err_message());
    return c;
}

static void set_beats_environment_beats_file_beats_default(void **state) {
    (void)state;
    char path[] = "/tmp/mangrove-options-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    fputs("train: {seed: 2, batch: 2, epochs: 2}\n", file);
    fclose(file);
    setenv("MANGROVE_TRAIN_SEED", "3", 1);
    setenv("MANGROVE_TRAIN_BATCH", "3", 1);
    setenv("MANGROVE_MODEL_ATT_MLP", "8,4", 1);
    setenv("MANGROVE_TRAIN_EPOCHS", "", 1); /* empty counts as not set */
    setenv("MANGROVE_SHARED", "/anywhere", 1);
    const char *sets[] = {"train.seed=9", "train.seed=4", "model.mlp=[30, 5]"};
    Config c = loaded(path, sets, 3);
    unlink(path);
    assert_int_equal(c.train.seed, 4);
    assert_int_equal(c.train.batch, 3);
    assert_int_equal(c.train.epochs, 2);
    assert_int_equal(c.train.patience, 2);
    assert_int_equal(c.model.mlp.width[0], 30);
    assert_int_equal(c.model.att_mlp.width[1], 4);
    clearenv();
}

static const struct {
    const char *variable, *value, *set;
    Err code;
    const char *sentence;
} BAD_SOURCES[] = {
    {"MANGROVE_TRAIN_SEED", "x", NULL, ERR_CONFIG,
     "MANGROVE_TRAIN_SEED: train.seed: found \"x\", expected an integer from 0 to 9223372036854775807"},
    {"MANGROVE_TRAIN_SEDE", "1", NULL, ERR_CONFIG,
     "MANGROVE_TRAIN_SEDE: no key of a configuration has this variable: did you mean MANGROVE_TRAIN_SEED?"},
    {"MANGROVE_CLUSTER_RAINBOW", "1", NULL, ERR_CONFIG,
     "MANGROVE_CLUSTER_RAINBOW: no key of a configuration has this variable"},
    {"MANGROVE_TRAIN_RANKS", "2", NULL, ERR_CONFIG,
     "MANGROVE_TRAIN_RANKS: train.ranks: found 2, expected 1 unless train.consistency is sync"},
    {NULL, NULL, "train.seed", ERR_USAGE,
     "--set: found \"train.seed\", expected section.key=value, as in --set train.seed=2"},
    {NULL, NULL, "train.sed=1", ERR_CONFIG,
     "--set: unknown key \"train.sed\": did you mean train.seed?; train has " TRAIN_LIST},
    {NULL, NULL, "optimiser.lr=1", ERR_CONFIG,
     "--set: unknown key \"optimiser.lr\": did you mean optimizer.lr?; a configuration has " SECTION_LIST},
    {NULL, NULL, "train=1", ERR_CONFIG, "--set: unknown key \"train\"; train has " TRAIN_LIST},
    {NULL, NULL, "train.batch=", ERR_CONFIG, "--set: train.batch: found \"\", expected an integer from 1 to 65536"},
    {NULL, NULL, "data.dir=\xff\xfe", ERR_CONFIG, "--set: data.dir: found \"\?\?\", expected 1 to 511 printable bytes"},
    {NULL, NULL, "model.mlp=20;10", ERR_CONFIG,
     "--set: model.mlp: found \"20;10\", expected a list of 1 to 4 integers from 1 to 4096, as in [20, 10]"},
};

static void a_bad_variable_or_set_is_refused_with_its_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD_SOURCES / sizeof BAD_SOURCES[0]; i++) {
        clearenv();
        if (BAD_SOURCES[i].variable)
            setenv(BAD_SOURCES[i].variable, BAD_SOURCES[i].value, 1);
        Config c;
        assert_int_equal(config_load(&c, NULL, &BAD_SOURCES[i].set, BAD_SOURCES[i].set != NULL), BAD_SOURCES[i].code);
        assert_string_equal(err_message(), BAD_SOURCES[i].sentence);
    }
    clearenv();
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    (void)state;
    Config c;
    assert_int_equal(config_load(&c, "no/such.yaml", NULL, 0), ERR_CONFIG);
    assert_string_equal(err_message(), "cannot open the configuration no/such.yaml: No such file or directory");
    assert_int_equal(config_load(&c, "configs", NULL, 0), ERR_CONFIG);
    assert_string_equal(err_message(), "cannot read the configuration configs: Is a directory");
}

static void every_key_has_its_own_variable(void **state) {
    (void)state;
    char a[OPTION_VARIABLE], b[OPTION_VARIABLE];
    for (int i = 0; i < N_OPTIONS; i++) {
        option_variable(&OPTIONS[i], a);
        for (int j = 0; j < i; j++) {
            option_variable(&OPTIONS[j], b);
            assert_string_not_equal(a, b);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_beats_environment_beats_file_beats_default),
        cmocka_unit_test(a_bad_variable_or_set_is_refused_with_its_sentence),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(every_key_has_its_own_variable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
