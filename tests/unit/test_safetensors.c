/* safetensors: what is written is read back, and nothing that is wrong is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/safetensors.h"

/* A file in memory: this header text, padded to 8, and n zeros of data. */
typedef struct Image {
    unsigned char *bytes;
    size_t size;
} Image;

static Image image_of(const char *header, size_t n_data) {
    size_t n = (strlen(header) + 7) / 8 * 8;
    Image image = {.size = 8 + n + n_data};
    image.bytes = calloc(image.size + 8, 1);
    memset(image.bytes + 8, ' ', n);
    memcpy(image.bytes + 8, header, strlen(header));
    for (int i = 0; i < 8; i++)
        image.bytes[i] = (unsigned char)(n >> 8 * i);
    return image;
}

static Err parse_header(const char *header, size_t n_data) {
    Image image = image_of(header, n_data);
    Safetensors *s;
    Err e = safetensors_parse(&s, image.bytes, image.size, "test");
    safetensors_close(&s);
    free(image.bytes);
    return e;
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    const float weights[6] = {1, 2, 3, 4, 5, 6};
    const uint64_t ids[2] = {7, UINT64_MAX};
    SafetensorsEntry entries[] = {
        {.name = "ids", .dtype = DTYPE_U64, .n_dims = 1, .shape = {2}},
        {.name = "weights \"x\"", .dtype = DTYPE_F32, .n_dims = 2, .shape = {2, 3}},
        {.name = "none", .dtype = DTYPE_F64, .n_dims = 2, .shape = {0, 3}},
    };
    const char *const metadata[][2] = {{"program", "mangrove"}, {"table", "A"}};
    char path[] = "/tmp/test_safetensors_XXXXXX", *header;
    size_t header_size;
    assert_int_equal(safetensors_header(entries, 3, metadata, 2, &header, &header_size), OK);
    assert_int_equal(header_size % SAFETENSORS_ALIGN, 0);
    FILE *f = fdopen(mkstemp(path), "wb");
    assert_non_null(f);
    fwrite(header, 1, header_size, f);
    fwrite(ids, 1, sizeof ids, f);
    fwrite(weights, 1, sizeof weights, f);
    assert_int_equal(fclose(f), 0);
    free(header);

    Safetensors *s;
    assert_int_equal(safetensors_open(&s, path), OK);
    unlink(path);
    assert_int_equal(safetensors_count(s), 3);
    assert_string_equal(safetensors_metadata(s, "table"), "A");
    assert_null(safetensors_metadata(s, "seed"));
    assert_null(safetensors_find(s, "weights"));
    const void *data;
    assert_int_equal(safetensors_require(s, "weights \"x\"", DTYPE_F32, &data, 2, UINT64_C(2), UINT64_C(3)), OK);
    assert_memory_equal(data, weights, sizeof weights);
    assert_int_equal(safetensors_require(s, "ids", DTYPE_U64, &data, 1, UINT64_C(2)), OK);
    assert_memory_equal(data, ids, sizeof ids);
    assert_int_equal(safetensors_find(s, "none")->n_elements, 0);
    assert_int_equal(safetensors_require(s, "ids", DTYPE_I64, &data, 1, UINT64_C(2)), ERR_DATA);
    assert_int_equal(safetensors_require(s, "ids", DTYPE_U64, &data, 1, UINT64_C(3)), ERR_DATA);
    assert_int_equal(safetensors_require(s, "ids", DTYPE_U64, &data, 2, UINT64_C(2), UINT64_C(1)), ERR_DATA);
    assert_int_equal(safetensors_require(s, "idz", DTYPE_U64, &data, 1, UINT64_C(2)), ERR_DATA);
    safetensors_close(&s);
}

static void python_reads_what_is_written(void **state) {
    (void)state;
    if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0) {
        print_message("no numpy for /usr/bin/python3\n");
        skip();
    }
    const float x[4] = {0.5f, -1, 2, 1e10f};
    SafetensorsEntry entry = {.name = "x", .dtype = DTYPE_F32, .n_dims = 2, .shape = {2, 2}};
    char path[] = "/tmp/test_safetensors_XXXXXX", command[512], *header;
    size_t header_size;
    assert_int_equal(safetensors_header(&entry, 1, NULL, 0, &header, &header_size), OK);
    FILE *f = fdopen(mkstemp(path), "wb");
    assert_non_null(f);
    fwrite(header, 1, header_size, f);
    fwrite(x, 1, sizeof x, f);
    assert_int_equal(fclose(f), 0);
    free(header);
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c \"\nimport json, struct, numpy\nb = open('%s', 'rb').read()\n"
             "n, = struct.unpack('<Q', b[:8])\nh = json.loads(b[8:8 + n])['x']\nassert (8 + n) %% 64 == 0\n"
             "a = numpy.frombuffer(b[8 + n:][slice(*h['data_offsets'])], '<f4').reshape(h['shape'])\n"
             "assert a.tolist() == [[0.5, -1], [2, 1e10]], a\n\"",
             path);
    int status = system(command);
    unlink(path);
    assert_int_equal(status, 0);
}

static void names_that_clash_and_sizes_that_overflow_are_not_written(void **state) {
    (void)state;
    char *header;
    size_t size;
    SafetensorsEntry twice[] = {{.name = "x", .dtype = DTYPE_F32, .n_dims = 1, .shape = {1}},
                                {.name = "x", .dtype = DTYPE_F32, .n_dims = 1, .shape = {1}}};
    SafetensorsEntry huge = {.name = "x", .dtype = DTYPE_F32, .n_dims = 2, .shape = {UINT64_C(1) << 40, 1 << 22}};
    assert_int_equal(safetensors_header(twice, 2, NULL, 0, &header, &size), ERR_DATA);
    assert_int_equal(safetensors_header(&huge, 1, NULL, 0, &header, &size), ERR_DATA);
}

#define X_AT(begin, end) "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #begin "," #end "]}}"

static void wrong_headers_are_refused_with_their_fault(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        const char *says; /* NULL: it is right */
    } CASES[] = {
        {X_AT(0, 8), 8, NULL},
        {"{}", 0, NULL},
        {"{\"x\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, NULL},
        {X_AT(0, 8), 4, "within"},
        {X_AT(0, 8), 16, "belong to no tensor"},
        {X_AT(8, 16), 16, "a hole"},
        {X_AT(8, 0), 8, "within"},
        {X_AT(-8, 0), 8, "within"},
        {X_AT(0, 8.0), 8, "within"},
        {X_AT(0, 9223372036854775807), 8, "within"},
        {"[1]", 0, "JSON object"},
        {"{\"x\":1}", 0, "dtype"},
        {"{\"x\":", 0, "JSON object"},
        {"{\"x\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "does not fill"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "shape"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "shape"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "does not fill"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
         16, "JSON object"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "an overlap"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"y\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[4,12]}}",
         12, "aligned"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Err e = parse_header(CASES[i].header, CASES[i].n_data);
        if ((e == OK) != !CASES[i].says || (e != OK && (e != ERR_DATA || !strstr(err_message(), CASES[i].says))))
            fail_msg("%s gives %s: %s", CASES[i].header, err_name(e), err_message());
    }
}

static void a_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    Image image = image_of(X_AT(0, 8), 8);
    for (size_t size = 0; size < image.size; size++) {
        Safetensors *s;
        assert_int_equal(safetensors_parse(&s, image.bytes, size, "test"), ERR_DATA);
        assert_null(s);
    }
    free(image.bytes);
}

static void a_header_longer_than_the_bound_is_refused_before_it_is_parsed(void **state) {
    (void)state;
    size_t size = 8 + (size_t)SAFETENSORS_MAX_HEADER + 8;
    unsigned char *bytes = calloc(size, 1);
    Safetensors *s;
    bytes[0] = 8; /* 2^24 + 8 */
    bytes[3] = 1;
    assert_int_equal(safetensors_parse(&s, bytes, size, "test"), ERR_DATA);
    assert_non_null(strstr(err_message(), "longer than"));
    free(bytes);
}

static void a_directory_or_nothing_is_no_file(void **state) {
    (void)state;
    Safetensors *s;
    assert_int_equal(safetensors_open(&s, "/tmp"), ERR_DATA);
    assert_int_equal(safetensors_open(&s, "/nonexistent/x.safetensors"), ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(python_reads_what_is_written),
        cmocka_unit_test(names_that_clash_and_sizes_that_overflow_are_not_written),
        cmocka_unit_test(wrong_headers_are_refused_with_their_fault),
        cmocka_unit_test(a_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(a_header_longer_than_the_bound_is_refused_before_it_is_parsed),
        cmocka_unit_test(a_directory_or_nothing_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
