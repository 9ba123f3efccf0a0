/* Names of signature algorithms. */
#include "base/jwa.h"

#include "base/check.h"

static const struct str jwa_names[JWA_COUNT] = {
	[JWA_RS256] = STR_INIT("RS256"), [JWA_PS256] = STR_INIT("PS256"), [JWA_ES256] = STR_INIT("ES256"),
};

struct str
jwa_name(enum jwa algorithm)
{
	check((unsigned)algorithm < JWA_COUNT);
	return jwa_names[algorithm];
}

bool
jwa_from(struct str name, enum jwa *out)
{
	for (unsigned i = 0; i < JWA_COUNT; i++)
		if (str_eq(name, jwa_names[i])) {
			*out = (enum jwa)i;
			return true;
		}
	return false;
}
