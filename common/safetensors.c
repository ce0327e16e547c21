/* safetensors: a reader that trusts nothing, and the header of what is written. */
#include "common/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LENGTH_BYTES = 8 };

struct Safetensors {
    char *source;
    void *map; /* NULL where the bytes are borrowed */
    size_t map_size;
    json_t *header; /* owns names and metadata */
    SafetensorsEntry *entries;
    int n_entries;
};

static const struct {
    const char *name;
    uint32_t bytes;
} DTYPES[N_DTYPES] = {
#define X(name, bytes) [DTYPE_##name] = {#name, bytes},
    SAFETENSORS_DTYPES(X)
#undef X
};

const char *dtype_name(Dtype dtype) {
    return DTYPES[dtype].name;
}

uint32_t dtype_bytes(Dtype dtype) {
    return DTYPES[dtype].bytes;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static uint64_t load_u64(const unsigned char *p) {
    uint64_t x = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static void store_u64(unsigned char *p, uint64_t x) {
    for (int i = 0; i < LENGTH_BYTES; i++)
        p[i] = (unsigned char)(x >> (8 * i));
}

/* From dtype and shape; false if the size does not fit. */
static bool entry_measure(SafetensorsEntry *e) {
    e->n_elements = 1;
    for (int d = 0; d < e->n_dims; d++)
        if (__builtin_mul_overflow(e->n_elements, e->shape[d], &e->n_elements))
            return false;
    return !__builtin_mul_overflow(e->n_elements, (uint64_t)dtype_bytes(e->dtype), &e->n_bytes) &&
           e->n_bytes <= INT64_MAX;
}

static bool read_dtype(const json_t *json, Dtype *out) {
    const char *name = json_string_value(json);
    for (int i = 0; name && i < N_DTYPES; i++)
        if (strcmp(name, DTYPES[i].name) == 0) {
            *out = (Dtype)i;
            return true;
        }
    return false;
}

static bool read_numbers(const json_t *json, uint64_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_integer(number) || json_integer_value(number) < 0)
            return false;
        out[i] = (uint64_t)json_integer_value(number);
    }
    return true;
}

/* One tensor of the header; whether tensors overlap is checked when all are known. */
static Err read_entry(const Safetensors *s, const char *name, const json_t *json, const unsigned char *data,
                      uint64_t data_size, SafetensorsEntry *e) {
    const json_t *shape = json_object_get(json, "shape"), *offsets = json_object_get(json, "data_offsets");
    uint64_t range[2];
    *e = (SafetensorsEntry){.name = name};
    if (!read_dtype(json_object_get(json, "dtype"), &e->dtype))
        return err_fail(ERR_DATA, "%s: tensor '%s' has no known dtype", s->source, name);
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS ||
        !read_numbers(shape, e->shape, json_array_size(shape)))
        return err_fail(ERR_DATA, "%s: tensor '%s' has no shape of at most %d sizes", s->source, name,
                        SAFETENSORS_MAX_DIMS);
    e->n_dims = (int)json_array_size(shape);
    if (json_array_size(offsets) != 2 || !read_numbers(offsets, range, 2) || range[0] > range[1] ||
        range[1] > data_size)
        return err_fail(ERR_DATA, "%s: the data_offsets of tensor '%s' do not lie within the %" PRIu64 " bytes of data",
                        s->source, name, data_size);
    if (!entry_measure(e) || e->n_bytes != range[1] - range[0])
        return err_fail(ERR_DATA, "%s: tensor '%s' has a shape that does not fill its %" PRIu64 " bytes", s->source,
                        name, range[1] - range[0]);
    e->data = data + range[0];
    if ((uintptr_t)e->data % dtype_bytes(e->dtype) != 0)
        return err_fail(ERR_DATA, "%s: the data of tensor '%s' are not aligned to its dtype %s", s->source, name,
                        dtype_name(e->dtype));
    return OK;
}

static int compare_places(const void *a, const void *b) {
    const SafetensorsEntry *x = a, *y = b;
    if (x->data != y->data)
        return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

/* Sorts the tensors by their place: each must begin where the one before it ends, the last must end with the data. */
static Err check_places(Safetensors *s, const unsigned char *data, uint64_t data_size) {
    qsort(s->entries, (size_t)s->n_entries, sizeof *s->entries, compare_places);
    const unsigned char *end = data;
    for (int i = 0; i < s->n_entries; i++) {
        const SafetensorsEntry *e = &s->entries[i];
        if ((const unsigned char *)e->data != end)
            return err_fail(ERR_DATA, "%s: there is %s before the data of tensor '%s'", s->source,
                            (const unsigned char *)e->data < end ? "an overlap" : "a hole", e->name);
        end += e->n_bytes;
    }
    if (end != data + data_size)
        return err_fail(ERR_DATA, "%s: %" PRIu64 " bytes of data belong to no tensor", s->source,
                        data_size - (uint64_t)(end - data));
    return OK;
}

static Err read_header(Safetensors *s, const unsigned char *data, uint64_t data_size) {
    const char *name;
    json_t *json;
    s->entries = calloc(json_object_size(s->header) + 1, sizeof *s->entries);
    if (!s->entries)
        return err_fail(ERR_MEMORY, "%s: no memory for its list of tensors", s->source);
    json_object_foreach(s->header, name, json) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        Err e = read_entry(s, name, json, data, data_size, &s->entries[s->n_entries]);
        if (e != OK)
            return e;
        s->n_entries++;
    }
    return check_places(s, data, data_size);
}

static Err parse(Safetensors *s, const unsigned char *bytes, size_t size) {
    json_error_t json_error;
    uint64_t n = size >= LENGTH_BYTES ? load_u64(bytes) : 0;
    if (size < LENGTH_BYTES || n > size - LENGTH_BYTES)
        return err_fail(ERR_DATA, "%s: cut short or no safetensors file: its header does not fit into %zu bytes",
                        s->source, size);
    if (n > SAFETENSORS_MAX_HEADER)
        return err_fail(ERR_DATA, "%s: its header of %" PRIu64 " bytes is longer than the %d allowed", s->source, n,
                        SAFETENSORS_MAX_HEADER);
    s->header = json_loadb((const char *)bytes + LENGTH_BYTES, n, JSON_REJECT_DUPLICATES, &json_error);
    if (!json_is_object(s->header))
        return err_fail(ERR_DATA, "%s: its header is not a JSON object: %s", s->source,
                        s->header ? "something else" : json_error.text);
    return read_header(s, bytes + LENGTH_BYTES + n, size - LENGTH_BYTES - n);
}

Err safetensors_parse(Safetensors **out, const void *bytes, size_t size, const char *source) {
    assert((uintptr_t)bytes % 8 == 0);
    Safetensors *s = calloc(1, sizeof *s);
    if (s)
        s->source = strdup(source);
    Err e = s && s->source ? parse(s, bytes, size) : err_fail(ERR_MEMORY, "%s: no memory to open it", source);
    if (e != OK)
        safetensors_close(&s);
    *out = s;
    return e;
}

Err safetensors_open(Safetensors **out, const char *path) {
    struct stat st;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        Err e = err_fail(ERR_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return e;
    }
    size_t size = (size_t)st.st_size;
    if (!S_ISREG(st.st_mode) || size < LENGTH_BYTES) {
        close(fd);
        return err_fail(ERR_DATA, "%s: no safetensors file, it is %s", path,
                        S_ISREG(st.st_mode) ? "shorter than 8 bytes" : "not a regular file");
    }
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int map_errno = errno;
    close(fd);
    if (map == MAP_FAILED)
        return err_fail(ERR_IO, "%s: cannot be mapped: %s", path, strerror(map_errno));
    Err e = safetensors_parse(out, map, size, path);
    if (e != OK) {
        munmap(map, size);
        return e;
    }
    (*out)->map = map;
    (*out)->map_size = size;
    return OK;
}

void safetensors_close(Safetensors **s) {
    if (!*s)
        return;
    if ((*s)->map)
        munmap((*s)->map, (*s)->map_size);
    json_decref((*s)->header);
    free((*s)->entries);
    free((*s)->source);
    free(*s);
    *s = NULL;
}

int safetensors_count(const Safetensors *s) {
    return s->n_entries;
}

const SafetensorsEntry *safetensors_at(const Safetensors *s, int i) {
    assert(i >= 0 && i < s->n_entries);
    return &s->entries[i];
}

const SafetensorsEntry *safetensors_find(const Safetensors *s, const char *name) {
    for (int i = 0; i < s->n_entries; i++)
        if (strcmp(s->entries[i].name, name) == 0)
            return &s->entries[i];
    return NULL;
}

const char *safetensors_metadata(const Safetensors *s, const char *key) {
    return json_string_value(json_object_get(json_object_get(s->header, "__metadata__"), key));
}

Err safetensors_require(const Safetensors *s, const char *name, Dtype dtype, const void **data, int n_dims, ...) {
    const SafetensorsEntry *e = safetensors_find(s, name);
    if (!e)
        return err_fail(ERR_DATA, "%s: there is no tensor '%s'", s->source, name);
    if (e->dtype != dtype || e->n_dims != n_dims)
        return err_fail(ERR_DATA, "%s: tensor '%s' is %s with %d dimensions, expected %s with %d", s->source, name,
                        dtype_name(e->dtype), e->n_dims, dtype_name(dtype), n_dims);
    Err result = OK;
    va_list sizes;
    va_start(sizes, n_dims);
    for (int d = 0; d < n_dims && result == OK; d++) {
        uint64_t want = va_arg(sizes, uint64_t);
        if (e->shape[d] != want)
            result = err_fail(ERR_DATA, "%s: size %d of tensor '%s' is %" PRIu64 ", expected %" PRIu64, s->source, d,
                              name, e->shape[d], want);
    }
    va_end(sizes);
    *data = e->data;
    return result;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Adds to the header; false if it cannot (the name is taken, no memory). */
static bool describe(json_t *header, const SafetensorsEntry *e, uint64_t begin) {
    json_t *shape = json_array();
    for (int d = 0; d < e->n_dims; d++)
        json_array_append_new(shape, json_integer((json_int_t)e->shape[d]));
    json_t *json = json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_name(e->dtype), "shape", shape, "data_offsets",
                             (json_int_t)begin, (json_int_t)(begin + e->n_bytes));
    if (json_object_get(header, e->name)) {
        json_decref(json);
        return false;
    }
    return json_object_set_new(header, e->name, json) == 0;
}

static json_t *describe_all(SafetensorsEntry *entries, int n_entries, const char *const (*metadata)[2],
                            int n_metadata) {
    json_t *header = json_object(), *strings = json_object();
    for (int i = 0; i < n_metadata; i++)
        json_object_set_new(strings, metadata[i][0], json_string(metadata[i][1]));
    json_object_set_new(header, "__metadata__", strings);
    uint64_t begin = 0;
    for (int i = 0; i < n_entries; i++) {
        if (!entry_measure(&entries[i]) || begin + entries[i].n_bytes > INT64_MAX ||
            !describe(header, &entries[i], begin)) {
            json_decref(header);
            return NULL;
        }
        begin += entries[i].n_bytes;
    }
    return header;
}

Err safetensors_header(SafetensorsEntry *entries, int n_entries, const char *const (*metadata)[2], int n_metadata,
                       char **header, size_t *header_size) {
    json_t *json = describe_all(entries, n_entries, metadata, n_metadata);
    *header = NULL;
    if (!json)
        return err_fail(ERR_DATA, "a safetensors header needs distinct names and sizes that fit into 63 bits");
    size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER, n = json_dumpb(json, NULL, 0, flags);
    size_t size = (LENGTH_BYTES + n + SAFETENSORS_ALIGN - 1) / SAFETENSORS_ALIGN * SAFETENSORS_ALIGN;
    char *bytes = n > 0 && size <= SAFETENSORS_MAX_HEADER ? malloc(size) : NULL;
    if (bytes) {
        memset(bytes, ' ', size);
        store_u64((unsigned char *)bytes, size - LENGTH_BYTES);
        json_dumpb(json, bytes + LENGTH_BYTES, n, flags);
    }
    json_decref(json);
    if (!bytes)
        return err_fail(ERR_DATA, "a safetensors header of %zu bytes is longer than the %d allowed", n,
                        SAFETENSORS_MAX_HEADER);
    *header = bytes;
    *header_size = size;
    return OK;
}
