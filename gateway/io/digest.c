/* Digests and random bytes. */
#include "io/tls.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/check.h"

/* SHA-256 of the default provider: fetched once, since each implicit fetch takes locks. */
static EVP_MD *digest_sha256_algorithm;
static pthread_once_t digest_once = PTHREAD_ONCE_INIT;
/* Each thread's context: a new one for each digest is two pieces of memory, and more work than a short text's digest. */
static pthread_key_t digest_contexts;

/* A thread has ended. */
static void
digest_context_free(void *context)
{
	EVP_MD_CTX_free(context);
}

/* Fetch the algorithm; kept until the process ends. */
static void
digest_fetch(void)
{
	digest_sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	check(digest_sha256_algorithm != NULL && pthread_key_create(&digest_contexts, digest_context_free) == 0);
}

/* Have CONTEXT ready for a digest; what the last one has left in it, perhaps of a credential, is overwritten. */
static void
digest_begin(EVP_MD_CTX *context)
{
	check(EVP_DigestInit_ex(context, digest_sha256_algorithm, NULL) == 1);
}

/* This thread's context, ready. */
static EVP_MD_CTX *
digest_context(void)
{
	EVP_MD_CTX *context;

	pthread_once(&digest_once, digest_fetch);
	context = pthread_getspecific(digest_contexts);
	if (context == NULL) {
		context = EVP_MD_CTX_new();
		check(context != NULL && pthread_setspecific(digest_contexts, context) == 0);
		digest_begin(context);
	}
	return context;
}

void
digest_sha256(struct str bytes, uint8_t out[32])
{
	EVP_MD_CTX *context = digest_context();
	unsigned int n = 0;

	check(EVP_DigestUpdate(context, bytes.n ? bytes.p : "", bytes.n) == 1);
	check(EVP_DigestFinal_ex(context, out, &n) == 1 && n == 32);
	digest_begin(context);
}

void
digest_hmac_sha256(struct str key, struct str bytes, uint8_t out[32])
{
	unsigned int n = 0;

	pthread_once(&digest_once, digest_fetch);
	check(digest_sha256_algorithm != NULL);
	check(HMAC(digest_sha256_algorithm, key.n ? key.p : "", (int)key.n, (const unsigned char *)(bytes.n ? bytes.p : ""), bytes.n,
	    out, &n) != NULL && n == 32);
}

void
random_bytes(uint8_t *out, size_t n)
{
	while (n > 0) {
		ssize_t got = getrandom(out, n, 0);

		check(got > 0 || errno == EINTR);
		if (got > 0) {
			out += got;
			n -= (size_t)got;
		}
	}
}
