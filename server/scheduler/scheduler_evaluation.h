/* Inside the scheduler: scores, metrics, early stopping. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_EVALUATION_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_EVALUATION_H

#include "server/scheduler/lease.h"
#include "server/scheduler/scheduler_members.h"

typedef enum SheetState { SHEET_UNUSED, SHEET_SCORING, SHEET_RANKING, SHEET_RANKED } SheetState;

/* The scores of one (domain, split), in the order of the batches. */
typedef struct Sheet {
    SheetState state;
    uint32_t n, n_steps, n_received;
    float *scores;
    uint32_t *users;
    uint8_t *received;        /* bit per batch */
    uint32_t *first_instance; /* (n_chunks) */
    RankJob job;
} Sheet;

typedef struct Evaluation {
    uint32_t pass; /* of the whole run, from 1 */
    Sheet sheets[N_DOMAINS][N_SPLITS];
    EpochResult result;
    bool is_judged[N_DOMAINS]; /* validation ranked, test wanted or not */
    Standing standing;         /* of the domains that are judged; before, of the epoch before */
    Standing standing_before;  /* as it was when the evaluation began */
    bool is_committed;         /* the epoch's snapshot, saving.last */
    bool is_complete;
} Evaluation;

void evaluation_begin(Scheduler *s);
bool evaluation_advance(Scheduler *s); /* true: something has moved */
void evaluation_on_scores(Scheduler *s, Member *worker, Message *m);
bool evaluation_has(const Scheduler *s, const Piece *piece); /* every score of it has come */
void evaluation_free(Scheduler *s);

#endif
