/* manifest.json, one line per key so that a person can read it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/data/outdir.h"

static json_t *hex(uint64_t value) {
    return json_sprintf("%016" PRIx64, value);
}

static json_t *options_json(const PrepareOptions *o) {
    return json_pack("{s:I, s:I, s:s, s:i, s:I, s:I, s:f, s:s?}", "k_core", (json_int_t)o->user_core, "item_core",
                     (json_int_t)o->item_core, "split", SPLIT_KIND_NAMES[o->split], "days", o->days, "chunk",
                     (json_int_t)o->chunk, "seed", (json_int_t)o->seed, "max_bad", o->ratings.max_bad, "columns",
                     o->ratings.columns);
}

/* The name alone: where a file lay on somebody's machine changes nothing. Names that are not UTF-8 are left out. */
static json_t *input_json(const char *path, const RatingsStats *stats) {
    const char *slash = strrchr(path, '/');
    json_t *name = json_string(slash ? slash + 1 : path);
    return json_pack("{s:o*, s:s, s:s, s:I, s:o, s:I, s:I}", "name", name, "format",
                     RATINGS_FORMAT_NAMES[stats->format], "unit", stats->has_ms ? "ms" : "s", "bytes",
                     (json_int_t)stats->n_bytes, "xxh3", hex(stats->hash), "rows", (json_int_t)stats->n_rows,
                     "malformed", (json_int_t)stats->n_bad);
}

static json_t *lineage_json(const Base *base) {
    json_t *lineage = json_array();
    for (uint32_t i = 0; i < base->n_lineage; i++)
        json_array_append_new(lineage, hex(base->lineage[i]));
    return lineage;
}

static json_t *time_json(int64_t time) {
    return time == INT64_MAX ? json_null() : json_integer(time);
}

static json_t *domain_json(const DataSource *s, int d) {
    const PreparedDomain *p = &s->prepared->domains[d];
    const PrepareReport *r = s->report;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "users", (json_int_t)r->n_users[d], "items",
                     (json_int_t)r->n_items[d], "events", (json_int_t)r->n_events[d], "duplicates",
                     (json_int_t)r->n_duplicates[d], "n_train_items", (json_int_t)p->n_warm_items, "valid_start",
                     time_json(p->valid_start), "test_start", time_json(p->test_start));
}

static json_t *chunks_json(const Prepared *p, Protocol protocol) {
    json_t *chunks = json_array();
    for (uint32_t c = 0; c < p->n_chunks; c++) {
        json_t *chunk = json_array();
        for (int d = 0; d < N_DOMAINS; d++)
            for (int split = 0; split < N_SPLITS; split++) {
                const uint32_t *start = p->domains[d].lists[list_index((Split)split, protocol)].chunk_start;
                json_array_append_new(chunk, json_integer(start[c + 1] - start[c]));
            }
        json_array_append_new(chunks, chunk);
    }
    return chunks;
}

static json_t *rules_json(const Probe *rules) {
    json_t *out = json_array();
    for (int i = 0; i < N_PROBES; i++)
        json_array_append_new(out, json_pack("[f, f, f]", rules[i].auc, rules[i].wauc, rules[i].mrr));
    return out;
}

static json_t *probes_json(const Prepared *p, Protocol protocol) {
    json_t *domains = json_array();
    for (int d = 0; d < N_DOMAINS; d++)
        json_array_append_new(domains, json_pack("{s:o, s:o}", "valid", rules_json(p->probes[protocol][d][SPLIT_VALID]),
                                                 "test", rules_json(p->probes[protocol][d][SPLIT_TEST])));
    return domains;
}

static json_t *files_json(const uint64_t *hashes, const uint64_t *sizes) {
    json_t *files = json_object();
    for (int i = 0; i < N_DATA_FILES; i++)
        json_object_set_new(files, DATA_FILES[i].name,
                            json_pack("{s:I, s:o}", "bytes", (json_int_t)sizes[i], "xxh3", hex(hashes[i])));
    return files;
}

static json_t *manifest_json(const DataSource *s, const uint64_t *hashes, const uint64_t *sizes) {
    const Prepared *p = s->prepared;
    json_t *m = json_pack("{s:i, s:o, s:o, s:o}", "format", DATAINFO_FORMAT, "fingerprint", hex(s->fingerprint),
                          "lineage", lineage_json(s->base), "options", options_json(s->options));
    json_t *inputs = json_array(), *domains = json_array();
    for (int d = 0; d < N_DOMAINS; d++) {
        json_array_append_new(inputs, input_json(s->options->inputs[d], &s->report->inputs[d]));
        json_array_append_new(domains, domain_json(s, d));
    }
    json_object_set_new(m, "inputs", inputs);
    json_object_set_new(m, "n_items", json_integer(p->n_items));
    json_object_set_new(m, "n_users", json_integer(p->n_users));
    json_object_set_new(m, "common_items", json_integer(s->report->n_common_items));
    json_object_set_new(m, "common_users", json_integer(s->report->n_common_users));
    json_object_set_new(m, "domains", domains);
    json_object_set_new(m, "n_chunks", json_integer(p->n_chunks));
    json_object_set_new(
        m, "chunks",
        json_pack("{s:o, s:o}", "warm", chunks_json(p, PROTOCOL_WARM), "all", chunks_json(p, PROTOCOL_ALL)));
    json_object_set_new(
        m, "probes",
        json_pack("{s:o, s:o}", "warm", probes_json(p, PROTOCOL_WARM), "all", probes_json(p, PROTOCOL_ALL)));
    json_object_set_new(m, "files", files_json(hashes, sizes));
    return m;
}

/* {"key": compact value, one line each}. */
char *manifest_text(const DataSource *source, const uint64_t *hashes, const uint64_t *sizes) {
    json_t *manifest = manifest_json(source, hashes, sizes), *value;
    const char *key;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!manifest || !out)
        log_die(ERR_MEMORY, "cannot allocate the manifest");
    const char *before = "{\n";
    json_object_foreach(manifest, key, value) {
        fprintf(out, "%s \"%s\": ", before, key);
        if (json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)))
            log_die(ERR_MEMORY, "cannot write the manifest");
        before = ",\n";
    }
    fputs("\n}\n", out);
    fclose(out);
    json_decref(manifest);
    return text;
}
