/* The manifest with its own hash, every block of every file, the rows' order, evaluation.json, and the base. */
#include "server/snapshot/snapshot_verify.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "server/snapshot/snapshot_chain.h"
#include "server/snapshot/snapshot_evaluation.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_reader.h"
#include "server/snapshot/snapshot_schema.h"

static void add_fault(SnapshotCheck *c, const char *sentence) {
    c->faults = must_realloc(c->faults, (c->n_faults + 1) * sizeof *c->faults);
    c->faults[c->n_faults++] = must_strdup(sentence);
}

/* Damage outweighs what could not be read. */
static void note(SnapshotCheck *c, Err e) {
    if (e == OK)
        return;
    if (e != ERR_IO || c->verdict == OK)
        c->verdict = e == ERR_IO ? ERR_IO : ERR_CORRUPT;
    add_fault(c, err_message());
}

static void count_file(SnapshotCheck *c, const char *path) {
    struct stat st;
    if (stat(path, &st) == 0) {
        c->n_files++;
        c->n_bytes += (uint64_t)st.st_size;
    }
}

static uint64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- evaluation.json ------------------------------------------------------------------------------------------ */

static void verify_evaluation(SnapshotCheck *c, const Snapshot *s) {
    char *path = snapshot_path(s->dir, "evaluation.json");
    json_t *json;
    if (access(path, F_OK) == 0) {
        c->is_evaluated = true;
        count_file(c, path);
        note(c, snapshot_read_evaluation(s, &json));
        json_decref(json);
    }
    free(path);
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static void verify_files(SnapshotCheck *c, const Snapshot *s) {
    Schema *schema = must_alloc(sizeof *schema);
    Err e = snapshot_schema(s, schema);
    note(c, e);
    for (size_t i = 0; i < s->n_files && e == OK; i++) {
        SnapshotReader reader;
        char *path = snapshot_path(s->dir, s->files[i].file);
        Err file_error = snapshot_reader_open(&reader, s, &s->files[i], schema);
        count_file(c, path);
        note(c, file_error);
        if (file_error == OK)
            snapshot_reader_close(&reader);
        free(path);
    }
    free(schema);
}

static void verify_opened(SnapshotCheck *c, const Snapshot *s) {
    char *path = snapshot_path(s->dir, "manifest.json");
    count_file(c, path);
    free(path);
    verify_files(c, s);
    verify_evaluation(c, s);
}

/* ---- the chain ------------------------------------------------------------------------------------------------ */

static void take_over(SnapshotCheck *c, const SnapshotCheck *base) {
    if (base->verdict != OK && c->verdict != ERR_CORRUPT)
        c->verdict = base->verdict;
    for (size_t i = 0; i < base->n_faults; i++)
        add_fault(c, base->faults[i]);
}

static void verify_base(SnapshotCheck *c, const Snapshot *s, const SnapshotCheck *earlier, size_t n_earlier) {
    Snapshot *base;
    Err e = snapshot_open_base(&base, s);
    note(c, e);
    if (e != OK || !base)
        return;
    c->base = must_strdup(base->dir);
    for (size_t i = 0; i < n_earlier; i++)
        if (earlier[i].hash == base->hash && strcmp(earlier[i].dir, base->dir) == 0) {
            take_over(c, &earlier[i]);
            snapshot_close(&base);
            return;
        }
    verify_opened(c, base);
    snapshot_close(&base);
}

void snapshot_verify(SnapshotCheck *out, const char *dir, const SnapshotCheck *earlier, size_t n_earlier) {
    uint64_t start = clock_us();
    Snapshot *s;
    *out = (SnapshotCheck){.dir = must_strdup(dir)};
    Err e = snapshot_open(&s, dir);
    note(out, e);
    if (e == OK) {
        out->hash = s->hash;
        verify_opened(out, s);
        bool is_evaluated = out->is_evaluated; /* not its base */
        verify_base(out, s, earlier, n_earlier);
        out->is_evaluated = is_evaluated;
        snapshot_close(&s);
    }
    out->elapsed_us = clock_us() - start;
}

void snapshot_check_free(SnapshotCheck *c) {
    for (size_t i = 0; i < c->n_faults; i++)
        free(c->faults[i]);
    free(c->faults);
    free(c->base);
    free(c->dir);
    *c = (SnapshotCheck){0};
}
