/* The rows that a request names, looked at once: keys come by the thousand, and every pass over them costs. */
#include "proto/wire.h"
#include "server/session/session_parts.h"

static Err take_keys(Message *m, uint64_t n_keys, SessionRows *out) {
    if (n_keys > MESSAGE_MAX_BYTES / sizeof *out->keys)
        return err_fail(ERR_PROTOCOL, "%s of %lu keys; a message holds at most %zu", message_type_name(m->type),
                        (unsigned long)n_keys, MESSAGE_MAX_BYTES / sizeof *out->keys);
    size_t want = n_keys * sizeof *out->keys, have = 0;
    int n = (int)((want + MESSAGE_FRAME_BYTES - 1) / MESSAGE_FRAME_BYTES);
    for (int i = 0; i < n && i < m->n_frames; i++)
        have += m->frames[i].size_bytes;
    if (have != want)
        return err_fail(ERR_PROTOCOL, "%s of %lu keys, but its %d key frames hold %zu bytes",
                        message_type_name(m->type), (unsigned long)n_keys, n, have);
    *out = (SessionRows){.n_keys = (uint32_t)n_keys, .n_frames = n};
    if (n)
        out->keys = message_bytes(m, 0, n, &have);
    return OK;
}

/* False: a key names no row. */
static bool look_at_keys(const Session *s, SessionRows *rows) {
    const uint64_t *keys = rows->keys;
    size_t n_values = 0;
    uint32_t n_foreign = 0;
    for (uint32_t i = 0; i < rows->n_keys; i++) {
        int table = key_table(keys[i]);
        if (table >= s->schema.n_tables || key_row(keys[i]) >= s->schema.tables[table].n_rows)
            return false;
        n_values += s->schema.tables[table].width;
        n_foreign += s->view.slots[key_slot(keys[i])] != s->up.rank;
    }
    rows->n_values = n_values;
    rows->n_foreign = n_foreign;
    return true;
}

Err session_rows(const Session *s, Message *m, uint64_t n_keys, Wire wire, SessionRows *out) {
    Err err = take_keys(m, n_keys, out);
    if (!err && !look_at_keys(s, out))
        err = store_check_keys(s->store, out->keys, out->n_keys, NULL); /* says which */
    if (err)
        return err;
    out->wire_bytes =
        wire == WIRE_FP32 ? out->n_values * sizeof(float) : wire_rows_bytes(wire, &s->schema, out->keys, out->n_keys);
    return OK;
}

Err session_check_owner(const Session *s, const SessionRows *rows) {
    for (uint32_t i = 0; rows->n_foreign && i < rows->n_keys; i++) {
        uint64_t key = rows->keys[i];
        uint32_t slot = key_slot(key);
        if (s->view.slots[slot] != s->up.rank)
            return err_fail(ERR_PROTOCOL,
                            "row %lu of table %d lies in slot %u, which is server %d's, not this server's (%u)",
                            (unsigned long)key_row(key), key_table(key), slot, s->view.slots[slot], s->up.rank);
    }
    return OK;
}
