/* Messages: every type survives the wire, hostile bytes are refused by name.
 * link: mg_proto */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/message.h"

enum { FIRST_FRAME = MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES };

/* ---- the codec -------------------------------------------------------------------------------------------------- */

static size_t body_bytes(MessageType type) {
    switch (type) {
#define X(name, value, member, fields)                                                                                 \
    case MESSAGE_##name:                                                                                               \
        return sizeof(Message##name);
        MESSAGE_TYPES(X)
#undef X
    }
    return 0;
}

static void fill_text(char *text, size_t length) {
    memset(text, 0, MESSAGE_TEXT);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('!' + i % 94);
}

/* Every field of the type gets a value of its own, numbers of every length; or the largest there is. */
static void fill(Message *m, bool is_largest) {
    uint64_t next = 0x0123456789abcdef;
    message_init(m, m->type);
    m->job = 7, m->sender = 9, m->incarnation = 0x1122334455667788, m->sequence = UINT64_MAX;
    switch (m->type) {
#define N(field)                                                                                                       \
    *number = is_largest ? UINT64_MAX : next >> (next % 61), next = next * 6364136223846793005u + 1, number++;
#define S(field)                                                                                                       \
    fill_text((char *)number, is_largest ? MESSAGE_TEXT - 1 : next % 300), next = next * 6364136223846793005u + 1,     \
                                                                           number += MESSAGE_TEXT / sizeof *number;
#define X(name, value, member, fields)                                                                                 \
    case MESSAGE_##name: {                                                                                             \
        uint64_t *number = (uint64_t *)&m->member;                                                                     \
        fields(N, S) break;                                                                                            \
    }
        MESSAGE_TYPES(X)
#undef X
#undef S
#undef N
    }
}

static void assert_survives(const Message *m) {
    uint8_t bytes[FIRST_FRAME];
    size_t n = message_encode(m, bytes);
    assert_in_range(n, MESSAGE_HEADER_BYTES + 1, FIRST_FRAME);
    Message back;
    message_init(&back, 0);
    back.n_frames = 0;
    assert_int_equal(message_decode(&back, bytes, n), OK);
    assert_int_equal(back.type, m->type);
    assert_int_equal(back.job, m->job);
    assert_int_equal(back.sender, m->sender);
    assert_int_equal(back.incarnation, m->incarnation);
    assert_true(back.sequence == m->sequence);
    assert_memory_equal(&back.hello, &m->hello, body_bytes(m->type));
}

static const MessageType ALL_TYPES[] = {
#define X(name, value, member, fields) MESSAGE_##name,
    MESSAGE_TYPES(X)
#undef X
};
enum { N_TYPES = sizeof ALL_TYPES / sizeof *ALL_TYPES };

static void every_type_survives_the_wire(void **state) {
    (void)state;
    Message m;
    for (int i = 0; i < N_TYPES; i++) {
        message_init(&m, ALL_TYPES[i]);
        m.incarnation = 1;
        assert_survives(&m);
        fill(&m, false);
        assert_survives(&m);
        fill(&m, true);
        assert_survives(&m);
    }
}

static void types_have_names(void **state) {
    (void)state;
    assert_string_equal(message_type_name(MESSAGE_PULL), "PULL");
    assert_string_equal(message_type_name(0), "unknown");
    assert_string_equal(message_type_name(31), "unknown");
    assert_string_equal(message_type_name(255), "unknown");
}

/* Version 2 on the wire. If this fails the protocol has changed: raise PROTOCOL_VERSION. */
static const uint8_t GOLDEN_PULL[] = {
    'M',  'G',  'R',  'V',                                            /* magic */
    2,    0,                                                          /* version */
    32,   0,                                                          /* PULL, flags */
    7,    0,    0,    0,                                              /* job */
    9,    0,    0,    0,                                              /* sender */
    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,                   /* incarnation */
    0x39, 0x30, 0,    0,    0,    0,    0,    0,                      /* sequence 12345 */
    0x85,                                                             /* a map of five */
    0xa5, 'e',  'p',  'o',  'c',  'h',  3,                            /* fixint */
    0xa6, 'd',  'o',  'm',  'a',  'i',  'n',  1,                      /* fixint */
    0xa4, 's',  't',  'e',  'p',  0xcd, 0x04, 0xd2,                   /* uint16 1234 */
    0xa3, 'm',  'a',  'p',  0xcc, 0xc8,                               /* uint8 200 */
    0xa6, 'n',  '_',  'k',  'e',  'y',  's',  0xce, 0, 1, 0x11, 0x70, /* uint32 70000 */
};

static void a_pull_has_the_golden_bytes(void **state) {
    (void)state;
    Message m, back;
    uint8_t bytes[FIRST_FRAME];
    message_init(&m, MESSAGE_PULL);
    m.job = 7, m.sender = 9, m.incarnation = 0x1122334455667788, m.sequence = 12345;
    m.pull = (MessagePULL){.epoch = 3, .domain = 1, .step = 1234, .map = 200, .n_keys = 70000};
    assert_int_equal(message_encode(&m, bytes), sizeof GOLDEN_PULL);
    assert_memory_equal(bytes, GOLDEN_PULL, sizeof GOLDEN_PULL);
    assert_int_equal(message_decode(&back, GOLDEN_PULL, sizeof GOLDEN_PULL), OK);
    assert_int_equal(back.pull.n_keys, 70000);
    assert_int_equal(back.pull.rank, 0);
}

/* ---- hostile bytes ---------------------------------------------------------------------------------------------- */

/* The header of a REFUSE {code, text}, changed in one byte, then these bytes for the map. */
typedef struct BadCase {
    int offset; /* of the changed byte; -1: none */
    uint8_t value;
    size_t size; /* of the map */
    const char *map, *sentence;
} BadCase;

#define MAP(bytes) sizeof(bytes) - 1, bytes
#define TEN        "aaaaaaaaaa"
#define HUNDRED    TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

#define CODE "\244code"
#define TEXT "\244text"

static const BadCase BAD[] = {
    {0, 'X', MAP("\x80"), "the message begins with other bytes than MGRV: not from a mangrove"},
    {4, 3, MAP("\x80"), "the message is of protocol version 3, this program speaks version 2"},
    {5, 1, MAP("\x80"), "the message is of protocol version 258, this program speaks version 2"},
    {6, 0, MAP("\x80"), "the message is of type 0, which version 2 does not know"},
    {6, 30, MAP("\x80"), "the message is of type 30, which version 2 does not know"},
    {6, 255, MAP("\x80"), "the message is of type 255, which version 2 does not know"},
    {7, 128, MAP("\x80"), "REFUSE: the flags are 128, expected 0"},
    {16, 0, MAP("\x80"), "REFUSE: the incarnation is 0"},
    {-1, 0, MAP(""), "REFUSE: no map follows the header"},
    {-1, 0, MAP("\x90"), "REFUSE: no map follows the header"},
    {-1, 0, MAP("\xde\x00"), "REFUSE: no map follows the header"},
    {-1, 0, MAP("\xde\x00\x21"), "REFUSE: the map claims 33 entries, the limit is 32"},
    {-1, 0, MAP("\xdf\xff\xff\xff\xff"), "REFUSE: the map claims 4294967295 entries, the limit is 32"},
    {-1, 0, MAP("\x81"), "REFUSE: the map ends within key 1"},
    {-1, 0,
     MAP("\x81\xa4"
         "cod"),
     "REFUSE: the map ends within key 1"},
    {-1, 0,
     MAP("\x81\xdb\xff\xff\xff\xff"
         "code"),
     "REFUSE: the map ends within key 1"},
    {-1, 0, MAP("\x81\x01\x01"), "REFUSE: key 1 of the map is a number, expected a string"},
    {-1, 0,
     MAP("\x81\xc4\x04"
         "code\x01"),
     "REFUSE: key 1 of the map is another type, expected a string"},
    {-1, 0, MAP("\x81\xc1\x01"), "REFUSE: key 1 of the map is an invalid byte, expected a string"},
    {-1, 0, MAP("\x81" CODE), "REFUSE: the map ends within value 1"},
    {-1, 0, MAP("\x81" CODE "\xcf\x01\x02"), "REFUSE: the map ends within value 1"},
    {-1, 0, MAP("\x82" CODE "\x01" CODE "\x01"), "REFUSE: key 2 of the map repeats an earlier one"},
    {-1, 0, MAP("\x82\xa1?\x01\xa1?\x01"), "REFUSE: key 2 of the map repeats an earlier one"},
    {-1, 0,
     MAP("\x81" CODE "\xa1"
         "1"),
     "REFUSE: field code is a string, expected a number"},
    {-1, 0, MAP("\x81" CODE "\xff"), "REFUSE: field code is another type, expected a number"},
    {-1, 0, MAP("\x81" CODE "\xca\x00\x00\x00\x00"), "REFUSE: field code is another type, expected a number"},
    {-1, 0, MAP("\x81" TEXT "\x05"), "REFUSE: field text is a number, expected a string"},
    {-1, 0,
     MAP("\x81" TEXT "\xa3"
         "a\0b"),
     "REFUSE: field text contains a zero byte"},
    {-1, 0, MAP("\x81" TEXT "\xda\x02\x00" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "abcdefghijkl"),
     "REFUSE: field text has 512 bytes, the limit is 511"},
    {-1, 0, MAP("\x81" CODE "\x90"), "REFUSE: the map holds an array, expected plain values"},
    {-1, 0, MAP("\x81\xa1?\x80"), "REFUSE: the map holds a map, expected plain values"},
    {-1, 0, MAP("\x81\xa1?\xdd\xff\xff\xff\xff"), "REFUSE: the map holds an array, expected plain values"},
    {-1, 0, MAP("\x81\xa1?\xc1"), "REFUSE: the map holds an invalid byte, expected plain values"},
    {-1, 0, MAP("\x80\x00"), "REFUSE: 1 bytes follow the map, expected none"},
    {-1, 0, MAP("\x81" CODE "\x01\x80\x80"), "REFUSE: 2 bytes follow the map, expected none"},
};

static size_t build(const BadCase *c, uint8_t *bytes) {
    Message m;
    message_init(&m, MESSAGE_REFUSE);
    m.incarnation = 0x42;
    message_encode(&m, bytes);
    if (c->offset >= 0)
        bytes[c->offset] = c->value;
    memcpy(bytes + MESSAGE_HEADER_BYTES, c->map, c->size);
    return MESSAGE_HEADER_BYTES + c->size;
}

static void malformed_bytes_get_their_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        uint8_t bytes[FIRST_FRAME];
        Message m;
        size_t n = build(&BAD[i], bytes);
        assert_int_equal(message_decode(&m, bytes, n), ERR_PROTOCOL);
        assert_string_equal(err_message(), BAD[i].sentence);
    }
}

static void a_frame_shorter_than_the_header_or_over_4_KiB_of_map_is_refused(void **state) {
    (void)state;
    static uint8_t bytes[FIRST_FRAME + 1];
    Message m;
    memcpy(bytes, GOLDEN_PULL, sizeof GOLDEN_PULL);
    assert_int_equal(message_decode(&m, bytes, 31), ERR_PROTOCOL);
    assert_string_equal(err_message(), "the message's first frame has 31 bytes, its header needs 32");
    assert_int_equal(message_decode(&m, bytes, sizeof bytes), ERR_PROTOCOL);
    assert_string_equal(err_message(), "PULL: the map has 4097 bytes, the limit is 4096");
}

static void every_proper_prefix_of_a_message_is_refused(void **state) {
    (void)state;
    Message m;
    for (size_t n = 0; n < sizeof GOLDEN_PULL; n++) {
        uint8_t *exact = malloc(n + 1); /* for the address sanitizer; one byte more, as 0 bytes need no memory */
        memcpy(exact + 1, GOLDEN_PULL, n);
        assert_int_equal(message_decode(&m, exact + 1, n), ERR_PROTOCOL);
        free(exact);
    }
}

/* One of each MessagePack format under keys that no version has. */
static const char UNKNOWN[] = "\xde\x00\x1a"
                              "\xa1"
                              "a\xc0"
                              "\xa1"
                              "b\xc2"
                              "\xa1"
                              "c\xc3" /* nil false true */
                              "\xa1"
                              "d\xc4\x01x"
                              "\xa1"
                              "e\xc5\x00\x01x"
                              "\xa1"
                              "f\xc6\0\0\0\x01x" /* bin */
                              "\xa1"
                              "g\xc7\x01\x05x"
                              "\xa1"
                              "h\xc8\0\x01\x05x"
                              "\xa1"
                              "i\xc9\0\0\0\x01\x05x" /* ext */
                              "\xa1"
                              "j\xca"
                              "1234"
                              "\xa1"
                              "k\xcb"
                              "12345678" /* float */
                              "\xa1"
                              "l\xcc"
                              "1"
                              "\xa1"
                              "m\xcf"
                              "12345678" /* uint */
                              "\xa1"
                              "n\xd0"
                              "1"
                              "\xa1"
                              "o\xd1"
                              "12"
                              "\xa1"
                              "p\xd2"
                              "1234"
                              "\xa1"
                              "q\xd3"
                              "12345678"
                              "\xa1"
                              "r\xd4\x05x"
                              "\xa1"
                              "s\xd5\x05xx"
                              "\xa1"
                              "t\xd6\x05xxxx"
                              "\xa1"
                              "u\xd7\x05"
                              "12345678"
                              "\xa1"
                              "v\xd8\x05"
                              "1234567812345678" /* fixext */
                              "\xa1"
                              "w\xd9\x01x"
                              "\xa1"
                              "x\xda\0\x01x"
                              "\xa1"
                              "y\xdb\0\0\0\x01x" /* str */
                              "\xd9\x04"
                              "code\xcd\x01\x02";

static void unknown_keys_of_every_kind_are_skipped(void **state) {
    (void)state;
    BadCase c = {-1, 0, sizeof UNKNOWN - 1, UNKNOWN, NULL};
    uint8_t bytes[FIRST_FRAME];
    Message m;
    assert_int_equal(message_decode(&m, bytes, build(&c, bytes)), OK);
    assert_int_equal(m.refuse.code, 0x0102);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

/* The message ends where its array ends, so that the address sanitizer sees a read behind it. The fuzzer goes on. */
static void changed_bytes_never_crash_the_decoder_and_it_allocates_nothing(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252u;
    static uint8_t first[FIRST_FRAME];
    static Message m;
    size_t before = mallinfo2().uordblks, n_accepted = 0;
    for (int i = 0; i < 100000; i++) {
        m.type = ALL_TYPES[i % N_TYPES];
        fill(&m, false);
        size_t n = message_encode(&m, first);
        for (int changes = 1 + (int)(next_random(&seed) % 3); changes; changes--)
            first[next_random(&seed) % n] = (uint8_t)next_random(&seed);
        memmove(first + FIRST_FRAME - n, first, n);
        n_accepted += message_decode(&m, first + FIRST_FRAME - n, n) == OK;
    }
    assert_int_equal(mallinfo2().uordblks, before);
    assert_in_range(n_accepted, 1000, 99000); /* values changed in place are as good as before, structure is not */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_survives_the_wire),
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(a_pull_has_the_golden_bytes),
        cmocka_unit_test(malformed_bytes_get_their_sentence),
        cmocka_unit_test(a_frame_shorter_than_the_header_or_over_4_KiB_of_map_is_refused),
        cmocka_unit_test(every_proper_prefix_of_a_message_is_refused),
        cmocka_unit_test(unknown_keys_of_every_kind_are_skipped),
        cmocka_unit_test(changed_bytes_never_crash_the_decoder_and_it_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
