/* The model of a cluster: what bounds W workers and S servers, each on a host of its own whose network carries B bytes
 * a second either way.
 *
 *   Given, of a step of b instances of one worker:
 *     c     seconds of the worker's thread that computes
 *     l     seconds from asking for values to having them where bytes take no time
 *     u, d  bytes sent and received: keys, values and gradients of sparse rows, and dense ones every n-th step
 *     f, k  a server's seconds of its one loop thread: f for each step's messages, k for each byte of their rows
 *   A worker asks for the next step's values when it has this one's, computes, and pushes; what it asks waits behind
 *   the push of the step before if that is still being sent. So the time of a step is
 *
 *     T = max(c, l + d / B, (l + c + (u + d) / B) / 2)
 *
 *   A server has a part in every step: f + k (u + d) / S seconds of its thread, max(u, d) / (S B) of its network.
 *   Four bounds of instances/s:
 *
 *     W b / c                       the workers' processors
 *     W b / T                       the workers' network
 *     b / (f + k (u + d) / S)       the servers' processors
 *     S B b / max(u, d)             the servers' network
 *
 *   Where two of them are near each other queues form, and less comes out than either allows: the rate is their
 *   8-norm, (sum of bound^-8)^(-1/8).
 *
 *   `wire: bf16` halves values, not keys, and not the work with them: k counts bytes of f32. Frames on the wire are
 *   MODEL_OVERHEAD times the bytes. On one machine of C cores there is also C over the processor time of an instance
 *   in all processes together. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_MODEL_H
#define MANGROVE_DEPLOY_BENCH_BENCH_MODEL_H

#include <stdbool.h>

#define MODEL_OVERHEAD 1.07 /* 1514 bytes of a packet carry 1448, and every second one is acknowledged by 66 */

/* What was measured at one batch size. */
typedef struct ModelStep {
    double batch;                  /* b */
    double step_s, latency_s;      /* c, l */
    double server_s;               /* f + k (u + d) with one server */
    double key_bytes, value_bytes; /* of sparse rows: keys of pull and push; values one way */
    double dense_key_bytes, dense_value_bytes;
    double machine_cpu_s; /* of an instance, in all processes */
} ModelStep;

typedef struct ModelSetting {
    const ModelStep *step;
    double server_step_s, server_byte_s; /* f, k */
    bool is_bf16;
    int dense_every; /* n */
} ModelSetting;

typedef struct ModelRate {
    double instances_per_s;
    const char *bound;
} ModelRate;

ModelRate model_rate(const ModelSetting *s, double gbit_per_s, int workers, int servers);

/* f and k from what a server took at two batch sizes. */
void model_fit_server(const ModelStep *small, const ModelStep *large, double *step_s, double *byte_s);

/* f + k (u + d). */
double model_server_s(const ModelStep *m, double step_s, double byte_s);

/* The fewest servers with which workers reach share of what their processors alone allow; 0: no number does, because
 * the workers' own network is what bounds them. */
int model_servers(const ModelSetting *s, double gbit_per_s, int workers, double share);

#endif
