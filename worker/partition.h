/* Which keys of a pull or push go to which server, and where each key's values lie in the caller's array. */
#ifndef MANGROVE_WORKER_PARTITION_H
#define MANGROVE_WORKER_PARTITION_H

#include <stddef.h>
#include <stdint.h>

#include "common/real.h"
#include "common/schema.h"
#include "proto/message.h"
#include "proto/wire.h"

typedef struct Partition {
    uint32_t n_servers, n_keys;
    Wire wire;         /* how the values travel */
    uint32_t *first;   /* (n_servers + 1) into sorted */
    size_t *n_values;  /* (n_servers) sums of widths */
    size_t *n_bytes;   /* (n_servers) of these values on the wire */
    uint32_t *sorted;  /* (n_keys) indices of keys: server by server, each in the caller's order */
    size_t *value_at;  /* (n_keys) where a key's values start in the caller's array */
    uint16_t *server;  /* (n_keys) */
    uint32_t max_keys; /* room in the arrays: they grow to the largest step and stay */
} Partition;

void partition_init(Partition *p, uint32_t n_servers);
void partition_free(Partition *p);

/* slots: slot -> server, < n_servers. */
void partition_keys(Partition *p, const Schema *schema, const uint16_t *slots, Wire wire, const uint64_t *keys,
                    uint32_t n_keys);

/* Appends the server's keys, and its values, in key order to the message's frames. */
void partition_write_keys(const Partition *p, uint32_t server, const uint64_t *keys, Message *m);
void partition_write_values(const Partition *p, const Schema *schema, uint32_t server, const uint64_t *keys,
                            const real *values, Message *m);

/* The reverse, of a reply whose frames hold n_bytes[server] bytes of values in key order, into the caller's array. */
void partition_scatter(const Partition *p, const Schema *schema, uint32_t server, const uint64_t *keys,
                       const Message *m, real *values);

#endif
