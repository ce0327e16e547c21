/* The plan of a run: arithmetic over the schema, the data set's counts and the configuration. */
#include "deploy/plan.h"

#include <inttypes.h>
#include <string.h>

#include "proto/wire.h"

enum { KEY_BYTES = 8, VALUE_BYTES = 4 }; /* of a number in the store of the product, and of statistics on the wire */

/* Adam keeps two values beside each, once for each domain whose steps reach the row; statistics have no optimizer. */
static uint32_t state_values(const Table *t, OptimizerKind kind) {
    if (t->is_stats || kind == OPTIMIZER_SGD)
        return 0;
    uint32_t n_moment_sets = t->reached_by == REACHED_BY_BOTH ? 2 : 1;
    return 2 * n_moment_sets * t->width;
}

/* Training touches the items in histories, targets and negatives, all of which are training events. A table over
 * another space of ids (users) may be touched everywhere. Id 0 is padding, which never learns. */
static uint64_t most_rows(const Table *t, const DataInfo *info) {
    if (t->n_rows != info->n_items)
        return t->n_rows - 1;
    uint64_t n = 0;
    for (int d = 0; d < N_DOMAINS; d++)
        n += t->reached_by >> d & 1 ? info->n_train_items[d] : 0;
    return n < t->n_rows - 1 ? n : t->n_rows - 1;
}

static PlanTable plan_table(const Table *t, const Config *config, const DataInfo *info) {
    return (PlanTable){
        .name = t->name,
        .is_exact = !t->is_sparse,
        .is_known = !t->is_sparse || info,
        .rows = !t->is_sparse ? t->n_rows
                : info        ? most_rows(t, info)
                              : 0,
        .row_bytes = VALUE_BYTES * (t->width + state_values(t, config->optimizer.kind)) + PLAN_ROW_OVERHEAD,
    };
}

/* Bytes of the rows that every batch of the domain pushes but does not pull. */
static uint64_t stats_bytes(const Schema *schema, int domain) {
    uint64_t rows = 0;
    for (int i = 0; i < schema->n_tensors; i++) {
        const Tensor *t = &schema->tensors[i];
        if ((t->kind == TENSOR_EMA || t->kind == TENSOR_SUM) && (t->reached_by >> domain & 1))
            rows += t->n_rows;
    }
    return rows * (KEY_BYTES + VALUE_BYTES * SCHEMA_STATS_WIDTH);
}

/* A batch looks up its histories and candidates in every sparse table that its domain reaches, and all of dense. */
static uint64_t most_pull_bytes(const Schema *schema, const Config *config, int domain) {
    const ModelConfig *m = &config->model;
    uint64_t ids = (uint64_t)config->train.batch * (uint64_t)(m->seq_len + config->train.negatives + 1), bytes = 0;
    for (int i = 0; i < schema->n_tables; i++) {
        const Table *t = &schema->tables[i];
        if (!t->is_stats && (t->reached_by >> domain & 1))
            bytes += (t->is_sparse ? ids : t->n_rows) * (KEY_BYTES + wire_value_bytes(config->train.wire) * t->width);
    }
    return bytes;
}

/* What of that are dense rows. */
static double dense_bytes(const Schema *schema, const Config *config, int domain) {
    double bytes = 0;
    for (int i = 0; i < schema->n_tables; i++) {
        const Table *t = &schema->tables[i];
        if (!t->is_sparse && !t->is_stats && (t->reached_by >> domain & 1))
            bytes += (double)t->n_rows * (double)(KEY_BYTES + wire_value_bytes(config->train.wire) * t->width);
    }
    return bytes;
}

static void plan_bytes(PlanDomain *out, const Config *config, const Schema *schema, int domain,
                       const PlanSample *sample) {
    double value_bytes = (double)wire_value_bytes(config->train.wire);
    out->is_measured = sample && sample->n_batches > 0;
    out->pull_bytes = out->is_measured ? (uint64_t)(KEY_BYTES * sample->n_keys + value_bytes * sample->n_values)
                                       : most_pull_bytes(schema, config, domain);
    double dense = dense_bytes(schema, config, domain), rest = (double)out->pull_bytes - dense;
    out->push_bytes = (uint64_t)(rest + dense / config->dense.push) + stats_bytes(schema, domain);
    out->pull_bytes = (uint64_t)(rest + dense / config->dense.fetch);
}

static Err plan_steps(Plan *plan, const Config *config, const DataInfo *info) {
    Geometry g;
    uint32_t ranks = (uint32_t)config->train.ranks;
    const ChunkCounts *counts = info->counts[config->eval.protocol];
    Err e =
        geometry_init(&g, counts, info->n_chunks, ranks, (uint32_t)config->train.batch, (uint32_t)config->eval.batch);
    if (e)
        return e;
    for (int d = 0; d < N_DOMAINS; d++) {
        PlanDomain *p = &plan->domains[d];
        for (uint32_t chunk = 0; chunk < info->n_chunks; chunk++)
            p->instances += counts[chunk].n[d][SPLIT_TRAIN];
        p->steps = geometry_steps(&g, d, SPLIT_TRAIN);
        p->batches = p->steps * ranks;
        p->eval_batches[SPLIT_VALID] = geometry_steps(&g, d, SPLIT_VALID);
        p->eval_batches[SPLIT_TEST] = geometry_steps(&g, d, SPLIT_TEST);
    }
    geometry_free(&g);
    return OK;
}

Err plan_make(Plan *out, const Config *config, const Schema *schema, const DataInfo *info, const PlanSample *samples) {
    *out = (Plan){.has_data = info, .servers = config->cluster.servers, .n_tables = schema->n_tables};
    for (int i = 0; i < schema->n_tables; i++) {
        out->tables[i] = plan_table(&schema->tables[i], config, info);
        out->bytes += out->tables[i].rows * out->tables[i].row_bytes;
    }
    out->server_bytes = (out->bytes + (uint64_t)out->servers - 1) / (uint64_t)out->servers;
    for (int d = 0; d < N_DOMAINS; d++)
        plan_bytes(&out->domains[d], config, schema, d, samples ? &samples[d] : NULL);
    if (!info)
        return OK;
    out->n_items = info->n_items;
    out->n_users = info->n_users;
    out->n_chunks = info->n_chunks;
    return plan_steps(out, config, info);
}

/* ---- for people ---- */

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static void print_tables(const Plan *plan, FILE *out) {
    fprintf(out, "# %-14s %18s %12s %10s\n", "table", "rows", "bytes a row", "MiB");
    for (int i = 0; i < plan->n_tables; i++) {
        const PlanTable *t = &plan->tables[i];
        if (t->is_known)
            fprintf(out, "# %-14s %8s%10" PRIu64 " %12u %10.1f\n", t->name, t->is_exact ? "" : "at most ", t->rows,
                    t->row_bytes, mib(t->rows * t->row_bytes));
        else
            fprintf(out, "# %-14s %18s %12u %10s\n", t->name, "?", t->row_bytes, "?");
    }
}

static void print_domains(const Plan *plan, FILE *out) {
    fprintf(out, "#\n# %-6s %12s %10s %10s %14s %14s %12s %12s\n", "domain", "instances", "steps", "batches",
            "valid batches", "test batches", "pulled, KiB", "pushed, KiB");
    for (int d = 0; d < N_DOMAINS; d++) {
        const PlanDomain *p = &plan->domains[d];
        fprintf(out, "# %-6c", 'A' + d);
        if (plan->has_data)
            fprintf(out, " %12" PRIu64 " %10" PRIu64 " %10" PRIu64 " %14" PRIu64 " %14" PRIu64, p->instances, p->steps,
                    p->batches, p->eval_batches[SPLIT_VALID], p->eval_batches[SPLIT_TEST]);
        else
            fprintf(out, " %12s %10s %10s %14s %14s", "?", "?", "?", "?", "?");
        fprintf(out, " %12.1f %12.1f\n", (double)p->pull_bytes / 1024, (double)p->push_bytes / 1024);
    }
    fprintf(out,
            "# steps and batches of an epoch; evaluation batches of a pass; bytes of a batch, over all servers%s\n",
            plan->domains[DOMAIN_A].is_measured ? "" : ", at most");
}

void plan_print(const Plan *plan, FILE *out) {
    if (plan->has_data)
        fprintf(out, "# plan: %u items, %u users, %u chunks\n#\n", plan->n_items, plan->n_users, plan->n_chunks);
    else
        fputs("# plan, as far as it is known without the data set of data.dir\n#\n", out);
    print_tables(plan, out);
    fprintf(out, "# memory per server (%d): %s%.1f MiB\n", plan->servers,
            plan->has_data ? "at most " : "item tables and ", mib(plan->server_bytes));
    print_domains(plan, out);
}

/* ---- for programs ---- */

static void print_json_tables(const Plan *plan, FILE *out) {
    for (int i = 0; i < plan->n_tables; i++) {
        const PlanTable *t = &plan->tables[i];
        fprintf(out, "%s{\"name\": \"%s\", \"rows\": ", i ? ", " : "", t->name);
        if (t->is_known)
            fprintf(out, "%" PRIu64, t->rows);
        else
            fputs("null", out);
        fprintf(out, ", \"is_exact\": %s, \"row_bytes\": %u}", t->is_exact ? "true" : "false", t->row_bytes);
    }
}

static void print_json_domain(const Plan *plan, int domain, FILE *out) {
    const PlanDomain *p = &plan->domains[domain];
    fprintf(out, "%s\"%c\": {", domain ? ", " : "", 'A' + domain);
    if (plan->has_data)
        fprintf(out,
                "\"instances\": %" PRIu64 ", \"steps\": %" PRIu64 ", \"batches\": %" PRIu64
                ", \"valid_batches\": %" PRIu64 ", \"test_batches\": %" PRIu64 ", ",
                p->instances, p->steps, p->batches, p->eval_batches[SPLIT_VALID], p->eval_batches[SPLIT_TEST]);
    fprintf(out, "\"is_measured\": %s, \"pull_bytes\": %" PRIu64 ", \"push_bytes\": %" PRIu64 "}",
            p->is_measured ? "true" : "false", p->pull_bytes, p->push_bytes);
}

void plan_print_json(const Plan *plan, FILE *out) {
    fprintf(out, "{\"has_data\": %s, \"tables\": [", plan->has_data ? "true" : "false");
    print_json_tables(plan, out);
    fprintf(out, "], \"servers\": %d, \"server_bytes\": %" PRIu64 ", \"domains\": {", plan->servers,
            plan->server_bytes);
    for (int d = 0; d < N_DOMAINS; d++)
        print_json_domain(plan, d, out);
    fputs("}}", out);
}
