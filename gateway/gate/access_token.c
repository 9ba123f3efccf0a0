/* The life of an access token. */
#include "gate/access_token.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/token.h"

static const struct str access_scheme = STR_INIT("Bearer ");

struct access_token *
access_token_new(struct str token, struct mono_time expires)
{
	size_t n = token.n ? access_scheme.n + token.n : 0;
	struct access_token *access = calloc(1, sizeof(*access) + n);

	check(access != NULL);
	atomic_init(&access->refs, 1);
	access->expires = expires;
	access->n = n;
	if (n > 0) {
		memcpy(access->value, access_scheme.p, access_scheme.n);
		memcpy(access->value + access_scheme.n, token.p, token.n);
	}
	return access;
}

struct access_token *
access_token_ref(struct access_token *access)
{
	check(atomic_fetch_add_explicit(&access->refs, 1, memory_order_relaxed) > 0);
	return access;
}

void
access_token_unref(struct access_token **access_p)
{
	struct access_token *access = *access_p;

	*access_p = NULL;
	if (access == NULL || atomic_fetch_sub_explicit(&access->refs, 1, memory_order_acq_rel) > 1)
		return;
	explicit_bzero(access->value, access->n);
	free(access);
}

bool
access_token_is_usable(const struct access_token *access, struct mono_time now)
{
	return access != NULL && access->n > 0 && mono_since(access->expires, now) > TOKEN_LEFT_MIN_US;
}

struct str
access_token_text(const struct access_token *access)
{
	return str_sub(access_token_value(access), access_scheme.n, access->n);
}

struct str
access_token_value(const struct access_token *access)
{
	return (struct str){ access->value, access->n };
}
