/* MAN: mixed attention network for cross-domain sequential recommendation.
 *
 * Two domains learn side by side. Each has a side of its own (item table, encoder, attentions, head); a third, shared
 * side (table, encoder, head) and one set of group prototypes serve both. A batch is of one domain X:
 *
 *   S, S_g     encoded histories of side X and of the shared side, once per instance
 *   e          item-similarity attention (ISA) of the candidate over E + E_g, per candidate
 *   S_s        sequence-fusion attention (SFA) of S over S_g, once per instance
 *   g          group-prototype attention (GPA), once per instance
 *   logit      head_X([q, e, pool(S), pool(S_s), g]) + head_g([q_g, pool(S_g)]) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "worker/model/blocks.h"
#include "worker/model/encoder.h"
#include "worker/model/models.h"
#include "worker/ops/linear.h"
#include "worker/ops/loss.h"
#include "worker/ops/rows.h"
#include "worker/ops/similarity.h"

typedef struct Isa {
    int W;
    MlpBlock mlp;
} Isa;

typedef struct Sfa {
    LayerNormBlock ln_q, ln_ffn;
    AttentionBlock att;
    FeedForwardBlock ffn;
} Sfa;

typedef struct Gpa {
    LayerNormBlock ln_g, ln_build, ln_match, ln_out;
    AttentionBlock att;
    FeedForwardBlock ffn_build, ffn_out;
    LinearBlock W_p, match, score, value;
} Gpa;

enum { SIDE_SHARED = N_DOMAINS, N_SIDES }; /* the first two are the domains */

typedef struct Side {
    int item, pos;
    Encoder enc;
    MlpBlock head;
    Isa isa; /* these three of the domains alone */
    Sfa sfa;
    Gpa gpa;
} Side;

typedef struct Layout {
    Side sides[N_SIDES];
    int group;
} Layout;

static const char *const SIDE_NAMES[N_SIDES] = {"A", "B", "shared"};
static const int SIDE_REACHED_BY[N_SIDES] = {REACHED_BY_A, REACHED_BY_B, REACHED_BY_BOTH};

/* ---- which parts there are -------------------------------------------------------------------------------------- */

static bool has_isa(const ModelConfig *c) {
    return c->isa && !c->backbone_only;
}
static bool has_sfa(const ModelConfig *c) {
    return c->sfa && !c->backbone_only;
}
static bool has_gpa(const ModelConfig *c) {
    return c->gpa && !c->backbone_only;
}

/* ---- declaration ------------------------------------------------------------------------------------------------ */

/* "<part>.<side>" or "<part>.<side>.<rest>" */
typedef struct Name {
    char text[SCHEMA_NAME];
} Name;

static Name name_of(const char *part, int side, const char *rest) {
    Name n;
    snprintf(n.text, sizeof n.text, "%s.%s%s%s", part, SIDE_NAMES[side], *rest ? "." : "", rest);
    return n;
}

static void declare_isa(const Declaration *d, int side, Isa *isa) {
    int D = d->config->dim;
    isa->W = declare_dense(d, D, D, INIT_TRUNCATED_NORMAL, d->config->init_std, true, "isa.%s.W", SIDE_NAMES[side]);
    isa->mlp = mlp_declare(d, 4 * D, &d->config->att_mlp, name_of("isa", side, "mlp").text);
}

static void declare_sfa(const Declaration *d, int side, Sfa *sfa) {
    sfa->ln_q = layer_norm_declare(d, name_of("sfa", side, "ln_q").text);
    sfa->att = attention_declare(d, name_of("sfa", side, "att").text, true);
    sfa->ln_ffn = layer_norm_declare(d, name_of("sfa", side, "ln_ffn").text);
    sfa->ffn = feed_forward_declare(d, name_of("sfa", side, "ffn").text);
}

static void declare_gpa(const Declaration *d, int side, Gpa *gpa) {
    int D = d->config->dim;
    gpa->ln_g = layer_norm_declare(d, name_of("gpa", side, "ln_g").text);
    gpa->att = attention_declare(d, name_of("gpa", side, "att").text, false);
    gpa->ln_build = layer_norm_declare(d, name_of("gpa", side, "ln_build").text);
    gpa->ffn_build = feed_forward_declare(d, name_of("gpa", side, "ffn_build").text);
    gpa->ln_match = layer_norm_declare(d, name_of("gpa", side, "ln_match").text);
    gpa->W_p = linear_declare(d, d->config->seq_len, d->config->groups, name_of("gpa", side, "W_p").text);
    gpa->match = linear_declare(d, D, D, name_of("gpa", side, "match").text);
    gpa->score.W =
        declare_dense(d, D, 1, INIT_TRUNCATED_NORMAL, d->config->init_std, true, "gpa.%s.score.W", SIDE_NAMES[side]);
    gpa->score.b = declare_dense(d, 1, 1, INIT_CONSTANT, 0, false, "gpa.%s.score.b", SIDE_NAMES[side]);
    gpa->value = linear_declare(d, D, D, name_of("gpa", side, "value").text);
    gpa->ln_out = layer_norm_declare(d, name_of("gpa", side, "ln_out").text);
    gpa->ffn_out = feed_forward_declare(d, name_of("gpa", side, "ffn_out").text);
}

static void declare_side(const Declaration *d, int side, uint32_t n_items, Side *out) {
    const ModelConfig *c = d->config;
    int D = c->dim, n_parts = side == SIDE_SHARED ? 2 : 2 + has_isa(c) + has_sfa(c) + has_gpa(c);
    out->item =
        schema_add_sparse(d->schema, name_of("item", side, "").text, d->reached_by, n_items, (uint32_t)D, c->init_std);
    out->pos = declare_normal(d, c->seq_len, D, name_of("pos", side, "").text);
    out->enc = encoder_declare(d, name_of("enc", side, "").text);
    out->head = mlp_declare(d, n_parts * D, &c->mlp, name_of("head", side, "").text);
    if (side == SIDE_SHARED)
        return;
    if (has_isa(c))
        declare_isa(d, side, &out->isa);
    if (has_sfa(c))
        declare_sfa(d, side, &out->sfa);
    if (has_gpa(c))
        declare_gpa(d, side, &out->gpa);
}

static void declare_all(const ModelConfig *config, uint32_t n_items, Schema *schema, Layout *out) {
    int n_sides = config->backbone_only ? N_DOMAINS : N_SIDES;
    for (int side = 0; side < n_sides; side++) {
        Declaration d = {schema, config, SIDE_REACHED_BY[side]};
        declare_side(&d, side, n_items, &out->sides[side]);
    }
    Declaration d = {schema, config, REACHED_BY_BOTH};
    out->group = has_gpa(config) ? declare_normal(&d, config->groups, config->dim, "group") : -1;
}

static Err man_declare(const ModelConfig *config, uint32_t n_items, uint32_t n_users, Schema *schema) {
    (void)n_users; /* MAN knows users by their histories alone */
    Err err = mlp_check(&config->mlp, "model.mlp");
    if (!err && has_isa(config))
        err = mlp_check(&config->att_mlp, "model.att_mlp");
    if (err)
        return err;
    Layout layout;
    declare_all(config, n_items, schema, &layout);
    return OK;
}

/* The declaration is a pure function: once more, into a schema that is thrown away, gives the same indices. */
static void *man_layout(const ModelConfig *config) {
    Layout *layout = must_calloc(1, sizeof *layout);
    Schema *scratch = must_calloc(1, sizeof *scratch);
    declare_all(config, 1, scratch, layout);
    free(scratch);
    return layout;
}

/* ---- the batch's rows ------------------------------------------------------------------------------------------- */

static void man_lookup(Step *s, const ModelConfig *config, const Batch *b) {
    const Layout *m = step_layout(s);
    const int sides[] = {b->domain, SIDE_SHARED};
    for (int i = 0; i < (config->backbone_only ? 1 : 2); i++) {
        step_lookup(s, m->sides[sides[i]].item, b->hist, b->n_positions);
        step_lookup(s, m->sides[sides[i]].item, b->cand, b->n_instances * b->n_candidates);
    }
}

/* ---- encode and score ------------------------------------------------------------------------------------------ */

/* What a side makes of the histories: E and S (P,D). */
typedef struct Encoded {
    Var *E, *S;
} Encoded;

enum { MAX_POOLED = 3 }; /* pool(S), pool(S_s), g */

/* What the candidates of an instance share. */
typedef struct Shared {
    Var *K, *projected;      /* of ISA (P,D): E + E_g, and K' = K W_a */
    Var *pooled[MAX_POOLED]; /* (B,D): the local head's parts behind those of the candidate */
    int n_pooled;
    Var *pooled_global; /* (B,D) pool(S_g); NULL: backbone only */
} Shared;

static Encoded encode_side(Step *s, const Side *side, const Batch *b) {
    Segments segments = step_segments(s);
    Encoded out;
    out.E = op_embed(step_tape(s), step_var(s, side->item), step_index(s, side->item, b->hist), step_var(s, side->pos),
                     &segments);
    out.S = encoder_apply(s, &side->enc, out.E);
    return out;
}

/* The candidates' rows, (B*N,D). */
static Var *targets(Step *s, const Side *side, const Batch *b) {
    return op_gather(step_tape(s), step_var(s, side->item), step_index(s, side->item, b->cand),
                     b->n_instances * b->n_candidates);
}

static void isa_encode(Step *s, const Isa *isa, const Encoded *local, const Encoded *global, Shared *out) {
    out->K = op_add(step_tape(s), local->E, global->E);
    out->projected = op_linear(step_tape(s), out->K, step_var(s, isa->W), NULL);
}

/* f = MLP([K', q_g, K' - q_g, K' * q_g]), e = softmax(f) K. */
static Var *isa_apply(Step *s, const Isa *isa, const Shared *shared, Var *q_global, const Batch *b) {
    Tape *t = step_tape(s);
    Segments segments = step_segments(s);
    const LinearBlock *first = &isa->mlp.layers[0];
    Var *h = op_pair_layer(t, shared->projected, q_global, step_var(s, first->W), step_var(s, first->b), &segments,
                           b->n_candidates);
    Var *f = mlp_apply(s, &isa->mlp, h, b->domain);
    return op_pair_pool(t, f, shared->K, &segments, b->n_candidates);
}

static Var *sfa_apply(Step *s, const Sfa *sfa, Var *S, Var *S_global) {
    Var *a = layer_norm_apply(s, &sfa->ln_q, S);
    Var *c = attention_apply_causal(s, &sfa->att, a, S_global);
    return feed_forward_apply(s, &sfa->ffn, layer_norm_apply(s, &sfa->ln_ffn, c));
}

/* The weights of the prototypes for each instance, (B,G). */
static Var *gpa_match(Step *s, const Gpa *gpa, Var *S) {
    Tape *t = step_tape(s);
    Segments segments = step_segments(s);
    Var *a = layer_norm_apply(s, &gpa->ln_match, S);
    Var *l = op_match_groups(t, a, step_var(s, gpa->W_p.W), step_var(s, gpa->W_p.b), step_var(s, gpa->match.W),
                             step_var(s, gpa->score.W), &segments);
    return op_softmax_groups(t, l, l->cols);
}

static Var *gpa_apply(Step *s, const Gpa *gpa, Var *group, Var *S) {
    Var *g0 = layer_norm_apply(s, &gpa->ln_g, group);
    Var *c = attention_apply_prototypes(s, &gpa->att, g0, S);
    Var *built = feed_forward_apply(s, &gpa->ffn_build, layer_norm_apply(s, &gpa->ln_build, c));
    Var *value = layer_norm_apply(s, &gpa->ln_out, linear_apply(s, &gpa->value, built));
    Var *weights = gpa_match(s, gpa, S);
    step_keep(s, "gpa_weights", weights);
    return op_weighted_sum(step_tape(s), weights, feed_forward_apply(s, &gpa->ffn_out, value));
}

static Var *head_apply(Step *s, const MlpBlock *head, Var *const *parts, int n_parts, const Batch *b) {
    const LinearBlock *first = &head->layers[0];
    Var *h = op_linear_parts(step_tape(s), parts, n_parts, step_var(s, first->W), step_var(s, first->b), b->n_instances,
                             b->n_candidates);
    return mlp_apply(s, head, h, b->domain);
}

/* The term of the prototypes and their norm. */
static void regularise(Step *s, const ModelConfig *config, Var *group) {
    double square = 0;
    for (size_t i = 0; i < var_size(group); i++)
        square += (double)group->x[i] * (double)group->x[i];
    step_watch(s, sqrt(square));
    step_add_regulariser(s, op_loss_spread(step_tape(s), group, config->lambda_group * step_share(s)));
}

static void pool(Step *s, Var *x, Shared *out) {
    Segments segments = step_segments(s);
    out->pooled[out->n_pooled++] = op_mean_segments(step_tape(s), x, &segments);
}

/* The parts that MAN adds to its backbone. */
static void encode_attentions(Step *s, const ModelConfig *config, const Batch *b, const Encoded *local, Shared *out) {
    const Layout *m = step_layout(s);
    const Side *side = &m->sides[b->domain];
    Tape *t = step_tape(s);
    Segments segments = step_segments(s);
    Encoded global = encode_side(s, &m->sides[SIDE_SHARED], b);
    Var *S = config->stop_gradient ? op_stop(t, local->S) : local->S;
    step_keep(s, "enc_global", global.S);
    if (has_isa(config))
        isa_encode(s, &side->isa, local, &global, out);
    if (has_sfa(config)) {
        Var *fused = sfa_apply(s, &side->sfa, S, config->stop_gradient ? op_stop(t, global.S) : global.S);
        step_keep(s, "sfa", fused);
        pool(s, fused, out);
    }
    if (has_gpa(config)) {
        Var *group = step_var(s, m->group);
        regularise(s, config, group);
        Var *g = gpa_apply(s, &side->gpa, group, S);
        step_keep(s, "gpa", g);
        out->pooled[out->n_pooled++] = g;
    }
    out->pooled_global = op_mean_segments(t, global.S, &segments);
}

static const void *man_encode(Step *s, const ModelConfig *config, const Batch *b) {
    const Layout *m = step_layout(s);
    Shared *out = arena_zeros(step_tape(s)->arena, Shared, 1);
    Encoded local = encode_side(s, &m->sides[b->domain], b);
    step_keep(s, "enc_local", local.S);
    pool(s, local.S, out);
    if (!config->backbone_only)
        encode_attentions(s, config, b, &local, out);
    return out;
}

static void man_score(Step *s, const ModelConfig *config, const Batch *b, const void *encoded) {
    const Layout *m = step_layout(s);
    const Side *side = &m->sides[b->domain], *global = &m->sides[SIDE_SHARED];
    const Shared *shared = encoded;
    Var *q_global = config->backbone_only ? NULL : targets(s, global, b);
    Var *parts[2 + MAX_POOLED];
    int n_parts = 0;
    parts[n_parts++] = targets(s, side, b);
    if (has_isa(config)) {
        parts[n_parts++] = isa_apply(s, &side->isa, shared, q_global, b);
        step_keep(s, "isa", parts[n_parts - 1]);
    }
    for (int i = 0; i < shared->n_pooled; i++)
        parts[n_parts++] = shared->pooled[i];
    Var *logits = head_apply(s, &side->head, parts, n_parts, b);
    step_keep(s, "head_local", logits);
    if (!config->backbone_only) {
        Var *global_parts[] = {q_global, shared->pooled_global};
        Var *from_global = head_apply(s, &global->head, global_parts, 2, b);
        step_keep(s, "head_global", from_global);
        logits = op_add(step_tape(s), logits, from_global);
    }
    step_set_logits(s, logits);
}

const Model MAN_MODEL = {
    .name = "man",
    .declare = man_declare,
    .layout = man_layout,
    .lookup = man_lookup,
    .encode = man_encode,
    .score = man_score,
};
