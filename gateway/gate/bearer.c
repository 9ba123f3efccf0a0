/* The bearer's life. */
#include "gate/bearer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/token.h"

static const struct str bearer_scheme = STR_INIT("Bearer ");

struct bearer *
bearer_new(struct str token, struct mono_time expires)
{
	size_t n = token.n ? bearer_scheme.n + token.n : 0;
	struct bearer *bearer = calloc(1, sizeof(*bearer) + n);

	check(bearer != NULL);
	atomic_init(&bearer->refs, 1);
	bearer->expires = expires;
	bearer->n = n;
	if (n > 0) {
		memcpy(bearer->value, bearer_scheme.p, bearer_scheme.n);
		memcpy(bearer->value + bearer_scheme.n, token.p, token.n);
	}
	return bearer;
}

struct bearer *
bearer_ref(struct bearer *bearer)
{
	check(atomic_fetch_add_explicit(&bearer->refs, 1, memory_order_relaxed) > 0);
	return bearer;
}

void
bearer_unref(struct bearer **bearer_p)
{
	struct bearer *bearer = *bearer_p;

	*bearer_p = NULL;
	if (bearer == NULL || atomic_fetch_sub_explicit(&bearer->refs, 1, memory_order_acq_rel) > 1)
		return;
	explicit_bzero(bearer->value, bearer->n);
	free(bearer);
}

bool
bearer_is_usable(const struct bearer *bearer, struct mono_time now)
{
	return bearer != NULL && bearer->n > 0 && mono_since(bearer->expires, now) > TOKEN_LEFT_MIN_US;
}

struct str
bearer_token(const struct bearer *bearer)
{
	return str_sub(bearer_value(bearer), bearer_scheme.n, bearer->n);
}

struct str
bearer_value(const struct bearer *bearer)
{
	return (struct str){ bearer->value, bearer->n };
}
