/* Frame 0 of a message, to bytes and back.
 *
 * DESIGN. Everything follows from the rows of message.h: for each type the names and kinds of its fields in the order
 * of the struct, whose members follow each other without gaps. Encoding is MessagePack's packer. Decoding is a reader
 * of our own, because the library's unpacker allocates what a header claims (155 bytes can reserve 248 GiB): one pass
 * over at most MESSAGE_MAP_BYTES, one map, MESSAGE_MAP_ENTRIES entries, no container inside, nothing allocated. */
#include <assert.h>
#include <msgpack.h>
#include <stdbool.h>
#include <string.h>

#include "proto/message.h"

typedef enum FieldKind { FIELD_NUMBER, FIELD_TEXT } FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
} Field;

typedef struct TypeRow {
    const char *name;
    const Field *fields;
    int n_fields;
} TypeRow;

#define N(field)                       {#field, FIELD_NUMBER},
#define S(field)                       {#field, FIELD_TEXT},
#define X(type, value, member, fields) static const Field type##_ROWS[] = {fields(N, S)};
MESSAGE_TYPES(X)
#undef X
#undef N
#undef S

static const TypeRow TYPES[] = {
#define X(type, value, member, fields) [value] = {#type, type##_ROWS, (int)(sizeof type##_ROWS / sizeof(Field))},
    MESSAGE_TYPES(X)
#undef X
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

/* What the codec relies on: no gaps between members, and a map that is full in every field fits. */
#define N(field)                       +sizeof(uint64_t)
#define S(field)                       +MESSAGE_TEXT
#define X(type, value, member, fields) _Static_assert(sizeof(Message##type) == 0 fields(N, S), "a gap in " #type);
MESSAGE_TYPES(X)
#undef X
#undef N
#undef S
#define N(field) +sizeof #field + 9                /* fixstr and its name; uint64 */
#define S(field) +sizeof #field + 3 + MESSAGE_TEXT /* fixstr and its name; str16 */
#define X(type, value, member, fields)                                                                                 \
    _Static_assert(sizeof type##_ROWS / sizeof(Field) <= MESSAGE_MAP_ENTRIES && 3 fields(N, S) <= MESSAGE_MAP_BYTES,   \
                   #type " does not fit");
MESSAGE_TYPES(X)
#undef X
#undef N
#undef S

static const TypeRow *row_of(unsigned type) {
    return type < N_TYPES && TYPES[type].name ? &TYPES[type] : NULL;
}

const char *message_type_name(MessageType type) {
    const TypeRow *row = row_of(type);
    return row ? row->name : "unknown";
}

static size_t field_bytes(const Field *field) {
    return field->kind == FIELD_NUMBER ? sizeof(uint64_t) : MESSAGE_TEXT;
}

/* The first field of the body, whatever the type: all members of the union begin there. */
static uint8_t *body_of(Message *m) {
    return (uint8_t *)&m->hello;
}

/* ---- to bytes ---------------------------------------------------------------------------------------------------- */

typedef struct Writer {
    uint8_t *to;
    size_t used, room;
} Writer;

static int write_bytes(void *ctx, const char *bytes, size_t n) {
    Writer *w = ctx;
    assert(n <= w->room - w->used); /* the static assertions above */
    memcpy(w->to + w->used, bytes, n);
    w->used += n;
    return 0;
}

static void put(uint8_t *to, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t number_at(const uint8_t *body) {
    uint64_t number;
    memcpy(&number, body, sizeof number);
    return number;
}

static bool is_set(const Field *field, const uint8_t *body) {
    return field->kind == FIELD_NUMBER ? number_at(body) != 0 : *body != 0;
}

static void pack_text(msgpack_packer *packer, const char *text, size_t n) {
    msgpack_pack_str(packer, n);
    msgpack_pack_str_body(packer, text, n);
}

static void pack_field(msgpack_packer *packer, const Field *field, const uint8_t *body) {
    pack_text(packer, field->name, strlen(field->name));
    if (field->kind == FIELD_NUMBER)
        msgpack_pack_uint64(packer, number_at(body));
    else
        pack_text(packer, (const char *)body, strnlen((const char *)body, MESSAGE_TEXT - 1));
}

static void pack_map(msgpack_packer *packer, const TypeRow *row, const uint8_t *body) {
    size_t n_set = 0;
    const uint8_t *at = body;
    for (int i = 0; i < row->n_fields; at += field_bytes(&row->fields[i]), i++)
        n_set += is_set(&row->fields[i], at);
    msgpack_pack_map(packer, n_set);
    at = body;
    for (int i = 0; i < row->n_fields; at += field_bytes(&row->fields[i]), i++)
        if (is_set(&row->fields[i], at))
            pack_field(packer, &row->fields[i], at);
}

size_t message_encode(const Message *m, uint8_t *out) {
    const TypeRow *row = row_of(m->type);
    assert(row);
    memcpy(out, "MGRV", 4);
    put(out + 4, PROTOCOL_VERSION, 2);
    out[6] = (uint8_t)m->type;
    out[7] = 0;
    put(out + 8, m->job, 4);
    put(out + 12, m->sender, 4);
    put(out + 16, m->incarnation, 8);
    put(out + 24, m->sequence, 8);
    Writer writer = {.to = out + MESSAGE_HEADER_BYTES, .room = MESSAGE_MAP_BYTES};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &writer, write_bytes);
    pack_map(&packer, row, (const uint8_t *)&m->hello);
    return MESSAGE_HEADER_BYTES + writer.used;
}

/* ---- from bytes -------------------------------------------------------------------------------------------------- */

typedef enum TokenKind { TOKEN_INVALID, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_MAP, TOKEN_ARRAY, TOKEN_OTHER } TokenKind;

static const char *const TOKEN_NAMES[] = {[TOKEN_INVALID] = "an invalid byte", [TOKEN_NUMBER] = "a number",
                                          [TOKEN_TEXT] = "a string",           [TOKEN_MAP] = "a map",
                                          [TOKEN_ARRAY] = "an array",          [TOKEN_OTHER] = "another type"};

typedef struct Reader {
    const uint8_t *at, *end;
} Reader;

/* One value, or the head of a container. */
typedef struct Token {
    TokenKind kind;
    uint64_t number; /* of a number; entries of a container; bytes of the rest */
    const uint8_t *bytes;
} Token;

/* The formats whose first byte is 0xc0 ... 0xdf: first a big-endian number (the value of a number, the count of a
 * container, the length of what has one), then `extra` bytes more. */
typedef struct Format {
    uint8_t kind, number_bytes, extra_bytes;
} Format;

static const Format FORMATS[32] = {
    {TOKEN_OTHER, 0, 0},  {TOKEN_INVALID, 0, 0}, {TOKEN_OTHER, 0, 0},  {TOKEN_OTHER, 0, 0},  /* nil, -, false, true */
    {TOKEN_OTHER, 1, 0},  {TOKEN_OTHER, 2, 0},   {TOKEN_OTHER, 4, 0},                        /* bin 8 16 32 */
    {TOKEN_OTHER, 1, 1},  {TOKEN_OTHER, 2, 1},   {TOKEN_OTHER, 4, 1},                        /* ext 8 16 32 */
    {TOKEN_OTHER, 0, 4},  {TOKEN_OTHER, 0, 8},                                               /* float 32 64 */
    {TOKEN_NUMBER, 1, 0}, {TOKEN_NUMBER, 2, 0},  {TOKEN_NUMBER, 4, 0}, {TOKEN_NUMBER, 8, 0}, /* uint 8 16 32 64 */
    {TOKEN_OTHER, 0, 1},  {TOKEN_OTHER, 0, 2},   {TOKEN_OTHER, 0, 4},  {TOKEN_OTHER, 0, 8},  /* int 8 16 32 64 */
    {TOKEN_OTHER, 0, 2},  {TOKEN_OTHER, 0, 3},   {TOKEN_OTHER, 0, 5},  {TOKEN_OTHER, 0, 9},  /* fixext 1 2 4 8 */
    {TOKEN_OTHER, 0, 17},                                                                    /* fixext 16 */
    {TOKEN_TEXT, 1, 0},   {TOKEN_TEXT, 2, 0},    {TOKEN_TEXT, 4, 0},                         /* str 8 16 32 */
    {TOKEN_ARRAY, 2, 0},  {TOKEN_ARRAY, 4, 0},   {TOKEN_MAP, 2, 0},    {TOKEN_MAP, 4, 0},    /* array, map 16 32 */
};

/* The formats that are one byte: kind and number from the byte alone. */
static Token short_token(uint8_t first) {
    if (first < 0x80)
        return (Token){.kind = TOKEN_NUMBER, .number = first};
    if (first < 0x90)
        return (Token){.kind = TOKEN_MAP, .number = first & 15};
    if (first < 0xa0)
        return (Token){.kind = TOKEN_ARRAY, .number = first & 15};
    if (first < 0xc0)
        return (Token){.kind = TOKEN_TEXT, .number = first & 31};
    return (Token){.kind = TOKEN_OTHER}; /* a negative number */
}

static bool take(Reader *r, uint64_t n, const uint8_t **bytes) {
    if (n > (uint64_t)(r->end - r->at))
        return false;
    *bytes = r->at;
    r->at += n;
    return true;
}

/* False: the bytes end inside the token. */
static bool read_token(Reader *r, Token *t) {
    const uint8_t *first, *number;
    if (!take(r, 1, &first))
        return false;
    Format format = {0};
    if (*first < 0xc0 || *first > 0xdf) {
        *t = short_token(*first);
    } else {
        format = FORMATS[*first - 0xc0];
        *t = (Token){.kind = format.kind};
    }
    if (!take(r, format.number_bytes, &number))
        return false;
    for (int i = 0; i < format.number_bytes; i++)
        t->number = t->number << 8 | number[i];
    if (t->kind == TOKEN_OTHER)
        t->number += format.extra_bytes;
    return (t->kind != TOKEN_TEXT && t->kind != TOKEN_OTHER) || take(r, t->number, &t->bytes);
}

static Err store_field(const TypeRow *row, const Field *field, uint8_t *to, const Token *value) {
    static const TokenKind WANTED[] = {[FIELD_NUMBER] = TOKEN_NUMBER, [FIELD_TEXT] = TOKEN_TEXT};
    if (value->kind != WANTED[field->kind])
        return err_fail(ERR_PROTOCOL, "%s: field %s is %s, expected %s", row->name, field->name,
                        TOKEN_NAMES[value->kind], TOKEN_NAMES[WANTED[field->kind]]);
    if (field->kind == FIELD_NUMBER) {
        memcpy(to, &value->number, sizeof value->number);
        return OK;
    }
    if (value->number >= MESSAGE_TEXT)
        return err_fail(ERR_PROTOCOL, "%s: field %s has %llu bytes, the limit is %d", row->name, field->name,
                        (unsigned long long)value->number, MESSAGE_TEXT - 1);
    if (memchr(value->bytes, 0, value->number))
        return err_fail(ERR_PROTOCOL, "%s: field %s contains a zero byte", row->name, field->name);
    memcpy(to, value->bytes, value->number); /* the body was cleared: it ends with 0 */
    return OK;
}

static bool is_name(const Token *key, const char *name) {
    return key->number == strlen(name) && !memcmp(key->bytes, name, key->number);
}

/* Unknown keys are skipped, so that a later version of the protocol may add some. */
static Err store_entry(const TypeRow *row, uint8_t *body, const Token *key, const Token *value) {
    if (value->kind == TOKEN_MAP || value->kind == TOKEN_ARRAY || value->kind == TOKEN_INVALID)
        return err_fail(ERR_PROTOCOL, "%s: the map holds %s, expected plain values", row->name,
                        TOKEN_NAMES[value->kind]);
    for (int i = 0; i < row->n_fields; body += field_bytes(&row->fields[i]), i++)
        if (is_name(key, row->fields[i].name))
            return store_field(row, &row->fields[i], body, value);
    return OK;
}

static bool is_repeated(const Token *keys, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (keys[i].number == keys[n].number && !memcmp(keys[i].bytes, keys[n].bytes, keys[n].number))
            return true;
    return false;
}

static Err decode_map(const TypeRow *row, uint8_t *body, Reader r) {
    Token map, keys[MESSAGE_MAP_ENTRIES], value;
    if (!read_token(&r, &map) || map.kind != TOKEN_MAP)
        return err_fail(ERR_PROTOCOL, "%s: no map follows the header", row->name);
    if (map.number > MESSAGE_MAP_ENTRIES)
        return err_fail(ERR_PROTOCOL, "%s: the map claims %llu entries, the limit is %d", row->name,
                        (unsigned long long)map.number, MESSAGE_MAP_ENTRIES);
    for (uint64_t i = 0; i < map.number; i++) {
        if (!read_token(&r, &keys[i]))
            return err_fail(ERR_PROTOCOL, "%s: the map ends within key %d", row->name, (int)i + 1);
        if (keys[i].kind != TOKEN_TEXT)
            return err_fail(ERR_PROTOCOL, "%s: key %d of the map is %s, expected a string", row->name, (int)i + 1,
                            TOKEN_NAMES[keys[i].kind]);
        if (is_repeated(keys, i))
            return err_fail(ERR_PROTOCOL, "%s: key %d of the map repeats an earlier one", row->name, (int)i + 1);
        if (!read_token(&r, &value))
            return err_fail(ERR_PROTOCOL, "%s: the map ends within value %d", row->name, (int)i + 1);
        Err err = store_entry(row, body, &keys[i], &value);
        if (err)
            return err;
    }
    if (r.at != r.end)
        return err_fail(ERR_PROTOCOL, "%s: %d bytes follow the map, expected none", row->name, (int)(r.end - r.at));
    return OK;
}

static uint64_t get(const uint8_t *from, int n_bytes) {
    uint64_t value = 0;
    for (int i = 0; i < n_bytes; i++)
        value |= (uint64_t)from[i] << 8 * i;
    return value;
}

static Err check_header(const uint8_t *data, size_t size_bytes) {
    if (size_bytes < MESSAGE_HEADER_BYTES)
        return err_fail(ERR_PROTOCOL, "the message's first frame has %zu bytes, its header needs %d", size_bytes,
                        MESSAGE_HEADER_BYTES);
    if (memcmp(data, "MGRV", 4))
        return err_fail(ERR_PROTOCOL, "the message begins with other bytes than MGRV: not from a mangrove");
    if (get(data + 4, 2) != PROTOCOL_VERSION)
        return err_fail(ERR_PROTOCOL, "the message is of protocol version %d, this program speaks version %d",
                        (int)get(data + 4, 2), PROTOCOL_VERSION);
    if (!row_of(data[6]))
        return err_fail(ERR_PROTOCOL, "the message is of type %d, which version %d does not know", data[6],
                        PROTOCOL_VERSION);
    if (data[7])
        return err_fail(ERR_PROTOCOL, "%s: the flags are %d, expected 0", row_of(data[6])->name, data[7]);
    if (!get(data + 16, 8))
        return err_fail(ERR_PROTOCOL, "%s: the incarnation is 0", row_of(data[6])->name);
    if (size_bytes > MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES)
        return err_fail(ERR_PROTOCOL, "%s: the map has %zu bytes, the limit is %d", row_of(data[6])->name,
                        size_bytes - MESSAGE_HEADER_BYTES, MESSAGE_MAP_BYTES);
    return OK;
}

Err message_decode(Message *m, const uint8_t *data, size_t size_bytes) {
    memset(m, 0, offsetof(Message, copies));
    Err err = check_header(data, size_bytes);
    if (err)
        return err;
    m->type = data[6];
    m->job = (uint32_t)get(data + 8, 4);
    m->sender = (uint32_t)get(data + 12, 4);
    m->incarnation = get(data + 16, 8);
    m->sequence = get(data + 24, 8);
    Reader map = {data + MESSAGE_HEADER_BYTES, data + size_bytes};
    return decode_map(row_of(m->type), body_of(m), map);
}
