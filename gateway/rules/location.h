/*
 * Location and continuationUri: relayed byte-identical or with the upstream's own origin replaced
 * (RFC 9110 10.2.2; one documented rule: only "https://<upstream authority>" followed by '/', '?' or the end is touched).
 */
#ifndef JOBGATE_RULES_LOCATION_H
#define JOBGATE_RULES_LOCATION_H

#include "base/arena.h"

struct location_rule {
	struct str upstream_origin;	/* "https://api.fabric.microsoft.com", scheme and host matched without case; :443 is the same */
	struct str public_origin;	/* "https://gate.example", */
	struct str public_path;		/* "/fabric" or empty */
};

/*
 * The rewritten Location, or VALUE itself where the rule does not touch it. A relative one resolves at the gateway as it is;
 * where there is a public path, one that begins with "/v1/" gets it in front.
 */
struct str location_rewrite(struct arena *arena, struct str value, const struct location_rule *rule);

/*
 * The instance id of a 202: the last path segment of LOCATION where that is a UUID (and follows ".../instances/" or ".../schedules/"),
 * else JOB_ID (x-ms-job-id) where that is one, else p NULL. Lower case, in ARENA. Either may be p NULL.
 */
struct str location_instance_id(struct arena *arena, struct str location, struct str job_id);

/*
 * A list's body with the string value of the top-level member "continuationUri" (of each, where it stands twice)
 * rewritten, all other bytes as they were; BODY itself where there is none, it is foreign, or BODY is no JSON object.
 */
struct str location_rewrite_list(struct arena *arena, struct str body, const struct location_rule *rule);

#endif
