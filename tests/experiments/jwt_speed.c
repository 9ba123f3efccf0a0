/*
 * How long a token's check takes: `jwt_speed ALGORITHM SECONDS` prints a line "WAY MICROSECONDS" for each way of checking, which
 * take turns in slices of a few milliseconds of processor time, so that all of them have the same share of what else the machine does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "io/jose.h"
#include "rules/jwks.h"
#include "rules/jwt.h"
#include "token_maker.h"

#define SLICE 50	/* checks of one kind before the next has its turn */
#define CLAIMS "{\"aud\":\"https://api.fabric.microsoft.com\",\"iss\":\"i\",\"iat\":1700000000,\"nbf\":1700000000," \
	"\"exp\":4000000000,\"acr\":\"1\",\"amr\":[\"pwd\",\"mfa\"],\"appid\":\"00000000-0000-0000-0000-000000000001\"," \
	"\"appidacr\":\"0\",\"family_name\":\"Example\",\"given_name\":\"An\",\"ipaddr\":\"192.0.2.1\",\"name\":\"An Example\"," \
	"\"oid\":\"00000000-0000-0000-0000-000000000002\",\"puid\":\"1003200000000001\",\"scp\":\"Item.Execute.All Item.Read.All\"," \
	"\"sub\":\"s\",\"tid\":\"00000000-0000-0000-0000-000000000003\",\"unique_name\":\"an@example.com\",\"uti\":\"u\",\"ver\":\"1.0\"}"

struct subject {
	const char *algorithm;
	EVP_PKEY *key;
	struct buf token;
	struct jose_keys *keys;
	size_t signed_bytes;
	uint8_t signature[1024];	/* as EVP takes it */
	size_t signature_bytes;
};

/* The whole check that a request costs: read, find the key, verify, judge. */
static void
check_whole(struct subject *s)
{
	static const struct str audience = STR_INIT("https://api.fabric.microsoft.com");
	struct jwt_expected expected = { STR("i"), { NULL, 0 }, &audience, 1 };
	struct wall_time now = { INT64_C(1700000100000000) };
	struct arena arena;
	struct jwt jwt;

	arena_init(&arena);
	check(jwt_parse(&arena, buf_str(&s->token), &jwt) == JWT_OK);
	check(jose_verify(jose_keys_find(s->keys, jwt.key_id), buf_str(&s->token)));
	check(jwt_judge(&jwt, &expected, now) == JWT_OK);
	arena_fini(&arena);
}

/* The signature alone, by cjose. */
static void
check_cjose(struct subject *s)
{
	check(jose_verify(jose_keys_find(s->keys, STR("k")), buf_str(&s->token)));
}

/* The signature alone, by OpenSSL's EVP. */
static void
check_evp(struct subject *s)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how;

	check(EVP_DigestVerifyInit(context, &how, EVP_sha256(), NULL, s->key) == 1);
	if (s->algorithm[0] == 'P')
		check(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1);
	check(EVP_DigestVerify(context, s->signature, s->signature_bytes, (const uint8_t *)s->token.p, s->signed_bytes) == 1);
	EVP_MD_CTX_free(context);
}

static const struct { const char *name; void (*run)(struct subject *s); } ways[] = {
	{ "whole", check_whole }, { "cjose", check_cjose }, { "evp", check_evp },
};

/* The signature of the token's first two parts, in the form that EVP has it. */
static void
sign(struct subject *s)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how;

	s->signature_bytes = sizeof(s->signature);
	check(EVP_DigestSignInit(context, &how, EVP_sha256(), NULL, s->key) == 1);
	if (s->algorithm[0] == 'P')
		check(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1);
	check(EVP_DigestSign(context, s->signature, &s->signature_bytes, (const uint8_t *)s->token.p, s->signed_bytes) == 1);
	EVP_MD_CTX_free(context);
}

/* Make the key, the key set and the token of a subject. */
static void
prepare(struct subject *s)
{
	struct buf document = BUF_EMPTY, error = BUF_EMPTY;
	char header[64], more[64];
	struct arena arena;
	struct jwks set;

	arena_init(&arena);
	snprintf(header, sizeof(header), "{\"typ\":\"JWT\",\"alg\":\"%s\",\"kid\":\"k\"}", s->algorithm);
	snprintf(more, sizeof(more), ",\"kid\":\"k\",\"alg\":\"%s\"", s->algorithm);
	buf_add_z(&document, "{\"keys\":[");
	add_jwk(&document, s->key, more);
	buf_add_z(&document, "]}");
	check(jwks_parse(&arena, buf_str(&document), ~0u, &set, &error));
	s->keys = jose_keys_new(set.keys, set.count, &error);
	check(s->keys != NULL);
	add_token(&s->token, header, CLAIMS, s->key, s->algorithm);
	for (s->signed_bytes = s->token.n; s->token.p[s->signed_bytes - 1] != '.'; s->signed_bytes--)
		;
	s->signed_bytes--;
	sign(s);
	buf_fini(&document);
	buf_fini(&error);
	arena_fini(&arena);
}

/* Processor time of this process in nanoseconds: what `openssl speed` counts, too, so that waiting for the processor is nobody's. */
static int64_t
processor_ns(void)
{
	struct timespec spent;

	check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent) == 0);
	return spent.tv_sec * INT64_C(1000000000) + spent.tv_nsec;
}

/* Let the ways of checking S take turns for SECONDS, and say what one check took on average. */
static void
measure(struct subject *s, double seconds)
{
	int64_t spent[3] = { 0 }, count = 0;
	struct mono_time end = mono_add(clock_now_mono(), (int64_t)(seconds * CLOCK_SECOND));

	while (mono_since(end, clock_now_mono()) > 0) {
		for (int way = 0; way < 3; way++) {
			int64_t began = processor_ns();

			for (int i = 0; i < SLICE; i++)
				ways[way].run(s);
			spent[way] += processor_ns() - began;
		}
		count += SLICE;
	}
	for (int way = 0; way < 3; way++)
		printf("%s %.3f\n", ways[way].name, (double)spent[way] / 1000 / (double)count);
}

int
main(int argc, char **argv)
{
	struct subject subject = { .algorithm = argv[1] };

	if (argc != 3)
		return 2;
	subject.key = argv[1][0] == 'E' ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
	prepare(&subject);
	measure(&subject, atof(argv[2]));
	buf_fini(&subject.token);
	jose_keys_unref(&subject.keys);
	EVP_PKEY_free(subject.key);
	return 0;
}
