/* Plain writing of a file. */
#include "deploy/bench/bench_disk.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

enum { BLOCK = 1 << 20 };

static bool write_blocks(int fd, uint64_t size) {
    char *block = must_alloc(BLOCK);
    bool is_good = true;
    memset(block, 0x5a, BLOCK);
    for (uint64_t done = 0; is_good && done < size;) {
        ssize_t n = write(fd, block, size - done < BLOCK ? size - done : BLOCK);
        is_good = n > 0;
        done += is_good ? (uint64_t)n : 0;
    }
    free(block);
    return is_good && fsync(fd) == 0;
}

Err bench_disk_write(const char *path, uint64_t size, double *seconds) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    Err err = fd >= 0 && write_blocks(fd, size) ? OK : err_fail(ERR_IO, "cannot write %s: %m", path);
    if (fd >= 0)
        close(fd);
    clock_gettime(CLOCK_MONOTONIC, &end);
    *seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
    return err;
}
