/* From an incremental snapshot to its base. */
#include "server/snapshot/snapshot_chain.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "server/snapshot/snapshot_manifest.h"

/* name in the directory that holds dir; caller frees. */
static char *path_beside(const char *dir, const char *name) {
    size_t n = strlen(dir), bytes = n + strlen(name) + sizeof "/../";
    char *path = must_alloc(bytes);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    size_t last = n;
    while (last > 0 && dir[last - 1] != '/')
        last--;
    if (n - last <= 2 && dir[last] == '.') /* "." and ".." have their parents elsewhere */
        snprintf(path, bytes, "%.*s/../%s", (int)n, dir, name);
    else
        snprintf(path, bytes, "%.*s%s", (int)last, dir, name);
    return path;
}

static Err check_base(const Snapshot *s, const Snapshot *base) {
    if (base->hash != s->base.hash || base->cut != s->base.cut)
        return err_fail(ERR_CORRUPT,
                        "%s: is not the full snapshot that %s goes on from: the hash of its manifest is %016" PRIx64
                        ", expected %016" PRIx64,
                        base->dir, s->dir, base->hash, s->base.hash);
    if (base->base.dir)
        return err_fail(ERR_CORRUPT, "%s: goes on from %s, which is not a full snapshot", s->dir, base->dir);
    if (!json_equal(json_object_get(s->json, "tensors"), json_object_get(base->json, "tensors")))
        return err_fail(ERR_CORRUPT, "%s: its tensors are not those of %s, from which it goes on", s->dir, base->dir);
    return OK;
}

Err snapshot_open_base(Snapshot **out, const Snapshot *s) {
    *out = NULL;
    if (!s->base.dir)
        return OK;
    char *dir = path_beside(s->dir, s->base.dir);
    Err e = access(dir, F_OK) != 0 && errno == ENOENT
                ? err_fail(ERR_CORRUPT, "%s: the full snapshot that %s goes on from is not there", dir, s->dir)
                : snapshot_open(out, dir);
    if (e == OK)
        e = check_base(s, *out);
    if (e != OK)
        snapshot_close(out);
    free(dir);
    return e;
}
