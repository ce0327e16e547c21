/* bench link: rows pulled and pushed through a server, beside the same bytes through ZeroMQ alone and the same rows
 * through redis. bench rtt: the time of the smallest pull. */
#include "deploy/bench/bench_link.h"

#include <stdbool.h>

#include "common/log.h"
#include "deploy/bench/bench.h"

enum { TABLE_ROWS = 1000000 };

typedef struct LinkBench {
    const BenchOptions *options;
    double seconds;
    bool is_per_cpu;
    LinkRequests requests;
    LinkOurs *ours;
    LinkRaw *raw;
    LinkRedis *redis;
} LinkBench;

static Err ours_rate(void *ctx, double *value) {
    LinkBench *b = ctx;
    LinkRate rate = {0};
    Err err = link_ours_rate(b->ours, b->seconds, &rate);
    *value = b->is_per_cpu ? rate.per_cpu_s : rate.per_s;
    return err;
}

static Err raw_rate(void *ctx, double *value) {
    LinkBench *b = ctx;
    LinkRate rate = {0};
    Err err = link_raw_rate(b->raw, b->seconds, &rate);
    *value = b->is_per_cpu ? rate.per_cpu_s : rate.per_s;
    return err;
}

static Err redis_rate(void *ctx, double *value) {
    LinkBench *b = ctx;
    LinkRate rate = {0};
    Err err = link_redis_rate(b->redis, b->seconds, &rate);
    *value = b->is_per_cpu ? rate.per_cpu_s : rate.per_s;
    return err;
}

static Err ours_rtt(void *ctx, double *value) {
    LinkBench *b = ctx;
    return link_ours_rtt(b->ours, b->seconds, value);
}

static Err raw_rtt(void *ctx, double *value) {
    LinkBench *b = ctx;
    return link_raw_rtt(b->raw, b->seconds, value);
}

/* All processes are forked before the first thread begins. */
static Err open_bench(LinkBench *b, const Config *config, LinkShape shape, bool has_redis) {
    shape.table_rows = b->options->rows ? b->options->rows : TABLE_ROWS;
    if (shape.table_rows < shape.n_rows || shape.table_rows > UINT32_MAX)
        return err_fail(ERR_USAGE, "--rows must be at least %u, the rows of a request", shape.n_rows);
    link_requests_init(&b->requests, shape, config->train.seed);
    Err err = link_ours_start(&b->ours, config, &b->requests);
    if (!err)
        err = link_raw_start(&b->raw, &b->requests);
    if (!err && has_redis)
        err = link_redis_start(&b->redis, &b->requests);
    if (!err)
        err = link_ours_connect(b->ours);
    if (!err)
        err = link_raw_connect(b->raw);
    if (!err && b->redis)
        err = link_redis_connect(b->redis);
    return err;
}

static void close_bench(LinkBench *b) {
    link_ours_close(&b->ours);
    link_raw_close(&b->raw);
    link_redis_close(&b->redis);
    link_requests_free(&b->requests);
}

/* What neighbours on the machine do not take away; no target is set for it. */
static Err compare_cpu(LinkBench *b, const BenchCase *of) {
    BenchCase c = *of;
    c.unit = "rows pulled and pushed/s of CPU";
    c.target = 0;
    b->is_per_cpu = true;
    Err err = bench_compare(&c, b->options, NULL);
    b->is_per_cpu = false;
    return err;
}

static Err measure_rate(const Config *config, const BenchOptions *options, LinkShape shape, BenchCase *raw,
                        BenchCase *redis) {
    LinkBench b = {.options = options, .seconds = options->seconds > 0 ? options->seconds : 2};
    Err err = open_bench(&b, config, shape, redis != NULL);
    raw->ctx = &b;
    if (!err)
        err = bench_compare(raw, options, NULL);
    if (!err)
        err = compare_cpu(&b, raw);
    if (!err && redis && !b.redis)
        log_info("bench link: redis is not compared with, because there is no redis-server on the PATH");
    if (!err && b.redis) {
        redis->ctx = &b;
        err = bench_compare(redis, options, NULL);
    }
    close_bench(&b);
    return err;
}

Err bench_link(const Config *config, const BenchOptions *options) {
    BenchCase large = {.bench = "link",
                       .name = "pull+push 4000 x 40",
                       .unit = "rows pulled and pushed/s",
                       .yardstick = "raw ZeroMQ",
                       .target = 0.65,
                       .ours = ours_rate,
                       .theirs = raw_rate};
    BenchCase redis = large, small = large;
    redis.yardstick = "redis MGET + MSET";
    redis.target = 15;
    redis.theirs = redis_rate;
    small.name = "pull+push 400 x 20";
    Err err = measure_rate(config, options, (LinkShape){.n_rows = 4000, .width = 40}, &large, &redis);
    return err ? err : measure_rate(config, options, (LinkShape){.n_rows = 400, .width = 20}, &small, NULL);
}

Err bench_rtt(const Config *config, const BenchOptions *options) {
    LinkBench b = {.options = options, .seconds = options->seconds > 0 ? options->seconds : 1};
    BenchCase c = {.bench = "rtt",
                   .name = "pull 1 x 40 p50",
                   .unit = "us",
                   .yardstick = "raw ZeroMQ blocking",
                   .target = 1.25,
                   .is_at_most = true,
                   .ours = ours_rtt,
                   .theirs = raw_rtt,
                   .ctx = &b};
    Err err = open_bench(&b, config, (LinkShape){.n_rows = 1, .width = 40}, false);
    if (!err)
        err = bench_compare(&c, options, NULL);
    close_bench(&b);
    return err;
}
