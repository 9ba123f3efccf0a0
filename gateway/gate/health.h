/* Health on the callers' listeners: healthz and readyz, without a key and without reasons. */
#ifndef JOBGATE_GATE_HEALTH_H
#define JOBGATE_GATE_HEALTH_H

#include "gate/request.h"

/* Make the answer where the request asks for health; false where it asks for something else. */
bool health_answer(struct request *request);

#endif
