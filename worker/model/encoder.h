/* Sequence encoders: from the embedded history to one state per position, (P,D) -> (P,D). */
#ifndef MANGROVE_WORKER_MODEL_ENCODER_H
#define MANGROVE_WORKER_MODEL_ENCODER_H

#include "worker/model/blocks.h"

/* Two (model.blocks) times { a = LN(x); h = Att(a, x) causal; x = FFN(LN(h)) }, then LN. */
typedef struct Sasrec {
    int n;
    LayerNormBlock ln_att[CONFIG_MAX_BLOCKS], ln_ffn[CONFIG_MAX_BLOCKS], ln_out;
    AttentionBlock att[CONFIG_MAX_BLOCKS];
    FeedForwardBlock ffn[CONFIG_MAX_BLOCKS];
} Sasrec;

typedef struct Gru4rec {
    LinearBlock gate, cand;
} Gru4rec;

typedef struct Encoder {
    EncoderKind kind;
    union {
        Sasrec sasrec;
        Gru4rec gru4rec;
    };
} Encoder;

/* The kind is the configuration's; the tensors are <name>.*. */
Encoder encoder_declare(const Declaration *d, const char *name);
Var *encoder_apply(Step *s, const Encoder *e, Var *x);

#endif
