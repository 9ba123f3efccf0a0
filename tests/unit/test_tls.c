/* TLS settings: files that are wrong, handshakes between our own two sides in memory, digests and random bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "io/tls.h"
#include "tls_certs.h"

static struct certs_identity ca, leaf, other;
static char folder[PATH_MAX], ca_file[PATH_MAX], cert_file[PATH_MAX], key_file[PATH_MAX], other_key[PATH_MAX], locked_key[PATH_MAX],
    empty_file[PATH_MAX], missing_file[PATH_MAX];

/* Write all files once. */
static int
set_up(void **state)
{
	FILE *file;

	(void)state;
	certs_folder(folder);
	ca = certs_authority("jobgate test authority");
	leaf = certs_make(&ca, &(struct certs_request){ "a.test", "DNS:a.test,IP:127.0.0.1,IP:::1", NULL, "serverAuth", -60, 7200 });
	other = certs_make(&ca, &(struct certs_request){ "b.test", "DNS:b.test", NULL, NULL, -60, 7200 });
	certs_write_certificate(certs_path(ca_file, folder, "ca.pem"), ca.certificate);
	certs_write_certificate(certs_path(cert_file, folder, "cert.pem"), leaf.certificate);
	certs_write_key(certs_path(key_file, folder, "key.pem"), leaf.key);
	certs_write_key(certs_path(other_key, folder, "other.pem"), other.key);
	file = fopen(certs_path(locked_key, folder, "locked.pem"), "w");
	assert_non_null(file);
	PEM_write_PrivateKey(file, leaf.key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
	fclose(file);
	fclose(fopen(certs_path(empty_file, folder, "empty.pem"), "w"));
	certs_path(missing_file, folder, "missing.pem");
	return 0;
}

static int
tear_down(void **state)
{
	const char *const files[] = { ca_file, cert_file, key_file, other_key, locked_key, empty_file };

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	rmdir(folder);
	certs_drop(&ca);
	certs_drop(&leaf);
	certs_drop(&other);
	return 0;
}

/* Each wrong file is named, with what is wrong with it; nobody is asked for a pass phrase. */
static void
test_wrong_files_are_named(void **state)
{
	const struct { const char *cert, *key, *at_fault, *says; } rows[] = {
		{ missing_file, key_file, missing_file, "No such file" },
		{ empty_file, key_file, empty_file, "no certificate" },
		{ key_file, key_file, key_file, "no certificate" },
		{ folder, key_file, folder, "no certificate" },
		{ cert_file, missing_file, missing_file, "No such file" },
		{ cert_file, cert_file, cert_file, "no private key" },
		{ cert_file, locked_key, locked_key, "no private key" },
		{ cert_file, other_key, other_key, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf error = BUF_EMPTY;
		struct tls_server *server = tls_server_new(rows[i].cert, rows[i].key, &error);

		assert_null(server);
		buf_add_char(&error, '\0');
		if (strstr(error.p, rows[i].at_fault) == NULL || strstr(error.p, rows[i].says) == NULL)
			fail_msg("row %zu: %s", i, error.p);
		buf_fini(&error);
		assert_int_equal(ERR_peek_error(), 0);
	}
}

static void
test_wrong_authorities_are_named(void **state)
{
	const char *const files[] = { missing_file, empty_file, key_file };

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct buf error = BUF_EMPTY;

		assert_null(tls_client_new(files[i], "a.test", &error));
		buf_add_char(&error, '\0');
		assert_non_null(strstr(error.p, files[i]));
		buf_fini(&error);
	}
}

/* Carry bytes both ways until neither side can go on; the number of sides that have finished. */
static int
shake_hands(SSL *client, SSL *server)
{
	BIO *one, *two;
	int c = 0, s = 0;

	assert_int_equal(BIO_new_bio_pair(&one, 0, &two, 0), 1);
	SSL_set_bio(client, one, one);
	SSL_set_bio(server, two, two);
	for (int i = 0; i < 20; i++) {
		ERR_clear_error();
		c = SSL_do_handshake(client);
		ERR_clear_error();
		s = SSL_do_handshake(server);
	}
	ERR_clear_error();
	return (c == 1) + (s == 1);
}

static void
test_our_two_sides_understand_each_other(void **state)
{
	static const struct { const char *name; bool verified; } rows[] = {
		{ "a.test", true }, { "A.TEST", true }, { "127.0.0.1", true }, { "::1", true },
		{ "b.test", false }, { "127.0.0.2", false }, { "test", false }, { "a.test.evil", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf error = BUF_EMPTY;
		struct tls_server *server = tls_server_new(cert_file, key_file, &error);
		struct tls_client *client = tls_client_new(ca_file, rows[i].name, &error);
		SSL *s, *c;
		const unsigned char *alpn = NULL;
		unsigned int alpn_n = 0;

		assert_non_null(server);
		assert_non_null(client);
		s = tls_server_ssl(server);
		c = tls_client_ssl(client);
		tls_server_free(&server);	/* the connections live on */
		tls_client_free(&client);
		assert_true((shake_hands(c, s) == 2) == rows[i].verified);
		assert_true((tls_client_verdict(c) == NULL) == rows[i].verified);
		if (rows[i].verified) {
			SSL_get0_alpn_selected(c, &alpn, &alpn_n);
			assert_int_equal(alpn_n, 8);
			assert_memory_equal(alpn, "http/1.1", 8);
			tls_end_clean(c);
		}
		SSL_free(c);
		SSL_free(s);
	}
}

static void
test_what_the_listener_refuses(void **state)
{
	static const struct { const char *name; int max_version; const char *ciphers, *alpn; bool good; } rows[] = {
		{ "TLS 1.3", TLS1_3_VERSION, NULL, NULL, true },
		{ "TLS 1.2", TLS1_2_VERSION, NULL, NULL, true },
		{ "TLS 1.1", TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false },
		{ "CBC suites only", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA", NULL, false },
		{ "h2 and http/1.1", TLS1_3_VERSION, NULL, "\x02h2\x08http/1.1", true },
		{ "h2 only", TLS1_3_VERSION, NULL, "\x02h2", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf error = BUF_EMPTY;
		struct tls_server *server = tls_server_new(cert_file, key_file, &error);
		SSL_CTX *context = SSL_CTX_new(TLS_client_method());
		SSL *s = tls_server_ssl(server), *c;

		SSL_CTX_set_max_proto_version(context, rows[i].max_version);
		if (rows[i].ciphers)
			assert_int_equal(SSL_CTX_set_cipher_list(context, rows[i].ciphers), 1);
		if (rows[i].alpn)
			SSL_CTX_set_alpn_protos(context, (const unsigned char *)rows[i].alpn, (unsigned int)strlen(rows[i].alpn));
		c = SSL_new(context);
		SSL_set_connect_state(c);
		if ((shake_hands(c, s) == 2) != rows[i].good)
			fail_msg("%s", rows[i].name);
		SSL_free(c);
		SSL_free(s);
		SSL_CTX_free(context);
		tls_server_free(&server);
	}
}

static void
test_expiry(void **state)
{
	int64_t at = 0, now = clock_now_wall().us;

	(void)state;
	assert_true(tls_certificate_expiry(cert_file, &at));
	assert_in_range(at - now, (uint64_t)7100 * CLOCK_SECOND, (uint64_t)7201 * CLOCK_SECOND);
	assert_false(tls_certificate_expiry(missing_file, &at));
	assert_false(tls_certificate_expiry(key_file, &at));
	assert_false(tls_certificate_expiry(empty_file, &at));
}

/* FIPS 180-2, appendix B. */
static void
test_sha256_vectors(void **state)
{
	static const struct { struct str bytes; const char *hex; } rows[] = {
		{ STR_INIT(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ STR_INIT("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ STR_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
		    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t digest[32];
		char hex[64];

		digest_sha256(rows[i].bytes, digest);
		str_hex_encode(digest, sizeof(digest), hex);
		assert_memory_equal(hex, rows[i].hex, sizeof(hex));
	}
	digest_sha256((struct str){ NULL, 0 }, (uint8_t[32]){ 0 });
}

/* RFC 4231, test cases 1, 2 and 6, and no key and no bytes. */
static void
test_hmac_sha256_vectors(void **state)
{
	static char long_key[131];
	const struct { struct str key, bytes; const char *hex; } rows[] = {
		{ STR("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"), STR("Hi There"),
		    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ STR("Jefe"), STR("what do ya want for nothing?"),
		    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ { long_key, sizeof(long_key) }, STR("Test Using Larger Than Block-Size Key - Hash Key First"),
		    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
		{ { NULL, 0 }, { NULL, 0 }, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
	};

	(void)state;
	memset(long_key, 0xaa, sizeof(long_key));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t digest[32];
		char hex[64];

		digest_hmac_sha256(rows[i].key, rows[i].bytes, digest);
		str_hex_encode(digest, sizeof(digest), hex);
		assert_memory_equal(hex, rows[i].hex, sizeof(hex));
	}
}

static void
test_random_bytes_differ(void **state)
{
	uint8_t a[4096] = { 0 }, b[4096] = { 0 };
	size_t zeros = 0;

	(void)state;
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	random_bytes(NULL, 0);
	assert_memory_not_equal(a, b, sizeof(a));
	for (size_t i = 0; i < sizeof(a); i++)
		zeros += a[i] == 0;
	assert_true(zeros < 100);	/* 16 are expected: all of it was filled */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_files_are_named),
		cmocka_unit_test(test_wrong_authorities_are_named),
		cmocka_unit_test(test_our_two_sides_understand_each_other),
		cmocka_unit_test(test_what_the_listener_refuses),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_sha256_vectors),
		cmocka_unit_test(test_hmac_sha256_vectors),
		cmocka_unit_test(test_random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
