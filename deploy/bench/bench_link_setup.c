/* The server's process, and its scheduler's words. */
#include "deploy/bench/bench_link_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "deploy/bench/bench.h"
#include "deploy/bench/bench_child.h"
#include "deploy/bench/bench_link.h"
#include "server/server_shell.h"

enum {
    HOUR_MS = 3600 * 1000, /* neither blames the other for its silence while the yardstick has its turn */
    EPOCH_STEPS = 8 << 20, /* as many as an epoch may have */
    BATCH = 1000,          /* its rows are more than those of all requests under way: so is the credit */
};

/* What a data set would say: nothing that one table needs. */
static const char MANIFEST[] =
    "{\"format\":1,\"fingerprint\":\"0000000000000001\",\"n_items\":1,\"n_users\":1,\"n_chunks\":1,"
    "\"domains\":[{\"n_train_items\":1},{\"n_train_items\":1}],"
    "\"chunks\":{\"warm\":[[1,0,0,1,0,0]],\"all\":[[1,0,0,1,0,0]]},\"probes\":{"
#define RULES    "[[0.5,0.5,0.5],[0.5,0.5,0.5],[0.5,0.5,0.5]]"
#define SPLITS   "{\"valid\":" RULES ",\"test\":" RULES "}"
#define PROTOCOL "[" SPLITS "," SPLITS "]"
    "\"warm\":" PROTOCOL ",\"all\":" PROTOCOL "}}";

static Err one_table(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    const LinkShape *shape = ctx;
    (void)data;
    memset(out, 0, sizeof *out);
    schema_add_sparse(out, "item.A", REACHED_BY_A, (uint32_t)shape->table_rows, shape->width, config->model.init_std);
    schema_finish(out);
    return OK;
}

void link_setup_serve(void *ctx, int in, int out) {
    char scheduler[MESSAGE_TEXT];
    ServerRunOptions options = {.scheduler = scheduler, .schema = one_table, .ctx = ctx};
    (void)out;
    Err err = log_open("bench-server", LOG_WARN, NULL);
    if (!err)
        err = bench_pipe_read(in, scheduler, sizeof scheduler);
    if (!err)
        err = server_run(&options);
    if (err)
        log_error("%s", err_message());
}

Config link_setup_config(const Config *given) {
    Config config = *given;
    bench_make_async(&config);
    config.train.wire = WIRE_FP32; /* that of the frames which are sent */
    config.dense = (DenseConfig){.fetch = 1, .push = 1};
    config.train.batch = BATCH;
    config.optimizer.kind = OPTIMIZER_ADAM;
    return config;
}

void link_setup_welcome(Message *m, const Config *config) {
    char *text = config_text(config);
    message_init(m, MESSAGE_WELCOME);
    m->job = LINK_JOB;
    m->welcome =
        (MessageWELCOME){.id = 1, .config = config_fingerprint(config), .heartbeat_ms = HOUR_MS, .dead_ms = HOUR_MS};
    snprintf(m->welcome.version, sizeof m->welcome.version, "%s", MANGROVE_VERSION);
    message_add_bytes(m, text, strlen(text));
    free(text);
}

void link_setup_view(Message *m, const char *endpoint) {
    message_init(m, MESSAGE_VIEW);
    m->job = LINK_JOB;
    m->view = (MessageVIEW){.map = 1, .n_servers = 1};
    size_t slot_bytes = N_SLOTS * sizeof(uint16_t);
    memset(message_add_frame(m, slot_bytes), 0, slot_bytes);
    message_add_bytes(m, endpoint, strlen(endpoint));
    message_add_bytes(m, MANIFEST, sizeof MANIFEST - 1);
}

void link_setup_epoch(Message *m) {
    message_init(m, MESSAGE_EPOCH_OPEN);
    m->job = LINK_JOB;
    m->epoch_open = (MessageEPOCH_OPEN){.epoch = 1, .steps_a = EPOCH_STEPS};
}
