/* The parameter client's local half: calls a store in this process. `train --local` and `evaluate` use it. */
#ifndef MANGROVE_DEPLOY_LOCAL_CLIENT_H
#define MANGROVE_DEPLOY_LOCAL_CLIENT_H

#include "server/store/store.h"
#include "worker/client.h"

/* Borrows the store, which must outlive the client. */
ParameterClient local_client(Store *store);

#endif
