/* Responses: the first byte chooses the request's method, the others are what the upstream sent. */
#include "fuzz.h"

#include "base/check.h"
#include "base/http1.h"

static const struct http1_limits limits = { .head_bytes = 4096, .target_bytes = 512 };

/* The promises about a response that passed. */
static void
check_passed(struct str method, const struct http1_head *out)
{
	bool bodyless = out->status < 200 || out->status == 204 || out->status == 304 || str_eq(method, STR("HEAD"));

	check(out->status >= 100 && out->status <= 599 && out->field_count <= HTTP1_FIELDS_MAX);
	check(http1_is_value(out->reason));
	check(bodyless == (out->framing == HTTP1_NO_BODY));
	check(out->framing != HTTP1_UNTIL_CLOSE || !out->keep_alive);
	check(http1_count(out, STR("Content-Length")) + http1_count(out, STR("Transfer-Encoding")) <= 1);
	for (size_t i = 0; i < out->field_count; i++)
		check(http1_is_token(out->fields[i].name) && http1_is_value(out->fields[i].value));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct str methods[] = { STR_INIT("GET"), STR_INIT("HEAD"), STR_INIT("POST"), STR_INIT("DELETE") };
	static struct http1_head out;
	struct str bytes = { (const char *)data, size }, method;
	struct http1_scan scan;
	enum http1_fault fault;
	size_t length;

	if (size == 0)
		return 0;
	method = methods[data[0] % 4];
	bytes = str_sub(bytes, 1, size);
	http1_scan_init(&scan, false);
	length = http1_scan_head(&scan, bytes, &limits, &fault);
	check(length <= bytes.n && (length == 0 || fault == HTTP1_OK));
	if (http1_parse_response(str_sub(bytes, 0, length > 0 ? length : bytes.n), method, &limits, &out) == HTTP1_OK) {
		check(length > 0);
		check_passed(method, &out);
	}
	return 0;
}
