/* The schema: the tensors of a model, declared once, and the tables of rows that follow from them.
 *
 * A model declares its tensors (schema_add_*), then schema_finish() derives the tables. Servers know tables and rows,
 * workers know tensors; both derive the same numbers from the same declarations.
 *
 *   kind     table                                row                              key
 *   sparse   one per tensor, named after it       item (or user) id, width cols    id
 *   dense    dense_A, dense_B or dense_shared,    SCHEMA_DENSE_WIDTH floats of     first_row + i
 *            by the domains that reach it         the tensor in row-major order,
 *                                                 each tensor starts a new row,
 *                                                 its last row is filled up with 0
 *   ema,sum  stats                                SCHEMA_STATS_VALUES floats of    first_row + i
 *                                                 one row of the tensor, then the
 *                                                 weight of the values
 *
 * stats rows are pushed by training steps and pulled by evaluation only:
 *   ema  the push carries w*x and w; running = 0.95 running + 0.05 (sum of w*x)/(sum of w); starts at `initial`
 *   sum  running += the push; set to 0 when an epoch opens */
#ifndef MANGROVE_COMMON_SCHEMA_H
#define MANGROVE_COMMON_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    DOMAIN_A = 0,
    DOMAIN_B = 1,
    N_DOMAINS = 2,
    REACHED_BY_A = 1, /* bit d = steps of domain d reach the tensor */
    REACHED_BY_B = 2,
    REACHED_BY_BOTH = 3,

    SCHEMA_NAME = 48, /* bytes of a name, with the 0 */
    SCHEMA_MAX_TENSORS = 512,
    SCHEMA_MAX_TABLES = 16,
    SCHEMA_DENSE_WIDTH = 64,
    SCHEMA_STATS_VALUES = 63,
    SCHEMA_STATS_WIDTH = 64,

    KEY_ROW_BITS = 56, /* key = table << 56 | row */
};

typedef enum TensorKind { TENSOR_SPARSE, TENSOR_DENSE, TENSOR_EMA, TENSOR_SUM } TensorKind;

typedef enum InitKind {
    INIT_CONSTANT,         /* every value = scale */
    INIT_TRUNCATED_NORMAL, /* deviation = scale, cut at two deviations */
    INIT_GLOROT_UNIFORM,   /* +- sqrt(6 / (rows + cols)) */
} InitKind;

typedef struct Tensor {
    char name[SCHEMA_NAME]; /* as in the goldens: "item.A", "enc.shared.att.0.q.W" */
    TensorKind kind;
    int reached_by; /* mask REACHED_BY_* */
    bool has_l2;
    InitKind init;
    double scale;
    uint32_t rows, cols; /* sparse: rows = size of the id space */
    int table;           /* derived */
    uint64_t first_row;  /* derived: its first row in the table; 0 for sparse */
    uint32_t n_rows;     /* derived: its rows in the table; sparse: = rows */
} Tensor;

typedef struct Table {
    char name[SCHEMA_NAME]; /* "A" "B" "shared" for the item tables, "dense_A" ..., "stats" */
    bool is_sparse, is_stats;
    int reached_by;
    uint32_t width;   /* values in a row, without optimizer state */
    uint64_t n_rows;  /* dense and stats: exact; sparse: the size of the id space */
    int first_tensor; /* index of a tensor of this table, for sparse tables the only one */
} Table;

typedef struct Schema {
    int n_tensors, n_tables;
    Tensor tensors[SCHEMA_MAX_TENSORS];
    Table tables[SCHEMA_MAX_TABLES];
} Schema;

/* Each returns the tensor's index. Names are unique and shorter than SCHEMA_NAME (asserted). A sparse tensor's table
 * has the name behind its last dot ("item.A" -> "A") unless that is taken, then the whole name. */
int schema_add_sparse(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols, double std);
int schema_add_dense(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols, InitKind init,
                     double scale, bool has_l2);
int schema_add_ema(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols, double initial);
int schema_add_sum(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols);

/* Derives the tables, in the order: sparse ones as declared, dense_A, dense_B, dense_shared, stats (those that have
 * rows). Call once, after the last tensor. */
void schema_finish(Schema *s);

int schema_find(const Schema *s, const char *tensor_name); /* index, or -1 */
int schema_find_table(const Schema *s, const char *name);  /* index, or -1 */

/* The tensor that a row of a table belongs to. row < n_rows of the table. */
const Tensor *schema_tensor_of(const Schema *s, int table, uint64_t row);

/* Initial values of one row: a function of (seed, tensor name, row) alone, drawn in double and rounded.
 * out: (width of the table); for a stats row the values and a weight of 0. Float and double give the same draw. */
void schema_initial_row_f32(const Schema *s, uint64_t seed, int table, uint64_t row, float *out);
void schema_initial_row_f64(const Schema *s, uint64_t seed, int table, uint64_t row, double *out);

static inline uint64_t key_of(int table, uint64_t row) {
    return (uint64_t)table << KEY_ROW_BITS | row;
}
static inline int key_table(uint64_t key) {
    return (int)(key >> KEY_ROW_BITS);
}
static inline uint64_t key_row(uint64_t key) {
    return key & (((uint64_t)1 << KEY_ROW_BITS) - 1);
}

/* Placement: 4096 fixed slots; the slot of a key is the top 12 bits of XXH3's 64-bit mix of the key. */
enum { N_SLOTS = 4096 };
/* That mix; its lower bits are free for the place within a slot. XXH3_64bits of the key's 8 little-endian bytes,
 * written out so that it needs no call: a table asks for it once or twice a row. */
static inline uint64_t key_mix(uint64_t key) {
    uint64_t x = (key >> 32 | key << 32) ^ UINT64_C(0xC73AB174C5ECD5A2);
    x ^= (x << 49 | x >> 15) ^ (x << 24 | x >> 40);
    x *= UINT64_C(0x9FB21C651E98DF25);
    x ^= (x >> 35) + sizeof key;
    x *= UINT64_C(0x9FB21C651E98DF25);
    return x ^ x >> 28;
}
static inline uint32_t key_slot(uint64_t key) {
    return (uint32_t)(key_mix(key) >> (64 - 12));
}

#endif
