/* Values on the wire: bf16 as wire.h defines it, and what a server makes of train.wire. */
/* link: mg_server */
#include <math.h>

#include "common/rng.h"
#include "proto/wire.h"
#include "tests/unit/session_fixture.h"

enum { WORKER = 1001 };

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void every_bf16_comes_back_as_it_went(void **state) {
    (void)state;
    for (uint32_t half = 0; half <= UINT16_MAX; half++) {
        uint16_t in = (uint16_t)half, out;
        float x;
        wire_unpack(WIRE_BF16, &x, &in, 1);
        assert_int_equal(bits_of(x), half << 16);
        wire_pack(WIRE_BF16, &out, &x, 1);
        if (isnan(x))
            assert_int_equal(out | 0x40, in | 0x40); /* the quiet one */
        else
            assert_int_equal(out, in);
    }
}

/* The nearest of the neighbours below and above in magnitude, found in double; a tie goes to the even one. */
static uint32_t nearest(uint32_t bits) {
    uint32_t below = bits & 0xFFFF0000, above = below + 0x10000;
    double x = float_of(bits), low = float_of(below);
    double high = (above & 0x7FFFFFFF) == 0x7F800000 ? copysign(ldexp(1, 128), x) : (double)float_of(above);
    double to_low = fabs(x - low), to_high = fabs(high - x);
    return to_low < to_high || (to_low == to_high && !(below & 0x10000)) ? below : above;
}

static void each_number_goes_to_the_nearest_and_ties_to_the_even(void **state) {
    (void)state;
    static const uint32_t HARD[] = {0,          0x80000000, 1,          0x7FFF,     0x8000,     0x8001,     0x18000,
                                    0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x3FFF8000, 0x7F7F7FFF, 0x7F7F8000,
                                    0x7F7FFFFF, 0x7F800000, 0xFF800000, 0xBF808000, 0x007FFFFF, 0x00800000};
    Rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (uint32_t i = 0; i < 1000000 + sizeof HARD / sizeof *HARD; i++) {
        uint32_t bits = i < sizeof HARD / sizeof *HARD ? HARD[i] : (uint32_t)(rng_uniform(&r) * 4294967296.0);
        float x = float_of(bits), rounded;
        if (isnan(x))
            continue;
        wire_round(WIRE_BF16, &rounded, &x, 1);
        if (bits_of(rounded) != (isinf(x) ? bits : nearest(bits)))
            fail_msg("%08x becomes %08x", bits, bits_of(rounded));
    }
}

static void a_nan_stays_one(void **state) {
    (void)state;
    static const uint32_t NANS[] = {0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7F808000};
    for (size_t i = 0; i < sizeof NANS / sizeof *NANS; i++) {
        float x = float_of(NANS[i]), rounded;
        wire_round(WIRE_BF16, &rounded, &x, 1);
        assert_true(isnan(rounded));
        assert_int_equal(signbit(rounded), signbit(x));
    }
}

/* Rounding is what the two ends do together, whatever the length and wherever the bytes lie. */
static void rounding_is_packing_and_unpacking(void **state) {
    (void)state;
    enum { MOST = 70 };
    static const Wire WIRES[] = {WIRE_FP32, WIRE_BF16};
    Rng r = rng_stream(2, RNG_TEST, 0, 0);
    float x[MOST], rounded[MOST], back[MOST];
    uint8_t bytes[MOST * sizeof(float) + 3];
    for (int i = 0; i < MOST; i++)
        x[i] = (float)(rng_uniform(&r) - 0.5) * ldexpf(1, i - 35);
    for (int w = 0; w < 2; w++) {
        for (size_t n = 0; n <= MOST; n++) {
            wire_pack(WIRES[w], bytes + n % 4, x, n);
            wire_unpack(WIRES[w], back, bytes + n % 4, n);
            wire_round(WIRES[w], rounded, x, n);
            assert_memory_equal(back, rounded, n * sizeof *x);
        }
    }
    assert_memory_not_equal(rounded, x, sizeof x);
}

/* ---- a server --------------------------------------------------------------------------------------------------- */

static const uint64_t KEYS[] = {(uint64_t)TOY_A << KEY_ROW_BITS | 9, (uint64_t)TOY_STATS << KEY_ROW_BITS};
enum { N_VALUES = TOY_WIDTH + SCHEMA_STATS_WIDTH, N_BYTES = 2 * TOY_WIDTH + 4 * SCHEMA_STATS_WIDTH };

/* Numbers that bf16 cannot hold. */
static void make_gradients(float grads[N_VALUES]) {
    for (int i = 0; i < N_VALUES; i++)
        grads[i] = 1 + (float)(i + 1) / 4096;
}

static void write_packed_push(Message *m, uint32_t step, const float *grads) {
    uint8_t bytes[N_BYTES];
    wire_pack(WIRE_BF16, bytes, grads, TOY_WIDTH);
    memcpy(bytes + 2 * TOY_WIDTH, grads + TOY_WIDTH, 4 * SCHEMA_STATS_WIDTH);
    write_push(m, 1, step, KEYS, 2, NULL, 0);
    message_add_bytes(m, bytes, sizeof bytes);
    m->push.wire = WIRE_BF16;
}

static void a_server_takes_and_gives_bf16_and_keeps_statistics_exact(void **state) {
    (void)state;
    Fixture *plain = fixture_serve(0, 1, 4, 0), *packed = fixture_serve_wire(0, 1, 4, 0, WIRE_BF16);
    float grads[N_VALUES], rounded[N_VALUES], values[N_VALUES], expected[N_VALUES];
    Message m;
    make_gradients(grads);
    wire_round(WIRE_BF16, rounded, grads, TOY_WIDTH);
    memcpy(rounded + TOY_WIDTH, grads + TOY_WIDTH, 4 * SCHEMA_STATS_WIDTH);
    hello(plain, WORKER);
    hello(packed, WORKER);
    write_push(&m, 1, 0, KEYS, 2, rounded, N_VALUES);
    from_worker(plain, WORKER, &m);
    write_packed_push(&m, 0, grads);
    from_worker(packed, WORKER, &m);
    assert_int_equal(only(packed, WORKER, MESSAGE_PUSHED)->pushed.status, STATUS_OK);
    store_pull(session_store(plain->session), KEYS, 2, expected);
    store_pull(session_store(packed->session), KEYS, 2, values);
    assert_memory_equal(values, expected, sizeof values);

    forget_sent(packed);
    write_pull(&m, 1, 1, KEYS, 2);
    m.pull.wire = WIRE_BF16;
    from_worker(packed, WORKER, &m);
    Message *reply = only(packed, WORKER, MESSAGE_VALUES);
    assert_int_equal(reply->values.n_values, N_VALUES);
    assert_int_equal(reply->values.wire, WIRE_BF16);
    assert_int_equal(message_frame_bytes(reply), N_BYTES);
    wire_unpack(WIRE_BF16, values, reply->frames[0].data, TOY_WIDTH);
    memcpy(values + TOY_WIDTH, (char *)reply->frames[0].data + 2 * TOY_WIDTH, 4 * SCHEMA_STATS_WIDTH);
    wire_round(WIRE_BF16, expected, expected, TOY_WIDTH);
    assert_memory_equal(values, expected, sizeof values);
    fixture_close(plain);
    fixture_close(packed);
}

/* More rows than are packed at a time. */
static void many_rows_come_in_key_order(void **state) {
    (void)state;
    enum { N = 5000 };
    Fixture *f = fixture_serve_wire(0, 1, 4, 0, WIRE_BF16);
    static uint64_t keys[N];
    static float expected[N * TOY_WIDTH], values[N * TOY_WIDTH];
    for (uint64_t i = 0; i < N; i++)
        keys[i] = key_of(TOY_A, i * 7919 % TOY_ITEMS);
    Message m;
    hello(f, WORKER);
    write_pull(&m, 1, 0, keys, N);
    m.pull.wire = WIRE_BF16;
    from_worker(f, WORKER, &m);
    Message *reply = only(f, WORKER, MESSAGE_VALUES);
    assert_int_equal(message_frame_bytes(reply), N * TOY_WIDTH * 2);
    store_pull(session_store(f->session), keys, N, expected);
    wire_round(WIRE_BF16, expected, expected, N * TOY_WIDTH);
    wire_unpack(WIRE_BF16, values, reply->frames[0].data, N * TOY_WIDTH);
    assert_memory_equal(values, expected, sizeof values);
    fixture_close(f);
}

static void another_wire_than_the_configurations_is_refused(void **state) {
    (void)state;
    static const struct {
        Wire of_run;
        MessageType type;
        uint64_t wire, pass;
        const char *sentence;
    } CASES[] = {
        {WIRE_BF16, MESSAGE_PUSH, WIRE_FP32, 0, "a PUSH of fp32 where train.wire is bf16"},
        {WIRE_FP32, MESSAGE_PUSH, WIRE_BF16, 0, "a PUSH of bf16 where train.wire is fp32"},
        {WIRE_FP32, MESSAGE_PUSH, UINT64_MAX, 0, "a PUSH of unknown where train.wire is fp32"},
        {WIRE_BF16, MESSAGE_PULL, WIRE_FP32, 0, "a training step as fp32 where train.wire is bf16: it must be bf16"},
        {WIRE_FP32, MESSAGE_PULL, WIRE_BF16, 0, "a training step as bf16 where train.wire is fp32: it must be fp32"},
        {WIRE_BF16, MESSAGE_PULL, WIRE_BF16, 1, "an evaluation as bf16 where train.wire is bf16: it must be fp32"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Fixture *f = fixture_serve_wire(0, 1, 4, 0, CASES[i].of_run);
        float grads[N_VALUES];
        Message m;
        make_gradients(grads);
        hello(f, WORKER);
        if (CASES[i].type == MESSAGE_PUSH) {
            write_push(&m, 1, 0, KEYS, 1, grads, TOY_WIDTH);
            m.push.wire = CASES[i].wire;
        } else {
            write_pull(&m, 1, 0, KEYS, 1);
            m.pull.wire = CASES[i].wire;
            m.pull.pass = CASES[i].pass;
            m.pull.split = CASES[i].pass ? SPLIT_VALID : SPLIT_TRAIN;
        }
        from_worker(f, WORKER, &m);
        const MessageREFUSE *r = &only(f, WORKER, MESSAGE_REFUSE)->refuse;
        if (!strstr(r->text, CASES[i].sentence))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, r->text, CASES[i].sentence);
        assert_int_equal(store_applied_count(session_store(f->session)), 0);
        fixture_close(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bf16_comes_back_as_it_went),
        cmocka_unit_test(each_number_goes_to_the_nearest_and_ties_to_the_even),
        cmocka_unit_test(a_nan_stays_one),
        cmocka_unit_test(rounding_is_packing_and_unpacking),
        cmocka_unit_test(a_server_takes_and_gives_bf16_and_keeps_statistics_exact),
        cmocka_unit_test(many_rows_come_in_key_order),
        cmocka_unit_test(another_wire_than_the_configurations_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
