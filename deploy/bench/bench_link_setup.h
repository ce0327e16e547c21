/* The server of `bench link`, and what its scheduler says to it. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_LINK_SETUP_H
#define MANGROVE_DEPLOY_BENCH_BENCH_LINK_SETUP_H

#include "common/config.h"
#include "proto/message.h"

enum { LINK_JOB = 1, LINK_WINDOW = 64 };

/* The child: server_run() with one table of the LinkShape ctx, reached by domain A. in: its scheduler's endpoint. */
void link_setup_serve(void *ctx, int in, int out);

/* The given one, asynchronous, with adam and room for the requests. */
Config link_setup_config(const Config *given);
void link_setup_welcome(Message *m, const Config *config);
void link_setup_view(Message *m, const char *endpoint); /* all slots are this server's */
void link_setup_epoch(Message *m);

#endif
