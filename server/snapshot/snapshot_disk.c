/* A queue of blocks and the threads that write them.
 *
 * DESIGN. One lock for the queue, the unused buffers and the targets' counts; nobody holds it while hashing or writing.
 * Buffers are made as they are needed: those that are being filled, and SNAPSHOT_DISK_QUEUE more. */
#include "server/snapshot/snapshot_disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/log.h"

enum { THREADS = 2, ALIGNMENT = 4096 }; /* two: the disk has a block while the next is hashed */

typedef struct Job {
    SnapshotTarget *target;
    uint64_t offset;
    unsigned char *buffer;
    size_t n;
    uint64_t *hash;
} Job;

struct SnapshotDisk {
    pthread_t threads[THREADS]; /* (n_threads) */
    int n_threads;
    pthread_mutex_t lock;
    pthread_cond_t is_queued, is_done;
    Job jobs[SNAPSHOT_DISK_QUEUE]; /* (n_jobs) from first_job on, round */
    int first_job, n_jobs;
    int n_busy; /* jobs and what threads are at */
    bool is_closing;
    unsigned char **unused; /* (n_unused) buffers */
    int n_unused, unused_capacity;
};

/* ---- the threads ------------------------------------------------------------------------------------------------ */

/* Not every file system takes O_DIRECT, and none takes it for pieces. The flag comes last: whoever sees it cleared may
 * write anything, so that EINVAL is then an error. */
static void write_through_cache(SnapshotTarget *t) {
    fcntl(t->fd, F_SETFL, fcntl(t->fd, F_GETFL) & ~O_DIRECT);
    atomic_store(&t->is_direct, false);
}

/* 0 or errno. */
static int write_bytes(SnapshotTarget *t, const Job *job) {
    for (size_t done = 0; done < job->n;) {
        bool is_direct = atomic_load(&t->is_direct);
        if (is_direct && (job->n - done) % ALIGNMENT)
            write_through_cache(t);
        ssize_t n = pwrite(t->fd, job->buffer + done, job->n - done, (off_t)(job->offset + done));
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EINVAL && is_direct)
            write_through_cache(t);
        else if (n == 0 || errno != EINTR)
            return n == 0 ? EIO : errno;
    }
    if (!atomic_load(&t->is_direct)) /* the disk begins at once, a wish: the fsync at the end then waits for little */
        sync_file_range(t->fd, (off_t)job->offset, (off_t)job->n, SYNC_FILE_RANGE_WRITE);
    return 0;
}

static void do_job(const Job *job) {
    SnapshotTarget *t = job->target;
    int none = 0;
    *job->hash = XXH3_64bits(job->buffer, job->n);
    int error = atomic_load(&t->error) ? 0 : write_bytes(t, job);
    if (error)
        atomic_compare_exchange_strong(&t->error, &none, error);
}

static void keep_unused(SnapshotDisk *d, unsigned char *buffer) {
    if (d->n_unused == d->unused_capacity) {
        d->unused_capacity = 2 * d->unused_capacity + 8;
        d->unused = must_realloc(d->unused, (size_t)d->unused_capacity * sizeof *d->unused);
    }
    d->unused[d->n_unused++] = buffer;
}

static void *work(void *ctx) {
    SnapshotDisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (!d->n_jobs && !d->is_closing)
            pthread_cond_wait(&d->is_queued, &d->lock);
        if (!d->n_jobs)
            break;
        Job job = d->jobs[d->first_job];
        d->first_job = (d->first_job + 1) % SNAPSHOT_DISK_QUEUE;
        d->n_jobs--;
        pthread_mutex_unlock(&d->lock);
        do_job(&job);
        pthread_mutex_lock(&d->lock);
        keep_unused(d, job.buffer);
        job.target->n_waiting--;
        d->n_busy--;
        pthread_cond_broadcast(&d->is_done);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

Err snapshot_disk_open(SnapshotDisk **out) {
    SnapshotDisk *d = must_calloc(1, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->is_queued, NULL);
    pthread_cond_init(&d->is_done, NULL);
    *out = d;
    while (d->n_threads < THREADS) {
        int error = pthread_create(&d->threads[d->n_threads], NULL, work, d);
        if (error) {
            snapshot_disk_close(out);
            return err_fail(ERR_MEMORY, "cannot start a thread to write a snapshot: %s", strerror(error));
        }
        d->n_threads++;
    }
    return OK;
}

void snapshot_disk_close(SnapshotDisk **out) {
    SnapshotDisk *d = *out;
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    assert(d->n_busy == 0);
    d->is_closing = true;
    pthread_cond_broadcast(&d->is_queued);
    pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < d->n_threads; i++)
        pthread_join(d->threads[i], NULL);
    for (int i = 0; i < d->n_unused; i++)
        free(d->unused[i]);
    free(d->unused);
    pthread_cond_destroy(&d->is_queued);
    pthread_cond_destroy(&d->is_done);
    pthread_mutex_destroy(&d->lock);
    free(d);
    *out = NULL;
}

/* ---- the one that fills ----------------------------------------------------------------------------------------- */

unsigned char *snapshot_disk_buffer(SnapshotDisk *d) {
    unsigned char *buffer = NULL;
    pthread_mutex_lock(&d->lock);
    while (!d->n_unused && d->n_busy == SNAPSHOT_DISK_QUEUE)
        pthread_cond_wait(&d->is_done, &d->lock);
    if (d->n_unused)
        buffer = d->unused[--d->n_unused];
    pthread_mutex_unlock(&d->lock);
    return buffer ? buffer : aligned_alloc(ALIGNMENT, SNAPSHOT_BLOCK);
}

void snapshot_disk_drop(SnapshotDisk *d, unsigned char *buffer) {
    pthread_mutex_lock(&d->lock);
    keep_unused(d, buffer);
    pthread_mutex_unlock(&d->lock);
}

void snapshot_disk_write(SnapshotDisk *d, SnapshotTarget *t, uint64_t offset, unsigned char *buffer, size_t n,
                         uint64_t *hash) {
    pthread_mutex_lock(&d->lock);
    while (d->n_busy == SNAPSHOT_DISK_QUEUE)
        pthread_cond_wait(&d->is_done, &d->lock);
    d->jobs[(d->first_job + d->n_jobs++) % SNAPSHOT_DISK_QUEUE] = (Job){t, offset, buffer, n, hash};
    d->n_busy++;
    t->n_waiting++;
    pthread_cond_signal(&d->is_queued);
    pthread_mutex_unlock(&d->lock);
}

int snapshot_disk_wait(SnapshotDisk *d, SnapshotTarget *t) {
    pthread_mutex_lock(&d->lock);
    while (t->n_waiting)
        pthread_cond_wait(&d->is_done, &d->lock);
    pthread_mutex_unlock(&d->lock);
    return atomic_load(&t->error);
}
