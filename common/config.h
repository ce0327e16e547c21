/* The effective configuration of a run: one struct, filled by the options table (options.h) and by nothing else.
 *
 * The scheduler reads it (defaults < file < environment < --set) and sends its canonical text to every role. */
#ifndef MANGROVE_COMMON_CONFIG_H
#define MANGROVE_COMMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum { CONFIG_PATH = 512, CONFIG_MAX_WIDTHS = 4, CONFIG_MAX_KS = 4, CONFIG_MAX_BLOCKS = 6 };

typedef enum EncoderKind { ENCODER_SASREC, ENCODER_GRU4REC } EncoderKind;
typedef enum NormKind { NORM_BATCH, NORM_NONE } NormKind;
typedef enum LossKind { LOSS_SOFTMAX, LOSS_BCE } LossKind;
typedef enum OptimizerKind { OPTIMIZER_SGD, OPTIMIZER_ADAM } OptimizerKind;
typedef enum Consistency { CONSISTENCY_ASYNC, CONSISTENCY_SYNC } Consistency;
typedef enum Wire { WIRE_FP32, WIRE_BF16 } Wire; /* the numbers are those of the protocol */
typedef enum InitMoments { INIT_MOMENTS_RESET, INIT_MOMENTS_KEEP } InitMoments;
typedef enum Protocol { PROTOCOL_WARM, PROTOCOL_ALL, N_PROTOCOLS } Protocol;

typedef struct Widths {
    int n;
    int width[CONFIG_MAX_WIDTHS];
} Widths;

typedef struct ModelConfig {
    char name[32];       /* registry name, "man" */
    int dim;             /* D, width of every embedding and sequence */
    int seq_len;         /* T, longest history kept */
    int groups;          /* G, group prototypes */
    int blocks;          /* sasrec blocks */
    EncoderKind encoder;
    Widths mlp;          /* hidden widths of the prediction heads */
    Widths att_mlp;      /* hidden widths of the item-similarity MLP */
    NormKind norm;
    LossKind loss;
    bool isa, sfa, gpa;
    bool backbone_only;  /* logit = head([q, pool(S)]), domain X's parameters alone */
    bool stop_gradient;  /* SFA and GPA do not reach back into the encoders */
    double lambda_group; /* weight of the disentangling term */
    double init_std;     /* sigma of the truncated normal initialisation */
} ModelConfig;

typedef struct OptimizerConfig {
    OptimizerKind kind;
    double lr, beta1, beta2, eps;
    double l2;           /* lambda: added as lambda * theta to the gradient of tensors that have L2 */
} OptimizerConfig;

typedef struct TrainConfig {
    uint64_t seed;
    int batch;           /* instances in a batch (of one rank) */
    int negatives;       /* training negatives per instance; N = negatives + 1 candidates */
    int epochs;          /* at most */
    int patience;        /* epochs without a better validation WAUC, in both domains, before the end */
    Consistency consistency;
    int ranks;           /* R of sync */
    int prefetch;        /* batches pulled ahead; 0 or 1 */
    Wire wire;           /* how values and gradients of training travel */
    InitMoments init_moments; /* of a run that starts from a snapshot's rows (train --init) */
} TrainConfig;

/* How often the dense tables travel, counted in batches of a domain; both 1: with every batch. */
typedef struct DenseConfig {
    int fetch; /* pulled with every n-th */
    int push;  /* gradients summed over groups of n (work.h) */
} DenseConfig;

typedef struct EvalConfig {
    Protocol protocol;
    int batch;           /* instances in an evaluation batch */
    int n_ks;
    int ks[CONFIG_MAX_KS]; /* the k of hr@k and ndcg@k */
} EvalConfig;

typedef struct ClusterConfig {
    int servers, workers;
    char bind[CONFIG_PATH];      /* scheduler's endpoint, tcp://address:port; port 0 = any */
    char advertise[CONFIG_PATH]; /* the address that others are told; empty = derived from bind */
    bool insecure;               /* allow an address that is not loopback without keys */
    int join_s;                  /* all roles must have joined within this time */
    int heartbeat_ms;
    int dead_ms;                 /* a role that is silent for so long counts as dead */
    int lease_s;                 /* a lease is taken back after this time without a heartbeat of progress */
    int credit_mb;               /* upper bound of a server's credit for one worker */
} ClusterConfig;

typedef struct SnapshotConfig {
    bool enabled;
    int keep;        /* the newest n are kept, and the best of each domain */
    int every_s;     /* also in the middle of an epoch, every so many seconds; 0: not by time */
    int every_steps; /* likewise, every so many steps of both domains together; 0: not by steps */
    int full_every;  /* every k-th snapshot holds all rows, those between only what changed since; 1: all are full */
    int copy_mb;     /* of a server: old rows kept for the writer while pushes go on; beyond it pushes wait */
} SnapshotConfig;

typedef struct Config {
    char data_dir[CONFIG_PATH]; /* data.dir: a prepared data set */
    char run_dir[CONFIG_PATH];  /* run.dir: metrics, logs and snapshots of this run */
    ModelConfig model;
    OptimizerConfig optimizer;
    TrainConfig train;
    DenseConfig dense;
    EvalConfig eval;
    ClusterConfig cluster;
    SnapshotConfig snapshot;
} Config;

#endif
