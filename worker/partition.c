/* A counting sort by server, and arrays that run over frames: an array may be cut anywhere, also within a value's row,
 * so both directions copy through a cursor. */
#include "worker/partition.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

_Static_assert(sizeof(real) == sizeof(float),
               "the wire carries floats at most; this half of the client is built for them alone");

void partition_init(Partition *p, uint32_t n_servers) {
    *p = (Partition){.n_servers = n_servers};
    p->first = must_calloc(n_servers + 1, sizeof *p->first);
    p->n_values = must_calloc(n_servers, sizeof *p->n_values);
    p->n_bytes = must_calloc(n_servers, sizeof *p->n_bytes);
}

void partition_free(Partition *p) {
    free(p->first);
    free(p->n_values);
    free(p->n_bytes);
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

static Wire wire_of_key(const Partition *p, const Schema *schema, uint64_t key) {
    return wire_of_table(p->wire, &schema->tables[key_table(key)]);
}

void partition_keys(Partition *p, const Schema *schema, const uint16_t *slots, Wire wire, const uint64_t *keys,
                    uint32_t n_keys) {
    reserve(p, n_keys);
    p->n_keys = n_keys;
    p->wire = wire;
    memset(p->first, 0, (p->n_servers + 1) * sizeof *p->first);
    memset(p->n_values, 0, p->n_servers * sizeof *p->n_values);
    memset(p->n_bytes, 0, p->n_servers * sizeof *p->n_bytes);
    size_t at = 0;
    for (uint32_t i = 0; i < n_keys; i++) {
        uint16_t server = p->n_servers == 1 ? 0 : slots[key_slot(keys[i])];
        p->server[i] = server;
        p->value_at[i] = at;
        uint32_t width = width_of(schema, keys[i]);
        at += width;
        p->n_values[server] += width;
        p->n_bytes[server] += width * wire_value_bytes(wire_of_key(p, schema, keys[i]));
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

static void step_over_end(Cursor *c) {
    if (c->offset == c->frame->size_bytes)
        *c = (Cursor){.frame = c->frame + 1};
}

/* Whether the frame that comes next, or the rest of the one at hand, holds so much. */
static bool has_whole(Cursor *c, size_t size_bytes) {
    step_over_end(c);
    return c->frame->size_bytes - c->offset >= size_bytes;
}

/* The next piece of at most size_bytes in one frame; moves behind it. */
static char *next_piece(Cursor *c, size_t size_bytes, size_t *n) {
    step_over_end(c);
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

/* A row that a frame's end cuts goes value by value. */
static void put_row(Cursor *c, Wire wire, const real *x, uint32_t width) {
    size_t n, size = wire_value_bytes(wire);
    if (has_whole(c, width * size)) {
        wire_pack(wire, next_piece(c, width * size, &n), x, width);
        return;
    }
    for (uint32_t i = 0; i < width; i++) {
        uint8_t bytes[sizeof(float)];
        wire_pack(wire, bytes, x + i, 1);
        put(c, bytes, size);
    }
}

static void get_row(Cursor *c, Wire wire, real *x, uint32_t width) {
    size_t n, size = wire_value_bytes(wire);
    if (has_whole(c, width * size)) {
        wire_unpack(wire, x, next_piece(c, width * size, &n), width);
        return;
    }
    for (uint32_t i = 0; i < width; i++) {
        uint8_t bytes[sizeof(float)];
        get(c, bytes, size);
        wire_unpack(wire, x + i, bytes, 1);
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
    add_frames(m, p->n_bytes[server]);
    for (uint32_t i = p->first[server]; i < p->first[server + 1]; i++) {
        uint32_t key = p->sorted[i];
        put_row(&c, wire_of_key(p, schema, keys[key]), values + p->value_at[key], width_of(schema, keys[key]));
    }
}

void partition_scatter(const Partition *p, const Schema *schema, uint32_t server, const uint64_t *keys,
                       const Message *m, real *values) {
    Cursor c = {.frame = m->frames};
    for (uint32_t i = p->first[server]; i < p->first[server + 1]; i++) {
        uint32_t key = p->sorted[i];
        get_row(&c, wire_of_key(p, schema, keys[key]), values + p->value_at[key], width_of(schema, keys[key]));
    }
}
