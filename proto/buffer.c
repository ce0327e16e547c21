/* The buffer pool.
 *
 * DESIGN. A pool has two sides. Its own thread takes buffers from `kept`, one list per power of two, without any atomic
 * operation. Any thread returns a buffer by pushing it on `returned`; the owner takes that whole list over with one
 * exchange when a class of `kept` is empty, so there is no pop by compare-and-swap and no ABA problem. The pool is
 * counted: one reference for its thread and one for each buffer that is out, so a buffer may outlive the thread that
 * made it; the last to leave frees everything. What a pool keeps is bounded; a buffer above the bound is freed at once.
 */
#include "proto/buffer.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"

enum { MIN_CLASS = 10, MAX_CLASS = 24, N_CLASSES = MAX_CLASS - MIN_CLASS + 1, UNPOOLED = N_CLASSES };

typedef struct Pool {
    _Atomic(Buffer *) returned;
    atomic_size_t kept_bytes; /* in `returned` and `kept` */
    atomic_size_t n_refs;
    atomic_bool is_abandoned; /* its thread has ended */
    Buffer *kept[N_CLASSES];  /* the owner's alone */
} Pool;

struct Buffer {
    _Alignas(BUFFER_ALIGNMENT) atomic_uint n_refs;
    uint32_t size_class;
    Pool *pool;
    Buffer *next;
    void (*clean_up)(void *data);
};
_Static_assert(sizeof(Buffer) == BUFFER_ALIGNMENT, "the data follow the struct, aligned");

static _Thread_local Pool *thread_pool;
static pthread_key_t thread_end; /* only to hear of a thread's end */
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;

static size_t class_bytes(uint32_t size_class) {
    return (size_t)1 << (MIN_CLASS + size_class);
}

static uint32_t class_of(size_t size_bytes) {
    uint32_t size_class = 0;
    while (size_class < N_CLASSES && class_bytes(size_class) < size_bytes)
        size_class++;
    return size_class;
}

static void free_list(Buffer *b) {
    while (b) {
        Buffer *next = b->next;
        free(b);
        b = next;
    }
}

static void pool_unref(Pool *pool) {
    if (atomic_fetch_sub_explicit(&pool->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    free_list(atomic_load(&pool->returned));
    for (int i = 0; i < N_CLASSES; i++)
        free_list(pool->kept[i]);
    free(pool);
}

static void abandon_pool(void *p) {
    Pool *pool = p;
    thread_pool = NULL;
    atomic_store(&pool->is_abandoned, true);
    pool_unref(pool);
}

static void make_thread_end(void) {
    if (pthread_key_create(&thread_end, abandon_pool))
        log_die(ERR_MEMORY, "out of memory: no thread-specific key for the buffer pool");
}

static Pool *own_pool(void) {
    if (thread_pool)
        return thread_pool;
    pthread_once(&thread_end_once, make_thread_end);
    Pool *pool = must_calloc(1, sizeof *pool);
    atomic_init(&pool->n_refs, 1);
    if (pthread_setspecific(thread_end, pool))
        log_die(ERR_MEMORY, "out of memory: no thread-specific value for the buffer pool");
    return thread_pool = pool;
}

static void take_returned(Pool *pool) {
    Buffer *b = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
    while (b) {
        Buffer *next = b->next;
        b->next = pool->kept[b->size_class];
        pool->kept[b->size_class] = b;
        b = next;
    }
}

static Buffer *take_kept(Pool *pool, uint32_t size_class) {
    if (size_class == UNPOOLED)
        return NULL;
    if (!pool->kept[size_class])
        take_returned(pool);
    Buffer *b = pool->kept[size_class];
    if (b) {
        pool->kept[size_class] = b->next;
        atomic_fetch_sub_explicit(&pool->kept_bytes, class_bytes(size_class), memory_order_relaxed);
    }
    return b;
}

static Buffer *allocate(uint32_t size_class, size_t size_bytes) {
    size_t room = size_class == UNPOOLED ? size_bytes : class_bytes(size_class);
    void *p = NULL;
    if (room > SIZE_MAX - sizeof(Buffer) || posix_memalign(&p, BUFFER_ALIGNMENT, sizeof(Buffer) + room))
        log_die(ERR_MEMORY, "out of memory: a buffer of %zu bytes", size_bytes);
    return p;
}

Buffer *buffer_new(size_t size_bytes) {
    Pool *pool = own_pool();
    uint32_t size_class = class_of(size_bytes);
    Buffer *b = take_kept(pool, size_class);
    if (!b)
        b = allocate(size_class, size_bytes);
    atomic_init(&b->n_refs, 1);
    b->size_class = size_class;
    b->pool = pool;
    b->next = NULL;
    b->clean_up = NULL;
    atomic_fetch_add_explicit(&pool->n_refs, 1, memory_order_relaxed);
    return b;
}

void *buffer_data(Buffer *b) {
    return b + 1;
}

void buffer_ref(Buffer *b) {
    atomic_fetch_add_explicit(&b->n_refs, 1, memory_order_relaxed);
}

static bool pool_keeps(Pool *pool, uint32_t size_class) {
    if (size_class == UNPOOLED || atomic_load(&pool->is_abandoned))
        return false;
    size_t bytes = class_bytes(size_class);
    if (atomic_fetch_add_explicit(&pool->kept_bytes, bytes, memory_order_relaxed) + bytes <= BUFFER_POOL_BYTES)
        return true;
    atomic_fetch_sub_explicit(&pool->kept_bytes, bytes, memory_order_relaxed);
    return false;
}

void buffer_unref(Buffer *b) {
    if (!b || atomic_fetch_sub_explicit(&b->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    if (b->clean_up)
        b->clean_up(buffer_data(b));
    Pool *pool = b->pool;
    if (pool_keeps(pool, b->size_class)) {
        Buffer *head = atomic_load_explicit(&pool->returned, memory_order_relaxed);
        do
            b->next = head;
        while (!atomic_compare_exchange_weak_explicit(&pool->returned, &head, b, memory_order_release,
                                                      memory_order_relaxed));
    } else {
        free(b);
    }
    pool_unref(pool);
}

void buffer_on_free(Buffer *b, void (*clean_up)(void *data)) {
    b->clean_up = clean_up;
}

void buffer_list_push(Buffer **list, Buffer *b) {
    assert(!b->next);
    b->next = *list;
    *list = b;
}

void buffer_list_unref(Buffer **list) {
    while (*list) {
        Buffer *b = *list;
        *list = b->next;
        buffer_unref(b);
    }
}

size_t buffer_pool_bytes(void) {
    return thread_pool ? atomic_load(&thread_pool->kept_bytes) : 0;
}
