/* Digests and random bytes. */
#include "io/tls.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

/* SHA-256 of the default provider, for HMAC: fetched once, since each implicit fetch takes locks. */
static EVP_MD *digest_sha256_algorithm;
static pthread_once_t digest_once = PTHREAD_ONCE_INIT;

/* Fetch the algorithm; kept until the process ends. */
static void
digest_fetch(void)
{
	digest_sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	check(digest_sha256_algorithm != NULL);
}

/*
 * OpenSSL has these for good, and would rather have EVP used, which looks its parameters up by name, and finds its way through four
 * modules, for each digest: three times the instructions of a short text's, and four times the code.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
void
digest_sha256(struct str bytes, uint8_t out[32])
{
	SHA256_CTX context;

	check(SHA256_Init(&context) == 1 && SHA256_Update(&context, bytes.n ? bytes.p : "", bytes.n) == 1
	    && SHA256_Final(out, &context) == 1);
	explicit_bzero(&context, sizeof(context));	/* perhaps of a credential */
}
#pragma GCC diagnostic pop

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
