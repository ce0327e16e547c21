/* The data set whose ids a new one keeps (prepare --base): a name's id means the same in both, so that a model trained
 * on the one can go on with the other. */
#ifndef MANGROVE_WORKER_DATA_BASE_H
#define MANGROVE_WORKER_DATA_BASE_H

#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"
#include "worker/data/vocab.h"

/* Without a base the vocabularies hold id 0 alone and everything else is 0. */
typedef struct Base {
    Vocab users, items;
    uint8_t *item_domains; /* (items.n) bit d: the item occurs in domain d */
    uint8_t *user_domains; /* (users.n) */
    uint64_t fingerprint;
    uint64_t *lineage; /* (n_lineage) of a data set that keeps these ids: the base's own and the base, oldest first */
    uint32_t n_lineage;
} Base;

/* Reads the vocabularies of the data set in dir; NULL = no base. ERR_DATA or ERR_IO with one sentence where it is no
 * data set, is damaged or of another version. A failure leaves nothing to close. */
Err base_open(Base *out, const char *dir) MUST_CHECK;
void base_close(Base *base); /* of a zeroed struct is legal */

/* ERR_USAGE if the new data set would replace its base. */
Err base_check_place(const char *base_dir, const char *out_dir) MUST_CHECK;

/* Are these the base's domains, in its order? used (names->n): domains that each name of the inputs occurs in, as
 * item_domains. ERR_DATA where of the items of one domain not more have stayed than have moved to the other. */
Err base_check_domains(const Base *base, const Vocab *names, const uint8_t *used,
                       const char *const inputs[N_DOMAINS]) MUST_CHECK;

/* Are the inputs the complete ratings? used: as above, of the inputs' items and users. ERR_DATA where more than half of
 * a domain's items, or of the users, that have events in the base have none now. */
Err base_check_complete(const Base *base, const Vocab *items, const uint8_t *used_items, const Vocab *users,
                        const uint8_t *used_users) MUST_CHECK;

#endif
