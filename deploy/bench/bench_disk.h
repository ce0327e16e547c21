/* How fast the disk is without us: the yardstick of `mangrove bench snapshot`. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_DISK_H
#define MANGROVE_DEPLOY_BENCH_BENCH_DISK_H

#include <stdint.h>

#include "common/err.h"

/* What dd bs=1M conv=fsync does. ERR_IO. */
Err bench_disk_write(const char *path, uint64_t size, double *seconds) MUST_CHECK;

#endif
