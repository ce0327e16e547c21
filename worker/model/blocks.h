/* The building blocks of the models: each is a few tensor indices, declared with a name in front and applied to Vars.
 * What is declared is named as the specification's reference dumps name it. */
#ifndef MANGROVE_WORKER_MODEL_BLOCKS_H
#define MANGROVE_WORKER_MODEL_BLOCKS_H

#include "worker/model/model_api.h"

/* Where and how tensors are declared. */
typedef struct Declaration {
    Schema *schema;
    const ModelConfig *config;
    int reached_by;
} Declaration;

/* A dense tensor by its name's format. */
int declare_dense(const Declaration *d, int rows, int cols, InitKind init, double scale, bool has_l2,
                  const char *format, ...) PRINTF_LIKE(7, 8);
/* A truncated normal table without L2: positions, prototypes. */
int declare_normal(const Declaration *d, int rows, int cols, const char *name);

/* y = x W + b;  <name>.W, <name>.b */
typedef struct LinearBlock {
    int W, b; /* b = -1: none */
} LinearBlock;
/* Glorot uniform. */
LinearBlock linear_declare(const Declaration *d, int K, int M, const char *name);
Var *linear_apply(Step *s, const LinearBlock *l, Var *x);

/* LN;  <name>.gamma, <name>.beta */
typedef struct LayerNormBlock {
    int gamma, beta;
} LayerNormBlock;
LayerNormBlock layer_norm_declare(const Declaration *d, const char *name);
Var *layer_norm_apply(Step *s, const LayerNormBlock *n, Var *x);

/* Att(Xq, Xk): the result of the attention plus Xq;  <name>.{q,k,v}.{W,b} */
typedef struct AttentionBlock {
    LinearBlock q, k, v; /* q.W = -1: the query is not projected */
} AttentionBlock;
AttentionBlock attention_declare(const Declaration *d, const char *name, bool projects_query);
Var *attention_apply_causal(Step *s, const AttentionBlock *a, Var *xq, Var *xk);
/* The rows of xq look at every history; (B*rows,D). */
Var *attention_apply_prototypes(Step *s, const AttentionBlock *a, Var *xq, Var *xk);

/* FFN;  <name>.{up,down}.{W,b} */
typedef struct FeedForwardBlock {
    LinearBlock up, down;
} FeedForwardBlock;
FeedForwardBlock feed_forward_declare(const Declaration *d, const char *name);
Var *feed_forward_apply(Step *s, const FeedForwardBlock *f, Var *x);

/* MLP: hidden layers linear -> BN -> ReLU, then one number;  <name>.layers.<i>.{W,b}, gamma.<i>, beta.<i>, out.{W,b},
 * statistics mean<i>, var<i> (2,width). The first product is the caller's, who may split it. */
typedef struct MlpBlock {
    int n;
    LinearBlock layers[CONFIG_MAX_WIDTHS], out;
    int gamma[CONFIG_MAX_WIDTHS], beta[CONFIG_MAX_WIDTHS]; /* -1: norm none */
    int mean[CONFIG_MAX_WIDTHS], var[CONFIG_MAX_WIDTHS];
} MlpBlock;
/* ERR_CONFIG without a hidden layer; option names the key. */
Err mlp_check(const Widths *widths, const char *option) MUST_CHECK;
MlpBlock mlp_declare(const Declaration *d, int n_in, const Widths *widths, const char *name);
/* h (R, first width) is the first layer's product; row: of the statistics. y (R,1) */
Var *mlp_apply(Step *s, const MlpBlock *m, Var *h, int row);

#endif
