/* The life of a message: its frames, and the copies that give unaligned or divided bytes in one piece. */
#include "proto/message.h"

#include <assert.h>
#include <string.h>

#include "proto/buffer.h"

enum { USABLE_ALIGNMENT = 8 }; /* of the widest element that frames hold */

void message_init(Message *m, MessageType type) {
    memset(m, 0, offsetof(Message, frames));
    m->type = type;
}

void message_free(Message *m) {
    for (int i = 0; i < m->n_frames; i++)
        buffer_unref(m->frames[i].buffer);
    m->n_frames = 0;
    buffer_list_unref(&m->copies);
}

void message_move(Message *dst, Message *src) {
    memcpy(dst, src, offsetof(Message, frames) + (size_t)src->n_frames * sizeof(Frame));
    message_init(src, src->type);
}

void *message_add_frame(Message *m, size_t size_bytes) {
    assert(size_bytes <= MESSAGE_FRAME_BYTES && m->n_frames < MESSAGE_MAX_FRAMES);
    Buffer *buffer = buffer_new(size_bytes);
    m->frames[m->n_frames++] = (Frame){.data = buffer_data(buffer), .size_bytes = size_bytes, .buffer = buffer};
    return buffer_data(buffer);
}

void message_add_bytes(Message *m, const void *data, size_t size_bytes) {
    assert(size_bytes <= MESSAGE_MAX_BYTES);
    const uint8_t *from = data;
    do {
        size_t part = size_bytes < MESSAGE_FRAME_BYTES ? size_bytes : MESSAGE_FRAME_BYTES;
        void *to = message_add_frame(m, part);
        if (part) {
            memcpy(to, from, part);
            from += part;
        }
        size_bytes -= part;
    } while (size_bytes);
}

Err message_take_frame(Message *m, const Frame *frame) {
    const char *name = message_type_name(m->type);
    if (m->n_frames == MESSAGE_MAX_FRAMES)
        return err_fail(ERR_PROTOCOL, "%s: over %d frames", name, MESSAGE_MAX_FRAMES);
    if (frame->size_bytes > MESSAGE_FRAME_BYTES)
        return err_fail(ERR_PROTOCOL, "%s: a frame has %zu bytes, the limit is %d", name, frame->size_bytes,
                        MESSAGE_FRAME_BYTES);
    if (message_frame_bytes(m) + frame->size_bytes > MESSAGE_MAX_BYTES)
        return err_fail(ERR_PROTOCOL, "%s: the frames have over %d bytes", name, MESSAGE_MAX_BYTES);
    buffer_ref(frame->buffer);
    m->frames[m->n_frames++] = *frame;
    return OK;
}

size_t message_frame_bytes(const Message *m) {
    size_t n = 0;
    for (int i = 0; i < m->n_frames; i++)
        n += m->frames[i].size_bytes;
    return n;
}

static Frame joined(const Frame *frames, int n, size_t size_bytes) {
    Buffer *buffer = buffer_new(size_bytes);
    uint8_t *to = buffer_data(buffer);
    for (int i = 0; i < n; i++) {
        memcpy(to, frames[i].data, frames[i].size_bytes);
        to += frames[i].size_bytes;
    }
    return (Frame){.data = buffer_data(buffer), .size_bytes = size_bytes, .buffer = buffer};
}

const void *message_bytes(Message *m, int first, int n, size_t *size_bytes) {
    assert(first >= 0 && n >= 0 && first + n <= m->n_frames);
    *size_bytes = 0;
    for (int i = first; i < first + n; i++)
        *size_bytes += m->frames[i].size_bytes;
    if (n == 0)
        return NULL;
    Frame *frame = &m->frames[first];
    if (n == 1 && (uintptr_t)frame->data % USABLE_ALIGNMENT == 0)
        return frame->data;
    Frame copy = joined(frame, n, *size_bytes);
    if (n == 1) { /* the copy takes the frame's place: asked again, it is not copied again */
        buffer_unref(frame->buffer);
        *frame = copy;
    } else {
        buffer_list_push(&m->copies, copy.buffer);
    }
    return copy.data;
}
