/*
 * Certificates for tests, made in memory and written to a temporary folder: authorities and servers' leaves, good and
 * bad.
 */
#ifndef JOBGATE_TESTS_TLS_CERTS_H
#define JOBGATE_TESTS_TLS_CERTS_H

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"

struct certs_identity {
	EVP_PKEY *key;
	X509 *certificate;
};

struct certs_request {
	const char *subject;		/* common name */
	const char *names;		/* subjectAltName, or NULL */
	const char *constraints;	/* basicConstraints, or NULL */
	const char *usage;		/* extendedKeyUsage, or NULL */
	long from_s, to_s;		/* validity, from now */
};

/* Add one extension where it is asked for. */
static inline void
certs_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	if (value == NULL)
		return;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	check(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

/* A key and a certificate for it, signed by ISSUER or, where that is NULL, by itself. */
static inline struct certs_identity
certs_make(const struct certs_identity *issuer, const struct certs_request *request)
{
	static long serial = 1;
	struct certs_identity made = { EVP_EC_gen("P-256"), X509_new() };
	X509_NAME *name = X509_get_subject_name(made.certificate);
	X509 *issued_by = issuer ? issuer->certificate : made.certificate;

	check(made.key != NULL && made.certificate != NULL);
	X509_set_version(made.certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.certificate), request->from_s);
	X509_gmtime_adj(X509_getm_notAfter(made.certificate), request->to_s);
	X509_set_pubkey(made.certificate, made.key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)request->subject, -1, -1, 0);
	X509_set_issuer_name(made.certificate, X509_get_subject_name(issued_by));
	certs_add_extension(made.certificate, issued_by, NID_basic_constraints, request->constraints);
	certs_add_extension(made.certificate, issued_by, NID_subject_alt_name, request->names);
	certs_add_extension(made.certificate, issued_by, NID_ext_key_usage, request->usage);
	check(X509_sign(made.certificate, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
	return made;
}

static inline struct certs_identity
certs_authority(const char *subject)
{
	return certs_make(NULL, &(struct certs_request){ subject, NULL, "critical,CA:TRUE", NULL, -3600, 3600 });
}

static inline void
certs_drop(struct certs_identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
	*identity = (struct certs_identity){ NULL, NULL };
}

/* A folder of this run; the test removes its files and the folder. */
static inline void
certs_folder(char out[PATH_MAX])
{
	const char *base = getenv("TMPDIR");

	snprintf(out, PATH_MAX, "%s/jobgate-test-XXXXXX", base ? base : "/tmp");
	check(mkdtemp(out) != NULL);
}

/* FOLDER/NAME, in static storage of the caller. */
static inline const char *
certs_path(char out[PATH_MAX], const char *folder, const char *name)
{
	check(snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX);
	return out;
}

static inline void
certs_write_certificate(const char *path, X509 *certificate)
{
	FILE *file = fopen(path, "w");

	check(file != NULL && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
}

static inline void
certs_write_key(const char *path, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");

	check(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0);
}

#endif
