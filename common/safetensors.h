/* safetensors: named tensors in one file, readable from Python as they are. All numbers are little-endian.
 *
 *   offset  size  meaning
 *   0       8     n, size of the header (u64), at most SAFETENSORS_MAX_HEADER
 *   8       n     JSON: {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, ...} and, optional,
 *                 "__metadata__": {"key": "string", ...}; spaces may follow
 *   8+n     ...   the data: offsets count from here; tensors fill them without holes or overlaps, row-major
 *
 * What is written here starts its data at a multiple of SAFETENSORS_ALIGN bytes, tensors in the order of declaration.
 * The reader maps the file: whoever lets others truncate a file in use must check it first. */
#ifndef MANGROVE_COMMON_SAFETENSORS_H
#define MANGROVE_COMMON_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum { SAFETENSORS_ALIGN = 64, SAFETENSORS_MAX_DIMS = 8, SAFETENSORS_MAX_HEADER = 16 << 20 };

/* X(name as in the file, bytes of an element) */
#define SAFETENSORS_DTYPES(X)                                                                                          \
    X(F32, 4)                                                                                                          \
    X(F64, 8)                                                                                                          \
    X(BF16, 2)                                                                                                         \
    X(F16, 2)                                                                                                          \
    X(I8, 1)                                                                                                           \
    X(I16, 2)                                                                                                          \
    X(I32, 4)                                                                                                          \
    X(I64, 8)                                                                                                          \
    X(U8, 1)                                                                                                           \
    X(U16, 2)                                                                                                          \
    X(U32, 4)                                                                                                          \
    X(U64, 8)                                                                                                          \
    X(BOOL, 1)

typedef enum Dtype {
#define X(name, bytes) DTYPE_##name,
    SAFETENSORS_DTYPES(X)
#undef X
    N_DTYPES, /* not one of them: their number */
} Dtype;

const char *dtype_name(Dtype dtype);
uint32_t dtype_bytes(Dtype dtype);

typedef struct SafetensorsEntry {
    const char *name;
    Dtype dtype;
    int n_dims; /* 0: one element */
    uint64_t shape[SAFETENSORS_MAX_DIMS];
    uint64_t n_elements, n_bytes; /* derived */
    const void *data;             /* reader: aligned to the element */
} SafetensorsEntry;

typedef struct Safetensors Safetensors;

/* ERR_IO; ERR_DATA with the file and what is wrong with it. Everything is checked: sizes, dtypes, shapes, offsets. */
Err safetensors_open(Safetensors **out, const char *path) MUST_CHECK;
/* The same for bytes in memory, which must outlive it and be aligned to 8; source names them in messages. */
Err safetensors_parse(Safetensors **out, const void *bytes, size_t size, const char *source) MUST_CHECK;
void safetensors_close(Safetensors **s);

int safetensors_count(const Safetensors *s);
const SafetensorsEntry *safetensors_at(const Safetensors *s, int i);              /* in the order of the data */
const SafetensorsEntry *safetensors_find(const Safetensors *s, const char *name); /* NULL if there is none */
const char *safetensors_metadata(const Safetensors *s, const char *key);          /* NULL if there is none */

/* Finds a tensor that must have this dtype and shape: n_dims numbers of type uint64_t follow. ERR_DATA says what was
 * found. */
Err safetensors_require(const Safetensors *s, const char *name, Dtype dtype, const void **data, int n_dims,
                        ...) MUST_CHECK;

/* Writing is streaming and leaves the file to the caller: the header first, then the data of every tensor in the order
 * of entries, without gaps. Fills in n_elements and n_bytes. metadata: n_metadata pairs key, string; may be NULL.
 * header: (header_size) bytes that start with the 8 bytes of n; caller frees. ERR_DATA if a size overflows, a name is
 * taken twice or the header is too long. */
Err safetensors_header(SafetensorsEntry *entries, int n_entries, const char *const (*metadata)[2], int n_metadata,
                       char **header, size_t *header_size) MUST_CHECK;

#endif
