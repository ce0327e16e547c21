/* What a configuration accepts, refuses and says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/options.h"

static Err parse(Config *c, const char *text) {
    return config_parse(c, text, strlen(text), "c.yaml");
}

static Config parsed(const char *text) {
    Config c;
    config_defaults(&c);
    if (parse(&c, text))
        fail_msg("refused: %s", err_message());
    return c;
}

/* ---- what is refused, and the sentence it gets ---- */

#define SECTION_LIST "data, run, model, optimizer, train, dense, eval, cluster, snapshot"
#define TRAIN_LIST   "seed, batch, negatives, epochs, patience, consistency, ranks, prefetch, wire, init_moments"

static const struct {
    const char *text, *sentence;
} BAD_TEXTS[] = {
    /* keys */
    {"trian:\n  seed: 1\n", "c.yaml:1: unknown key \"trian\": did you mean train?; a configuration has " SECTION_LIST},
    {"data:\n  dir: x\ntrain:\n  sead: 1\n",
     "c.yaml:4: unknown key \"train.sead\": did you mean train.seed?; train has " TRAIN_LIST},
    {"train:\n  lr: 0.1\n", "c.yaml:2: unknown key \"train.lr\": did you mean optimizer.lr?; train has " TRAIN_LIST},
    {"train: {zzzzzzzzz: 1}", "c.yaml:1: unknown key \"train.zzzzzzzzz\"; train has " TRAIN_LIST},
    {"seed: 1\n", "c.yaml:1: unknown key \"seed\": did you mean train.seed?; a configuration has " SECTION_LIST},
    {"train.seed: 1\n", "c.yaml:1: found the key \"train.seed\", expected a section with its keys below it"},
    {"train:\n  seed: 1\n  seed: 2\n", "c.yaml:3: found train.seed a second time, the first is in line 2"},
    {"train:\n  seed: 1\ntrain:\n  batch: 2\n", "c.yaml:3: found train a second time, the first is in line 1"},
    {"[a, b]: 1\n", "c.yaml:1: found a list, expected the name of a key"},
    /* types */
    {"train: 3\n", "c.yaml:1: train: found \"3\", expected keys below it: " TRAIN_LIST},
    {"train: [seed, batch]\n", "c.yaml:1: train: found a list, expected keys below it: " TRAIN_LIST},
    {"- train\n", "c.yaml:1: found a list, expected sections: " SECTION_LIST},
    {"just words\n", "c.yaml:1: found \"just words\", expected sections: " SECTION_LIST},
    {"train: {batch: many}", "c.yaml:1: train.batch: found \"many\", expected an integer from 1 to 65536"},
    {"train: {batch: 20.5}", "c.yaml:1: train.batch: found \"20.5\", expected an integer from 1 to 65536"},
    {"train: {batch: ' 20'}", "c.yaml:1: train.batch: found \" 20\", expected an integer from 1 to 65536"},
    {"train: {batch: 0x20}", "c.yaml:1: train.batch: found \"0x20\", expected an integer from 1 to 65536"},
    {"train: {batch: 020}", "c.yaml:1: train.batch: found \"020\", expected an integer from 1 to 65536"},
    {"train:\n  batch:\n", "c.yaml:2: train.batch: found nothing, expected an integer from 1 to 65536"},
    {"train: {batch: [20]}", "c.yaml:1: train.batch: found a list, expected an integer from 1 to 65536"},
    {"train: {batch: {a: 1}}", "c.yaml:1: train.batch: found a mapping, expected an integer from 1 to 65536"},
    {"model: {isa: yes}", "c.yaml:1: model.isa: found \"yes\", expected true or false"},
    {"model: {mlp: 20}",
     "c.yaml:1: model.mlp: found \"20\", expected a list of 1 to 4 integers from 1 to 4096, as in [20, 10]"},
    {"model: {mlp: []}",
     "c.yaml:1: model.mlp: found 0 elements, expected a list of 1 to 4 integers from 1 to 4096, as in [20, 10]"},
    {"model: {mlp: [1, 2, 3, 4, 5, 6, 7]}",
     "c.yaml:1: model.mlp: found 7 elements, expected a list of 1 to 4 integers from 1 to 4096, as in [20, 10]"},
    {"model:\n  mlp:\n    - 20\n    - ten\n",
     "c.yaml:4: model.mlp: found \"ten\", expected a list of 1 to 4 integers from 1 to 4096, as in [20, 10]"},
    {"model: {mlp: [[20, 10]]}",
     "c.yaml:1: model.mlp: found a list, expected a list of 1 to 4 integers from 1 to 4096, as in [20, 10]"},
    /* ranges */
    {"train: {batch: 0}", "c.yaml:1: train.batch: found \"0\", expected an integer from 1 to 65536"},
    {"train: {batch: -1}", "c.yaml:1: train.batch: found \"-1\", expected an integer from 1 to 65536"},
    {"train: {batch: 99999999999999999999}",
     "c.yaml:1: train.batch: found \"99999999999999999999\", expected an integer from 1 to 65536"},
    {"train: {seed: 9223372036854775808}",
     "c.yaml:1: train.seed: found \"9223372036854775808\", expected an integer from 0 to 9223372036854775807"},
    {"model: {blocks: 7}", "c.yaml:1: model.blocks: found \"7\", expected an integer from 1 to 6"},
    {"optimizer: {beta1: 1}", "c.yaml:1: optimizer.beta1: found \"1\", expected a number from 0 to below 1"},
    {"optimizer: {lr: 0}", "c.yaml:1: optimizer.lr: found \"0\", expected a number above 0, at most 100"},
    {"optimizer: {lr: nan}", "c.yaml:1: optimizer.lr: found \"nan\", expected a number above 0, at most 100"},
    {"optimizer: {lr: 1e999}", "c.yaml:1: optimizer.lr: found \"1e999\", expected a number above 0, at most 100"},
    {"optimizer: {lr: '0,1'}", "c.yaml:1: optimizer.lr: found \"0,1\", expected a number above 0, at most 100"},
    {"optimizer: {l2: 1e-5x}", "c.yaml:1: optimizer.l2: found \"1e-5x\", expected a number from 0 to 1"},
    {"eval: {ks: [10, 11]}",
     "c.yaml:1: eval.ks: found \"11\", expected a list of 1 to 4 integers from 1 to 10, as in [20, 10]"},
    /* names of values */
    {"model: {encoder: sasrek}",
     "c.yaml:1: model.encoder: found \"sasrek\", expected sasrec or gru4rec; did you mean sasrec?"},
    {"model: {encoder: transformer}", "c.yaml:1: model.encoder: found \"transformer\", expected sasrec or gru4rec"},
    {"train: {consistency: ssp}",
     "c.yaml:1: train.consistency: found \"ssp\", which is not available yet, expected async or sync"},
    {"train: {consistency: snyc}",
     "c.yaml:1: train.consistency: found \"snyc\", expected async or sync; did you mean sync?"},
    /* strings */
    {"data: {dir: ''}", "c.yaml:1: data.dir: found \"\", expected 1 to 511 printable bytes"},
    {"data: {dir: ~}", "c.yaml:1: data.dir: found nothing, expected 1 to 511 printable bytes"},
    {"data: {dir: \"a\\tb\"}", "c.yaml:1: data.dir: found \"a?b\", expected 1 to 511 printable bytes"},
    {"data: {dir: \"a\\0b\"}", "c.yaml:1: found a 0 byte in a value"},
    {"model: {name: a-name-that-is-longer-than-any-model-has-or-should-have-at-all}",
     "c.yaml:1: model.name: found \"a-name-that-is-longer-than-any-model-has-or-should-have-at...\", "
     "expected 1 to 31 printable bytes"},
    {"cluster: {bind: '127.0.0.1:80'}",
     "c.yaml:1: cluster.bind: found \"127.0.0.1:80\", expected tcp://address:port in at most 511 bytes"},
    {"cluster: {bind: 'tcp://127.0.0.1'}",
     "c.yaml:1: cluster.bind: found \"tcp://127.0.0.1\", expected tcp://address:port in at most 511 bytes"},
    {"cluster: {bind: 'tcp://127.0.0.1:65536'}",
     "c.yaml:1: cluster.bind: found \"tcp://127.0.0.1:65536\", expected tcp://address:port in at most 511 bytes"},
    /* YAML that is refused */
    {"model: {mlp: &w [20, 10], att_mlp: *w}", "c.yaml:1: found the anchor &w, which is not supported"},
    {"train:\n  seed: *s\n", "c.yaml:2: found the alias *s, which is not supported: write the value itself"},
    {"train: {seed: !!int 3}", "c.yaml:1: found the tag tag:yaml.org,2002:int, which is not supported"},
    {"train: {seed: 3}\n---\ntrain: {seed: 4}\n", "c.yaml:2: found a second document, expected one"},
    {"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}",
     "c.yaml:1: unknown key \"a\"; a configuration has " SECTION_LIST},
    {"model:\n  mlp: [1\n", "c.yaml:3: not YAML: while parsing a flow sequence, did not find expected ',' or ']'"},
    {"train: {seed: 1\x01}", "c.yaml:1: not YAML: control characters are not allowed"},
    /* keys that do not fit together */
    {"train: {ranks: 4}", "c.yaml:1: train.ranks: found 4, expected 1 unless train.consistency is sync"},
    {"train:\n  consistency: sync\n  prefetch: 1\n",
     "c.yaml:3: train.prefetch: found 1, expected 0 where train.consistency is sync"},
    {"train: {consistency: sync}\ndense: {push: 2}",
     "c.yaml:2: dense.push: found 2, expected 1 where train.consistency is sync"},
    {"train: {consistency: sync}\ndense: {fetch: 3, push: 2}",
     "c.yaml:2: dense.fetch: found 3, expected 1 where train.consistency is sync"},
    {"cluster: {dead_ms: 999}",
     "c.yaml:1: cluster.dead_ms: found 999, expected at least two cluster.heartbeat_ms, which are 1000"},
    {"model: {seq_len: 2000}\ntrain: {batch: 1073, negatives: 1000}",
     "c.yaml:2: train.batch: found 1073, expected at most 1072 where model.seq_len is 2000 and train.negatives 1000"},
    {"eval: {ks: [5, 1, 5]}", "c.yaml:1: eval.ks: found 5 twice, expected different values"},
    {"run: {dir: x}\ndata: {dir: x}\n", "c.yaml:1: run.dir: found \"x\", expected another directory than data.dir"},
};

static void a_bad_configuration_is_refused_with_its_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD_TEXTS / sizeof BAD_TEXTS[0]; i++) {
        Config c, before;
        config_defaults(&c);
        before = c;
        Err e = parse(&c, BAD_TEXTS[i].text);
        if (e != ERR_CONFIG)
            fail_msg("not refused: %s", BAD_TEXTS[i].text);
        assert_string_equal(err_message(), BAD_TEXTS[i].sentence);
        assert_memory_equal(&c, &before, sizeof c);
    }
}

static void a_value_over_64_kib_is_refused(void **state) {
    (void)state;
    size_t size = 70000;
    char *text = must_alloc(size);
    memset(text, 'x', size);
    memcpy(text, "data: {dir: \"", 13);
    memcpy(text + size - 2, "\"}", 2);
    Config c;
    config_defaults(&c);
    assert_int_equal(config_parse(&c, text, size, "c.yaml"), ERR_CONFIG);
    assert_string_equal(err_message(), "c.yaml:1: found a value of 69985 bytes, expected at most 65536");
    free(text);
}

static void a_text_over_1_mib_is_refused(void **state) {
    (void)state;
    size_t size = (1 << 20) + 1;
    char *text = must_calloc(1, size);
    Config c;
    config_defaults(&c);
    assert_int_equal(config_parse(&c, text, size, "c.yaml"), ERR_CONFIG);
    assert_string_equal(err_message(), "c.yaml: found 1048577 bytes, expected at most 1048576");
    free(text);
}

/* ---- what is accepted ---- */

static void a_text_without_keys_changes_nothing(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"",   "\n\n",     "# a comment\n",        "---\n",
                                        "{}", "train:\n", "train:\n  # seed: 1\n"};
    Config defaults;
    config_defaults(&defaults);
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        Config c = parsed(TEXTS[i]);
        assert_memory_equal(&c, &defaults, sizeof c);
    }
}

static void every_type_reads_what_it_says(void **state) {
    (void)state;
    Config c = parsed("data: {dir: \"a \\\"b\\\" \\\\ c/é\"}\n"
                      "model: {isa: false, mlp: [7], att_mlp: [1, 2, 3, 4], encoder: gru4rec, lambda_group: .5e-3}\n"
                      "optimizer: {l2: -0.0}\n"
                      "train: {seed: 9223372036854775807, batch: 65536, consistency: sync, ranks: 4}\n"
                      "cluster: {bind: 'tcp://[::1]:*', advertise: tcp://host}\n");
    assert_string_equal(c.data_dir, "a \"b\" \\ c/é");
    assert_false(c.model.isa);
    assert_int_equal(c.model.mlp.n, 1);
    assert_int_equal(c.model.mlp.width[0], 7);
    assert_int_equal(c.model.att_mlp.n, 4);
    assert_int_equal(c.model.att_mlp.width[3], 4);
    assert_int_equal(c.model.encoder, ENCODER_GRU4REC);
    assert_true(c.model.lambda_group == 0.0005);
    assert_true(c.optimizer.l2 == 0 && 1 / c.optimizer.l2 > 0); /* +0: one text for one value */
    assert_true(c.train.seed == INT64_MAX);
    assert_int_equal(c.train.batch, 65536);
    assert_string_equal(c.cluster.bind, "tcp://[::1]:*");
    assert_string_equal(c.cluster.advertise, "tcp://host");
}

static void in_sync_the_default_prefetch_gives_way(void **state) {
    (void)state;
    assert_int_equal(parsed("").train.prefetch, 1);
    assert_int_equal(parsed("train: {consistency: sync}").train.prefetch, 0);
}

/* Compiled into a folder of its own, since few machines have one with a decimal comma. */
static bool set_comma_locale(const char *dir) {
    char command[128];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/comma >/dev/null 2>&1", dir);
    int status = system(command);
    setenv("LOCPATH", dir, 1);
    return status == 0 && setlocale(LC_ALL, "comma") && strtod("0,5", NULL) == 0.5;
}

static void numbers_do_not_depend_on_the_locale(void **state) {
    (void)state;
    char dir[] = "/tmp/mangrove-locale-XXXXXX", command[64];
    assert_non_null(mkdtemp(dir));
    bool has_comma = set_comma_locale(dir);
    Config c = parsed("optimizer: {lr: 0.25}");
    char *text = config_text(&c);
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    assert_true(c.optimizer.lr == 0.25);
    assert_non_null(strstr(text, "lr: 0.25\n"));
    free(text);
    if (!has_comma)
        skip(); /* localedef has no sources of locales here */
}

/* ---- text ---- */

static void the_canonical_text_reads_back_to_the_same_bits(void **state) {
    (void)state;
    Config c =
        parsed("data: {dir: \"tab-free 'quotes' \\\" and \\\\ é 漢 😀 : # [x]\"}\n"
               "model: {mlp: [4096], att_mlp: [1, 2, 3, 4], init_std: 0.1, lambda_group: 4.9406564584124654e-324}\n"
               "optimizer: {lr: 0.30000000000000004, beta1: 0.1, beta2: 0.99999999999999989, eps: 1e-300}\n"
               "train: {seed: 9223372036854775807, consistency: sync, ranks: 3}\n");
    char *text = config_text(&c);
    Config again;
    config_defaults(&again);
    assert_int_equal(parse(&again, text), OK);
    char *text_again = config_text(&again);
    assert_string_equal(text, text_again);
    assert_memory_equal(&c, &again, sizeof c);
    free(text);
    free(text_again);
}

static void the_fingerprint_forgets_where_and_remembers_what(void **state) {
    (void)state;
    static const char *const WHERE[] = {"data: {dir: x}", "run: {dir: x}", "cluster: {workers: 7, insecure: true}"};
    static const char *const WHAT[] = {"train: {seed: 2}", "model: {isa: false}", "optimizer: {l2: 1e-9}",
                                       "eval: {ks: [10, 5, 1]}", "snapshot: {keep: 3}"};
    Config c = parsed("");
    uint64_t defaults = config_fingerprint(&c);
    for (size_t i = 0; i < sizeof WHERE / sizeof WHERE[0]; i++) {
        c = parsed(WHERE[i]);
        assert_true(config_fingerprint(&c) == defaults);
    }
    for (size_t i = 0; i < sizeof WHAT / sizeof WHAT[0]; i++) {
        c = parsed(WHAT[i]);
        assert_true(config_fingerprint(&c) != defaults);
    }
}

static void the_reference_file_is_what_the_table_says(void **state) {
    (void)state;
    char *want, *got = must_calloc(1, 65536);
    size_t size;
    FILE *out = open_memstream(&want, &size), *in = fopen("configs/reference.yaml", "r");
    assert_non_null(out);
    assert_non_null(in);
    config_write_reference(out);
    fclose(out);
    assert_int_equal(fread(got, 1, 65535, in), size);
    fclose(in);
    assert_string_equal(got, want); /* else: mangrove config --reference >configs/reference.yaml */
    Config defaults = parsed(""), reference = parsed(got);
    assert_memory_equal(&reference, &defaults, sizeof defaults);
    free(want);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_configuration_is_refused_with_its_sentence),
        cmocka_unit_test(a_value_over_64_kib_is_refused),
        cmocka_unit_test(a_text_over_1_mib_is_refused),
        cmocka_unit_test(a_text_without_keys_changes_nothing),
        cmocka_unit_test(every_type_reads_what_it_says),
        cmocka_unit_test(in_sync_the_default_prefetch_gives_way),
        cmocka_unit_test(numbers_do_not_depend_on_the_locale),
        cmocka_unit_test(the_canonical_text_reads_back_to_the_same_bits),
        cmocka_unit_test(the_fingerprint_forgets_where_and_remembers_what),
        cmocka_unit_test(the_reference_file_is_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
