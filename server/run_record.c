/* What a run leaves behind: its directory with lock, configuration, metrics and performance. */
#include "server/run_record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "server/metrics_json.h"
#include "server/report.h"
#include "server/run_resume.h"
#include "server/snapshot/snapshot.h"
#include "server/snapshot/snapshot_prune.h"

enum { PERF_MS = 10 * 1000, PATH_BYTES = CONFIG_PATH + 32 };

struct RunRecord {
    const Config *config;
    const char *config_text;
    const SnapshotParent *parent; /* NULL: the run was begun from nothing */
    Report report;
    int lock;
    int metrics, perf; /* files, -1: not open */
    uint64_t opened_ms, perf_ms;
    SchedulerProgress last;
};

static void path_in(const Config *config, const char *name, char *path) {
    snprintf(path, PATH_BYTES, "%s/%s", config->run_dir, name);
}

/* ---- the directory -------------------------------------------------------------------------------------------- */

Err run_record_directory(Config *config) {
    char path[PATH_MAX];
    Err err = make_directories(config->run_dir);
    if (err)
        return err;
    if (!realpath(config->run_dir, path))
        return err_fail(ERR_IO, "%s: %s", config->run_dir, strerror(errno));
    if (strlen(path) >= sizeof config->run_dir)
        return err_fail(ERR_CONFIG, "run.dir is %zu bytes long as an absolute path; at most %zu are allowed",
                        strlen(path), sizeof config->run_dir - 1);
    err = config_check_path("run.dir as an absolute path", path);
    if (!err)
        memcpy(config->run_dir, path, strlen(path) + 1);
    return err;
}

static Err take_lock(RunRecord *r) {
    char path[PATH_BYTES];
    path_in(r->config, "lock", path);
    r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock < 0)
        return err_fail(ERR_IO, "%s: %s", path, strerror(errno));
    if (flock(r->lock, LOCK_EX | LOCK_NB))
        return err_fail(ERR_CONFIG, "another run is going on in %s (its lock is held): give this one another run.dir",
                        r->config->run_dir);
    return OK;
}

/* Appends to what an earlier part of the run has left. */
static Err open_lines(const RunRecord *r, const char *name, int *out) {
    char path[PATH_BYTES];
    path_in(r->config, name, path);
    *out = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    return *out >= 0 ? OK : err_fail(ERR_IO, "%s: %s", path, strerror(errno));
}

static Err write_config(const RunRecord *r) {
    char path[PATH_BYTES];
    path_in(r->config, "config.yaml", path);
    return write_file_durably(path, r->config_text, strlen(r->config_text));
}

/* The test metrics of the epochs before, for the table at the end. */
static void recall(RunRecord *r) {
    static const char *const DOMAINS[N_DOMAINS] = {"A", "B"};
    char path[PATH_BYTES], *line = NULL;
    size_t size = 0;
    path_in(r->config, "metrics.jsonl", path);
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &size, file) > 0) {
        json_t *json = json_loads(line, 0, NULL);
        for (int d = 0; d < N_DOMAINS; d++) {
            const json_t *test = json_object_get(json_object_get(json, DOMAINS[d]), "test");
            if (!json_is_object(test))
                continue;
            metrics_json_read(test, &r->config->eval, &r->report.test[d]);
            r->report.test_epoch[d] = (uint32_t)json_integer_value(json_object_get(json, "epoch"));
        }
        json_decref(json);
    }
    if (file)
        fclose(file);
    free(line);
}

Err run_record_open(RunRecord **out, const Config *config, const char *config_text, const SnapshotStart *start) {
    RunRecord *r = must_calloc(1, sizeof *r);
    r->config = config;
    r->config_text = config_text;
    r->parent = start ? &start->parent : NULL;
    r->lock = r->metrics = r->perf = -1;
    r->opened_ms = r->perf_ms = clock_now_ms();
    report_init(&r->report, config);
    Err err = make_directories(config->run_dir);
    if (!err)
        err = take_lock(r);
    if (!err)
        err = start && start->scheduler.restore == RESTORE_RESUME ? run_resume_prepare(config, start)
                                                                  : run_resume_check_unused(config);
    if (!err)
        err = write_config(r);
    if (!err) {
        recall(r);
        err = open_lines(r, "metrics.jsonl", &r->metrics);
    }
    if (!err)
        err = open_lines(r, "perf.jsonl", &r->perf);
    *out = r;
    if (err)
        run_record_close(out);
    return err;
}

void run_record_close(RunRecord **out) {
    RunRecord *r = *out;
    if (!r)
        return;
    if (r->metrics >= 0)
        close(r->metrics);
    if (r->perf >= 0)
        close(r->perf);
    if (r->lock >= 0)
        close(r->lock);
    free(r);
    *out = NULL;
}

/* ---- lines ---------------------------------------------------------------------------------------------------- */

static bool write_all(int file, const char *text, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(file, text + done, size - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The whole text, or nothing of it: what is left of half a line would swallow the next one. */
static bool append(int file, const char *text, bool is_durable) {
    struct stat before;
    if (fstat(file, &before))
        return false;
    if (write_all(file, text, strlen(text)) && (!is_durable || fsync(file) == 0))
        return true;
    int cause = errno;
    if (ftruncate(file, before.st_size))
        log_warn("half a line could not be taken back: %s", strerror(errno));
    errno = cause;
    return false;
}

/* 17 digits give a double back to the last bit. Takes the object. */
static Err write_line(int file, const char *name, json_t *line, bool is_durable) {
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (text) {
        text = must_realloc(text, strlen(text) + 2);
        strcat(text, "\n");
    }
    bool is_ok = text && append(file, text, is_durable);
    Err err = is_ok ? OK : err_fail(ERR_IO, "a line of %s could not be written: %s", name, strerror(errno));
    free(text);
    json_decref(line);
    return err;
}

static json_t *split_json(const EvalConfig *eval, const EpochResult *e, int domain, Split split) {
    return e->is_scored[domain][split] ? metrics_json(&e->metrics[domain][split], eval) : json_null();
}

static json_t *domain_json(const EvalConfig *eval, const EpochResult *e, int d) {
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "loss", metrics_json_number(e->data_loss[d]),
                     "regulariser", metrics_json_number(e->regulariser[d]), "watch", metrics_json_number(e->watch[d]),
                     "steps", (json_int_t)e->n_steps[d], "best_epoch", (json_int_t)e->best_epoch[d], "stale",
                     (json_int_t)e->stale[d], "valid", split_json(eval, e, d, SPLIT_VALID), "test",
                     split_json(eval, e, d, SPLIT_TEST));
}

static void write_perf(RunRecord *r, const SchedulerProgress *p) {
    uint64_t now_ms = clock_now_ms();
    r->perf_ms = now_ms;
    json_t *line = json_pack(
        "{s:f, s:I, s:s, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I}", "seconds",
        (double)(now_ms - r->opened_ms) / 1000, "epoch", (json_int_t)p->epoch, "phase", p->phase ? p->phase : "",
        "steps_done", (json_int_t)p->steps_done, "steps", (json_int_t)p->steps_total, "instances",
        (json_int_t)p->n_instances, "instances_per_s", p->instances_per_s, "workers", (json_int_t)p->n_workers,
        "servers", (json_int_t)p->n_servers, "rows", (json_int_t)p->n_rows, "bytes", (json_int_t)p->used_bytes,
        "sent_bytes", (json_int_t)p->sent_bytes, "received_bytes", (json_int_t)p->received_bytes);
    if (write_line(r->perf, "perf.jsonl", line, false))
        log_warn("%s", err_message());
}

/* ---- the scheduler's effects ---------------------------------------------------------------------------------- */

static Err prune(const RunRecord *r, const uint32_t best_epoch[N_DOMAINS]) {
    char snapshots[PATH_BYTES];
    path_in(r->config, "snapshots", snapshots);
    return snapshot_prune(snapshots, r->config->snapshot.keep, best_epoch);
}

/* Nothing is being written at this moment: what has no manifest will get none. A clean-up that fails is said, and the
 * snapshot stands. */
static void clean_up(const RunRecord *r, const SnapshotFacts *facts) {
    char snapshots[PATH_BYTES];
    path_in(r->config, "snapshots", snapshots);
    Err err = prune(r, facts->standing.best_epoch);
    if (!err)
        err = snapshot_sweep(snapshots);
    if (err)
        log_warn("old snapshots could not be cleaned up: %s", err_message());
}

Err run_record_commit(RunRecord *r, const SnapshotFacts *facts) {
    Err err = snapshot_commit(facts, r->config_text, r->parent);
    if (!err)
        clean_up(r, facts);
    return err;
}

/* The snapshot of another run, from which this one branched off, is not ours to write into. */
static bool is_own(const RunRecord *r, const char *dir) {
    char snapshots[PATH_BYTES];
    path_in(r->config, "snapshots/", snapshots);
    return strncmp(dir, snapshots, strlen(snapshots)) == 0;
}

/* The line first: metrics must not be lost because a disk is full of snapshots. */
Err run_record_write_epoch(RunRecord *r, const EpochResult *e, const char *snapshot_dir) {
    json_t *line =
        json_pack("{s:I, s:o, s:o}", "epoch", (json_int_t)e->epoch, "A", domain_json(&r->config->eval, e, DOMAIN_A),
                  "B", domain_json(&r->config->eval, e, DOMAIN_B));
    Err err = write_line(r->metrics, "metrics.jsonl", line, true);
    if (err || !snapshot_dir || !is_own(r, snapshot_dir))
        return err;
    err = snapshot_write_evaluation(snapshot_dir, e, r->config);
    return err ? err : prune(r, e->best_epoch);
}

void run_record_show_epoch(RunRecord *r, const EpochResult *e) {
    report_epoch(&r->report, e);
    write_perf(r, &r->last);
}

void run_record_epoch(RunRecord *r, const EpochResult *e, const char *snapshot_dir) {
    if (run_record_write_epoch(r, e, snapshot_dir))
        log_warn("epoch %u: %s", e->epoch, err_message());
    run_record_show_epoch(r, e);
}

void run_record_progress(RunRecord *r, const SchedulerProgress *p) {
    r->last = *p;
    report_progress(&r->report, p, clock_now_ms());
    if (clock_now_ms() - r->perf_ms >= PERF_MS)
        write_perf(r, p);
}

void run_record_finish(RunRecord *r, const DataInfo *data) {
    report_final(&r->report, data);
}
