/* The manifest's text -> DataInfo. The text may come from a stranger: every key, type, length and sum is checked. */
#include "common/datainfo.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

const char *const PROBE_NAMES[N_PROBES] = {"newest first", "popular first", "cold first"};

static const char *const PROTOCOL_KEYS[N_PROTOCOLS] = {[PROTOCOL_WARM] = "warm", [PROTOCOL_ALL] = "all"};
static const char *const SPLIT_KEYS[N_SPLITS] = {NULL, "valid", "test"};

/* An integer in [low, high] under this key. */
static Err get_count(const json_t *object, const char *key, int64_t low, int64_t high, uint32_t *out) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high)
        return err_fail(ERR_DATA, "the data manifest's %s is no integer in [%lld, %lld]", key, (long long)low,
                        (long long)high);
    *out = (uint32_t)json_integer_value(value);
    return OK;
}

static Err get_array(const json_t *value, const char *what, size_t n) {
    if (!json_is_array(value) || json_array_size(value) != n)
        return err_fail(ERR_DATA, "the data manifest's %s is no list of %zu", what, n);
    return OK;
}

static Err get_fingerprint(const json_t *value, const char *what, uint64_t *out) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return err_fail(ERR_DATA, "the data manifest's %s is not of 16 hexadecimal digits", what);
    *out = strtoull(text, NULL, 16);
    return OK;
}

/* Data sets prepared before there were bases have no such key. */
static Err parse_lineage(const json_t *lineage, DataInfo *out) {
    if (!lineage)
        return OK;
    size_t n = json_array_size(lineage); /* 0 if it is none */
    if (!json_is_array(lineage) || n > DATAINFO_MAX_LINEAGE)
        return err_fail(ERR_DATA, "the data manifest's lineage is no list of at most %d", DATAINFO_MAX_LINEAGE);
    out->lineage = must_calloc(n + 1, sizeof *out->lineage);
    out->n_lineage = (uint32_t)n;
    Err err = OK;
    for (size_t i = 0; i < n && !err; i++)
        err = get_fingerprint(json_array_get(lineage, i), "lineage", &out->lineage[i]);
    return err;
}

/* One chunk: counts of both domains, added to sums so that no split exceeds what 32 bits can number. */
static Err parse_chunk(const json_t *chunk, ChunkCounts *out, uint64_t sums[N_DOMAINS][N_SPLITS]) {
    Err err = get_array(chunk, "chunk", N_DOMAINS * N_SPLITS);
    if (err)
        return err;
    for (int d = 0; d < N_DOMAINS; d++)
        for (int split = 0; split < N_SPLITS; split++) {
            const json_t *count = json_array_get(chunk, (size_t)(d * N_SPLITS + split));
            json_int_t n = json_integer_value(count); /* 0 if it is none */
            if (!json_is_integer(count) || n < 0 || n > UINT32_MAX || (sums[d][split] += (uint64_t)n) > UINT32_MAX)
                return err_fail(ERR_DATA, "the data manifest has a chunk whose counts are no numbers of 32 bits");
            out->n[d][split] = (uint32_t)n;
        }
    return OK;
}

static Err parse_chunks(const json_t *root, DataInfo *out) {
    for (int p = 0; p < N_PROTOCOLS; p++) {
        const json_t *chunks = json_object_get(json_object_get(root, "chunks"), PROTOCOL_KEYS[p]);
        uint64_t sums[N_DOMAINS][N_SPLITS] = {{0}};
        Err err = get_array(chunks, "chunks", out->n_chunks);
        if (err)
            return err;
        out->counts[p] = must_calloc(out->n_chunks, sizeof *out->counts[p]);
        for (uint32_t c = 0; c < out->n_chunks && !err; c++)
            err = parse_chunk(json_array_get(chunks, c), &out->counts[p][c], sums);
        if (err)
            return err;
    }
    for (uint32_t c = 0; c < out->n_chunks; c++)
        for (int d = 0; d < N_DOMAINS; d++)
            if (out->counts[PROTOCOL_WARM][c].n[d][SPLIT_TRAIN] != out->counts[PROTOCOL_ALL][c].n[d][SPLIT_TRAIN])
                return err_fail(ERR_DATA, "the data manifest has different training counts for chunk %u", c);
    return OK;
}

static bool read_share(const json_t *value, double *out) {
    *out = json_number_value(value);
    return json_is_number(value) && *out >= 0 && *out <= 1;
}

static Err parse_rules(const json_t *rules, Probe out[N_PROBES]) {
    Err err = get_array(rules, "probes", N_PROBES);
    for (size_t i = 0; i < N_PROBES && !err; i++) {
        const json_t *rule = json_array_get(rules, i);
        err = get_array(rule, "probe", 3);
        if (!err &&
            !(read_share(json_array_get(rule, 0), &out[i].auc) && read_share(json_array_get(rule, 1), &out[i].wauc) &&
              read_share(json_array_get(rule, 2), &out[i].mrr)))
            err = err_fail(ERR_DATA, "the data manifest has a probe that is no number in [0, 1]");
    }
    return err;
}

static Err parse_probes(const json_t *root, DataInfo *out) {
    for (int p = 0; p < N_PROTOCOLS; p++) {
        const json_t *domains = json_object_get(json_object_get(root, "probes"), PROTOCOL_KEYS[p]);
        Err err = get_array(domains, "probes", N_DOMAINS);
        for (int d = 0; d < N_DOMAINS; d++)
            for (int split = SPLIT_VALID; split < N_SPLITS && !err; split++)
                err = parse_rules(json_object_get(json_array_get(domains, (size_t)d), SPLIT_KEYS[split]),
                                  out->probes[p][d][split]);
        if (err)
            return err;
    }
    return OK;
}

static Err parse_root(const json_t *root, DataInfo *out) {
    uint32_t format;
    const json_t *domains = json_object_get(root, "domains");
    if (!json_is_object(root))
        return err_fail(ERR_DATA, "the data manifest is no JSON object");
    Err err = get_count(root, "format", 0, INT32_MAX, &format);
    if (!err && format != DATAINFO_FORMAT)
        err = err_fail(ERR_DATA, "the data manifest has format %u, this program reads %d: prepare the data again",
                       format, DATAINFO_FORMAT);
    if (!err)
        err = get_fingerprint(json_object_get(root, "fingerprint"), "fingerprint", &out->fingerprint);
    if (!err)
        err = parse_lineage(json_object_get(root, "lineage"), out);
    if (!err)
        err = get_count(root, "n_items", 1, INT32_MAX, &out->n_items);
    if (!err)
        err = get_count(root, "n_users", 1, INT32_MAX, &out->n_users);
    if (!err)
        err = get_count(root, "n_chunks", 1, DATAINFO_MAX_CHUNKS, &out->n_chunks);
    if (!err)
        err = get_array(domains, "domains", N_DOMAINS);
    for (size_t d = 0; d < N_DOMAINS && !err; d++)
        err = get_count(json_array_get(domains, d), "n_train_items", 0, out->n_items, &out->n_train_items[d]);
    if (!err)
        err = parse_chunks(root, out);
    return err ? err : parse_probes(root, out);
}

Err datainfo_parse(DataInfo *out, const char *json, size_t size) {
    *out = (DataInfo){0};
    if (size > DATAINFO_MAX_BYTES)
        return err_fail(ERR_DATA, "the data manifest has %zu bytes, at most %d are read", size, DATAINFO_MAX_BYTES);
    json_error_t fault;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &fault);
    if (!root)
        return err_fail(ERR_DATA, "the data manifest is no JSON: line %d: %s", fault.line, fault.text);
    Err err = parse_root(root, out);
    json_decref(root);
    if (err)
        datainfo_free(out);
    return err;
}

void datainfo_free(DataInfo *info) {
    for (int p = 0; p < N_PROTOCOLS; p++)
        free(info->counts[p]);
    free(info->lineage);
    *info = (DataInfo){0};
}

bool datainfo_descends_from(const DataInfo *info, uint64_t fingerprint) {
    for (uint32_t i = 0; i < info->n_lineage; i++)
        if (info->lineage[i] == fingerprint)
            return true;
    return info->fingerprint == fingerprint;
}
