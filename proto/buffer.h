/* Buffers: the reference-counted memory behind the frames of messages, 64-byte-aligned and pooled.
 *
 * Every thread that makes buffers has its own pool, as it has its own errno. A buffer may be released on any thread
 * (ZeroMQ frees what it has sent on its I/O thread): it goes back to its pool through a lock-free list. */
#ifndef MANGROVE_PROTO_BUFFER_H
#define MANGROVE_PROTO_BUFFER_H

#include <stddef.h>
#include <stdint.h>

typedef struct Buffer Buffer;

enum { BUFFER_ALIGNMENT = 64, BUFFER_POOL_BYTES = 64 << 20 /* what an idle pool keeps at most */ };

/* At least size_bytes, not cleared, with one reference. Dies without memory. */
Buffer *buffer_new(size_t size_bytes);
void *buffer_data(Buffer *b);
void buffer_ref(Buffer *b);
/* The last reference calls the clean-up, if any, and returns the buffer to the pool it came from. b may be NULL. */
void buffer_unref(Buffer *b);
/* clean_up(data) is called before the buffer is reused, on the thread that drops the last reference. */
void buffer_on_free(Buffer *b, void (*clean_up)(void *data));

/* Lists of buffers that one owner holds; a buffer is in at most one. */
void buffer_list_push(Buffer **list, Buffer *b);
void buffer_list_unref(Buffer **list);

/* Bytes that this thread's pool keeps for reuse. */
size_t buffer_pool_bytes(void);

#endif
