/* The manifest of a snapshot: JSON text whose last field is the hash of all bytes before it.
 *
 *   format "mangrove snapshot", version 2; program (its version)
 *   epoch, cut (decimal string), is_epoch_end
 *   seed (decimal string; of the initial values: after train --init not the configuration's train.seed)
 *   base     null: full; of an incremental snapshot {dir, hash, cut} of the full one that it goes on from: the name of
 *            its directory beside this one, the hash of its manifest, its cut
 *   standing [A, B] of {best_wauc, best_epoch, stale} after the last evaluated epoch; best_wauc -1: there was none
 *   parent   null, or the snapshot that the run was begun from: {kind: "resume" or "init", dir, hash}
 *   t, steps  [A, B]; bitmaps [A, B] in hexadecimal, bit i of byte i/8 is step i
 *   servers, slots  [[server, count], ...] run lengths over the N_SLOTS slots
 *   tensors  [{name, kind, reached_by, l2, rows, cols}, ...] of the schema
 *   files    [{file, table, server, rows, size, blocks: [hash of each SNAPSHOT_BLOCK bytes, ...]}, ...]
 *   config   canonical YAML; data: the data set's manifest
 *   hash     XXH3 (64 bits) of the text before this field
 *
 * Hashes are 16 hexadecimal digits. A reader refuses versions above its own. Version 1 has neither base nor standing
 * nor parent. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_MANIFEST_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_MANIFEST_H

#include <jansson.h>
#include <stdint.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"
#include "server/snapshot/snapshot.h"

enum { SNAPSHOT_VERSION = 2, SNAPSHOT_HASH_DIGITS = 16, SNAPSHOT_MAX_MANIFEST = 256 << 20, SNAPSHOT_MAX_NAME = 128 };

typedef struct SnapshotEntry {
    const char *file;  /* name within the directory */
    const char *table; /* name in the schema */
    uint32_t server;
    uint64_t rows, size;
    uint64_t *hashes; /* of its blocks */
} SnapshotEntry;

/* Of an incremental snapshot; dir NULL: this one is full. */
typedef struct SnapshotBase {
    const char *dir; /* a name */
    uint64_t hash, cut;
} SnapshotBase;

struct Snapshot {
    char *dir;
    json_t *json; /* owns the strings */
    uint64_t hash;
    uint32_t epoch;
    uint64_t cut, seed;
    bool is_epoch_end;
    SnapshotBase base;
    bool has_standing; /* from version 2 on */
    Standing standing;
    SnapshotParent parent; /* kind NULL: none */
    uint64_t t[N_DOMAINS];
    uint32_t n_steps[N_DOMAINS];
    uint8_t *bitmaps[N_DOMAINS];
    uint32_t n_servers;
    uint16_t slot_map[N_SLOTS];
    SnapshotEntry *files;
    size_t n_files;
    Config config;
    DataInfo data;
};

/* dir/name; caller frees. */
char *snapshot_path(const char *dir, const char *name);

/* The schema's tensors as the manifest keeps them; new reference. */
json_t *snapshot_tensors_json(const Schema *schema);
void snapshot_hash_text(uint64_t hash, char text[SNAPSHOT_HASH_DIGITS + 1]);

/* Closes the text with its hash; takes the reference. Caller frees the text. evaluation.json is closed so too. */
char *snapshot_manifest_text(json_t *manifest);
/* Does a text end with its own hash? ERR_CORRUPT. */
Err snapshot_manifest_check(const char *text, size_t size, const char *source, uint64_t *hash) MUST_CHECK;
/* Checks everything. source names it in messages; ERR_CORRUPT. s->dir is the caller's to set. */
Err snapshot_manifest_parse(Snapshot *s, const char *text, size_t size, const char *source) MUST_CHECK;

#endif
