/* mangrove train CONFIG: a scheduler, servers and workers on this machine under one supervisor; --local: all in one
 * process. The snapshot that a run begins from is chosen here; the scheduler is told that very one.
 *
 * The scheduler's stdout comes through a pipe: its first line names its endpoint, the rest is the result and is passed
 * on. Its progress goes to this terminal; servers and workers write to run.dir/logs. */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/err.h"
#include "common/files.h"
#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/local.h"
#include "deploy/start_arguments.h"
#include "deploy/supervisor.h"

enum {
    ASK_MS = 1000,     /* after the first failure or the scheduler's end, who has not left is asked to */
    FAILED_MS = 3000,  /* after the first failure, everybody has left by then */
    END_MS = 8000,     /* after the scheduler's end, everybody has left by then */
    CONTROL_MS = 1000, /* how often the supervisor looks around without an event */
    ENDPOINT_BYTES = CONFIG_PATH + 32,
};

typedef struct TrainArguments {
    StartArguments start;
    bool is_local;
} TrainArguments;

/* ---- the roles ---------------------------------------------------------------------------------------------- */

static Err start_scheduler(Supervisor *s, const TrainArguments *a, const SnapshotStart *start, int *output_fd) {
    const ConfigArguments *c = &a->start.config;
    const char *argv[8 + 2 * CONFIG_MAX_SETS] = {"mangrove", "scheduler"};
    int n = 2;
    if (c->path)
        argv[n++] = c->path;
    if (start->snapshot) {
        argv[n++] = a->start.resume ? "--resume" : "--init";
        argv[n++] = start->scheduler.dir;
    }
    for (int i = 0; i < c->n_sets; i++) {
        argv[n++] = "--set";
        argv[n++] = c->sets[i];
    }
    int child = supervisor_start(s, "scheduler", NULL, argv, output_fd);
    return child < 0 ? (Err)child : OK;
}

static Err start_role(Supervisor *s, const char *role, int rank, const Config *config, const char *endpoint) {
    char name[SUPERVISOR_NAME], log_path[SUPERVISOR_PATH];
    snprintf(name, sizeof name, "%s-%d", role, rank);
    snprintf(log_path, sizeof log_path, "%s/logs/%s.log", config->run_dir, name);
    const char *argv[] = {"mangrove", role, "--scheduler", endpoint, NULL, NULL, NULL};
    if (!strcmp(role, "worker")) {
        argv[4] = "--data";
        argv[5] = config->data_dir;
    } else if (config->cluster.insecure) {
        argv[4] = "--insecure";
    }
    int child = supervisor_start(s, name, log_path, argv, NULL);
    return child < 0 ? (Err)child : OK;
}

static Err start_roles(Supervisor *s, const Config *config, const char *endpoint) {
    Err err = OK;
    for (int i = 0; i < config->cluster.servers && !err; i++)
        err = start_role(s, "server", i, config, endpoint);
    for (int i = 0; i < config->cluster.workers && !err; i++)
        err = start_role(s, "worker", i, config, endpoint);
    return err;
}

/* ---- watching ----------------------------------------------------------------------------------------------- */

enum { SCHEDULER = 0 }; /* index of the first child */

/* Its output has ended, and so does it, but a moment later. */
static Err scheduler_has_ended(Supervisor *s) {
    for (uint64_t end_ms = clock_now_ms() + END_MS; s->children[SCHEDULER].is_running && clock_now_ms() < end_ms;)
        supervisor_wait(s, CONTROL_MS, -1);
    return err_fail(ERR_FAILED, "the scheduler closed its output before it named its endpoint");
}

/* Waits for the line "scheduler ENDPOINT" on the pipe. An error with s->first_failed >= 0 has been said already. */
static Err read_endpoint(Supervisor *s, int fd, const Config *config, char *endpoint, size_t size) {
    char line[ENDPOINT_BYTES];
    size_t used = 0;
    uint64_t end_ms = clock_now_ms() + (uint64_t)config->cluster.join_s * 1000;
    while (used < sizeof line - 1) {
        if (supervisor_wait(s, CONTROL_MS, fd)) {
            if (read(fd, line + used, 1) != 1)
                return scheduler_has_ended(s);
            if (line[used] == '\n')
                break;
            used++;
        } else if (clock_now_ms() > end_ms) {
            return err_fail(ERR_TIMEOUT, "the scheduler did not start within %d s", config->cluster.join_s);
        }
    }
    line[used] = 0;
    if (strncmp(line, "scheduler ", 10))
        return err_fail(ERR_PROTOCOL, "expected the scheduler's endpoint, found \"%s\"", line);
    snprintf(endpoint, size, "%.*s", (int)size - 1, line + 10);
    return OK;
}

/* False at the end of the output. */
static bool pass_on(int fd) {
    char buffer[4096];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0 && fwrite(buffer, 1, (size_t)n, stdout) == (size_t)n)
        fflush(stdout);
    return n > 0;
}

/* What a stop by the user means: the first asks the scheduler to finish, a second ends everything at once. */
static void pass_stops(Supervisor *s, int *passed) {
    for (; *passed < s->n_stops; (*passed)++)
        supervisor_signal(s, *passed ? -1 : SCHEDULER, *passed ? SIGKILL : SIGTERM);
}

/* Once the scheduler has ended well, who is still there may be one that it never knew: it has nothing to do. */
static void signal_all(Supervisor *s, int signal_number) {
    const Child *scheduler = &s->children[SCHEDULER];
    if (!scheduler->is_running && child_exit_code(scheduler) == 0)
        supervisor_dismiss(s, signal_number);
    else
        supervisor_signal(s, -1, signal_number);
}

/* After the first end of anybody: time to leave by themselves, one request, then force. Returns the next step. */
static int press(Supervisor *s, uint64_t ending_ms, int step) {
    if (step == 0 && ending_ms > ASK_MS) {
        signal_all(s, SIGTERM);
        return 1;
    }
    if (ending_ms > (s->first_failed > SCHEDULER ? FAILED_MS : END_MS))
        signal_all(s, SIGKILL);
    return step;
}

/* Until all have ended. A role that fails takes the others with it; so does the scheduler's end. */
static void watch(Supervisor *s, int fd) {
    int stops_passed = 0, step = 0;
    uint64_t ending_since_ms = 0;
    while (supervisor_running(s)) {
        bool is_ending = s->first_failed >= 0 || !s->children[SCHEDULER].is_running;
        if (supervisor_wait(s, is_ending ? 100 : CONTROL_MS, s->children[SCHEDULER].is_running ? fd : -1))
            pass_on(fd);
        pass_stops(s, &stops_passed);
        if (is_ending && !ending_since_ms)
            ending_since_ms = clock_now_ms();
        if (ending_since_ms)
            step = press(s, clock_now_ms() - ending_since_ms, step);
    }
    while (pass_on(fd)) /* what the pipe still holds */
        ;
}

/* The last thing printed is the first cause. */
static int outcome(const Supervisor *s, const Config *config) {
    const Child *scheduler = &s->children[SCHEDULER];
    if (s->first_failed < 0)
        return 0;
    const Child *cause = &s->children[s->first_failed];
    int code = child_exit_code(cause);
    if (code == err_exit_code(ERR_STOPPED) && child_exit_code(scheduler) == code) {
        fprintf(stderr, "mangrove: stopped before the end\n"); /* the scheduler has said why, and where the state is */
        return code;
    }
    child_print_failure(cause);
    fprintf(stderr, "mangrove: the run has ended because of that; logs are in %s/logs, earlier snapshots are kept\n",
            config->run_dir);
    return code > 127 ? err_exit_code(ERR_FAILED) : code;
}

static int train_cluster(const TrainArguments *a, const Config *config, const SnapshotStart *start) {
    static Supervisor s;
    char logs[CONFIG_PATH + 8], endpoint[ENDPOINT_BYTES];
    int fd = -1, code;
    snprintf(logs, sizeof logs, "%s/logs", config->run_dir);
    Err err = make_directories(logs);
    if (!err)
        err = supervisor_open(&s);
    if (!err)
        err = start_scheduler(&s, a, start, &fd);
    if (!err)
        err = read_endpoint(&s, fd, config, endpoint, sizeof endpoint);
    if (!err)
        err = start_roles(&s, config, endpoint);
    if (err && s.first_failed < 0) {
        log_error("%s", err_message());
        code = err_exit_code(err);
    } else {
        watch(&s, fd);
        code = outcome(&s, config);
    }
    supervisor_close(&s);
    if (fd >= 0)
        close(fd);
    return code;
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static error_t parse(int key, char *arg, struct argp_state *state) {
    (void)arg;
    TrainArguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->start;
        return 0;
    case 'l':
        a->is_local = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"local", 'l', NULL, 0, "Scheduler policy, store and worker in this one process, no wire", 0},
    {0},
};

int cmd_train(int argc, char **argv) {
    static TrainArguments a;
    static Config config;
    static SnapshotStart start;
    const struct argp argp = {
        OPTIONS,
        parse,
        "CONFIG\n--resume DIR",
        "Trains on this machine with a scheduler, servers and workers, each a process, and writes "
        "metrics, logs and snapshots into run.dir.\v"
        "Ctrl-C finishes the steps in hand, writes a snapshot and ends with code 75; a second "
        "ctrl-C ends at once.",
        START_CHILDREN,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err err = start_arguments_load(&a.start, &config, &start);
    if (err)
        log_error("%s", err_message());
    int code = err          ? err_exit_code(err)
               : a.is_local ? err_exit_code(local_train(&config, start.snapshot ? &start : NULL))
                            : train_cluster(&a, &config, &start);
    snapshot_start_close(&start);
    return code;
}
