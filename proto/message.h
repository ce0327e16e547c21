/* Messages: one row per type, from which the structs, the codec and the names follow. PROTOCOL.md says who sends what
 * when, and is normative.
 *
 * On the wire a message is a ZeroMQ multipart message:
 *   frame 0   header, 32 bytes little-endian, then a MessagePack map {field name: value} of at most 4 KiB
 *   frames 1… raw little-endian arrays, at most 1 MiB each; what they are stands with the type below
 *
 *   offset size  header
 *        0    4  magic "MGRV"
 *        4    2  protocol version (PROTOCOL_VERSION); another one is refused
 *        6    1  type
 *        7    1  flags, 0
 *        8    4  job, chosen by the scheduler; 0 before WELCOME
 *       12    4  sender, given by the scheduler in WELCOME; 0 before
 *       16    8  incarnation: a random number that is not 0, drawn at every start of a process
 *       24    8  sequence: of a request, echoed by its reply
 *
 * Unknown map keys are skipped; missing ones are 0 or ""; a wrong type, a duplicate or trailing bytes are errors. */
#ifndef MANGROVE_PROTO_MESSAGE_H
#define MANGROVE_PROTO_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    PROTOCOL_VERSION = 2,
    MESSAGE_HEADER_BYTES = 32,
    MESSAGE_MAP_BYTES = 4096,
    MESSAGE_MAP_ENTRIES = 32,
    MESSAGE_TEXT = 512,            /* bytes of a string field, with the 0 */
    MESSAGE_FRAME_BYTES = 1 << 20, /* of a raw frame */
    MESSAGE_MAX_FRAMES = 256,      /* raw frames of a message */
    MESSAGE_MAX_BYTES = 192 << 20, /* of all raw frames of a message */
};

/* X(TYPE, value, member, FIELDS). In FIELDS: N(name) is a number (u64), S(name) a string. */
#define MESSAGE_TYPES(X)                                                                                               \
    X(HELLO, 1, hello, HELLO_FIELDS)                                                                                   \
    X(WELCOME, 2, welcome, WELCOME_FIELDS)                                                                             \
    X(REFUSE, 3, refuse, REFUSE_FIELDS)                                                                                \
    X(HEARTBEAT, 4, heartbeat, HEARTBEAT_FIELDS)                                                                       \
    X(VIEW, 5, view, VIEW_FIELDS)                                                                                      \
    X(READY, 6, ready, READY_FIELDS)                                                                                   \
    X(EPOCH_OPEN, 7, epoch_open, EPOCH_OPEN_FIELDS)                                                                    \
    X(EPOCH_OPENED, 8, epoch_opened, EPOCH_OPENED_FIELDS)                                                              \
    X(LEASE_ASK, 9, lease_ask, NO_FIELDS)                                                                              \
    X(LEASE, 10, lease, LEASE_FIELDS)                                                                                  \
    X(LEASE_END, 11, lease_end, LEASE_END_FIELDS)                                                                      \
    X(LEASE_REVOKE, 12, lease_revoke, LEASE_REVOKE_FIELDS)                                                             \
    X(REPORT_ASK, 13, report_ask, REPORT_ASK_FIELDS)                                                                   \
    X(REPORT, 14, report, REPORT_FIELDS)                                                                               \
    X(MARK, 15, mark, MARK_FIELDS)                                                                                     \
    X(MARKED, 16, marked, MARKED_FIELDS)                                                                               \
    X(WRITTEN, 17, written, WRITTEN_FIELDS)                                                                            \
    X(RESUME, 18, resume, RESUME_FIELDS)                                                                               \
    X(SCORES, 19, scores, SCORES_FIELDS)                                                                               \
    X(FINISH, 20, finish, FINISH_FIELDS)                                                                               \
    X(BYE, 21, bye, BYE_FIELDS)                                                                                        \
    X(STATUS_ASK, 22, status_ask, NO_FIELDS)                                                                           \
    X(STATUS, 23, status, NO_FIELDS)                                                                                   \
    X(STOP_ASK, 24, stop_ask, NO_FIELDS)                                                                               \
    X(SNAPSHOT_ASK, 25, snapshot_ask, NO_FIELDS)                                                                       \
    X(PULL, 32, pull, PULL_FIELDS)                                                                                     \
    X(VALUES, 33, values, VALUES_FIELDS)                                                                               \
    X(PUSH, 34, push, PUSH_FIELDS)                                                                                     \
    X(PUSHED, 35, pushed, PUSHED_FIELDS)

#define NO_FIELDS(N, S) N(reserved)
/* role: ROLE_*. data: fingerprint of the data set that a worker reads. endpoint: where a server is reached.
 * frames, worker -> scheduler: the data set's manifest (JSON text, cut into frames) */
#define HELLO_FIELDS(N, S) N(role) N(pid) N(config) N(data) S(version) S(host) S(endpoint)
/* id: the sender number from now on. rank: index among the role's processes. config: its fingerprint.
 * frames, scheduler -> role: the effective configuration (YAML text). server -> worker: none, credit_* set. */
#define WELCOME_FIELDS(N, S)                                                                                           \
    N(id) N(rank) N(config) N(heartbeat_ms) N(dead_ms) N(credit_bytes) N(credit_requests) S(version)
/* code: -Err. text: the sentence to show. The receiver ends with that exit code. */
#define REFUSE_FIELDS(N, S) N(code) S(text)
#define HEARTBEAT_FIELDS(N, S)                                                                                         \
    N(lease) N(n_steps) N(n_instances) N(n_rows) N(used_bytes) N(sent_bytes) N(received_bytes)
/* map: version of the slot map, from 1. frames: slot map (u16 server rank x 4096); endpoints of the servers in rank
 * order, one a line; the data set's manifest (cut into frames) */
/* restore: RESTORE_*; snapshot: the directory from which the server loads the rows of its slots before it is READY. */
#define VIEW_FIELDS(N, S)         N(map) N(n_servers) N(restore) S(snapshot)
#define READY_FIELDS(N, S)        N(map)
#define EPOCH_OPEN_FIELDS(N, S)   N(epoch) N(steps_a) N(steps_b)
#define EPOCH_OPENED_FIELDS(N, S) N(epoch)
/* kind: LEASE_*. frames: LEASE_RANKS: u32 ranks; LEASE_STEPS: u32 pairs (domain, step) */
#define LEASE_FIELDS(N, S) N(lease) N(kind) N(epoch) N(map) N(chunk) N(part) N(pass) N(domain) N(split) N(order)
/* is_done: 1 = every step of the lease was pushed and acknowledged (or scored), 0 = given back */
#define LEASE_END_FIELDS(N, S)    N(lease) N(is_done) N(n_steps) N(n_instances)
#define LEASE_REVOKE_FIELDS(N, S) N(lease)
#define REPORT_ASK_FIELDS(N, S)   N(epoch)
/* frames: bitmap of A, bitmap of B, keys (u64) and values (f32) of the `sum` rows that this server holds; where
 * dense.push > 1 also the steps of A, of B whose own push is applied, their group's or not */
#define REPORT_FIELDS(N, S) N(epoch) N(map) N(t_a) N(t_b)
/* dir: where the snapshot's files go. base: the cut of the full snapshot that an incremental one goes on from; 0: this
 * one is full. frames: bitmap of A, bitmap of B */
#define MARK_FIELDS(N, S)   N(cut) N(epoch) N(map) N(base) S(dir)
#define MARKED_FIELDS(N, S) N(cut) N(is_ok)
/* frames: the files' part of the manifest (JSON text) */
#define WRITTEN_FIELDS(N, S) N(cut) N(is_ok) S(text)
#define RESUME_FIELDS(N, S)  N(cut) N(map)
/* frames: users (u32 x n), scores (f32 x n x n_candidates, candidate 0 the positive) */
#define SCORES_FIELDS(N, S) N(lease) N(epoch) N(pass) N(domain) N(split) N(step) N(n) N(n_candidates)
/* code: -Err, 0 = the run is complete */
#define FINISH_FIELDS(N, S) N(code) S(text)
#define BYE_FIELDS(N, S)    N(code) S(text)
/* Arrays of PULL, VALUES and PUSH. Keys, and the values of a PUSH, are cut anywhere: ceil(bytes / 1 MiB) frames, all
 * but the last full; no keys, no frames. Values of a VALUES are cut between rows: each frame holds as many whole rows
 * as fit into 1 MiB, in key order; no rows, no frames. So the frames of either, one behind the other, are the array.
 * wire: 0: values are f32; 1: bf16, but f32 in rows of stats (wire.h). In training it is the configuration's
 * (train.wire), in an evaluation 0; another one is refused. A request's credit cost: the bytes of its raw frames, and for
 * a PULL also those of the values that may come back. The reply to it returns the whole cost, whatever its status. */
/* pass 0: training. order: sync only. wire: of the values to come. frames: keys (u64) */
#define PULL_FIELDS(N, S) N(epoch) N(pass) N(domain) N(split) N(rank) N(step) N(order) N(map) N(n_keys) N(wire)
/* status: STATUS_*. frames: with STATUS_OK, and with STATUS_APPLIED where n_values > 0: values in key order */
#define VALUES_FIELDS(N, S) N(status) N(n_values) N(wire)
/* group: 0, or the steps whose dense gradients it sums. frames: keys (u64), then values, each array cut by itself */
#define PUSH_FIELDS(N, S)   N(epoch) N(domain) N(rank) N(step) N(map) N(n_keys) N(wire) N(group)
#define PUSHED_FIELDS(N, S) N(status)

typedef enum MessageType {
#define X(type, value, member, fields) MESSAGE_##type = (value),
    MESSAGE_TYPES(X)
#undef X
} MessageType;

#define N(name) uint64_t name;
#define S(name) char name[MESSAGE_TEXT];
#define X(type, value, member, fields)                                                                                 \
    typedef struct Message##type {                                                                                     \
        fields(N, S)                                                                                                   \
    } Message##type;
MESSAGE_TYPES(X)
#undef X
#undef N
#undef S

typedef enum Role { ROLE_SCHEDULER, ROLE_SERVER, ROLE_WORKER, ROLE_CONTROL } Role;
typedef enum LeaseKind {
    LEASE_PART = 1,   /* train every step of part `part` of `chunk` (work.h) */
    LEASE_RANKS,      /* sync: compute these ranks of every step of the epoch, from `order` on */
    LEASE_STEPS,      /* in a cut: train just these steps */
    LEASE_EVALUATION, /* score every evaluation batch of (chunk, domain, split) */
} LeaseKind;
typedef enum Restore {
    RESTORE_NONE,         /* every row has its initial value */
    RESTORE_RESUME,       /* rows, moments, epoch, bitmaps and t of the snapshot */
    RESTORE_INIT,         /* its rows and its seed of initial values; moments and t are 0 */
    RESTORE_INIT_MOMENTS, /* likewise with its moments and t */
} Restore;
typedef enum Status {
    STATUS_OK,      /* values follow; the push was applied */
    STATUS_APPLIED, /* the step had been applied before */
    STATUS_HELD,    /* sync: the push waits for the other ranks */
    STATUS_RETRY,   /* of an epoch that this server has not opened, or an evaluation of another epoch */
    STATUS_STALE,   /* of another map version */
} Status;

/* Raw bytes that travel with a message. Reference-counted and pooled: zero-copy in both directions. */
typedef struct Buffer Buffer;
typedef struct Frame {
    void *data; /* of a received frame it may be unaligned: read it through message_bytes */
    size_t size_bytes;
    Buffer *buffer; /* the message owns one reference */
} Frame;

typedef struct Message {
    MessageType type;
    uint32_t job, sender;
    uint64_t incarnation, sequence;
    union {
#define X(type, value, member, fields) Message##type member;
        MESSAGE_TYPES(X)
#undef X
    };
    Buffer *copies; /* made by message_bytes */
    int n_frames;
    Frame frames[MESSAGE_MAX_FRAMES];
} Message;

const char *message_type_name(MessageType type); /* "PULL"; "unknown" */

/* A new empty message: every field 0, no frames. It must be freed, or handed to link_send, which frees it. */
void message_init(Message *m, MessageType type);
void message_free(Message *m);
/* Moves the frames (and everything else) to dst, whose former content is not freed; src is empty afterwards. How a
 * handler keeps a message. */
void message_move(Message *dst, Message *src);

/* Appends a frame of this size to fill; <= MESSAGE_FRAME_BYTES (asserted). Aligned to 64 bytes. */
void *message_add_frame(Message *m, size_t size_bytes);
/* Appends as many frames as the bytes need (at least one), copying them. */
void message_add_bytes(Message *m, const void *data, size_t size_bytes);
/* Appends a frame that a peer has sent, with a reference of its own. ERR_PROTOCOL: more than a message may hold. */
Err message_take_frame(Message *m, const Frame *frame) MUST_CHECK;
/* Bytes of all raw frames together. */
size_t message_frame_bytes(const Message *m);
/* The bytes of frames [first, first + n), which must exist, in one piece: the frame itself where it is one and aligned
 * to 8 bytes, else a copy that lives as long as the message. size out. n 0: NULL. */
const void *message_bytes(Message *m, int first, int n, size_t *size_bytes);

/* Frame 0: encodes into out (MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES); returns its size. */
size_t message_encode(const Message *m, uint8_t *out);
/* The reverse, of bytes that nobody has checked. Fills everything but the frames, which stay as they are. ERR_PROTOCOL
 * with a sentence, which quotes nothing that the peer wrote. Never allocates or reads outside, whatever the bytes. */
Err message_decode(Message *m, const uint8_t *data, size_t size_bytes) MUST_CHECK;

#endif
