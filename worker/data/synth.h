/* Synthetic ratings of two domains with planted cross-domain structure, in Amazon's format.
 *
 * Every item belongs to a topic. A user has a few interests (topics with weights) that hold in both domains; a topic
 * has a successor that holds in both domains, too. Each next event stays in the last topic, moves to its successor,
 * follows an interest, or is noise; within the topic an item is drawn from a popularity tail of the domain. So what an
 * item is about shows in either domain, and for common items one domain can teach it to the other.
 *
 * Lengths are lognormal, with at least 5 events; times are days with ties, as in reviews; a young domain has the same
 * course of life in fewer years. Each user is a function of
 * (options, user), so files of any size come out in memory of the items' size. */
#ifndef MANGROVE_WORKER_DATA_SYNTH_H
#define MANGROVE_WORKER_DATA_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"

typedef struct SynthOptions {
    const char *out_dir; /* receives ratings_A.csv and ratings_B.csv, or .csv.gz */
    uint32_t n_users[N_DOMAINS], n_items[N_DOMAINS];
    double median_length[N_DOMAINS]; /* events of a user */
    double years[N_DOMAINS];         /* age of the domain: its events lie in the last so many years */
    uint32_t n_topics;
    double common_users, common_items; /* shares of the smaller domain's */
    double noise;                      /* share of events that follow nothing */
    uint64_t seed;
    bool disjoint; /* B's names differ from A's, all else is the same */
    bool gzip;
} SynthOptions;

typedef struct SynthPreset {
    const char *name, *sentence;
    SynthOptions options;
} SynthPreset;

/* The first is the default; ends with a NULL name. */
extern const SynthPreset SYNTH_PRESETS[];
const SynthPreset *synth_find_preset(const char *name); /* NULL if there is none */

/* Multiplies users and items, at least 1 of each. */
void synth_scale(SynthOptions *o, double factor);

/* Writes both files; n_rows (per domain) out. ERR_USAGE for impossible options, ERR_IO. */
Err synth_write(const SynthOptions *o, uint64_t n_rows[N_DOMAINS]) MUST_CHECK;

#endif
