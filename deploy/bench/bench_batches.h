/* Batches for a benchmark: of a prepared data set, in the order of an epoch, or made up where there is none. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_BATCHES_H
#define MANGROVE_DEPLOY_BENCH_BENCH_BATCHES_H

#include "common/config.h"
#include "common/err.h"
#include "worker/data/batch.h"
#include "worker/model/model.h"

typedef struct BenchBatches BenchBatches;

/* dir NULL: made up, with histories of mean_history on average (a geometric distribution cut at T, as real ratings
 * have; mean_history T or more: all T long) over 20,000 items, popular ones more often. Borrows config. */
Err bench_batches_open(BenchBatches **out, const Config *config, const Model *model, const char *dir,
                       double mean_history) MUST_CHECK;
void bench_batches_close(BenchBatches **b);

uint32_t bench_batches_items(const BenchBatches *b); /* ids are below */
uint32_t bench_batches_users(const BenchBatches *b);
/* Steps of a domain in an epoch. */
uint32_t bench_batches_steps(const BenchBatches *b, int domain);

/* The next step: both domains in proportion, epochs from 1 without end. */
Work bench_batches_next(BenchBatches *b);
void bench_batches_make(BenchBatches *b, const Work *work, Arena *arena, Batch *out);

#endif
