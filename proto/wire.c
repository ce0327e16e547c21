/* f32 to bf16 and back, in integers: no mode of the processor changes the result. */
#include "proto/wire.h"

#include <string.h>

#include "common/vector_code.h"

size_t wire_rows_bytes(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys) {
    size_t bytes = 0;
    for (size_t i = 0; i < n_keys; i++) {
        const Table *t = &schema->tables[key_table(keys[i])];
        bytes += t->width * wire_value_bytes(wire_of_table(wire, t));
    }
    return bytes;
}

const char *wire_name(uint64_t wire) {
    return wire == WIRE_FP32 ? "fp32" : wire == WIRE_BF16 ? "bf16" : "unknown";
}

/* Adding just under half of what is cut off, and its last kept bit, carries where the nearest lies above. A NaN whose
 * fraction would be cut to 0 or carried away is made quiet instead. */
static inline uint32_t upper_half(uint32_t bits) {
    uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : nearest;
}

VECTORIZE static void pack(uint8_t *bytes, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        uint16_t half = (uint16_t)upper_half(bits);
        memcpy(bytes + i * sizeof half, &half, sizeof half);
    }
}

VECTORIZE static void unpack(float *x, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(x + i, &bits, sizeof bits);
    }
}

VECTORIZE static void round_all(float *out, const float *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, in + i, sizeof bits);
        bits = upper_half(bits) << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

void wire_pack(Wire wire, void *bytes, const float *x, size_t n) {
    if (wire == WIRE_BF16)
        pack(bytes, x, n);
    else
        memcpy(bytes, x, n * sizeof *x);
}

void wire_unpack(Wire wire, float *x, const void *bytes, size_t n) {
    if (wire == WIRE_BF16)
        unpack(x, bytes, n);
    else
        memcpy(x, bytes, n * sizeof *x);
}

/* Rows in a run that travel alike: their numbers lie one behind the other, and are converted in one go. */
typedef struct Run {
    Wire wire;
    size_t n_keys, n_values;
} Run;

static Run next_run(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys) {
    Run run = {.wire = wire_of_table(wire, &schema->tables[key_table(keys[0])])};
    for (; run.n_keys < n_keys; run.n_keys++) {
        const Table *t = &schema->tables[key_table(keys[run.n_keys])];
        if (wire_of_table(wire, t) != run.wire)
            break;
        run.n_values += t->width;
    }
    return run;
}

void wire_pack_rows(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys, void *bytes, const float *x) {
    uint8_t *at = bytes;
    for (size_t i = 0; i < n_keys;) {
        Run run = next_run(wire, schema, keys + i, n_keys - i);
        wire_pack(run.wire, at, x, run.n_values);
        at += run.n_values * wire_value_bytes(run.wire);
        x += run.n_values;
        i += run.n_keys;
    }
}

void wire_unpack_rows(Wire wire, const Schema *schema, const uint64_t *keys, size_t n_keys, float *x,
                      const void *bytes) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n_keys;) {
        Run run = next_run(wire, schema, keys + i, n_keys - i);
        wire_unpack(run.wire, x, at, run.n_values);
        at += run.n_values * wire_value_bytes(run.wire);
        x += run.n_values;
        i += run.n_keys;
    }
}

void wire_round(Wire wire, float *out, const float *in, size_t n) {
    if (wire == WIRE_BF16)
        round_all(out, in, n);
    else
        memmove(out, in, n * sizeof *in);
}
