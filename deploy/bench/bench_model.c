/* Measures the model's constants on this machine, unless they are given, and prints what the model says. */
#include "deploy/bench/bench_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/bench/bench_cluster.h"
#include "deploy/bench/bench_waiting.h"

enum { N_BATCHES = 2, MOST_WORKERS = 512, N_SETTINGS = 6, DENSE_EVERY = 8, LATENCIES = 5 };

static const double SHARE = 0.9; /* of what the workers' processors allow: a cluster that is dense enough */
static const double GBITS[] = {1, 10, 25};

typedef struct ModelRun {
    const BenchOptions *options;
    Config config;
    double seconds;
    ModelStep steps[N_BATCHES]; /* of the configured batch, and of one ten times as large or small */
    int n_batches;
    double server_step_s, server_byte_s;
    ModelSetting settings[N_SETTINGS];
    int n_settings;
} ModelRun;

/* ---- constants -------------------------------------------------------------------------------------------------- */

/* A client that computes nothing always waits for its values. */
static Err measure_waiting(ModelRun *r, const BenchRoom *room, ModelStep *m) {
    BenchWaiting *waiting;
    BenchWaitingRates rates;
    double unused;
    Err err = bench_waiting_open(&waiting, &r->config, room, &unused);
    if (!err)
        bench_waiting_bytes(waiting, m);
    for (int i = 0; i < LATENCIES && !err; i++) {
        err = bench_waiting_run(waiting, 1, 0, r->seconds / LATENCIES, &rates);
        if (!err && (i == 0 || m->batch / rates.instances_per_s < m->latency_s))
            m->latency_s = m->batch / rates.instances_per_s;
    }
    bench_waiting_close(&waiting);
    return err;
}

/* Processor time of the busiest threads, the least of a few latencies: what other work on the machine changes least. */
static Err measure_step(ModelRun *r, const BenchRoom *room, ModelStep *m) {
    BenchRates rates;
    m->batch = r->config.train.batch;
    Err err = bench_cluster_run(&r->config, room, r->seconds, &rates);
    if (err)
        return err;
    const BenchCost *server = &rates.server;
    m->step_s = m->batch * rates.worker.thread_cpu_s;
    m->server_s = m->batch * server->thread_cpu_s;
    m->machine_cpu_s = rates.scheduler.cpu_s + server->cpu_s + rates.worker.cpu_s;
    return measure_waiting(r, room, m);
}

static Err measure(ModelRun *r) {
    BenchRoom room;
    int batch = r->config.train.batch;
    const int batches[N_BATCHES] = {batch, batch < 100 ? batch * 10 : batch / 10};
    Err err = bench_room_open(&room, r->options);
    for (int i = 0; i < N_BATCHES && !err; i++) {
        r->config.train.batch = batches[i];
        err = measure_step(r, &room, &r->steps[i]);
    }
    bench_room_close(&room);
    r->n_batches = N_BATCHES;
    const ModelStep *a = &r->steps[0], *b = &r->steps[1];
    if (!err)
        model_fit_server(a->batch < b->batch ? a : b, a->batch < b->batch ? b : a, &r->server_step_s,
                         &r->server_byte_s);
    return err;
}

enum { N_CONSTANTS = 9 };

typedef struct Constant {
    const char *name;
    double *value, unit;
    bool is_given;
} Constant;

/* "NAME=NUMBER" of so many characters. */
static Err read_constant(Constant *constants, const char *text, size_t length) {
    size_t n = strcspn(text, "=,");
    Constant *c = constants;
    while (c < constants + N_CONSTANTS && (strlen(c->name) != n || memcmp(c->name, text, n)))
        c++;
    if (c == constants + N_CONSTANTS)
        return err_fail(ERR_USAGE, "--constants has no \"%.*s\"", (int)n, text);
    if (c->is_given)
        return err_fail(ERR_USAGE, "--constants gives %s twice", c->name);
    const char *number = text + n + 1;
    char *end = NULL;
    double x = n + 1 < length ? strtod(number, &end) : -1;
    if (!(x >= 0 && x < 1e12) || end != text + length)
        return err_fail(ERR_USAGE, "--constants lacks a number for %s (as in %s=12.5,...)", c->name, c->name);
    *c->value = x * c->unit;
    c->is_given = true;
    return OK;
}

/* "step_us=600,latency_us=250,...": all of them, in any order. */
static Err read_constants(ModelRun *r, const char *text) {
    ModelStep *m = &r->steps[0];
    Constant constants[N_CONSTANTS] = {
        {"step_us", &m->step_s, 1e-6, false},
        {"latency_us", &m->latency_s, 1e-6, false},
        {"server_step_us", &r->server_step_s, 1e-6, false},
        {"server_byte_ns", &r->server_byte_s, 1e-9, false},
        {"key_bytes", &m->key_bytes, 1, false},
        {"value_bytes", &m->value_bytes, 1, false},
        {"dense_key_bytes", &m->dense_key_bytes, 1, false},
        {"dense_value_bytes", &m->dense_value_bytes, 1, false},
        {"machine_us", &m->machine_cpu_s, 1e-6, false},
    };
    m->batch = r->config.train.batch;
    r->n_batches = 1;
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, ",");
        Err err = read_constant(constants, at, length);
        if (err)
            return err;
        at += length + (at[length] == ',');
    }
    for (int i = 0; i < N_CONSTANTS; i++)
        if (!constants[i].is_given)
            return err_fail(ERR_USAGE, "--constants lacks a number for %s (as in %s=12.5,...)", constants[i].name,
                            constants[i].name);
    m->server_s = model_server_s(m, r->server_step_s, r->server_byte_s);
    return m->step_s > 0 && m->value_bytes > 0 && m->machine_cpu_s > 0 && r->server_step_s + r->server_byte_s > 0
               ? OK
               : err_fail(ERR_USAGE, "--constants: a step, its values and its work cannot all cost nothing");
}

static void make_settings(ModelRun *r) {
    for (int i = 0; i < r->n_batches; i++)
        for (int kind = 0; kind < N_SETTINGS / N_BATCHES; kind++)
            r->settings[r->n_settings++] = (ModelSetting){.step = &r->steps[i],
                                                          .server_step_s = r->server_step_s,
                                                          .server_byte_s = r->server_byte_s,
                                                          .is_bf16 = kind > 0,
                                                          .dense_every = kind > 1 ? DENSE_EVERY : 1};
}

/* ---- output ----------------------------------------------------------------------------------------------------- */

static double of_machine(const ModelStep *m) {
    return (double)sysconf(_SC_NPROCESSORS_ONLN) / m->machine_cpu_s;
}

static void print_constants(const ModelRun *r) {
    for (int i = 0; i < r->n_batches; i++) {
        const ModelStep *m = &r->steps[i];
        if (r->options->is_json)
            printf("{\"bench\": \"model\", \"batch\": %g, \"step_us\": %.2f, \"latency_us\": %.2f, \"server_step_us\": "
                   "%.3f, \"server_byte_ns\": %.5f, \"key_bytes\": %.0f, \"value_bytes\": %.0f, \"dense_key_bytes\": "
                   "%.0f, \"dense_value_bytes\": %.0f, \"machine_us\": %.3f, \"machine_instances_per_s\": %.1f}\n",
                   m->batch, m->step_s * 1e6, m->latency_s * 1e6, r->server_step_s * 1e6, r->server_byte_s * 1e9,
                   m->key_bytes, m->value_bytes, m->dense_key_bytes, m->dense_value_bytes, m->machine_cpu_s * 1e6,
                   of_machine(m));
        else
            printf("batch %g: a step takes %.0f us of a worker, its values %.0f us to come, and %.0f us of a server; "
                   "%.0f bytes an instance each way, %.0f %% dense\n",
                   m->batch, m->step_s * 1e6, m->latency_s * 1e6, m->server_s * 1e6,
                   (m->value_bytes + m->dense_value_bytes + (m->key_bytes + m->dense_key_bytes) / 2) / m->batch,
                   100 * m->dense_value_bytes / (m->value_bytes + m->dense_value_bytes));
    }
}

static void describe(const ModelSetting *s, char *out, size_t size) {
    snprintf(out, size, "%g %s n=%d", s->step->batch, s->is_bf16 ? "bf16" : "f32", s->dense_every);
}

static void print_json(const ModelRun *r, double gbit, int workers) {
    for (int i = 0; i < r->n_settings; i++) {
        const ModelSetting *s = &r->settings[i];
        ModelRate rate = model_rate(s, gbit, workers, 1);
        printf(
            "{\"bench\": \"model\", \"gbit_per_s\": %g, \"batch\": %g, \"wire\": \"%s\", \"dense_every\": %d, "
            "\"workers\": %d, \"servers\": 1, \"instances_per_s\": %.1f, \"bound\": \"%s\", \"servers_needed\": %d}\n",
            gbit, s->step->batch, s->is_bf16 ? "bf16" : "f32", s->dense_every, workers, rate.instances_per_s,
            rate.bound, model_servers(s, gbit, workers, SHARE));
    }
}

static void print_table(const ModelRun *r, double gbit) {
    char name[64];
    printf(
        "\n%g Gbit/s: one server and the first of the settings, and how many servers it takes for %.0f %% of what the "
        "workers'\nprocessors allow, by batch, wire and how often dense rows go (-: the workers' own network is too "
        "slow)\n%7s %12s  %-24s",
        gbit, 100 * SHARE, "workers", "instances/s", "bound by");
    for (int i = 0; i < r->n_settings; i++) {
        describe(&r->settings[i], name, sizeof name);
        printf(" %14s", name);
    }
    putchar('\n');
    for (int workers = 1; workers <= MOST_WORKERS; workers *= 2) {
        ModelRate rate = model_rate(&r->settings[0], gbit, workers, 1);
        printf("%7d %12.0f  %-24s", workers, rate.instances_per_s, rate.bound);
        for (int i = 0; i < r->n_settings; i++) {
            int n = model_servers(&r->settings[i], gbit, workers, SHARE);
            snprintf(name, sizeof name, "%d", n);
            printf(" %14s", n ? name : "-");
        }
        putchar('\n');
    }
}

/* How many workers one server feeds. */
static Err report_one_server(const ModelRun *r, double gbit) {
    const ModelSetting *s = &r->settings[0];
    char name[64];
    double most = 0;
    for (int workers = 1; workers <= MOST_WORKERS; workers++)
        if (model_servers(s, gbit, workers, SHARE) == 1)
            most = workers;
    snprintf(name, sizeof name, "workers per server, %g Gbit/s", gbit);
    const BenchCase c = {.bench = "model", .name = name, .unit = "workers"};
    const BenchResult result = {.rounds = 1, .ours = {most, most, most}};
    return bench_report(&c, r->options, &result);
}

static void print_rate(const ModelRun *r, double gbit) {
    if (!r->options->is_json)
        print_table(r, gbit);
    for (int workers = 1; r->options->is_json && workers <= MOST_WORKERS; workers *= 2)
        print_json(r, gbit, workers);
}

Err bench_model(const Config *config, const BenchOptions *options) {
    static ModelRun run;
    ModelRun *r = &run;
    *r = (ModelRun){.options = options, .config = *config, .seconds = options->seconds > 0 ? options->seconds : 4};
    r->config.cluster.servers = r->config.cluster.workers = 1;
    bench_make_async(&r->config);
    r->config.train.wire = WIRE_FP32; /* the other settings follow from these */
    r->config.dense = (DenseConfig){.fetch = 1, .push = 1};
    if (options->constants && (options->data_dir || options->dir || options->seconds > 0))
        return err_fail(ERR_USAGE, "with --constants nothing is measured: leave out --data, --seconds and --dir");
    Err err = options->constants ? read_constants(r, options->constants) : measure(r);
    if (err)
        return err;
    make_settings(r);
    print_constants(r);
    for (size_t i = 0; i < (options->gbit > 0 ? 1 : sizeof GBITS / sizeof *GBITS); i++)
        print_rate(r, options->gbit > 0 ? options->gbit : GBITS[i]);
    for (size_t i = 0; i < (options->gbit > 0 ? 1 : sizeof GBITS / sizeof *GBITS) && !err; i++)
        err = report_one_server(r, options->gbit > 0 ? options->gbit : GBITS[i]);
    return err;
}
