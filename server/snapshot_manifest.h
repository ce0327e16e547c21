/* The manifest of a snapshot: JSON text whose last field is the hash of all bytes before it.
 *
 *   format "mangrove snapshot", version 1; program (its version)
 *   epoch, cut (decimal string), is_epoch_end
 *   seed (decimal string; of the initial values)
 *   t, steps  [A, B]; bitmaps [A, B] in hexadecimal, bit i of byte i/8 is step i
 *   servers, slots  [[server, count], ...] run lengths over the N_SLOTS slots
 *   tensors  [{name, kind, reached_by, l2, rows, cols}, ...] of the schema
 *   files    [{file, table, server, rows, size, blocks: [hash of each SNAPSHOT_BLOCK bytes, ...]}, ...]
 *   config   canonical YAML; data: the data set's manifest
 *   hash     XXH3 (64 bits) of the text before this field
 *
 * Hashes are 16 hexadecimal digits. A reader refuses versions above its own. */
#ifndef MANGROVE_SERVER_SNAPSHOT_MANIFEST_H
#define MANGROVE_SERVER_SNAPSHOT_MANIFEST_H

#include <jansson.h>
#include <stdint.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"
#include "server/snapshot.h"

enum { SNAPSHOT_VERSION = 1, SNAPSHOT_HASH_DIGITS = 16, SNAPSHOT_MAX_MANIFEST = 256 << 20, SNAPSHOT_MAX_NAME = 128 };

typedef struct SnapshotEntry {
    const char *file;  /* name within the directory */
    const char *table; /* name in the schema */
    uint32_t server;
    uint64_t rows, size;
    uint64_t *hashes; /* of its blocks */
} SnapshotEntry;

struct Snapshot {
    char *dir;
    json_t *json; /* owns the strings */
    uint64_t hash;
    uint32_t epoch;
    uint64_t seed;
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

/* Closes the text with its hash; takes the reference. Caller frees the text. */
char *snapshot_manifest_text(json_t *manifest);
/* Checks everything. source names it in messages; ERR_CORRUPT. s->dir is the caller's to set. */
Err snapshot_manifest_parse(Snapshot *s, const char *text, size_t size, const char *source) MUST_CHECK;

#endif
