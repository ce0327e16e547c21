/* A benchmark's directory and its data set. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "deploy/bench/bench_cluster.h"
#include "worker/data/prepare.h"
#include "worker/data/synth.h"

/* Shaped like the Amazon pairs, and small enough to be made in a second. */
static const char MADE_UP_PRESET[] = "amazon";
static const double MADE_UP_SCALE = 0.04;

static Err make_up_data(BenchRoom *room) {
    char ratings[BENCH_PATH + 16], inputs[N_DOMAINS][BENCH_PATH + 48];
    const SynthPreset *preset = synth_find_preset(MADE_UP_PRESET);
    uint64_t n_rows[N_DOMAINS];
    PrepareReport report;
    PrepareOptions prepare;
    snprintf(ratings, sizeof ratings, "%s/ratings", room->dir);
    SynthOptions synth = preset->options;
    synth.out_dir = ratings;
    synth_scale(&synth, MADE_UP_SCALE);
    Err err = synth_write(&synth, n_rows);
    prepare_defaults(&prepare);
    for (int d = 0; d < N_DOMAINS; d++) {
        snprintf(inputs[d], sizeof inputs[d], "%s/ratings_%c.csv", ratings, 'A' + d);
        prepare.inputs[d] = inputs[d];
    }
    snprintf(room->data_dir, sizeof room->data_dir, "%s/data", room->dir);
    prepare.out_dir = room->data_dir;
    return err ? err : prepare_run(&prepare, &report);
}

Err bench_room_open(BenchRoom *room, const BenchOptions *options) {
    *room = (BenchRoom){0};
    char dir[BENCH_PATH];
    int n = snprintf(dir, sizeof dir, "%s/mangrove-bench-XXXXXX", options->dir ? options->dir : ".");
    if (n >= (int)sizeof dir)
        return err_fail(ERR_USAGE, "--dir is longer than %d bytes", BENCH_PATH - 32);
    if (!mkdtemp(dir))
        return err_fail(ERR_IO, "%s cannot be made: %m", dir);
    char *absolute = realpath(dir, NULL);
    snprintf(room->dir, sizeof room->dir, "%s", absolute && strlen(absolute) < sizeof room->dir ? absolute : dir);
    free(absolute);
    if (!options->data_dir)
        return make_up_data(room);
    snprintf(room->data_dir, sizeof room->data_dir, "%s", options->data_dir);
    return OK;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void bench_room_close(BenchRoom *room) {
    if (room->dir[0] && nftw(room->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS))
        log_warn("%s was not removed: %m", room->dir);
    room->dir[0] = 0;
}
