/* Requests to token endpoints, one kind after the other. */
#include "gate/access_request.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gate/settings.h"
#include "io/assertion.h"
#include "io/file.h"
#include "io/tls.h"
#include "rules/token.h"

/* Instance metadata of Azure's machines, by its fixed link-local address. */
#define ACCESS_IMDS "http://169.254.169.254"
/* A slow endpoint costs nobody a request: tokens are asked for ahead. */
#define ACCESS_TIMEOUT_US (20 * (int64_t)CLOCK_SECOND)
/* A token of Entra with many groups has 6 KB. */
#define ACCESS_ANSWER_BYTES 65536
#define ACCESS_TOKEN_FILE_BYTES 65536
#define ACCESS_JWT_BEARER "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

/* What a workload identity is told by its configuration or else by the environment (Azure's webhook sets it). */
struct request_place { struct str authority, tenant, client_id, token_file; };

/* GIVEN, or the value of the environment's variable; false with a sentence where there is neither. */
static bool
place_value(struct str given, const char *variable, struct str *out, struct buf *error)
{
	*out = given.n ? given : str_from(getenv(variable));
	if (out->n == 0)
		buf_printf(error, "environment variable %s: is not set", variable);
	return out->n > 0;
}

/* Where a credential of Entra's belongs. */
static bool
request_place(const struct config_credential *credential, struct request_place *out, struct buf *error)
{
	*out = (struct request_place){ credential->authority, credential->tenant, credential->client_id, credential->token_file };
	if (credential->kind == CONFIG_CREDENTIAL_WORKLOAD_IDENTITY
	    && (!place_value(credential->authority, "AZURE_AUTHORITY_HOST", &out->authority, error)
	    || !place_value(credential->tenant, "AZURE_TENANT_ID", &out->tenant, error)
	    || !place_value(credential->client_id, "AZURE_CLIENT_ID", &out->client_id, error)
	    || !place_value(credential->token_file, "AZURE_FEDERATED_TOKEN_FILE", &out->token_file, error)))
		return false;
	if (!str_starts_nocase(out->authority, STR("https://"))) {
		buf_add_z(error, "environment variable AZURE_AUTHORITY_HOST: must begin with https://");
		return false;
	}
	while (out->authority.p[out->authority.n - 1] == '/')
		out->authority.n--;
	return true;
}

/* Add a field of HTTP to the request. */
static void
request_add(struct access_request *out, struct str name, struct str value)
{
	check(out->fetch.field_count < ACCESS_FIELDS_MAX);
	out->fields[out->fetch.field_count++] = (struct http1_field){ name, value };
}

/* Add the client's proof to the form: SECRET as NAME. The form's room is made once, so that growing leaves no copy of it. */
static void
request_add_proof(struct access_request *out, struct str name, const struct buf *secret, struct str scope)
{
	buf_room(&out->body, 3 * (secret->n + scope.n) + 4096);
	token_add_field(&out->body, name, buf_str(secret));
	token_add_field(&out->body, STR("scope"), scope);
	token_add_field(&out->body, STR("grant_type"), STR("client_credentials"));
	if (str_eq(name, STR("client_assertion")))
		token_add_field(&out->body, STR("client_assertion_type"), STR(ACCESS_JWT_BEARER));
}

/* Read the federated token, which is the assertion. */
static bool
read_token_file(struct str file, struct buf *out, struct buf *error)
{
	char *path = strndup(file.p, file.n);
	bool ok;

	check(path != NULL);
	ok = file_read(path, ACCESS_TOKEN_FILE_BYTES, out, error);
	while (out->n > 0 && (unsigned char)out->p[out->n - 1] <= ' ')
		out->n--;
	if (ok && out->n == 0)
		buf_printf(error, "%s: is empty", path);
	free(path);
	return ok && out->n > 0;
}

/* Get the proof that CREDENTIAL gives to the endpoint at URL. */
static bool
request_proof(const struct config_credential *credential, const struct request_place *place, struct str url,
    struct wall_time now, struct buf *out, struct buf *error)
{
	struct assertion assertion = { credential->cert_file.p, credential->key_file.p, url, place->client_id, now };

	if (credential->kind == CONFIG_CREDENTIAL_CLIENT_SECRET)
		return settings_secret(&credential->secret, out, error);
	if (credential->kind == CONFIG_CREDENTIAL_CERTIFICATE)
		return assertion_make(&assertion, out, error);
	return read_token_file(place->token_file, out, error);
}

/* The request to Entra's token endpoint. */
static bool
request_entra(const struct config_credential *credential, struct wall_time now, struct access_request *out, struct buf *error)
{
	struct request_place place;
	struct buf proof = BUF_EMPTY;
	bool ok;

	if (!request_place(credential, &place, error))
		return false;
	buf_printf(&out->url, "%.*s/%.*s/oauth2/v2.0/token", STR_ARG(place.authority), STR_ARG(place.tenant));
	ok = request_proof(credential, &place, buf_str(&out->url), now, &proof, error);
	if (ok) {
		request_add_proof(out, credential->kind == CONFIG_CREDENTIAL_CLIENT_SECRET ? STR("client_secret")
		    : STR("client_assertion"), &proof, credential->scope);
		token_add_field(&out->body, STR("client_id"), place.client_id);
	}
	buf_wipe(&proof);
	out->fetch.method = STR("POST");
	out->fetch.ca_file = credential->ca_file;
	request_add(out, STR("Content-Type"), STR("application/x-www-form-urlencoded"));
	return ok;
}

/* The request to the machine: App Service and Container Apps where they say so, else instance metadata. */
static bool
request_machine(const struct config_credential *credential, struct access_request *out, struct buf *error)
{
	struct str endpoint = str_from(getenv("IDENTITY_ENDPOINT")), header = str_from(getenv("IDENTITY_HEADER"));
	struct buf query = BUF_EMPTY;
	bool app = credential->endpoint.n == 0 && endpoint.n > 0 && header.n > 0;

	out->fetch.method = STR("GET");
	token_add_field(&query, STR("api-version"), app ? STR("2019-08-01") : STR("2018-02-01"));
	token_add_field(&query, STR("resource"), token_resource(credential->scope));
	if (credential->client_id.n)
		token_add_field(&query, STR("client_id"), credential->client_id);
	if (app) {
		buf_printf(&out->url, "%.*s?%.*s", STR_ARG(endpoint), STR_ARG(buf_str(&query)));
		request_add(out, STR("X-IDENTITY-HEADER"), header);
	} else {
		buf_printf(&out->url, "%.*s/metadata/identity/oauth2/token?%.*s",
		    STR_ARG(credential->endpoint.n ? credential->endpoint : STR(ACCESS_IMDS)), STR_ARG(buf_str(&query)));
		request_add(out, STR("Metadata"), STR("true"));
	}
	buf_fini(&query);
	if (app && !http1_is_value(header)) {
		buf_add_z(error, "environment variable IDENTITY_HEADER: cannot be sent in a field");
		return false;
	}
	return true;
}

bool
access_request_make(const struct config_credential *credential, struct wall_time now, struct access_request *out,
    struct buf *error)
{
	bool ok;

	memset(out, 0, sizeof(*out));
	check(credential->kind != CONFIG_CREDENTIAL_NONE);
	request_add(out, STR("Accept"), STR("application/json"));
	ok = credential->kind == CONFIG_CREDENTIAL_MANAGED_IDENTITY ? request_machine(credential, out, error)
	    : request_entra(credential, now, out, error);
	out->fetch.url = buf_str(&out->url);
	out->fetch.body = buf_str(&out->body);
	out->fetch.fields = out->fields;
	out->fetch.timeout_us = ACCESS_TIMEOUT_US;
	out->fetch.body_bytes_max = ACCESS_ANSWER_BYTES;
	return ok;
}

void
access_request_wipe(struct access_request *request)
{
	buf_wipe(&request->body);
	buf_fini(&request->url);
}

/* Whether CREDENTIAL's authorities can be read. */
static bool
request_check_ca(const struct config_credential *credential, struct buf *error)
{
	struct tls_client *client;

	if (credential->ca_file.n == 0)
		return true;
	client = tls_client_new(credential->ca_file.p, "login.microsoftonline.com", error);
	tls_client_free(&client);
	return error->n == 0;
}

bool
access_request_check(const struct config_credential *credential, struct buf *error)
{
	struct request_place place;
	struct buf proof = BUF_EMPTY;
	bool ok = true;

	if (credential->kind == CONFIG_CREDENTIAL_NONE || credential->kind == CONFIG_CREDENTIAL_MANAGED_IDENTITY)
		return true;
	/* The federated token may come after the start. */
	ok = request_place(credential, &place, error);
	if (ok && credential->kind != CONFIG_CREDENTIAL_WORKLOAD_IDENTITY)
		ok = request_proof(credential, &place, STR("https://check"), clock_now_wall(), &proof, error);
	buf_wipe(&proof);
	return ok && request_check_ca(credential, error);
}

bool
access_request_check_all(const struct config *config, struct buf *error)
{
	for (size_t i = 0; i < config->identity_count; i++) {
		struct buf why = BUF_EMPTY;

		if (!access_request_check(&config->identities[i].credential, &why))
			buf_printf(error, "identities[%zu] (\"%.*s\").credential: %.*s", i, STR_ARG(config->identities[i].name),
			    STR_ARG(buf_str(&why)));
		buf_fini(&why);
		if (error->n > 0)
			return false;
	}
	return true;
}
