/* Claims of this instance: the mails, and the store that is asked. */
#include "gate/claims_private.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gate/condition.h"

struct claims {
	struct loop **loops;			/* the array is ours, the loops are not */
	size_t loop_count;
	void (*deliver)(void *arg, struct claims_event *event);
	void (*found)(void *arg, const struct claims_found *found);
	void *arg;
	struct buf who;				/* remembers what this process publishes: lost_mark_key */
	struct resolver *resolver;
	struct claim_table *table;		/* embedded; else NULL */
	struct claims_redis *redis;		/* else NULL */
	struct condition store;
	atomic_uint_fast64_t verdicts[CLAIMS_VERDICT_COUNT], untold;
	atomic_size_t held, bytes;
	void (*left)(void *arg);		/* who is told once no end is untold, or NULL */
	void *left_arg;
	atomic_bool closed;
	atomic_int refs;			/* the owner's, and one for each mail under way */
};

enum claims_subject { CLAIMS_TAKE_MAIL, CLAIMS_SETTLE_MAIL, CLAIMS_CONFIG_MAIL, CLAIMS_EVENT_MAIL, CLAIMS_PUBLISH_MAIL, CLAIMS_LOOK_MAIL,
	CLAIMS_FOUND_MAIL, CLAIMS_LEAVE_MAIL };

/* A mail, and a claim that is asked for: from its arrival to the verdict's. */
struct claims_mail {
	struct mail mail;
	struct claims *claims;			/* a reference */
	enum claims_subject subject;
	struct claim_ask ask;			/* take, settle */
	enum claim_fate fate;
	struct buf answer;			/* settle, publish, found */
	struct claims_found found;		/* publish (where), look, found */
	int64_t keep_us;			/* publish */
	bool whole;				/* publish */
	struct config *config;			/* reload: a reference */
	struct buf password;
	struct claims_event event;		/* take: who asks; event */
	void (*done)(void *arg);		/* leave */
	void *arg;
};

struct str
claims_verdict_name(enum claims_verdict verdict)
{
	static const struct str names[CLAIMS_VERDICT_COUNT] = { STR_INIT("taken"), STR_INIT("in_flight"), STR_INIT("replayed"),
		STR_INIT("unknown"), STR_INIT("mismatch"), STR_INIT("full"), STR_INIT("unavailable") };

	return names[verdict];
}

_Static_assert((int)CLAIMS_FULL == (int)CLAIM_FULL && (int)CLAIMS_TAKEN == (int)CLAIM_TAKEN
    && (int)CLAIMS_AWAY == (int)CLAIM_STATE_COUNT, "a claim's states are the first verdicts");

static void on_mail(struct mail *mail);

/* A mail of SUBJECT, to be filled and posted. */
static struct claims_mail *
claims_mail_new(struct claims *claims, enum claims_subject subject)
{
	struct claims_mail *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->mail.run = on_mail;
	m->claims = claims;
	m->subject = subject;
	atomic_fetch_add(&claims->refs, 1);
	return m;
}

/* Free what a mail owns, and itself. */
static void
claims_mail_free(struct claims_mail *m)
{
	struct claims *claims = m->claims;

	config_unref(&m->config);
	buf_wipe(&m->password);
	buf_fini(&m->answer);
	buf_fini(&m->event.answer);
	free(m);
	if (atomic_fetch_sub(&claims->refs, 1) == 1)
		free(claims);
}

/* The store has said how the claim of a mail stands: tell who asked. */
static void
on_heard(void *arg, const struct claim_answer *answer)
{
	struct claims_mail *m = arg;
	struct claims *claims = m->claims;

	m->subject = CLAIMS_EVENT_MAIL;
	m->event.verdict = answer ? (enum claims_verdict)answer->state : CLAIMS_AWAY;
	atomic_fetch_add(&claims->verdicts[m->event.verdict], 1);
	if (answer) {
		memcpy(m->event.first, answer->first, sizeof(m->event.first));
		m->event.left_us = answer->left_us;
		buf_add(&m->event.answer, answer->answer);
	}
	loop_post(claims->loops[m->event.worker], &m->mail);
}

/* Note what the embedded store holds. */
static void
claims_note(struct claims *claims)
{
	atomic_store(&claims->held, claims->table ? claim_table_count(claims->table) : 0);
	atomic_store(&claims->bytes, claims->table ? claim_table_bytes(claims->table) : 0);
	if (claims->redis)
		atomic_store(&claims->untold, claims_redis_untold(claims->redis));
}

/* Ask the store for the claim of a mail, which lives until it is told. */
static void
claims_ask(struct claims *claims, struct claims_mail *m)
{
	struct claim_answer answer;

	if (claims->redis) {
		claims_redis_take(claims->redis, &m->ask, on_heard, m);
		return;
	}
	claim_take(claims->table, &m->ask, loop_now(claims->loops[0]).us, &answer);
	claims_note(claims);
	on_heard(m, &answer);
}

/* Tell the store what became of a claim. */
static void
claims_end(struct claims *claims, const struct claims_mail *m)
{
	struct str answer = buf_str(&m->answer);

	if (claims->redis)
		claims_redis_settle(claims->redis, &m->ask, m->fate, answer);
	else
		claim_settle(claims->table, m->ask.name, m->ask.id, m->fate, answer, m->ask.keep_us, loop_now(claims->loops[0]).us);
	claims_note(claims);
}

/* A look has ended: tell who asked. */
static void
on_found(void *arg, bool away, struct str text)
{
	struct claims_mail *m = arg;

	m->subject = CLAIMS_FOUND_MAIL;
	m->found.away = away;
	buf_add(&m->answer, text);
	m->found.text = buf_str(&m->answer);
	loop_post(m->claims->loops[m->found.who.worker], &m->mail);
}

/* Look for a lost answer; the mail lives until that is told. */
static void
claims_search(struct claims *claims, struct claims_mail *m)
{
	if (claims->redis)
		claims_redis_look(claims->redis, str_from(m->found.tag), m->found.name, on_found, m);
	else
		on_found(m, true, STR(""));
}

/* The store's condition has changed. */
static void
on_store(void *arg, bool up, const char *why)
{
	struct claims *claims = arg;

	condition_set(&claims->store, up, why, loop_now(claims->loops[0]));
}

/* Tell who waits for it that the store has been told all. */
static void
on_told(void *arg)
{
	struct claims *claims = arg;
	void (*left)(void *arg) = claims->left;

	claims->left = NULL;
	if (left)
		left(claims->left_arg);
}

/* Wait until the store has been told all. */
static void
claims_take_leave(struct claims *claims, const struct claims_mail *m)
{
	claims->left = m->done;
	claims->left_arg = m->arg;
	if (claims->redis == NULL || !claims_redis_has_ends(claims->redis))
		on_told(claims);
}

/* Take the store that CONFIG names. */
static void
claims_take_config(struct claims *claims, struct config *config, struct str password)
{
	struct claims_redis *old = claims->redis;

	if (password.n == 0)
		password = config->store.password;	/* of the url */
	if (config->store.redis && old && claims_redis_is_of(old, config, password))
		return;
	claims->redis = NULL;
	if (config->store.redis) {
		claim_table_free(&claims->table);
		claims->redis = claims_redis_new(claims->loops[0], claims->resolver, config, password, on_store, on_told, claims);
		if (old)
			claims_redis_inherit(claims->redis, old);
	} else {
		if (claims->table == NULL)
			claims->table = claim_table_new((size_t)config->idempotency.max_bytes);
		claim_table_set_bytes(claims->table, (size_t)config->idempotency.max_bytes);
		condition_set(&claims->store, true, "", loop_now(claims->loops[0]));
	}
	claims_redis_free(&old);
	claims_note(claims);
}

/* Do what a mail says that ends with it. */
static void
claims_read(struct claims *claims, struct claims_mail *m)
{
	if (m->subject == CLAIMS_SETTLE_MAIL)
		claims_end(claims, m);
	else if (m->subject == CLAIMS_CONFIG_MAIL)
		claims_take_config(claims, m->config, buf_str(&m->password));
	else if (m->subject == CLAIMS_EVENT_MAIL)
		claims->deliver(claims->arg, &m->event);
	else if (m->subject == CLAIMS_FOUND_MAIL)
		claims->found(claims->arg, &m->found);
	else if (m->subject == CLAIMS_LEAVE_MAIL)
		claims_take_leave(claims, m);
	else if (claims->redis)
		claims_redis_publish(claims->redis, str_from(m->found.tag), m->found.name, buf_str(&m->answer), m->keep_us,
		    m->whole ? buf_str(&claims->who) : STR(LOST_MARK_EVERYBODY));
}

/* A mail arrived; after claims_free it is only thrown away. */
static void
on_mail(struct mail *mail)
{
	struct claims_mail *m = (struct claims_mail *)mail;
	struct claims *claims = m->claims;

	if (!atomic_load(&claims->closed)) {
		if (m->subject == CLAIMS_TAKE_MAIL) {
			claims_ask(claims, m);
			return;
		}
		if (m->subject == CLAIMS_LOOK_MAIL) {
			claims_search(claims, m);
			return;
		}
		claims_read(claims, m);
	}
	claims_mail_free(m);
}

struct claims *
claims_new(const struct claims_settings *settings, struct resolver *resolver, struct config *config, struct str password)
{
	struct claims *claims = calloc(1, sizeof(*claims));

	check(claims != NULL && settings->loop_count > 0);
	claims->loops = calloc(settings->loop_count, sizeof(struct loop *));
	check(claims->loops != NULL);
	memcpy(claims->loops, settings->loops, settings->loop_count * sizeof(struct loop *));
	claims->loop_count = settings->loop_count;
	claims->deliver = settings->deliver;
	claims->found = settings->found;
	claims->arg = settings->arg;
	lost_mark_who(&claims->who, settings->member, settings->start);
	claims->resolver = resolver;
	claims->store = (struct condition)CONDITION_INIT("idempotency store unavailable", "idempotency store back");
	atomic_store(&claims->refs, 1);
	claims_take_config(claims, config, password);
	return claims;
}

void
claims_free(struct claims **claims_p)
{
	struct claims *claims = *claims_p;

	if (claims == NULL)
		return;
	*claims_p = NULL;
	atomic_store(&claims->closed, true);
	claims_redis_free(&claims->redis);
	claim_table_free(&claims->table);
	buf_fini(&claims->who);
	free(claims->loops);
	claims->loops = NULL;
	if (atomic_fetch_sub(&claims->refs, 1) == 1)
		free(claims);
}

void
claims_reload(struct claims *claims, struct config *config, struct str password)
{
	struct claims_mail *m = claims_mail_new(claims, CLAIMS_CONFIG_MAIL);

	m->config = config_ref(config);
	buf_add(&m->password, password);
	loop_post(claims->loops[0], &m->mail);
}

void
claims_take(struct claims *claims, uint16_t worker, uint32_t slot, const struct claim_ask *ask)
{
	struct claims_mail *m = claims_mail_new(claims, CLAIMS_TAKE_MAIL);

	check(worker < claims->loop_count);
	m->ask = *ask;
	m->event.worker = worker;
	m->event.slot = slot;
	memcpy(m->event.id, ask->id, sizeof(m->event.id));
	loop_post(claims->loops[0], &m->mail);
}

void
claims_settle(struct claims *claims, const struct claim_ask *ask, enum claim_fate fate, struct str answer)
{
	struct claims_mail *m = claims_mail_new(claims, CLAIMS_SETTLE_MAIL);

	m->ask = *ask;
	m->fate = fate;
	buf_add(&m->answer, answer);
	loop_post(claims->loops[0], &m->mail);
}

void
claims_publish(struct claims *claims, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum lost_state state, struct str answer, int64_t keep_us, bool whole)
{
	struct claims_mail *m = claims_mail_new(claims, CLAIMS_PUBLISH_MAIL);

	check(tag.n < sizeof(m->found.tag));
	memcpy(m->found.tag, tag.p, tag.n);
	memcpy(m->found.name, name, sizeof(m->found.name));
	lost_text_write(&m->answer, state, id, answer);
	m->keep_us = keep_us;
	m->whole = whole;
	loop_post(claims->loops[0], &m->mail);
}

void
claims_look(struct claims *claims, const struct lost_who *who, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES])
{
	struct claims_mail *m = claims_mail_new(claims, CLAIMS_LOOK_MAIL);

	check(tag.n < sizeof(m->found.tag) && who->worker < claims->loop_count);
	m->found.who = *who;
	memcpy(m->found.tag, tag.p, tag.n);
	memcpy(m->found.name, name, sizeof(m->found.name));
	loop_post(claims->loops[0], &m->mail);
}

void
claims_leave(struct claims *claims, void (*done)(void *arg), void *arg)
{
	struct claims_mail *m = claims_mail_new(claims, CLAIMS_LEAVE_MAIL);

	m->done = done;
	m->arg = arg;
	loop_post(claims->loops[0], &m->mail);
}

struct claims_counts
claims_counts(const struct claims *claims)
{
	struct claims_counts counts = { .untold = atomic_load(&claims->untold), .held = atomic_load(&claims->held),
		.bytes = atomic_load(&claims->bytes), .store_up = !condition_is_ill(&claims->store) };

	for (size_t i = 0; i < CLAIMS_VERDICT_COUNT; i++)
		counts.verdicts[i] = atomic_load(&claims->verdicts[i]);
	return counts;
}
