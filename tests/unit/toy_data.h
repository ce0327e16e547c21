/* A data set that needs no files: its manifest, and the tables of a model with everything that a server must know:
 * rows of one domain and of both, dense rows, and sums. For the tests of the session and of the simulated cluster. */
#ifndef MANGROVE_TESTS_TOY_DATA_H
#define MANGROVE_TESTS_TOY_DATA_H

#include <stdio.h>
#include <string.h>

#include "common/datainfo.h"
#include "common/schema.h"

enum { TOY_ITEMS = 200000, TOY_USERS = 50, TOY_WIDTH = 3, TOY_MANIFEST_BYTES = 1 << 14 };
enum { TOY_A, TOY_B, TOY_SHARED, TOY_DENSE_SHARED, TOY_STATS }; /* table numbers */

/* n[d][split] instances in each of n_chunks chunks. */
static inline size_t toy_manifest(char *out, uint32_t n_chunks, const uint32_t n[N_DOMAINS][N_SPLITS]) {
    static const char *const PROTOCOLS[] = {"warm", "all"};
    static const char RULES[] = "[[0.5,0.5,0.5],[0.5,0.5,0.5],[0.5,0.5,0.5]]";
    size_t at =
        (size_t)sprintf(out,
                        "{\"format\":%d,\"fingerprint\":\"00000000000000ab\",\"n_items\":%d,\"n_users\":%d,"
                        "\"n_chunks\":%u,\"domains\":[{\"n_train_items\":9},{\"n_train_items\":9}],\"chunks\":{",
                        DATAINFO_FORMAT, TOY_ITEMS, TOY_USERS, n_chunks);
    for (int p = 0; p < N_PROTOCOLS; p++) {
        at += (size_t)sprintf(out + at, "%s\"%s\":[", p ? "," : "", PROTOCOLS[p]);
        for (uint32_t c = 0; c < n_chunks; c++)
            at += (size_t)sprintf(out + at, "%s[%u,%u,%u,%u,%u,%u]", c ? "," : "", n[0][0], n[0][1], n[0][2], n[1][0],
                                  n[1][1], n[1][2]);
        at += (size_t)sprintf(out + at, "]");
    }
    at += (size_t)sprintf(out + at, "},\"probes\":{");
    for (int p = 0; p < N_PROTOCOLS; p++)
        at += (size_t)sprintf(out + at, "%s\"%s\":[{\"valid\":%s,\"test\":%s},{\"valid\":%s,\"test\":%s}]",
                              p ? "," : "", PROTOCOLS[p], RULES, RULES, RULES, RULES);
    at += (size_t)sprintf(out + at, "}}");
    return at;
}

static inline void toy_tables(Schema *s) {
    memset(s, 0, sizeof *s);
    schema_add_sparse(s, "item.A", REACHED_BY_A, TOY_ITEMS, TOY_WIDTH, 0.1);
    schema_add_sparse(s, "item.B", REACHED_BY_B, TOY_ITEMS, TOY_WIDTH, 0.1);
    schema_add_sparse(s, "item.shared", REACHED_BY_BOTH, TOY_ITEMS, TOY_WIDTH, 0.1);
    schema_add_dense(s, "probe", REACHED_BY_BOTH, 1, 1, INIT_CONSTANT, 0, false);
    schema_add_sum(s, "loss.A", REACHED_BY_A, 1, 4);
    schema_add_sum(s, "loss.B", REACHED_BY_B, 1, 4);
    schema_finish(s);
}

#endif
