/* What a run shows to people. Results go to stdout; the progress line goes to stderr, where on a terminal it is renewed
 * in place, and elsewhere it is a plain line now and then. */
#ifndef MANGROVE_SERVER_REPORT_H
#define MANGROVE_SERVER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "server/run_facts.h"

typedef struct Report {
    const Config *config;
    bool is_terminal, has_header;
    uint64_t shown_ms, epoch_ms; /* of the last plain line; since when the epoch shown has been trained */
    uint32_t epoch;
    RankingMetrics test[N_DOMAINS]; /* at the best validation epoch */
    uint32_t test_epoch[N_DOMAINS]; /* 0: none yet */
} Report;

void report_init(Report *r, const Config *config);
/* The line of progress. Time left is that of the epoch, and is told once it has been trained for some seconds. */
void report_line(Report *r, const SchedulerProgress *p, uint64_t now_ms, char *line, size_t size);
void report_progress(Report *r, const SchedulerProgress *p, uint64_t now_ms);
/* A row per domain: losses and validation metrics. */
void report_epoch(Report *r, const EpochResult *result);
void report_final(Report *r, const DataInfo *data);

/* "3:07", "1:02:45". */
void report_duration(uint64_t seconds, char *out, size_t size);

#endif
