/* A counting sort by server, and arrays that run over frames: an array may be cut anywhere, also within a value's row,
 * so both directions copy through a cursor. */
#include "worker/partition.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

_Static_assert(sizeof(real) == sizeof(float),
               "the wire carries floats; this half of the client is built for them alone");

void partition_init(Partition *p, uint32_t n_servers) {
    *p = (Partition){.n_servers = n_servers};
    p->first = must_calloc(n_servers + 1, sizeof *p->first);
    p->n_values = must_calloc(n_servers, sizeof *p->n_values);
}

void partition_free(Partition *p) {
    free(p->first);
    free(p->n_values);
    free(p->sorted);
    free(p->value_at);
    free(p->server);
    *p = (Partition){0};
}

static void reserve(Partition *p, uint32_t n_keys) {
    if (n_keys <= p->max_keys)
        return;
    p->max_keys = n_keys + n_keys / 2;
    p->sorted = must_realloc(p->sorted, p->max_keys * sizeof *p->sorted);
    p->value_at = must_realloc(p->value_at, p->max_keys * sizeof *p->value_at);
    p->server = must_realloc(p->server, p->max_keys * sizeof *p->server);
}

static uint32_t width_of(const Schema *schema, uint64_t key) {
    return schema->tables[key_table(key)].width;
}

void partition_keys(Partition *p, const Schema *schema, const uint16_t *slots, const uint64_t *keys, uint32_t n_keys) {
    reserve(p, n_keys);
    p->n_keys = n_keys;
    memset(p->first, 0, (p->n_servers + 1) * sizeof *p->first);
    memset(p->n_values, 0, p->n_servers * sizeof *p->n_values);
    size_t at = 0;
    for (uint32_t i = 0; i < n_keys; i++) {
        uint16_t server = p->n_servers == 1 ? 0 : slots[key_slot(keys[i])];
        p->server[i] = server;
        p->value_at[i] = at;
        at += width_of(schema, keys[i]);
        p->n_values[server] += width_of(schema, keys[i]);
        p->first[server + 1]++;
    }
    for (uint32_t s = 0; s < p->n_servers; s++)
        p->first[s + 1] += p->first[s];
    for (uint32_t i = 0; i < n_keys; i++)
        p->sorted[p->first[p->server[i]]++] = i;
    memmove(p->first + 1, p->first, p->n_servers * sizeof *p->first); /* each had moved to its own end */
    p->first[0] = 0;
}

/* ---- arrays over frames ------------------------------------------------------------------------------------- */

typedef struct Cursor {
    const Frame *frame;
    size_t offset; /* bytes of the frame that are behind */
} Cursor;

static void add_frames(Message *m, size_t size_bytes) {
    for (size_t rest = size_bytes; rest > 0;) {
        size_t n = rest < MESSAGE_FRAME_BYTES ? rest : MESSAGE_FRAME_BYTES;
        message_add_frame(m, n);
        rest -= n;
    }
}

/* The next piece of at most size_bytes in one frame; moves behind it. */
static char *next_piece(Cursor *c, size_t size_bytes, size_t *n) {
    if (c->offset == c->frame->size_bytes)
        *c = (Cursor){.frame = c->frame + 1};
    char *piece = (char *)c->frame->data + c->offset;
    *n = c->frame->size_bytes - c->offset < size_bytes ? c->frame->size_bytes - c->offset : size_bytes;
    c->offset += *n;
    return piece;
}

static void put(Cursor *c, const void *data, size_t size_bytes) {
    for (size_t n, done = 0; done < size_bytes; done += n) {
        char *piece = next_piece(c, size_bytes - done, &n);
        memcpy(piece, (const char *)data + done, n);
    }
}

static void get(Cursor *c, void *data, size_t size_bytes) {
    for (size_t n, done = 0; done < size_bytes; done += n) {
        const char *piece = next_piece(c, size_bytes - done, &n);
        memcpy((char *)data + done, piece, n);
    }
}

void partition_write_keys(const Partition *p, uint32_t server, const uint64_t *keys, Message *m) {
    Cursor c = {.frame = &m->frames[m->n_frames]};
    add_frames(m, (p->first[server + 1] - p->first[server]) * sizeof *keys);
    for (uint32_t i = p->first[server]; i < p->first[server + 1]; i++)
        put(&c, &keys[p->sorted[i]], sizeof *keys);
}

void partition_write_values(const Partition *p, const Schema *schema, uint32_t server, const uint64_t *keys,
                            const real *values, Message *m) {
    Cursor c = {.frame = &m->frames[m->n_frames]};
    add_frames(m, p->n_values[server] * sizeof *values);
    for (uint32_t i = p->first[server]; i < p->first[server + 1]; i++) {
        uint32_t key = p->sorted[i];
        put(&c, values + p->value_at[key], width_of(schema, keys[key]) * sizeof *values);
    }
}

void partition_scatter(const Partition *p, const Schema *schema, uint32_t server, const uint64_t *keys,
                       const Message *m, real *values) {
    Cursor c = {.frame = m->frames};
    for (uint32_t i = p->first[server]; i < p->first[server + 1]; i++) {
        uint32_t key = p->sorted[i];
        get(&c, values + p->value_at[key], width_of(schema, keys[key]) * sizeof *values);
    }
}
