#include "deploy/tools/inspect_summary.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "common/work.h"
#include "deploy/tools/json_output.h"
#include "server/snapshot/snapshot_manifest.h"

enum { MAX_EVALUATION = 1 << 20, MAX_LINEAGE = 64 };

static const char *const DOMAIN_NAMES[N_DOMAINS] = {"A", "B"};

/* ---- gathering ------------------------------------------------------------------------------------------------ */

static json_t *hash_json(uint64_t hash) {
    char text[SNAPSHOT_HASH_DIGITS + 1];
    snapshot_hash_text(hash, text);
    return json_string(text);
}

static bool has_hash(const Snapshot *s, const json_t *hash) {
    char text[SNAPSHOT_HASH_DIGITS + 1];
    snapshot_hash_text(s->hash, text);
    return json_is_string(hash) && strcmp(json_string_value(hash), text) == 0;
}

/* From parent to parent, as far as they are still there. */
static json_t *lineage_json(const Snapshot *s) {
    json_t *lineage = json_array(), *parent = json_deep_copy(json_object_get(s->json, "parent"));
    for (int i = 0; i < MAX_LINEAGE && json_is_object(parent); i++) {
        const char *dir = json_string_value(json_object_get(parent, "dir"));
        Snapshot *opened = NULL;
        bool is_here = dir && snapshot_open(&opened, dir) == OK && has_hash(opened, json_object_get(parent, "hash"));
        json_object_set_new(parent, "is_here", json_boolean(is_here));
        json_array_append_new(lineage, parent);
        parent = is_here ? json_deep_copy(json_object_get(opened->json, "parent")) : NULL;
        snapshot_close(&opened);
    }
    json_decref(parent);
    return lineage;
}

static json_t *steps_json(const Snapshot *s) {
    json_t *json = json_object();
    for (int d = 0; d < N_DOMAINS; d++)
        json_object_set_new(json, DOMAIN_NAMES[d],
                            json_pack("{s:I, s:I, s:I}", "done", (json_int_t)bitmap_count(s->bitmaps[d], s->n_steps[d]),
                                      "all", (json_int_t)s->n_steps[d], "t", (json_int_t)s->t[d]));
    return json;
}

static json_t *config_object(const Snapshot *s) {
    char *text = config_json(&s->config);
    json_t *json = json_loads(text, 0, NULL);
    free(text);
    return json;
}

/* What stands beside the manifest and belongs to it. */
static json_t *evaluation_json(const Snapshot *s) {
    char *path = snapshot_path(s->dir, "evaluation.json"), *text;
    size_t size;
    json_t *json = NULL;
    if (read_file(path, MAX_EVALUATION, &text, &size) == OK) {
        json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        if (!has_hash(s, json_object_get(json, "manifest"))) {
            log_warn("%s is damaged or of another snapshot: left out", path);
            json_decref(json);
            json = NULL;
        }
        free(text);
    }
    free(path);
    return json ? json : json_null();
}

static json_t *data_json(const DataInfo *d) {
    return json_pack("{s:o, s:I, s:I, s:I}", "fingerprint", hash_json(d->fingerprint), "items", (json_int_t)d->n_items,
                     "users", (json_int_t)d->n_users, "chunks", (json_int_t)d->n_chunks);
}

static void copy_fields(json_t *to, const json_t *from, const char *const *fields, size_t n) {
    for (size_t i = 0; i < n; i++)
        json_object_set(to, fields[i], json_object_get(from, fields[i]));
}

json_t *inspect_summary(const Snapshot *s) {
    static const char *const FIELDS[] = {"version", "program", "epoch", "is_epoch_end", "cut"};
    json_t *base = json_object_get(s->json, "base");
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < s->n_files; i++)
        n_bytes += s->files[i].size;
    json_t *json = json_pack("{s:o, s:o}", "snapshot", json_output_text(s->dir), "manifest", hash_json(s->hash));
    copy_fields(json, s->json, FIELDS, sizeof FIELDS / sizeof *FIELDS);
    json_object_set_new(json, "kind", json_string(json_is_object(base) ? "incremental" : "full"));
    json_object_set_new(json, "base", json_is_object(base) ? json_incref(base) : json_null());
    json_object_set_new(json, "lineage", lineage_json(s));
    json_object_set(json, "seed", json_object_get(s->json, "seed"));
    json_object_set_new(json, "servers", json_integer((json_int_t)s->n_servers));
    json_object_set_new(json, "files", json_integer((json_int_t)s->n_files));
    json_object_set_new(json, "bytes", json_integer((json_int_t)n_bytes));
    json_object_set_new(json, "steps", steps_json(s));
    json_object_set_new(json, "data", data_json(&s->data));
    json_object_set_new(json, "config", config_object(s));
    json_object_set_new(json, "evaluation", evaluation_json(s));
    return json;
}

/* ---- printing ------------------------------------------------------------------------------------------------- */

static const char *text(const json_t *json, const char *field) {
    const char *value = json_string_value(json_object_get(json, field));
    return value ? value : "?";
}

static json_int_t integer(const json_t *json, const char *field) {
    return json_integer_value(json_object_get(json, field));
}

static void print_ancestry(const json_t *json) {
    const json_t *base = json_object_get(json, "base"), *lineage = json_object_get(json, "lineage"), *parent;
    size_t i;
    if (json_is_object(base))
        printf("  base       %s (manifest %s, cut %s)\n", text(base, "dir"), text(base, "hash"), text(base, "cut"));
    json_array_foreach(lineage, i, parent) {
        bool is_here = json_is_true(json_object_get(parent, "is_here"));
        printf("  %-10s %s of %s (manifest %s%s)\n", i ? "" : "parent", text(parent, "kind"), text(parent, "dir"),
               text(parent, "hash"), is_here ? "" : ", no longer there");
    }
}

/* What most people compare first. */
static void print_config(const json_t *config) {
    static const struct {
        const char *section, *key;
    } SHOWN[] = {{"model", "name"},     {"model", "dim"},      {"model", "seq_len"},     {"model", "encoder"},
                 {"optimizer", "kind"}, {"optimizer", "lr"},   {"train", "consistency"}, {"train", "ranks"},
                 {"train", "batch"},    {"train", "negatives"}};
    printf("  config    ");
    for (size_t i = 0; i < sizeof SHOWN / sizeof *SHOWN; i++) {
        char *value = json_dumps(json_object_get(json_object_get(config, SHOWN[i].section), SHOWN[i].key),
                                 JSON_ENCODE_ANY | JSON_REAL_PRECISION(JSON_FLOAT_DIGITS));
        size_t n = value ? strlen(value) : 0;
        bool is_quoted = n > 1 && value[0] == '"';
        printf(" %s %.*s%s", SHOWN[i].key, (int)(is_quoted ? n - 2 : n), value ? value + is_quoted : "",
               i + 1 < sizeof SHOWN / sizeof *SHOWN ? "," : "\n");
        free(value);
    }
}

static void print_metrics(const json_t *evaluation) {
    static const char *const SPLITS[] = {"valid", "test"};
    for (size_t i = 0; i < N_DOMAINS * 2; i++) {
        const json_t *domain = json_object_get(evaluation, DOMAIN_NAMES[i / 2]), *value;
        json_t *metrics = json_object_get(domain, SPLITS[i % 2]);
        const char *name;
        if (!json_is_object(metrics))
            continue;
        printf("  %s %-8s", DOMAIN_NAMES[i / 2], SPLITS[i % 2]);
        json_object_foreach(metrics, name, value) {
            if (json_is_real(value))
                printf(" %s %.4f", name, json_real_value(value));
        }
        printf(" (%" JSON_INTEGER_FORMAT " positives)%s\n", integer(metrics, "n"),
               json_is_true(json_object_get(domain, "is_best")) ? ", the best so far" : "");
    }
}

void inspect_summary_print(const json_t *json) {
    const json_t *steps = json_object_get(json, "steps"), *data = json_object_get(json, "data");
    printf("%s\n  %s, %s epoch %" JSON_INTEGER_FORMAT ", cut %s, manifest %s (format %" JSON_INTEGER_FORMAT
           ", program %s)\n",
           text(json, "snapshot"), text(json, "kind"),
           json_is_true(json_object_get(json, "is_epoch_end")) ? "at the end of" : "within", integer(json, "epoch"),
           text(json, "cut"), text(json, "manifest"), integer(json, "version"), text(json, "program"));
    print_ancestry(json);
    for (int d = 0; d < N_DOMAINS; d++) {
        const json_t *s = json_object_get(steps, DOMAIN_NAMES[d]);
        printf("  steps %s    %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT ", t %" JSON_INTEGER_FORMAT "\n",
               DOMAIN_NAMES[d], integer(s, "done"), integer(s, "all"), integer(s, "t"));
    }
    printf("  files      %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " servers, %.3f MB\n",
           integer(json, "files"), integer(json, "servers"), (double)integer(json, "bytes") / 1e6);
    printf("  data       %s, %" JSON_INTEGER_FORMAT " items, %" JSON_INTEGER_FORMAT " users, %" JSON_INTEGER_FORMAT
           " chunks\n",
           text(data, "fingerprint"), integer(data, "items"), integer(data, "users"), integer(data, "chunks"));
    printf("  seed       %s\n", text(json, "seed"));
    print_config(json_object_get(json, "config"));
    print_metrics(json_object_get(json, "evaluation"));
}

void inspect_summary_print_line(const json_t *json) {
    const json_t *steps = json_object_get(json, "steps"), *evaluation = json_object_get(json, "evaluation");
    json_int_t done = 0, all = 0;
    for (int d = 0; d < N_DOMAINS; d++) {
        done += integer(json_object_get(steps, DOMAIN_NAMES[d]), "done");
        all += integer(json_object_get(steps, DOMAIN_NAMES[d]), "all");
    }
    printf("%s: %s, epoch %" JSON_INTEGER_FORMAT ", step %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT ", %.3f MB",
           text(json, "snapshot"), text(json, "kind"), integer(json, "epoch"), done, all,
           (double)integer(json, "bytes") / 1e6);
    for (int d = 0; d < N_DOMAINS; d++) {
        const json_t *wauc =
            json_object_get(json_object_get(json_object_get(evaluation, DOMAIN_NAMES[d]), "valid"), "wauc");
        if (json_is_real(wauc))
            printf(", %s valid wauc %.4f", DOMAIN_NAMES[d], json_real_value(wauc));
    }
    putchar('\n');
}
