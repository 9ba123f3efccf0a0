/* Audit: refusals and replays are bounded, so that the caller who behaves worst cannot fill the disk. */
#include "gate/audit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gate/condition.h"

/* Pairs of caller and error code that are told apart within one second; more are counted together, without a caller's name. */
#define AUDIT_PAIRS 4096
/* Places of the journal beside those of the connections' requests: some MB, where all of them wait for a disk that fails. */
#define AUDIT_SPARE_RECORDS 8192

struct audit_pair {
	uint64_t key;		/* of caller and error code; 0: free */
	int64_t recorded;	/* records written in this second */
	int64_t counted;	/* beyond the bound */
	struct buf members;	/* of the first one counted */
};

struct audit {
	struct loop *loop;
	struct journal *journal;
	struct loop_timer flush;
	pthread_mutex_t lock;		/* guards what follows; held while a record's bytes are made, never while writing */
	struct condition space;
	atomic_int_fast64_t warn_free;	/* bytes */
	int64_t bound;
	struct audit_pair pairs[AUDIT_PAIRS + 1];	/* the last one is for those that found no place */
	size_t pair_count;
};

/* Hand members to the journal without waiting for them; false where it takes none. */
static bool
audit_put(struct audit *audit, enum journal_kind kind, struct buf *members)
{
	struct journal_entry *entry = calloc(1, sizeof(*entry));

	check(entry != NULL);
	entry->kind = kind;
	entry->members = buf_take(members);
	entry->time = clock_now_wall();
	if (journal_put(audit->journal, entry))
		return true;
	buf_fini(&entry->members);
	free(entry);
	return false;
}

/* The entry of a caller and an error code in this second. */
static struct audit_pair *
audit_pair(struct audit *audit, struct str caller, struct str code)
{
	uint64_t key = str_hash(str_hash(STR_HASH_BEGIN, code), caller) | 1;

	for (size_t probe = 0; probe < AUDIT_PAIRS; probe++) {
		struct audit_pair *pair = &audit->pairs[(key + probe) % AUDIT_PAIRS];

		if (pair->key == key)
			return pair;
		if (pair->key == 0) {
			audit->pair_count++;
			pair->key = key;
			return pair;
		}
	}
	return &audit->pairs[AUDIT_PAIRS];
}

/* Write the counts of the second that is over. Called with the lock held. */
static void
audit_flush(struct audit *audit)
{
	for (size_t i = 0; i <= AUDIT_PAIRS; i++) {
		struct audit_pair *pair = &audit->pairs[i];

		if (pair->counted > 0) {
			record_count(&pair->members, pair->counted);
			audit_put(audit, JOURNAL_REFUSAL, &pair->members);
		}
		buf_fini(&pair->members);
		memset(pair, 0, sizeof(*pair));
	}
	audit->pair_count = 0;
}

/* Note whether the journal's file system has the space that is wanted; one that does not tell is well. */
static void
audit_look_space(struct audit *audit)
{
	int64_t bytes = journal_free_bytes(audit->journal), want = atomic_load(&audit->warn_free);
	char why[96];

	snprintf(why, sizeof(why), "%" PRId64 " bytes free, audit.warn_free is %" PRId64, bytes, want);
	condition_set(&audit->space, bytes < 0 || bytes >= want, why, loop_now(audit->loop));
}

/* A second is over. */
static void
on_flush(void *arg)
{
	struct audit *audit = arg;

	pthread_mutex_lock(&audit->lock);
	if (audit->pair_count > 0)
		audit_flush(audit);
	pthread_mutex_unlock(&audit->lock);
	audit_look_space(audit);
	loop_timer_at(&audit->flush, mono_add(loop_now(audit->loop), CLOCK_SECOND));
}

size_t
audit_ring_records(const struct config *config)
{
	return 2 * (size_t)config->limits.connections + AUDIT_SPARE_RECORDS;
}

struct audit *
audit_new(struct loop *loop, struct journal *journal, const struct config *config)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	check(audit != NULL);
	audit->loop = loop;
	audit->journal = journal;
	audit->space = (struct condition)CONDITION_INIT("audit space low", "audit space back");
	pthread_mutex_init(&audit->lock, NULL);
	audit_set(audit, config);
	loop_timer_init(&audit->flush, loop, on_flush, audit);
	loop_timer_at(&audit->flush, mono_add(loop_now(loop), CLOCK_SECOND));
	return audit;
}

void
audit_free(struct audit **audit_p)
{
	struct audit *audit = *audit_p;

	if (audit == NULL)
		return;
	*audit_p = NULL;
	loop_timer_fini(&audit->flush);
	audit_flush(audit);
	pthread_mutex_destroy(&audit->lock);
	free(audit);
}

void
audit_set(struct audit *audit, const struct config *config)
{
	journal_set_retention(audit->journal, &(struct journal_retention){ config->audit_retention.age_us,
	    config->audit_retention.bytes, config->audit_retention.collected });
	journal_set_ring(audit->journal, audit_ring_records(config));
	atomic_store(&audit->warn_free, config->audit_warn_free);
	pthread_mutex_lock(&audit->lock);
	audit->bound = config->audit_refusals;
	pthread_mutex_unlock(&audit->lock);
}

bool
audit_space_is_low(const struct audit *audit)
{
	return condition_is_ill(&audit->space);
}

struct journal *
audit_journal(const struct audit *audit)
{
	return audit->journal;
}

/* What is counted by caller and code: a refusal, or a replay where FIRST_ID is not empty. */
struct audit_said {
	struct str code;
	int status;
	struct str first_id;
};

/* Append the record's members but for the count. */
static void
audit_write(struct buf *members, const struct record_request *request, const struct audit_said *said)
{
	if (said->first_id.n > 0)
		record_replay(members, request, &(struct record_replay){ said->status, said->first_id });
	else
		record_refusal(members, request, &(struct record_refusal){ said->status, said->code });
}

/* Count it; the members of the first are kept for the count, so that a flood costs no more. Called with the lock held. */
static void
audit_count(struct audit *audit, struct audit_pair *pair, const struct record_request *request, const struct audit_said *said)
{
	struct record_request shown;

	if (pair->counted++ > 0)
		return;
	shown = *request;
	if (pair == &audit->pairs[AUDIT_PAIRS])
		shown.caller = shown.key = (struct str){ NULL, 0 };
	audit_write(&pair->members, &shown, said);
}

bool
audit_count_refusal(struct audit *audit, struct str caller, enum refusal refusal)
{
	struct audit_pair *pair;
	bool only_count;

	pthread_mutex_lock(&audit->lock);
	pair = audit_pair(audit, caller, refusal_code(refusal));
	only_count = pair->recorded >= audit->bound && pair->counted > 0;
	pair->counted += only_count;
	pthread_mutex_unlock(&audit->lock);
	return only_count;
}

/* Record it, or only count it. */
static void
audit_bounded(struct audit *audit, const struct record_request *request, const struct audit_said *said)
{
	struct buf members = BUF_EMPTY;
	struct audit_pair *pair;
	bool only_count;

	pthread_mutex_lock(&audit->lock);
	pair = audit_pair(audit, request->caller, said->code);
	only_count = pair->recorded >= audit->bound;
	if (only_count)
		audit_count(audit, pair, request, said);
	else
		pair->recorded++;
	pthread_mutex_unlock(&audit->lock);
	if (only_count)
		return;
	audit_write(&members, request, said);
	record_count(&members, 1);
	audit_put(audit, JOURNAL_REFUSAL, &members);
}

void
audit_resolution(struct audit *audit, const struct record_request *request, const struct record_resolution *resolution)
{
	struct buf members = BUF_EMPTY;

	record_resolution(&members, request, resolution);
	audit_put(audit, JOURNAL_EVENT, &members);
}

void
audit_refusal(struct audit *audit, const struct record_request *request, enum refusal refusal, int status)
{
	audit_bounded(audit, request, &(struct audit_said){ refusal_code(refusal), status, { NULL, 0 } });
}

void
audit_replay(struct audit *audit, const struct record_request *request, struct str first_id, int status)
{
	audit_bounded(audit, request, &(struct audit_said){ STR("replay"), status, first_id });
}

void
audit_config(struct audit *audit, const struct config *config, const char *event)
{
	struct buf members = BUF_EMPTY;
	char digest[64];

	str_hex_encode(config->digest, sizeof(config->digest), digest);
	record_config(&members, config, (struct str){ digest, sizeof(digest) }, str_from(event));
	audit_put(audit, JOURNAL_EVENT, &members);
}

void
audit_stop(struct audit *audit, const char *reason)
{
	struct buf members = BUF_EMPTY;

	pthread_mutex_lock(&audit->lock);
	audit_flush(audit);	/* nothing is to follow the last record */
	pthread_mutex_unlock(&audit->lock);
	record_stop(&members, str_from(reason));
	audit_put(audit, JOURNAL_EVENT, &members);
}

bool
audit_anchor(struct audit *audit, const struct heads_head *head)
{
	struct buf members = BUF_EMPTY;

	record_anchor(&members, head);
	return audit_put(audit, JOURNAL_ANCHOR, &members);
}
