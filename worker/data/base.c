/* The data set whose ids a new one keeps. */
#include "worker/data/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "worker/data/names.h"

/* ---- opening ---- */

static Err read_names(Vocab *out, const char *dir, const Dataset *d, NameKind kind) {
    Err err = names_read(out, d, kind);
    return err ? err_wrap(err, "the base %s is damaged", dir) : OK;
}

static void mark_items(Base *base, const Dataset *d) {
    base->item_domains = must_calloc(base->items.n, 1);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t n;
        const uint32_t *items = dataset_event_items(d, domain, &n);
        for (uint32_t i = 0; i < n; i++)
            base->item_domains[items[i]] |= (uint8_t)(1u << domain);
    }
}

static void mark_users(Base *base, const Dataset *d) {
    base->user_domains = must_calloc(base->users.n, 1);
    for (int domain = 0; domain < N_DOMAINS; domain++)
        for (uint32_t user = 1; user < base->users.n; user++) {
            uint32_t first, n;
            dataset_user_events(d, domain, user, &first, &n);
            base->user_domains[user] |= (uint8_t)((n > 0) << domain);
        }
}

/* A lineage that is full loses its oldest: snapshots of that age can no longer begin a training on the new data. */
static void extend_lineage(Base *base, const DataInfo *info) {
    uint32_t n_dropped = info->n_lineage == DATAINFO_MAX_LINEAGE;
    uint32_t n_kept = info->n_lineage - n_dropped;
    base->fingerprint = info->fingerprint;
    base->lineage = must_alloc((n_kept + (size_t)1) * sizeof *base->lineage);
    base->n_lineage = n_kept + 1;
    for (uint32_t i = 0; i < n_kept; i++)
        base->lineage[i] = info->lineage[n_dropped + i];
    base->lineage[n_kept] = info->fingerprint;
}

Err base_open(Base *out, const char *dir) {
    Dataset *d = NULL;
    *out = (Base){0};
    if (!dir) {
        vocab_init(&out->users);
        vocab_init(&out->items);
        out->item_domains = must_calloc(1, 1);
        out->user_domains = must_calloc(1, 1);
        return OK;
    }
    Err err = dataset_open(&d, dir);
    if (!err)
        err = read_names(&out->users, dir, d, NAME_USER);
    if (!err)
        err = read_names(&out->items, dir, d, NAME_ITEM);
    if (!err) {
        mark_items(out, d);
        mark_users(out, d);
        extend_lineage(out, dataset_info(d));
    }
    dataset_close(&d);
    if (err)
        base_close(out);
    return err;
}

void base_close(Base *base) {
    vocab_free(&base->users);
    vocab_free(&base->items);
    free(base->item_domains);
    free(base->user_domains);
    free(base->lineage);
    *base = (Base){0};
}

/* ---- refusals ---- */

Err base_check_place(const char *base_dir, const char *out_dir) {
    struct stat base, out;
    if (!stat(base_dir, &base) && !stat(out_dir, &out) && base.st_dev == out.st_dev && base.st_ino == out.st_ino)
        return err_fail(ERR_USAGE,
                        "--base and --out are both %s: a data set cannot replace its base, choose another --out",
                        out_dir);
    return OK;
}

/* Of the items that the base has in this domain alone: a common item says nothing. */
static Err check_domain(const Base *base, int domain, const Vocab *names, const uint8_t *used,
                        const char *const inputs[N_DOMAINS]) {
    uint8_t own = (uint8_t)(1u << domain);
    uint32_t n = 0, n_stayed = 0, n_moved = 0;
    for (uint32_t id = 1; id < base->items.n; id++) {
        if (base->item_domains[id] != own)
            continue;
        const char *name = vocab_name(&base->items, id);
        uint8_t now = used[vocab_find(names, name, strlen(name))];
        n++;
        n_stayed += (now & own) != 0;
        n_moved += now && !(now & own);
    }
    if (n == 0 || n_stayed > n_moved)
        return OK;
    return err_fail(ERR_DATA,
                    "of the %u items that the base has in domain %c alone, %u occur in %s and %u in %s alone: give the "
                    "complete ratings of the same two domains in the same order",
                    n, 'A' + domain, n_stayed, inputs[domain], n_moved, inputs[N_DOMAINS - 1 - domain]);
}

Err base_check_domains(const Base *base, const Vocab *names, const uint8_t *used, const char *const inputs[N_DOMAINS]) {
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = check_domain(base, d, names, used, inputs);
    return err;
}

/* Of the names that have events in one of these domains (bits). */
static Err check_kept(const Vocab *kept, const uint8_t *domains, uint8_t of, const Vocab *names, const uint8_t *used,
                      const char *what) {
    uint32_t n = 0, n_vanished = 0;
    for (uint32_t id = 1; id < kept->n; id++) {
        const char *name = vocab_name(kept, id);
        if (!(domains[id] & of))
            continue;
        n++;
        n_vanished += !(used[vocab_find(names, name, strlen(name))] & of);
    }
    if (n_vanished <= n / 2)
        return OK;
    return err_fail(
        ERR_DATA,
        "of the base's %u %s %u have no event now: give the complete ratings, not the new ones alone, or say "
        "--allow-vanished if these are complete",
        n, what, n_vanished);
}

Err base_check_complete(const Base *base, const Vocab *items, const uint8_t *used_items, const Vocab *users,
                        const uint8_t *used_users) {
    static const char *const ITEMS[N_DOMAINS] = {"items of domain A", "items of domain B"};
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = check_kept(&base->items, base->item_domains, (uint8_t)(1u << d), items, used_items, ITEMS[d]);
    return err ? err : check_kept(&base->users, base->user_domains, UINT8_MAX, users, used_users, "users");
}
