/* Who calls: what a request shows of its caller, each kind looked up by itself; two that disagree are nobody. */
#include "gate/identify.h"
#include "gate/steps.h"

#include "io/tls.h"
#include "rules/policy.h"

/* Look the caller up by the key it shows; refuse where that is none of ours. */
static void
identify_by_key(struct request *request, struct str shown)
{
	uint8_t digest[32];

	digest_sha256(shown, digest);
	request->caller = policy_find_key(request->config, digest, &request->key);
	if (request->caller == NULL)
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "The key is not known here.");
}

/* The value of X-API-Key; empty where there is none, or where several disagree and the request is refused. */
static struct str
identify_shown_key(struct request *request)
{
	const struct http1_head *head = front_head(request->client);
	const struct http1_field *first = http1_find(head, STR("X-API-Key"));

	for (size_t i = 0; first && i < head->field_count; i++)
		if (str_eq_nocase(head->fields[i].name, first->name) && !str_eq(head->fields[i].value, first->value)) {
			request_refuse(request, REFUSAL_UNAUTHENTICATED, "Two keys were given that disagree.");
			return (struct str){ NULL, 0 };
		}
	return first ? first->value : (struct str){ NULL, 0 };
}

void
identify_caller(struct request *request)
{
	struct str shown = identify_shown_key(request);
	struct buf other = BUF_EMPTY;
	bool alone;

	if (request->refusal != REFUSAL_NONE)
		return;
	alone = identify_authorization(request, &other);
	if (shown.n > 0 && other.n > 0 && !str_eq(shown, buf_str(&other)))
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "Two keys were given that disagree.");
	else if (shown.n > 0)
		identify_by_key(request, shown);
	else if (alone)
		identify_by_key(request, buf_str(&other));
	else
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "No key was given; send it as X-API-Key.");
	buf_wipe(&other);
}
