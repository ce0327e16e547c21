/* The options: one row per key, in the order of the canonical text. */
#include "common/options_table.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const ENCODERS[] = {[ENCODER_SASREC] = "sasrec", [ENCODER_GRU4REC] = "gru4rec", NULL};
static const char *const NORMS[] = {[NORM_BATCH] = "batch", [NORM_NONE] = "none", NULL};
static const char *const LOSSES[] = {[LOSS_SOFTMAX] = "softmax", [LOSS_BCE] = "bce", NULL};
static const char *const OPTIMIZERS[] = {[OPTIMIZER_SGD] = "sgd", [OPTIMIZER_ADAM] = "adam", NULL};
static const char *const CONSISTENCIES[] = {[CONSISTENCY_ASYNC] = "async", [CONSISTENCY_SYNC] = "sync", NULL};
static const char *const WIRES[] = {[WIRE_FP32] = "fp32", [WIRE_BF16] = "bf16", NULL};
static const char *const INIT_MOMENTS[] = {[INIT_MOMENTS_RESET] = "reset", [INIT_MOMENTS_KEEP] = "keep", NULL};
static const char *const PROTOCOLS[] = {[PROTOCOL_WARM] = "warm", [PROTOCOL_ALL] = "all", NULL};

static_assert(sizeof(EncoderKind) == sizeof(int), "the value of an enum is read and written as an int");

#define AT(field)             .offset = offsetof(Config, field)
#define SIZE(field)           sizeof(((Config *)0)->field)
#define BOOL(field)           .type = OPTION_BOOL, AT(field)
#define U64(field)            .type = OPTION_U64, AT(field)
#define TEXT(field)           .type = OPTION_STRING, AT(field), .capacity = SIZE(field)
#define NAMES(field)          .type = OPTION_ENUM, AT(field), .names
#define INT(field, from, to)  .type = OPTION_INT, AT(field), .low = (from), .high = (to)
#define REAL(field, from, to) .type = OPTION_REAL, AT(field), .low = (from), .high = (to)
#define INTS(field, count, from, to)                                                                                   \
    .type = OPTION_INTS, AT(field), .count_offset = offsetof(Config, count), .capacity = SIZE(field) / sizeof(int),    \
    .low = (from), .high = (to)
#define DEFAULT .fallback
#define SAYS    .sentence

// clang-format off
const Option OPTIONS[] = {
    {"data.dir", TEXT(data_dir), DEFAULT = "data",
     SAYS = "A prepared data set, made by mangrove prepare or mangrove synth."},

    {"run.dir", TEXT(run_dir), DEFAULT = "runs/default",
     SAYS = "Where metrics, logs and snapshots of the run go."},

    {"model.name", TEXT(model.name), DEFAULT = "man",
     SAYS = "The model that is trained, by name."},
    {"model.dim", INT(model.dim, 1, 1024), DEFAULT = "20",
     SAYS = "D, the width of every embedding and sequence."},
    {"model.seq_len", INT(model.seq_len, 1, 2000), DEFAULT = "20",
     SAYS = "T, the longest history kept; older events are left out."},
    {"model.groups", INT(model.groups, 1, 256), DEFAULT = "10",
     SAYS = "G, the number of group prototypes."},
    {"model.blocks", INT(model.blocks, 1, CONFIG_MAX_BLOCKS), DEFAULT = "2",
     SAYS = "Blocks of the sasrec encoder."},
    {"model.encoder", NAMES(model.encoder) = ENCODERS, DEFAULT = "sasrec",
     SAYS = "The sequence encoder."},
    {"model.mlp", INTS(model.mlp.width, model.mlp.n, 1, 4096), DEFAULT = "[20, 10]",
     SAYS = "Hidden widths of the prediction heads."},
    {"model.att_mlp", INTS(model.att_mlp.width, model.att_mlp.n, 1, 4096), DEFAULT = "[32, 16]",
     SAYS = "Hidden widths of the item-similarity network."},
    {"model.norm", NAMES(model.norm) = NORMS, DEFAULT = "batch",
     SAYS = "Normalisation in the heads and in the item-similarity network."},
    {"model.loss", NAMES(model.loss) = LOSSES, DEFAULT = "softmax",
     SAYS = "softmax: cross entropy of the positive among its candidates; bce: binary cross entropy."},
    {"model.isa", BOOL(model.isa), DEFAULT = "true",
     SAYS = "Item-similarity attention."},
    {"model.sfa", BOOL(model.sfa), DEFAULT = "true",
     SAYS = "Sequence-fusion attention."},
    {"model.gpa", BOOL(model.gpa), DEFAULT = "true",
     SAYS = "Group-prototype attention."},
    {"model.backbone_only", BOOL(model.backbone_only), DEFAULT = "false",
     SAYS = "The single-domain yardstick: encoder and head of each domain alone, without isa, sfa and gpa."},
    {"model.stop_gradient", BOOL(model.stop_gradient), DEFAULT = "true",
     SAYS = "sfa and gpa do not reach back into the encoders."},
    {"model.lambda_group", REAL(model.lambda_group, 0, 1), DEFAULT = "5e-06",
     SAYS = "Weight of the term that drives the group prototypes apart."},
    {"model.init_std", REAL(model.init_std, 0, 1), .bounds = BOUNDS_OPEN_LOW, DEFAULT = "0.01",
     SAYS = "Deviation of the truncated normal initialisation."},

    {"optimizer.kind", NAMES(optimizer.kind) = OPTIMIZERS, DEFAULT = "adam",
     SAYS = "adam has one set of moments per domain and is lazy on the item tables."},
    {"optimizer.lr", REAL(optimizer.lr, 0, 100), .bounds = BOUNDS_OPEN_LOW, DEFAULT = "0.001",
     SAYS = "Learning rate."},
    {"optimizer.beta1", REAL(optimizer.beta1, 0, 1), .bounds = BOUNDS_OPEN_HIGH, DEFAULT = "0.9",
     SAYS = "Decay of adam's first moment."},
    {"optimizer.beta2", REAL(optimizer.beta2, 0, 1), .bounds = BOUNDS_OPEN_HIGH, DEFAULT = "0.999",
     SAYS = "Decay of adam's second moment."},
    {"optimizer.eps", REAL(optimizer.eps, 0, 1), .bounds = BOUNDS_OPEN_LOW, DEFAULT = "1e-08",
     SAYS = "Added to the root of adam's second moment."},
    {"optimizer.l2", REAL(optimizer.l2, 0, 1), DEFAULT = "0",
     SAYS = "lambda: lambda times the value is added to the gradient of item rows and matrices, once per update."},

    {"train.seed", U64(train.seed), DEFAULT = "1",
     SAYS = "Seed of initial values, orders and negatives."},
    {"train.batch", INT(train.batch, 1, 65536), DEFAULT = "20",
     SAYS = "Instances in a batch; in sync in the batch of one rank."},
    {"train.negatives", INT(train.negatives, 1, 1000), DEFAULT = "9",
     SAYS = "Negatives drawn for each training instance."},
    {"train.epochs", INT(train.epochs, 1, 100000), DEFAULT = "50",
     SAYS = "Epochs at most."},
    {"train.patience", INT(train.patience, 1, 100000), DEFAULT = "2",
     SAYS = "Ends the run after so many epochs in which neither domain's validation WAUC improved."},
    {"train.consistency", NAMES(train.consistency) = CONSISTENCIES, .refused = "ssp", DEFAULT = "async",
     SAYS = "async: workers do not wait for each other; sync: the same bits whatever the cluster."},
    {"train.ranks", INT(train.ranks, 1, 256), DEFAULT = "1",
     SAYS = "R of sync: slices of each step, computed in parallel; 1 in async."},
    {"train.prefetch", INT(train.prefetch, 0, 1), DEFAULT = "1",
     SAYS = "Batches pulled ahead of the one that is computed; in sync 0, and 0 if not set."},
    {"train.wire", NAMES(train.wire) = WIRES, DEFAULT = "fp32",
     SAYS = "How values and gradients travel: fp32, or rounded to bf16, half the bytes; tables keep fp32."},
    {"train.init_moments", NAMES(train.init_moments) = INIT_MOMENTS, DEFAULT = "reset",
     SAYS = "What train --init does with the snapshot's optimizer state: reset or keep."},

    {"dense.fetch", INT(dense.fetch, 1, 1000), DEFAULT = "1",
     SAYS = "Dense parameters are pulled with every n-th batch of a domain; in sync 1."},
    {"dense.push", INT(dense.push, 1, 1000), DEFAULT = "1",
     SAYS = "Dense gradients are summed over n batches of a domain and pushed as one; in sync 1."},

    {"eval.protocol", NAMES(eval.protocol) = PROTOCOLS, DEFAULT = "warm",
     SAYS = "warm: positives and negatives that were seen in training; all: every item."},
    {"eval.batch", INT(eval.batch, 1, 65536), DEFAULT = "200",
     SAYS = "Instances in an evaluation batch."},
    {"eval.ks", INTS(eval.ks, eval.n_ks, 1, 10), DEFAULT = "[10, 1, 5]",
     SAYS = "The k of ndcg@k and hr@k, over one positive and nine negatives."},

    {"cluster.servers", INT(cluster.servers, 1, 256), DEFAULT = "2",
     SAYS = "Parameter servers, among which the rows are divided."},
    {"cluster.workers", INT(cluster.workers, 1, 1024), DEFAULT = "2",
     SAYS = "Workers that must be there before training begins."},
    {"cluster.bind", TEXT(cluster.bind), .form = FORM_ENDPOINT, DEFAULT = "tcp://127.0.0.1:0",
     SAYS = "The scheduler's endpoint; port 0 takes any that is free."},
    {"cluster.advertise", TEXT(cluster.advertise), .form = FORM_ADDRESS, DEFAULT = "",
     SAYS = "The address that others are told; empty: derived from bind."},
    {"cluster.insecure", BOOL(cluster.insecure), DEFAULT = "false",
     SAYS = "Allows an address that is not loopback although nothing is encrypted."},
    {"cluster.join_s", INT(cluster.join_s, 1, 86400), DEFAULT = "60",
     SAYS = "Seconds within which all servers and workers must have joined."},
    {"cluster.heartbeat_ms", INT(cluster.heartbeat_ms, 10, 60000), DEFAULT = "500",
     SAYS = "Milliseconds between two heartbeats."},
    {"cluster.dead_ms", INT(cluster.dead_ms, 20, 3600000), DEFAULT = "5000",
     SAYS = "Milliseconds of silence after which a role counts as dead."},
    {"cluster.lease_s", INT(cluster.lease_s, 1, 86400), DEFAULT = "600",
     SAYS = "Seconds without progress after which a worker's lease is taken back."},
    {"cluster.credit_mb", INT(cluster.credit_mb, 1, 65536), DEFAULT = "256",
     SAYS = "Megabytes that a server lets one worker have under way, at most."},

    {"snapshot.enabled", BOOL(snapshot.enabled), DEFAULT = "true",
     SAYS = "Writes a snapshot at the end of every epoch."},
    {"snapshot.keep", INT(snapshot.keep, 1, 1000), DEFAULT = "2",
     SAYS = "The newest snapshots kept; the best of each domain stays too."},
    {"snapshot.every_s", INT(snapshot.every_s, 0, 604800), DEFAULT = "0",
     SAYS = "Seconds between two snapshots in the middle of an epoch; 0: none by time."},
    {"snapshot.every_steps", INT(snapshot.every_steps, 0, 1000000000), DEFAULT = "0",
     SAYS = "Steps of both domains between two snapshots in the middle of an epoch; 0: none by steps."},
    {"snapshot.full_every", INT(snapshot.full_every, 1, 1000), DEFAULT = "1",
     SAYS = "Every k-th snapshot is full; those between hold only rows that changed since the last full one."},
    {"snapshot.copy_mb", INT(snapshot.copy_mb, 1, 1048576), DEFAULT = "1024",
     SAYS = "Megabytes for old rows while a server writes a snapshot, kept for the next; beyond it pushes wait."},
};
// clang-format on

const int N_OPTIONS = sizeof OPTIONS / sizeof OPTIONS[0];
static_assert(sizeof OPTIONS / sizeof OPTIONS[0] <= OPTIONS_MAX, "raise OPTIONS_MAX");

const Section SECTIONS[] = {
    {"data", "What is learned from", .is_local = true},
    {"run", "Where results go", .is_local = true},
    {"model", "The model", .is_local = false},
    {"optimizer", "How a gradient changes a row", .is_local = false},
    {"train", "The course of a training", .is_local = false},
    {"dense", "How often dense parameters travel", .is_local = false},
    {"eval", "How it is measured", .is_local = false},
    {"cluster", "The processes, and how they reach each other", .is_local = true},
    {"snapshot", "What is kept on disk", .is_local = false},
};
const int N_SECTIONS = sizeof SECTIONS / sizeof SECTIONS[0];

static bool is_name(const char *name, const char *text, size_t length) {
    return !strncmp(name, text, length) && !name[length];
}

int option_find(const char *name, size_t length) {
    for (int i = 0; i < N_OPTIONS; i++) {
        if (is_name(OPTIONS[i].name, name, length))
            return i;
    }
    return -1;
}

int section_find(const char *name, size_t length) {
    for (int i = 0; i < N_SECTIONS; i++) {
        if (is_name(SECTIONS[i].name, name, length))
            return i;
    }
    return -1;
}

const char *option_leaf(const Option *o) {
    return strchr(o->name, '.') + 1;
}

int option_section(const Option *o) {
    int section = section_find(o->name, (size_t)(option_leaf(o) - o->name - 1));
    assert(section >= 0);
    return section;
}

static void append(char *out, size_t size, const char *name) {
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
}

void section_names(int section, char *out, size_t size) {
    out[0] = 0;
    for (int i = 0; section < 0 && i < N_SECTIONS; i++)
        append(out, size, SECTIONS[i].name);
    for (int i = 0; section >= 0 && i < N_OPTIONS; i++) {
        if (option_section(&OPTIONS[i]) == section)
            append(out, size, option_leaf(&OPTIONS[i]));
    }
}

void option_variable(const Option *o, char out[OPTION_VARIABLE]) {
    snprintf(out, OPTION_VARIABLE, "MANGROVE_%s", o->name);
    for (char *p = out; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}
