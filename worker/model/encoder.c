/* sasrec and gru4rec. */
#include "worker/model/encoder.h"

#include <stdio.h>

#include "worker/ops/gru.h"

/* ---- sasrec --------------------------------------------------------------------------------------------------------
 */

static void part_name(char *out, const char *name, const char *part, int block) {
    snprintf(out, SCHEMA_NAME, "%s.%s.%d", name, part, block);
}

static void sasrec_declare(const Declaration *d, const char *name, Encoder *e) {
    Sasrec *r = &e->sasrec;
    char part[SCHEMA_NAME];
    r->n = d->config->blocks;
    for (int i = 0; i < r->n; i++) {
        part_name(part, name, "ln_att", i);
        r->ln_att[i] = layer_norm_declare(d, part);
        part_name(part, name, "att", i);
        r->att[i] = attention_declare(d, part, true);
        part_name(part, name, "ln_ffn", i);
        r->ln_ffn[i] = layer_norm_declare(d, part);
        part_name(part, name, "ffn", i);
        r->ffn[i] = feed_forward_declare(d, part);
    }
    snprintf(part, sizeof part, "%s.ln_out", name);
    r->ln_out = layer_norm_declare(d, part);
}

/* Keys and values come from x, not from LN(x); the residual adds LN(x). */
static Var *sasrec_apply(Step *s, const Encoder *e, Var *x) {
    const Sasrec *r = &e->sasrec;
    for (int i = 0; i < r->n; i++) {
        Var *a = layer_norm_apply(s, &r->ln_att[i], x);
        Var *h = attention_apply_causal(s, &r->att[i], a, x);
        x = feed_forward_apply(s, &r->ffn[i], layer_norm_apply(s, &r->ln_ffn[i], h));
    }
    return layer_norm_apply(s, &r->ln_out, x);
}

/* ---- gru4rec -------------------------------------------------------------------------------------------------------
 */

static void gru4rec_declare(const Declaration *d, const char *name, Encoder *e) {
    int D = d->config->dim;
    Gru4rec *g = &e->gru4rec;
    g->gate.W = declare_dense(d, 2 * D, 2 * D, INIT_GLOROT_UNIFORM, 0, true, "%s.gate.W", name);
    g->gate.b = declare_dense(d, 1, 2 * D, INIT_CONSTANT, 1, false, "%s.gate.b", name);
    g->cand.W = declare_dense(d, 2 * D, D, INIT_GLOROT_UNIFORM, 0, true, "%s.cand.W", name);
    g->cand.b = declare_dense(d, 1, D, INIT_CONSTANT, 0, false, "%s.cand.b", name);
}

static Var *gru4rec_apply(Step *s, const Encoder *e, Var *x) {
    const Gru4rec *g = &e->gru4rec;
    GruCell cell = {step_var(s, g->gate.W), step_var(s, g->gate.b), step_var(s, g->cand.W), step_var(s, g->cand.b)};
    Segments segments = step_segments(s);
    return op_gru(step_tape(s), x, &cell, &segments);
}

/* ---- either ----------------------------------------------------------------------------------------------------- */

static const struct {
    void (*declare)(const Declaration *d, const char *name, Encoder *e);
    Var *(*apply)(Step *s, const Encoder *e, Var *x);
} ENCODERS[] = {
    [ENCODER_SASREC] = {sasrec_declare, sasrec_apply},
    [ENCODER_GRU4REC] = {gru4rec_declare, gru4rec_apply},
};

Encoder encoder_declare(const Declaration *d, const char *name) {
    Encoder e = {.kind = d->config->encoder};
    ENCODERS[e.kind].declare(d, name, &e);
    return e;
}

Var *encoder_apply(Step *s, const Encoder *e, Var *x) {
    return ENCODERS[e->kind].apply(s, e, x);
}
