/* The manifest: its text, its own hash, and a reader that takes nothing for granted. */
#include "server/snapshot/snapshot_manifest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/log.h"
#include "common/options.h"
#include "server/snapshot/snapshot_file.h"

char *snapshot_path(const char *dir, const char *name) {
    size_t bytes = strlen(dir) + strlen(name) + 2;
    char *path = must_alloc(bytes);
    snprintf(path, bytes, "%s/%s", dir, name);
    return path;
}

json_t *snapshot_tensors_json(const Schema *schema) {
    json_t *tensors = json_array();
    for (int i = 0; i < schema->n_tensors; i++) {
        const Tensor *t = &schema->tensors[i];
        json_array_append_new(tensors, json_pack("{s:s, s:i, s:i, s:b, s:I, s:I}", "name", t->name, "kind",
                                                 (int)t->kind, "reached_by", t->reached_by, "l2", (int)t->has_l2,
                                                 "rows", (json_int_t)t->rows, "cols", (json_int_t)t->cols));
    }
    return tensors;
}

void snapshot_hash_text(uint64_t hash, char text[SNAPSHOT_HASH_DIGITS + 1]) {
    snprintf(text, SNAPSHOT_HASH_DIGITS + 1, "%016" PRIx64, hash);
}

/* ---- its own hash --------------------------------------------------------------------------------------------- */

static const char HASH_BEFORE[] = ",\n \"hash\": \"", HASH_BEHIND[] = "\"\n}\n";
enum { HASH_TAIL = sizeof HASH_BEFORE - 1 + SNAPSHOT_HASH_DIGITS + sizeof HASH_BEHIND - 1 };

char *snapshot_manifest_text(json_t *manifest) {
    char *open = json_dumps(manifest, JSON_INDENT(1) | JSON_PRESERVE_ORDER), digits[SNAPSHOT_HASH_DIGITS + 1];
    json_decref(manifest);
    if (!open)
        log_die(ERR_MEMORY, "no memory for the text of a manifest");
    size_t n = strlen(open) - 2; /* without "\n}" */
    assert(!strcmp(open + n, "\n}"));
    snapshot_hash_text(XXH3_64bits(open, n), digits);
    char *text = must_alloc(n + HASH_TAIL + 1);
    snprintf(text, n + HASH_TAIL + 1, "%.*s%s%s%s", (int)n, open, HASH_BEFORE, digits, HASH_BEHIND);
    free(open);
    return text;
}

/* -1: no hexadecimal digit in lower case. */
static int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 16 hexadecimal digits, lower case. */
static bool read_hash(const char *text, uint64_t *hash) {
    *hash = 0;
    for (int i = 0; i < SNAPSHOT_HASH_DIGITS; i++) {
        int digit = nibble(text[i]);
        if (digit < 0)
            return false;
        *hash = *hash << 4 | (uint64_t)digit;
    }
    return true;
}

Err snapshot_manifest_check(const char *text, size_t size, const char *source, uint64_t *hash) {
    const char *tail = text + size - HASH_TAIL, *digits = tail + sizeof HASH_BEFORE - 1;
    if (size < HASH_TAIL || memcmp(tail, HASH_BEFORE, sizeof HASH_BEFORE - 1) != 0 || !read_hash(digits, hash) ||
        memcmp(digits + SNAPSHOT_HASH_DIGITS, HASH_BEHIND, sizeof HASH_BEHIND - 1) != 0)
        return err_fail(ERR_CORRUPT, "%s: cut short or none of ours: it does not end with its hash", source);
    if (XXH3_64bits(text, size - HASH_TAIL) != *hash)
        return err_fail(ERR_CORRUPT, "%s: its text does not have the hash that it ends with", source);
    return OK;
}

/* ---- fields --------------------------------------------------------------------------------------------------- */

static Err bad_field(const char *source, const char *field) {
    return err_fail(ERR_CORRUPT, "%s: the field '%s' is missing or not what it should be", source, field);
}

static bool read_integer(const json_t *json, uint64_t max, uint64_t *out) {
    if (!json_is_integer(json) || json_integer_value(json) < 0 || (uint64_t)json_integer_value(json) > max)
        return false;
    *out = (uint64_t)json_integer_value(json);
    return true;
}

/* A decimal string: JSON's integers end at 2^63. */
static bool read_u64(const json_t *json, uint64_t *out) {
    const char *text = json_string_value(json);
    char *end;
    if (!text || !isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

static Err read_head(Snapshot *s, const char *source) {
    uint64_t version, epoch;
    const json_t *is_epoch_end = json_object_get(s->json, "is_epoch_end");
    const char *format = json_string_value(json_object_get(s->json, "format"));
    if (!format || strcmp(format, "mangrove snapshot") != 0)
        return bad_field(source, "format");
    if (!read_integer(json_object_get(s->json, "version"), INT32_MAX, &version))
        return bad_field(source, "version");
    if (version < 1 || version > SNAPSHOT_VERSION)
        return err_fail(ERR_CORRUPT, "%s: written in version %" PRIu64 " of the format, this program reads 1 to %d",
                        source, version, SNAPSHOT_VERSION);
    s->has_standing = version >= 2;
    if (!read_integer(json_object_get(s->json, "epoch"), UINT32_MAX, &epoch))
        return bad_field(source, "epoch");
    s->epoch = (uint32_t)epoch;
    if (!read_u64(json_object_get(s->json, "cut"), &s->cut))
        return bad_field(source, "cut");
    if (!json_is_boolean(is_epoch_end))
        return bad_field(source, "is_epoch_end");
    s->is_epoch_end = json_is_true(is_epoch_end);
    return read_u64(json_object_get(s->json, "seed"), &s->seed) ? OK : bad_field(source, "seed");
}

static bool read_hash_string(const json_t *json, uint64_t *hash) {
    return json_string_length(json) == SNAPSHOT_HASH_DIGITS && read_hash(json_string_value(json), hash);
}

/* A name, so that it cannot lead elsewhere. */
static bool read_base(const json_t *json, SnapshotBase *base) {
    *base = (SnapshotBase){0};
    if (json_is_null(json))
        return true;
    base->dir = json_string_value(json_object_get(json, "dir"));
    return base->dir && *base->dir && *base->dir != '.' && !strchr(base->dir, '/') &&
           read_hash_string(json_object_get(json, "hash"), &base->hash) &&
           read_u64(json_object_get(json, "cut"), &base->cut);
}

static bool read_standing(const json_t *domains, uint32_t epoch, Standing *standing) {
    for (size_t d = 0; d < N_DOMAINS; d++) {
        const json_t *json = json_array_get(domains, d), *wauc = json_object_get(json, "best_wauc");
        uint64_t best, stale;
        if (!json_is_number(wauc) || !read_integer(json_object_get(json, "best_epoch"), epoch, &best) ||
            !read_integer(json_object_get(json, "stale"), epoch, &stale))
            return false;
        standing->best_wauc[d] = json_number_value(wauc);
        standing->best_epoch[d] = (uint32_t)best;
        standing->stale[d] = (uint32_t)stale;
    }
    return true;
}

static bool read_parent(const json_t *json, SnapshotParent *parent) {
    *parent = (SnapshotParent){0};
    if (json_is_null(json))
        return true;
    parent->kind = json_string_value(json_object_get(json, "kind"));
    parent->dir = json_string_value(json_object_get(json, "dir"));
    return parent->kind && parent->dir && (!strcmp(parent->kind, "resume") || !strcmp(parent->kind, "init")) &&
           read_hash_string(json_object_get(json, "hash"), &parent->hash);
}

/* Where it comes from. A manifest of version 1 does not say. */
static Err read_history(Snapshot *s, const char *source) {
    s->standing = (Standing){.best_wauc = {-1, -1}};
    if (!s->has_standing)
        return OK;
    if (!read_base(json_object_get(s->json, "base"), &s->base))
        return bad_field(source, "base");
    if (!read_standing(json_object_get(s->json, "standing"), s->epoch, &s->standing))
        return bad_field(source, "standing");
    return read_parent(json_object_get(s->json, "parent"), &s->parent) ? OK : bad_field(source, "parent");
}

/* Hexadecimal, exactly the bytes of n_bits, nothing behind the last bit. */
static bool read_bitmap(const json_t *json, uint32_t n_bits, uint8_t **out) {
    const char *text = json_string_value(json);
    uint32_t n = bitmap_bytes(n_bits);
    if (!text || json_string_length(json) != 2 * (size_t)n)
        return false;
    uint8_t *bits = *out = must_alloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bits[i] = (uint8_t)(high << 4 | low);
    }
    return n_bits % 8 == 0 || bits[n - 1] >> n_bits % 8 == 0;
}

static Err read_progress(Snapshot *s, const char *source) {
    const json_t *t = json_object_get(s->json, "t"), *steps = json_object_get(s->json, "steps");
    const json_t *bitmaps = json_object_get(s->json, "bitmaps");
    for (size_t d = 0; d < N_DOMAINS; d++) {
        uint64_t n_steps;
        if (!read_integer(json_array_get(t, d), INT64_MAX, &s->t[d]))
            return bad_field(source, "t");
        if (!read_integer(json_array_get(steps, d), UINT32_MAX - 8, &n_steps))
            return bad_field(source, "steps");
        s->n_steps[d] = (uint32_t)n_steps;
        if (!read_bitmap(json_array_get(bitmaps, d), s->n_steps[d], &s->bitmaps[d]))
            return bad_field(source, "bitmaps");
    }
    return OK;
}

static Err read_slots(Snapshot *s, const char *source) {
    const json_t *runs = json_object_get(s->json, "slots"), *run;
    uint64_t n_servers, server, count, slot = 0;
    size_t i;
    if (!read_integer(json_object_get(s->json, "servers"), UINT16_MAX, &n_servers) || n_servers == 0)
        return bad_field(source, "servers");
    s->n_servers = (uint32_t)n_servers;
    json_array_foreach(runs, i, run) {
        if (!read_integer(json_array_get(run, 0), n_servers - 1, &server) ||
            !read_integer(json_array_get(run, 1), N_SLOTS - slot, &count))
            return bad_field(source, "slots");
        for (uint64_t end = slot + count; slot < end; slot++)
            s->slot_map[slot] = (uint16_t)server;
    }
    return slot == N_SLOTS ? OK : bad_field(source, "slots");
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

static bool read_blocks(const json_t *blocks, SnapshotEntry *f) {
    size_t n = json_array_size(blocks);
    if (n == 0 || n != snapshot_file_blocks(f->size))
        return false;
    f->hashes = must_alloc(n * sizeof *f->hashes);
    for (size_t i = 0; i < n; i++) {
        if (!read_hash_string(json_array_get(blocks, i), &f->hashes[i]))
            return false;
    }
    return true;
}

/* The name follows from server and table, so that it cannot lead out of the directory. */
static bool read_file_entry(const json_t *json, uint32_t n_servers, SnapshotEntry *f) {
    char want[SNAPSHOT_MAX_NAME];
    uint64_t server;
    f->file = json_string_value(json_object_get(json, "file"));
    f->table = json_string_value(json_object_get(json, "table"));
    if (!f->file || !f->table || strchr(f->table, '/') || strlen(f->table) >= SCHEMA_NAME ||
        !read_integer(json_object_get(json, "server"), n_servers - 1, &server) ||
        !read_integer(json_object_get(json, "rows"), UINT32_MAX, &f->rows) ||
        !read_integer(json_object_get(json, "size"), INT64_MAX, &f->size))
        return false;
    f->server = (uint32_t)server;
    snprintf(want, sizeof want, "server-%u.%s.safetensors", f->server, f->table);
    return strcmp(f->file, want) == 0 && read_blocks(json_object_get(json, "blocks"), f);
}

static Err read_files(Snapshot *s, const char *source) {
    const json_t *files = json_object_get(s->json, "files"), *json;
    size_t i;
    if (!json_is_array(files) || json_array_size(files) > (size_t)s->n_servers * SCHEMA_MAX_TABLES)
        return bad_field(source, "files");
    s->files = must_calloc(json_array_size(files) + 1, sizeof *s->files);
    json_array_foreach(files, i, json) {
        s->n_files++;
        if (!read_file_entry(json, s->n_servers, &s->files[i]))
            return err_fail(ERR_CORRUPT, "%s: entry %zu of its files is not what it should be", source, i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(s->files[k].file, s->files[i].file) == 0)
                return err_fail(ERR_CORRUPT, "%s: names the file %s twice", source, s->files[i].file);
    }
    return OK;
}

static Err read_texts(Snapshot *s, const char *source) {
    const json_t *config = json_object_get(s->json, "config"), *data = json_object_get(s->json, "data");
    if (!json_is_array(json_object_get(s->json, "tensors")))
        return bad_field(source, "tensors");
    if (!json_is_string(config))
        return bad_field(source, "config");
    if (!json_is_string(data))
        return bad_field(source, "data");
    config_defaults(&s->config);
    Err e = config_parse(&s->config, json_string_value(config), json_string_length(config), "configuration");
    if (e == OK)
        e = datainfo_parse(&s->data, json_string_value(data), json_string_length(data));
    return e == OK ? OK : err_wrap(e, "%s", source);
}

Err snapshot_manifest_parse(Snapshot *s, const char *text, size_t size, const char *source) {
    json_error_t json_error;
    Err e = snapshot_manifest_check(text, size, source, &s->hash);
    if (e != OK)
        return e;
    s->json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &json_error);
    if (!s->json)
        return err_fail(ERR_CORRUPT, "%s: line %d: %s", source, json_error.line, json_error.text);
    Err (*const readers[])(Snapshot *, const char *) = {read_head,  read_history, read_progress,
                                                        read_slots, read_files,   read_texts};
    for (size_t i = 0; i < sizeof readers / sizeof *readers && e == OK; i++)
        e = readers[i](s, source);
    return e;
}
