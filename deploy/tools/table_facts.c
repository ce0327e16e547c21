#include "deploy/tools/table_facts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"

/* ---- counting ------------------------------------------------------------------------------------------------- */

static int bin_of(double norm) {
    return TABLE_BIN_OF_ONE + (int)floor(2 * log2(norm));
}

static double bin_start(int bin) {
    return exp2((bin - TABLE_BIN_OF_ONE) / 2.0);
}

static void measure_rows(TableFacts *f, const SnapshotRows *rows) {
    double *norms = must_alloc((f->n_rows + 1) * sizeof *norms);
    uint64_t n = 0;
    for (uint64_t i = 0; i < f->n_rows; i++) {
        SnapshotRow row;
        snapshot_rows_at(rows, i, &row);
        double norm = norm_of(row.columns[0], f->width);
        if (!isfinite(norm)) {
            f->n_not_finite++;
            continue;
        }
        norms[n++] = norm;
        if (norm > 0)
            f->bins[bin_of(norm)]++;
        else
            f->n_zero++;
    }
    f->norms = spread_of(norms, n);
    free(norms);
}

Err table_facts(TableFacts *out, const Snapshot *s, const Schema *schema, int table) {
    const Table *t = &schema->tables[table];
    SnapshotRows *rows;
    *out = (TableFacts){.is_sparse = t->is_sparse, .n_ids = t->n_rows};
    memcpy(out->name, t->name, sizeof out->name);
    Err e = snapshot_rows_open(&rows, s, t->name);
    if (e != OK)
        return e;
    for (size_t i = 0; i < s->n_files; i++)
        if (strcmp(s->files[i].table, t->name) == 0)
            out->n_written += s->files[i].rows;
    out->n_rows = snapshot_rows_count(rows);
    out->width = snapshot_rows_width(rows);
    out->n_columns = snapshot_rows_columns(rows);
    measure_rows(out, rows);
    snapshot_rows_close(&rows);
    return OK;
}

/* ---- output --------------------------------------------------------------------------------------------------- */

json_t *table_facts_json(const TableFacts *f) {
    json_t *bins = json_array();
    for (int bin = 0; bin < TABLE_BINS; bin++)
        if (f->bins[bin])
            json_array_append_new(bins, json_pack("{s:f, s:f, s:I}", "from", bin_start(bin), "to", bin_start(bin + 1),
                                                  "rows", (json_int_t)f->bins[bin]));
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:o}", "table", f->name, "rows",
                     (json_int_t)f->n_rows, "written", (json_int_t)f->n_written, "ids", (json_int_t)f->n_ids, "width",
                     (json_int_t)f->width, "columns", (json_int_t)f->n_columns, "norms", spread_json(&f->norms),
                     "not_finite", (json_int_t)f->n_not_finite, "zero", (json_int_t)f->n_zero, "histogram", bins);
}

static void print_line(const TableFacts *f) {
    printf("%-14s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %6.2f %6" PRIu32 " %7" PRIu32, f->name, f->n_written,
           f->n_rows, f->n_ids, f->n_ids ? 100 * (double)f->n_rows / (double)f->n_ids : 0, f->width, f->n_columns);
    if (f->norms.n)
        printf(" %10.4g %10.4g %10.4g %10.4g", f->norms.min, f->norms.median, f->norms.mean, f->norms.max);
    if (f->n_not_finite)
        printf("  %" PRIu64 " rows are not finite", f->n_not_finite);
    putchar('\n');
}

static void print_counts(const TableFacts *facts, int n, int bin) {
    for (int i = 0; i < n; i++)
        if (facts[i].is_sparse)
            printf(" %10" PRIu64, bin < 0 ? facts[i].n_zero : facts[i].bins[bin]);
    putchar('\n');
}

static bool is_empty(const TableFacts *facts, int n, int bin) {
    uint64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += !facts[i].is_sparse ? 0 : bin < 0 ? facts[i].n_zero : facts[i].bins[bin];
    return sum == 0;
}

static void print_bins(const TableFacts *facts, int n) {
    printf("\n%-24s", "rows by norm");
    for (int i = 0; i < n; i++)
        if (facts[i].is_sparse)
            printf(" %10s", facts[i].name);
    putchar('\n');
    for (int bin = -1; bin < TABLE_BINS; bin++) {
        if (is_empty(facts, n, bin))
            continue;
        if (bin < 0)
            printf("%-24s", "0");
        else
            printf("%10.4g .. %-10.4g", bin_start(bin), bin_start(bin + 1));
        print_counts(facts, n, bin);
    }
}

void table_facts_print(const TableFacts *facts, int n) {
    bool has_sparse = false;
    printf("%-14s %10s %10s %10s %6s %6s %7s %10s %10s %10s %10s\n", "table", "written", "rows", "of ids", "%", "width",
           "columns", "norm: min", "median", "mean", "max");
    for (int i = 0; i < n; i++) {
        print_line(&facts[i]);
        has_sparse |= facts[i].is_sparse && facts[i].n_rows > 0;
    }
    if (has_sparse)
        print_bins(facts, n);
}
