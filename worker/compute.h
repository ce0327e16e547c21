/* The compute thread of a worker and what passes between it and the loop's thread: assignments one way, results and
 * scores the other, and the remote client between the two. All functions below are the loop's; none waits for the
 * compute thread but compute_close. */
#ifndef MANGROVE_WORKER_COMPUTE_H
#define MANGROVE_WORKER_COMPUTE_H

#include "worker/remote.h"
#include "worker/trainer.h"

typedef struct Compute Compute;

/* Borrows everything. */
typedef struct ComputeOptions {
    const Dataset *data;
    const Geometry *geometry;
    const Config *config;
    const Schema *schema;
    const Model *model;
    RemoteOptions remote;
    void (*notify)(void *ctx); /* there is something to take; called on the compute thread */
    void *ctx;
} ComputeOptions;

typedef struct ComputeResult {
    Err code; /* the error that ends this worker */
    char sentence[MESSAGE_TEXT];
    TrainerResult result;
} ComputeResult;

Err compute_open(Compute **out, const ComputeOptions *options) MUST_CHECK;
/* Ends every wait of the thread with ERR_STOPPED, and waits for the step in hand. */
void compute_close(Compute **c);

/* The remote client's events; see remote.h. */
void compute_set_view(Compute *c, const ClusterView *view, uint64_t now_ms);
void compute_on_message(Compute *c, uint32_t server, Message *m, uint64_t now_ms);
void compute_on_fault(Compute *c, uint32_t server, const char *sentence);
void compute_on_tick(Compute *c, uint64_t now_ms);
bool compute_is_connected(Compute *c);
Err compute_failure(Compute *c, char *sentence, size_t size);

void compute_work(Compute *c, Assignment *a); /* takes it; the thread is idle */
void compute_revoke(Compute *c, uint64_t lease);
MemberStats compute_stats(Compute *c); /* steps and instances of the lease in hand */

/* What is to be sent, and what has come out. Scores are to be sent before the result counts: it comes after them. */
bool compute_next_request(Compute *c, uint32_t *server, Message *out, uint64_t now_ms);
bool compute_next_scores(Compute *c, Message *out);
bool compute_take_result(Compute *c, ComputeResult *out);

#endif
