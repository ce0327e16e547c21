/* Writes the fuzzer's seeds: of each type a message with nothing and one with everything set. seed_messages DIR */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/message.h"

static int write_seed(const char *dir, const Message *m, const char *kind) {
    uint8_t bytes[MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES];
    char path[512];
    size_t n = message_encode(m, bytes);
    snprintf(path, sizeof path, "%s/%s-%s", dir, message_type_name(m->type), kind);
    FILE *file = fopen(path, "wb");
    if (!file)
        return 1;
    size_t written = fwrite(bytes, 1, n, file);
    return fclose(file) != 0 || written != n;
}

/* A number of a length of its own for each field. */
static uint64_t mixed(int i) {
    return (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u >> (i * 7 % 64);
}

#define N(field) body->field = mixed(i++);
#define S(field) snprintf(body->field, sizeof body->field, "text %d", i++);
#define X(name, value, member, fields)                                                                                 \
    static int seed_##name(const char *dir) {                                                                          \
        static Message m = {.type = MESSAGE_##name, .job = 1, .sender = 2, .incarnation = 3, .sequence = 4};           \
        int failed = write_seed(dir, &m, "empty"), i = 0;                                                              \
        Message##name *body = &m.member;                                                                               \
        fields(N, S) return failed | write_seed(dir, &m, "full");                                                      \
    }
MESSAGE_TYPES(X)
#undef X

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    int failed = 0;
#define X(name, value, member, fields) failed |= seed_##name(argv[1]);
    MESSAGE_TYPES(X)
#undef X
    return failed;
}
