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

/* Fetch the algorithm; kept until the process ends. */
static void
digest_fetch(void)
{
	digest_sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void
digest_sha256(struct str bytes, uint8_t out[32])
{
	unsigned int n = 0;

	pthread_once(&digest_once, digest_fetch);
	check(digest_sha256_algorithm != NULL);
	check(EVP_Digest(bytes.n ? bytes.p : "", bytes.n, out, &n, digest_sha256_algorithm, NULL) == 1 && n == 32);
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
