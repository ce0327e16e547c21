/* redis as people serve embedding rows with it: a row is a string of floats. The commands are written once, and answers
 * are counted rather than parsed: a client library would cost this side more. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "deploy/bench/bench.h"
#include "deploy/bench/bench_child.h"
#include "deploy/bench/bench_link.h"
#include "proto/loop.h"

enum { READ_BYTES = 1 << 20 };

typedef struct Command {
    char *bytes;
    size_t n_bytes;
} Command;

struct LinkRedis {
    const LinkRequests *requests;
    BenchChild server;
    char port[16];
    int socket;
    Command mget[LINK_SETS], mset[LINK_SETS];
    size_t row_bytes, values_bytes; /* of an answer to MGET */
    char *input;
};

/* ---- the server ------------------------------------------------------------------------------------------------- */

static bool is_installed(void) {
    return system("command -v redis-server >/dev/null") == 0;
}

/* One that was free a moment ago: redis does not say which port it got. */
static Err find_port(char *port, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_found =
        fd >= 0 && !bind(fd, (struct sockaddr *)&address, n) && !getsockname(fd, (struct sockaddr *)&address, &n);
    if (fd >= 0)
        close(fd);
    if (!is_found)
        return err_fail(ERR_FAILED, "there is no free port: %s", strerror(errno));
    snprintf(port, size, "%u", ntohs(address.sin_port));
    return OK;
}

static void be_redis(void *ctx, int in, int out) {
    int nothing = open("/dev/null", O_WRONLY);
    (void)in, (void)out;
    dup2(nothing, STDOUT_FILENO);
    execlp("redis-server", "redis-server", "--port", (const char *)ctx, "--bind", "127.0.0.1", "--save", "",
           "--appendonly", "no", NULL);
}

static Err start_server(LinkRedis *r) {
    Err err = find_port(r->port, sizeof r->port);
    return err ? err : bench_child_start(&r->server, be_redis, r->port);
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

/* A key is as long as the row's number is wide, a value as long as its floats. */
static Command write_command(const char *name, const LinkRequests *q, const uint64_t *keys, bool has_values) {
    size_t value_bytes = q->shape.width * sizeof(float), room = 64 + q->shape.n_rows * (64 + value_bytes);
    char *bytes = must_alloc(room), *at = bytes;
    at += sprintf(at, "*%u\r\n$4\r\n%s\r\n", 1 + q->shape.n_rows * (has_values ? 2 : 1), name);
    for (uint32_t i = 0; i < q->shape.n_rows; i++) {
        at += sprintf(at, "$8\r\n");
        memcpy(at, &keys[i], sizeof *keys);
        at += sizeof *keys;
        at += sprintf(at, "\r\n");
        if (!has_values)
            continue;
        at += sprintf(at, "$%zu\r\n", value_bytes);
        memcpy(at, q->grads + (size_t)i * q->shape.width, value_bytes);
        at += value_bytes;
        at += sprintf(at, "\r\n");
    }
    return (Command){bytes, (size_t)(at - bytes)};
}

static Err say(LinkRedis *r, const Command *c) {
    for (size_t done = 0; done < c->n_bytes;) {
        ssize_t n = send(r->socket, c->bytes + done, c->n_bytes - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return err_fail(ERR_PEER, "redis does not take what is sent: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return OK;
}

/* Answers come in order, and their sizes are known. */
static Err hear(LinkRedis *r, size_t n_bytes, char first) {
    bool is_first = true;
    while (n_bytes) {
        ssize_t n = recv(r->socket, r->input, n_bytes < READ_BYTES ? n_bytes : READ_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_fail(ERR_PEER, "redis does not answer: %s", n ? strerror(errno) : "it has ended");
        if (is_first && r->input[0] != first)
            return err_fail(ERR_PROTOCOL, "redis answers \"%.*s\"", (int)(n < 80 ? n : 80), r->input);
        is_first = false;
        n_bytes -= (size_t)n;
    }
    return OK;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

Err link_redis_start(LinkRedis **out, const LinkRequests *requests) {
    *out = NULL;
    if (!is_installed())
        return OK;
    LinkRedis *r = must_calloc(1, sizeof *r);
    *out = r;
    r->requests = requests;
    r->socket = -1;
    r->input = must_alloc(READ_BYTES);
    char text[64];
    r->row_bytes = requests->shape.width * sizeof(float);
    r->values_bytes =
        (size_t)snprintf(text, sizeof text, "*%u\r\n", requests->shape.n_rows) +
        requests->shape.n_rows * ((size_t)snprintf(text, sizeof text, "$%zu\r\n\r\n", r->row_bytes) + r->row_bytes);
    for (int k = 0; k < LINK_SETS; k++) {
        r->mget[k] = write_command("MGET", requests, requests->keys[k], false);
        r->mset[k] = write_command("MSET", requests, requests->keys[k], true);
    }
    return start_server(r);
}

static bool is_dialled(LinkRedis *r) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)atoi(r->port))};
    struct timeval patience = {.tv_sec = LINK_PATIENCE_S};
    int yes = 1;
    r->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (r->socket >= 0 && !connect(r->socket, (struct sockaddr *)&address, sizeof address) &&
        !setsockopt(r->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) &&
        !setsockopt(r->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes))
        return true;
    if (r->socket >= 0)
        close(r->socket);
    r->socket = -1;
    return false;
}

Err link_redis_connect(LinkRedis *r) {
    uint64_t deadline_ms = clock_ms() + LINK_PATIENCE_S * 1000;
    while (!is_dialled(r) && clock_ms() < deadline_ms)
        usleep(1000);
    if (r->socket < 0)
        return err_fail(ERR_PEER, "redis-server does not listen on port %s", r->port);
    Err err = OK;
    for (int k = 0; k < LINK_SETS && !err; k++) {
        err = say(r, &r->mset[k]);
        if (!err)
            err = hear(r, 5, '+');
    }
    return err;
}

void link_redis_close(LinkRedis **out) {
    LinkRedis *r = *out;
    if (!r)
        return;
    if (r->socket >= 0)
        close(r->socket);
    bench_child_end(&r->server);
    for (int k = 0; k < LINK_SETS; k++) {
        free(r->mget[k].bytes);
        free(r->mset[k].bytes);
    }
    free(r->input);
    free(r);
    *out = NULL;
}

/* Two sets of rows are under way, each with its MGET and its MSET. */
Err link_redis_rate(LinkRedis *r, double seconds, LinkRate *rate) {
    double cpu = bench_child_cpu_s(&r->server);
    uint64_t n_asked = 0, n_heard = 0;
    double start = bench_now_s(), end = start + seconds;
    Err err = OK;
    do {
        for (; !err && n_asked < n_heard + LINK_IN_FLIGHT / 2 && bench_now_s() < end; n_asked++) {
            err = say(r, &r->mget[n_asked % LINK_SETS]);
            if (!err)
                err = say(r, &r->mset[n_asked % LINK_SETS]);
        }
        if (!err)
            err = hear(r, r->values_bytes, '*');
        if (!err)
            err = hear(r, 5, '+');
        n_heard++;
    } while (!err && n_heard < n_asked);
    double n_rows = (double)n_heard * r->requests->shape.n_rows;
    *rate = (LinkRate){n_rows / (bench_now_s() - start), n_rows / (bench_child_cpu_s(&r->server) - cpu)};
    return err;
}
