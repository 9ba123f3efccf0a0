/* Configurations for the tests of the limiter, made by hand. */
#ifndef JOBGATE_TESTS_LIMITER_FIXTURE_H
#define JOBGATE_TESTS_LIMITER_FIXTURE_H

#include <stdlib.h>

#include "base/clock.h"
#include "rules/config.h"

#define MS(n) ((int64_t)(n) * CLOCK_MS)

/* A configuration with these identities (NAMES ends in NULL), all of one quota; PORT 0: embedded. */
static struct config *
config_make(const char *const *names, struct config_quota quota, uint16_t port)
{
	struct config *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->refs = 1;
	arena_init(&c->arena);
	c->identities = arena_alloc(&c->arena, 8 * sizeof(*c->identities));
	for (; names[c->identity_count]; c->identity_count++)
		c->identities[c->identity_count] =
		    (struct config_identity){ .name = str_from(names[c->identity_count]), .quota = quota };
	c->callers = arena_alloc(&c->arena, sizeof(*c->callers));
	c->callers[0] = (struct config_caller){ .name = STR("caller"), .weight = 1, .wait_queue = 1000 };
	c->caller_count = 1;
	c->wait_queue = 1000;
	c->store.redis = port > 0;
	c->store.host = STR("127.0.0.1");
	c->store.port = port;
	c->store.prefix = STR("test");
	c->store.timeout_us = MS(100);
	return c;
}

static const char *const one_name[] = { "default", NULL };

#endif
