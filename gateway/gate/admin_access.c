/* The admin listener's token: kept as its hash alone, compared in constant time. */
#include <string.h>

#include "base/log.h"
#include "gate/admin_private.h"
#include "io/tls.h"
#include "rules/adminaccess.h"

void
admin_set_access(struct admin *admin, struct str instance, struct str token)
{
	buf_clear(&admin->instance);
	buf_add(&admin->instance, instance);
	admin->has_token = token.n > 0;
	digest_sha256(token, admin->token_sha256);
}

bool
admin_admits(struct admin *admin, struct front_request *client, struct admin_answer *answer)
{
	const struct http1_head *head = front_head(client);
	struct adminaccess access = { head, front_peer(client), buf_str(&admin->instance), admin->has_token, false };
	const char *why = NULL;
	uint8_t shown[32];

	digest_sha256(adminaccess_token(head), shown);
	access.token_fits = admin->has_token && str_same_secret(shown, admin->token_sha256, sizeof(shown));
	answer->refusal = adminaccess_judge(&access, &why);
	if (answer->refusal == REFUSAL_NONE)
		return true;
	answer->message = str_from(why);
	if (answer->refusal == REFUSAL_UNAUTHENTICATED) {
		answer->extra_name = STR("WWW-Authenticate");
		answer->extra_value = STR("Bearer realm=\"jobgate admin\"");
	}
	log_line(LOG_WARN, "admin request refused", log_s("peer", access.peer), log_s("method", head->method),
	    log_i("status", refusal_status(answer->refusal)), log_s("message", answer->message));
	return false;
}
