#include "server/snapshot/snapshot_evaluation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "server/snapshot/snapshot_manifest.h"

static Err parse(const Snapshot *s, const char *path, const char *text, size_t size, json_t **out) {
    char want[SNAPSHOT_HASH_DIGITS + 1];
    json_error_t json_error;
    uint64_t hash;
    Err e = s->has_standing ? snapshot_manifest_check(text, size, path, &hash) : OK;
    if (e != OK)
        return e;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &json_error);
    if (!*out)
        return err_fail(ERR_CORRUPT, "%s: line %d: %s", path, json_error.line, json_error.text);
    snapshot_hash_text(s->hash, want);
    const char *found = json_string_value(json_object_get(*out, "manifest"));
    if (!found || strcmp(found, want) != 0)
        return err_fail(ERR_CORRUPT, "%s: belongs to the manifest with the hash %s, this one has %s", path,
                        found ? found : "that it does not name", want);
    return OK;
}

Err snapshot_read_evaluation(const Snapshot *s, json_t **out) {
    char *path = snapshot_path(s->dir, "evaluation.json"), *text;
    size_t size;
    Err e = OK;
    *out = NULL;
    if (access(path, F_OK) == 0 || errno != ENOENT) {
        e = read_file(path, SNAPSHOT_MAX_EVALUATION, &text, &size);
        if (e == OK) {
            e = parse(s, path, text, size, out);
            free(text);
        }
    }
    if (e != OK) {
        json_decref(*out);
        *out = NULL;
    }
    free(path);
    return e == ERR_DATA ? ERR_CORRUPT : e;
}
