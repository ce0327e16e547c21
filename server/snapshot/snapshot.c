/* A snapshot as a whole: the commit, and opening it again. */
#include "server/snapshot/snapshot.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "server/metrics_json.h"
#include "server/snapshot/snapshot_manifest.h"

/* ---- commit --------------------------------------------------------------------------------------------------- */

static json_t *decimal(uint64_t x) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, x);
    return json_string(text);
}

static json_t *bitmap_json(const uint8_t *bits, uint32_t n_bits) {
    static const char DIGITS[] = "0123456789abcdef";
    uint32_t n = bitmap_bytes(n_bits);
    char *text = must_alloc(2 * (size_t)n + 1);
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = DIGITS[bits[i] >> 4];
        text[2 * i + 1] = DIGITS[bits[i] & 15];
    }
    text[2 * (size_t)n] = 0;
    json_t *json = json_string(text);
    free(text);
    return json;
}

static json_t *slots_json(const uint16_t *slot_map) {
    json_t *runs = json_array();
    for (int slot = 0, first = 0; slot < N_SLOTS; slot++)
        if (slot + 1 == N_SLOTS || slot_map[slot + 1] != slot_map[first]) {
            json_array_append_new(runs, json_pack("[i, i]", (int)slot_map[first], slot + 1 - first));
            first = slot + 1;
        }
    return runs;
}

/* The servers' parts become one list of files; their schemas must be one. */
static Err join_parts(const SnapshotFacts *facts, json_t **tensors, json_t *files) {
    json_error_t json_error;
    *tensors = NULL;
    for (uint32_t i = 0; i < facts->n_servers; i++) {
        json_t *part = json_loads(facts->files[i], JSON_REJECT_DUPLICATES, &json_error);
        json_t *list = json_object_get(part, "files"), *schema = json_object_get(part, "tensors");
        bool is_good = json_is_array(list) && json_is_array(schema) && (!*tensors || json_equal(*tensors, schema));
        if (is_good && !*tensors)
            *tensors = json_incref(schema);
        json_array_extend(files, list);
        json_decref(part);
        if (!is_good)
            return err_fail(ERR_PROTOCOL, "the list of snapshot files of server %" PRIu32 " %s", i,
                            list && schema ? "comes from another schema than server 0's" : "is no such list");
    }
    return OK;
}

static const char *name_of(const char *dir) {
    const char *slash = strrchr(dir, '/');
    return slash ? slash + 1 : dir;
}

/* The base is what it is said to be, and beside. *json: null where the snapshot is full. */
static Err base_json(const SnapshotFacts *facts, json_t **json) {
    Snapshot *base;
    char hash[SNAPSHOT_HASH_DIGITS + 1];
    *json = json_null();
    if (!facts->base_dir)
        return OK;
    Err e = snapshot_open(&base, facts->base_dir);
    if (e != OK)
        return e;
    if (base->cut != facts->base_cut || base->base.dir)
        e = err_fail(ERR_CORRUPT, "%s is not the full snapshot of cut %" PRIu64 " that %s goes on from",
                     facts->base_dir, facts->base_cut, facts->dir);
    snapshot_hash_text(base->hash, hash);
    *json = json_pack("{s:s, s:s, s:o}", "dir", name_of(facts->base_dir), "hash", hash, "cut", decimal(base->cut));
    snapshot_close(&base);
    return e;
}

static json_t *standing_json(const Standing *standing) {
    json_t *domains = json_array();
    for (int d = 0; d < N_DOMAINS; d++)
        json_array_append_new(domains,
                              json_pack("{s:f, s:I, s:I}", "best_wauc", standing->best_wauc[d], "best_epoch",
                                        (json_int_t)standing->best_epoch[d], "stale", (json_int_t)standing->stale[d]));
    return domains;
}

static json_t *parent_json(const SnapshotParent *parent) {
    char hash[SNAPSHOT_HASH_DIGITS + 1];
    if (!parent)
        return json_null();
    snapshot_hash_text(parent->hash, hash);
    return json_pack("{s:s, s:s, s:s}", "kind", parent->kind, "dir", parent->dir, "hash", hash);
}

/* Takes base. */
static json_t *manifest_json(const SnapshotFacts *facts, const char *config_text, const SnapshotParent *parent,
                             json_t *base, json_t *tensors, json_t *files) {
    json_t *m =
        json_pack("{s:s, s:i, s:s, s:I, s:o, s:b, s:o, s:o, s:o, s:o}", "format", "mangrove snapshot", "version",
                  SNAPSHOT_VERSION, "program", MANGROVE_VERSION, "epoch", (json_int_t)facts->epoch, "cut",
                  decimal(facts->cut), "is_epoch_end", (int)facts->is_epoch_end, "seed", decimal(facts->seed), "base",
                  base, "standing", standing_json(&facts->standing), "parent", parent_json(parent));
    json_t *t = json_array(), *steps = json_array(), *bitmaps = json_array();
    for (int d = 0; d < N_DOMAINS; d++) {
        json_array_append_new(t, json_integer((json_int_t)facts->t[d]));
        json_array_append_new(steps, json_integer((json_int_t)facts->n_steps[d]));
        json_array_append_new(bitmaps, bitmap_json(facts->bitmaps[d], facts->n_steps[d]));
    }
    json_object_set_new(m, "t", t);
    json_object_set_new(m, "steps", steps);
    json_object_set_new(m, "bitmaps", bitmaps);
    json_object_set_new(m, "servers", json_integer((json_int_t)facts->n_servers));
    json_object_set_new(m, "slots", slots_json(facts->slot_map));
    json_object_set(m, "tensors", tensors);
    json_object_set(m, "files", files);
    json_object_set_new(m, "config", json_string(config_text));
    json_object_set_new(m, "data", json_string(facts->manifest));
    return m;
}

/* The scheduler sees what the servers have written. */
static Err find_files(const Snapshot *s, const char *dir) {
    Err e = OK;
    for (size_t i = 0; i < s->n_files && e == OK; i++) {
        struct stat st;
        char *path = snapshot_path(dir, s->files[i].file);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            e = err_fail(ERR_IO,
                         "%s is not there, although server %" PRIu32 " has written it: run.dir must be shared by "
                         "servers and scheduler",
                         path, s->files[i].server);
        else if ((uint64_t)st.st_size != s->files[i].size)
            e = err_fail(ERR_IO,
                         "%s has %jd bytes, server %" PRIu32 " has written %" PRIu64 ": run.dir must be shared by "
                         "servers and scheduler",
                         path, (intmax_t)st.st_size, s->files[i].server, s->files[i].size);
        free(path);
    }
    return e;
}

/* A failure behind the rename (the directory could not be synced) leaves no manifest either: what is called failed must
 * not be seen, nor come back. */
static Err rename_in(const char *path, const char *text) {
    if (access(path, F_OK) == 0)
        return err_fail(ERR_IO, "%s is there already: a snapshot is committed once", path);
    Err e = write_file_durably(path, text, strlen(text));
    if (e != OK)
        unlink(path);
    return e;
}

/* What is written is what can be read: the text passes the reader, and the files are there, before it is renamed in.
 * The name of the directory itself comes to the disk before, so that nothing is deleted for one that may vanish. */
static Err write_manifest(const char *dir, const char *text) {
    Snapshot *check = must_calloc(1, sizeof *check);
    char *path = snapshot_path(dir, "manifest.json");
    Err e = snapshot_manifest_parse(check, text, strlen(text), path);
    if (e == OK)
        e = find_files(check, dir);
    if (e == OK)
        e = sync_directory_of(dir);
    if (e == OK)
        e = rename_in(path, text);
    snapshot_close(&check);
    free(path);
    return e;
}

Err snapshot_commit(const SnapshotFacts *facts, const char *config_text, const SnapshotParent *parent) {
    json_t *files = json_array(), *tensors, *base = NULL;
    Err e = join_parts(facts, &tensors, files);
    if (e == OK)
        e = base_json(facts, &base);
    if (e == OK) {
        char *text = snapshot_manifest_text(manifest_json(facts, config_text, parent, base, tensors, files));
        base = NULL;
        e = write_manifest(facts->dir, text);
        free(text);
    }
    json_decref(base);
    json_decref(tensors);
    json_decref(files);
    return e;
}

/* ---- evaluation ----------------------------------------------------------------------------------------------- */

static json_t *domain_json(const EpochResult *r, int d, const EvalConfig *eval) {
    static const char *const NAMES[N_SPLITS] = {[SPLIT_VALID] = "valid", [SPLIT_TEST] = "test"};
    json_t *json =
        json_pack("{s:o, s:o, s:I, s:b, s:I, s:I}", "data_loss", metrics_json_number(r->data_loss[d]), "regulariser",
                  metrics_json_number(r->regulariser[d]), "steps", (json_int_t)r->n_steps[d], "is_best",
                  (int)r->is_best[d], "best_epoch", (json_int_t)r->best_epoch[d], "stale", (json_int_t)r->stale[d]);
    for (int split = SPLIT_VALID; split < N_SPLITS; split++)
        if (r->is_scored[d][split])
            json_object_set_new(json, NAMES[split], metrics_json(&r->metrics[d][split], eval));
    return json;
}

Err snapshot_write_evaluation(const char *dir, const EpochResult *result, const Config *config) {
    Snapshot *s;
    char hash[SNAPSHOT_HASH_DIGITS + 1];
    Err e = snapshot_open(&s, dir);
    if (e != OK)
        return e;
    snapshot_hash_text(s->hash, hash);
    snapshot_close(&s);
    json_t *json =
        json_pack("{s:s, s:I, s:o, s:o}", "manifest", hash, "epoch", (json_int_t)result->epoch, "A",
                  domain_json(result, DOMAIN_A, &config->eval), "B", domain_json(result, DOMAIN_B, &config->eval));
    char *text = snapshot_manifest_text(json), *path = snapshot_path(dir, "evaluation.json");
    e = write_file_durably(path, text, strlen(text));
    free(path);
    free(text);
    return e;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

Err snapshot_open(Snapshot **out, const char *dir) {
    char *path = snapshot_path(dir, "manifest.json"), *text;
    size_t size;
    Snapshot *s = NULL;
    Err e = read_file(path, SNAPSHOT_MAX_MANIFEST, &text, &size);
    if (e == OK) {
        s = must_calloc(1, sizeof *s);
        s->dir = must_strdup(dir);
        e = snapshot_manifest_parse(s, text, size, path);
        free(text);
    }
    if (e != OK)
        snapshot_close(&s);
    free(path);
    *out = s;
    return e;
}

void snapshot_close(Snapshot **s) {
    if (!*s)
        return;
    for (size_t i = 0; i < (*s)->n_files; i++)
        free((*s)->files[i].hashes);
    for (int d = 0; d < N_DOMAINS; d++)
        free((*s)->bitmaps[d]);
    free((*s)->files);
    datainfo_free(&(*s)->data);
    json_decref((*s)->json);
    free((*s)->dir);
    free(*s);
    *s = NULL;
}

const Config *snapshot_config(const Snapshot *s) {
    return &s->config;
}

const char *snapshot_config_text(const Snapshot *s) {
    return json_string_value(json_object_get(s->json, "config"));
}

const DataInfo *snapshot_data(const Snapshot *s) {
    return &s->data;
}

uint32_t snapshot_epoch(const Snapshot *s) {
    return s->epoch;
}

uint64_t snapshot_seed(const Snapshot *s) {
    return s->seed;
}
