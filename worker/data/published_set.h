/* A published file as an evaluation set, over one of two vocabularies: that of the data set of a model, which can then
 * score it, or the published one, which serves the probes alone.
 *
 *   paper  every group; items and users that the vocabulary does not hold are id 0 (of a data set: neither domain's
 *          training has seen them); heapsort's ties
 *   all    every group; items that the vocabulary (the data set) does not hold are id 0; users by their names
 *   warm   the groups of which the vocabulary (of a data set: the domain's training) holds all ten candidates; users by
 *          their names */
#ifndef MANGROVE_WORKER_DATA_PUBLISHED_SET_H
#define MANGROVE_WORKER_DATA_PUBLISHED_SET_H

#include "worker/data/evalset.h"

typedef struct PublishedSource {
    const char *dir;
    EvalProtocol protocol;
    Split split;
    const Dataset *data;  /* NULL: the published vocabularies */
    const Config *config; /* with data: model.seq_len, eval.batch */
} PublishedSource;

/* *exists = false and an empty set if there is no file for the domain and split. Borrows data and config. ERR_DATA,
 * ERR_IO. */
Err published_set_open(Evalset *out, const PublishedSource *source, int domain, bool *exists) MUST_CHECK;

#endif
