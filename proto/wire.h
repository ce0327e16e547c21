/* Values on the wire: rows of numbers as f32 or, where train.wire says so, as bf16, the upper half of an f32.
 *
 *   bf16   2 bytes little-endian: sign, 8 bits of exponent, 7 of fraction; rounded to the nearest, ties to even; NaN
 *          stays NaN; what lies within half a step of 2^128 becomes infinite
 *
 * Rows of stats stay f32: a sum of losses or of weights is worth nothing if its terms are rounded to 3 digits, and they
 * are a thirtieth of a step's bytes. So do the pulls of an evaluation, which thus measures what a snapshot holds. */
#ifndef MANGROVE_PROTO_WIRE_H
#define MANGROVE_PROTO_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/schema.h"

/* Of the values of a pull; of a push it is the run's. */
static inline Wire wire_of_pull(Wire of_run, uint64_t pass) {
    return pass ? WIRE_FP32 : of_run;
}

/* How a row of this table travels where the message says `wire`. */
static inline Wire wire_of_table(Wire wire, const Table *t) {
    return t->is_stats ? WIRE_FP32 : wire;
}

static inline size_t wire_value_bytes(Wire wire) {
    return wire == WIRE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* Of all these rows, whose tables exist. */
size_t wire_rows_bytes(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys);

const char *wire_name(uint64_t wire); /* "bf16"; "unknown" */

/* Rows of these keys, one behind the other, to and from their bytes. */
void wire_pack_rows(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys, void *bytes, const float *x);
void wire_unpack_rows(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys, float *x,
                      const void *bytes);

/* n numbers to and from their bytes, which may lie unaligned. */
void wire_pack(Wire wire, void *bytes, const float *x, size_t n);
void wire_unpack(Wire wire, float *x, const void *bytes, size_t n);
/* What wire_pack and then wire_unpack make of them. in and out may be the same. */
void wire_round(Wire wire, float *out, const float *in, size_t n);

#endif
