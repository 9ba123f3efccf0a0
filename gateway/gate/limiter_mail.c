/* How threads speak with the limiter: each mail owns its bytes and holds the limiter until it has been read. */
#include "gate/limiter_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum limiter_subject {
	LIMITER_SUBMIT_MAIL,
	LIMITER_READY_MAIL,
	LIMITER_CANCEL_MAIL,
	LIMITER_THROTTLED_MAIL,		/* so far they are read on the limiter's own loop, and own nothing */
	LIMITER_LEAVE_MAIL,
	LIMITER_CONFIG_MAIL,
	LIMITER_EVENT_MAIL,
	LIMITER_STATUS_MAIL,
	LIMITER_TOLD_MAIL,
	LIMITER_SHOW_MAIL,
	LIMITER_HEADS_MAIL
};

/* As many as the requests send that a crowd has in flight. */
#define LIMITER_MAIL_SPARES 512

/* Four of them are sent for each request: nothing in them is cleared in vain. */
struct limiter_mail {
	struct mail mail;
	struct limiter *limiter;		/* a reference */
	enum limiter_subject subject;
	union {
		struct { struct limiter_ask ask; int64_t pause_us; };	/* submit, throttled: ask says whose */
		struct { struct limiter_ticket ticket; bool unused_token; };	/* ready, cancel */
		struct { struct limiter_event event; struct buf lost; };	/* event; of one that is not LOST only the front */
		struct { struct config *config; struct buf password; };	/* reload: a reference */
		struct {		/* leave, status, show and their answers */
			void (*done)(void *arg);
			void (*told)(void *arg, struct buf *json);
			void *arg;
			struct loop *asker;
			struct buf json;	/* the answer to status; of heads, why there are none, with a NUL */
			struct limiter_showing showing;
			struct heads *heads;	/* owned: the head to show; the others' */
			int64_t keep_ms;
		};
	};
};

void
limiter_mail_init(struct limiter *limiter)
{
	limiter->mails = calloc(limiter->loop_count, sizeof(struct spares));
	check(limiter->mails != NULL);
	for (size_t i = 0; i < limiter->loop_count; i++)
		spares_init(&limiter->mails[i], sizeof(struct limiter_mail), LIMITER_MAIL_SPARES);
}

void
limiter_unref(struct limiter *limiter)
{
	if (atomic_fetch_sub(&limiter->refs, 1) != 1)
		return;
	for (size_t i = 0; i < limiter->loop_count; i++)
		spares_fini(&limiter->mails[i]);
	free(limiter->mails);
	free(limiter);
}

static void on_mail(struct mail *mail);

/* A mail of SUBJECT, to be filled and posted, in new memory. */
static struct limiter_mail *
mail_begin(struct limiter *limiter, enum limiter_subject subject, struct limiter_mail *m)
{
	check(m != NULL);
	m->mail.run = on_mail;
	m->limiter = limiter;
	m->subject = subject;
	atomic_fetch_add(&limiter->refs, 1);
	return m;
}

/* One of those that each request sends, from the thread of loop number FROM. */
static struct limiter_mail *
mail_new(struct limiter *limiter, enum limiter_subject subject, size_t from)
{
	return mail_begin(limiter, subject, spares_take(&limiter->mails[from]));
}

/* One about the whole limiter, from any thread. */
static struct limiter_mail *
mail_new_wide(struct limiter *limiter, enum limiter_subject subject)
{
	struct limiter_mail *m = mail_begin(limiter, subject, malloc(sizeof(*m)));

	m->done = NULL;
	m->json = BUF_EMPTY;
	m->heads = NULL;
	return m;
}

/* Answer who asks for the status. */
static void
mail_tell_status(struct limiter_mail *asked)
{
	struct limiter_mail *m = mail_new_wide(asked->limiter, LIMITER_TOLD_MAIL);

	limiter_write_status(asked->limiter, &m->json);
	m->told = asked->told;
	m->arg = asked->arg;
	loop_post(asked->asker, &m->mail);
}

/* Do what a mail says, on the loop it was sent to. */
static void
mail_read(struct limiter_mail *m)
{
	switch (m->subject) {
	case LIMITER_SUBMIT_MAIL:
		limiter_take_submit(m->limiter, &m->ask);
		break;
	case LIMITER_READY_MAIL:
		limiter_take_ready(m->limiter, m->ticket);
		break;
	case LIMITER_CANCEL_MAIL:
		limiter_take_cancel(m->limiter, m->ticket, m->unused_token);
		break;
	case LIMITER_THROTTLED_MAIL:
		limiter_take_throttled(m->limiter, &m->ask, m->pause_us);
		break;
	case LIMITER_LEAVE_MAIL:
		limiter_take_leave(m->limiter, m->done, m->arg);
		break;
	case LIMITER_CONFIG_MAIL:
		limiter_take_config(m->limiter, m->config, buf_str(&m->password));
		break;
	case LIMITER_EVENT_MAIL:
		m->limiter->deliver(m->limiter->arg, &m->event);
		break;
	case LIMITER_STATUS_MAIL:
		mail_tell_status(m);
		break;
	case LIMITER_TOLD_MAIL:
		m->told(m->arg, &m->json);
		break;
	case LIMITER_SHOW_MAIL:
		limiter_take_show(m->limiter, &m->heads->heads[0], m->keep_ms, &m->showing);
		break;
	case LIMITER_HEADS_MAIL:
		m->showing.told(m->showing.arg, m->heads, m->json.p);
		break;
	}
}

/* Free what a mail owns. */
static void
mail_fini(struct limiter_mail *m)
{
	switch (m->subject) {
	case LIMITER_SUBMIT_MAIL:
	case LIMITER_READY_MAIL:
	case LIMITER_CANCEL_MAIL:
	case LIMITER_THROTTLED_MAIL:
		break;
	case LIMITER_EVENT_MAIL:
		if (m->event.verdict == LIMITER_LOST)
			buf_fini(&m->lost);
		break;
	case LIMITER_CONFIG_MAIL:
		config_unref(&m->config);
		buf_wipe(&m->password);
		break;
	case LIMITER_LEAVE_MAIL:
	case LIMITER_STATUS_MAIL:
	case LIMITER_TOLD_MAIL:
	case LIMITER_SHOW_MAIL:
	case LIMITER_HEADS_MAIL:
		buf_fini(&m->json);
		free(m->heads);
		break;
	}
}

/* Give a mail's memory to the next that is sent from this thread, where it is known which loop's that is. */
static void
mail_free(struct limiter_mail *m)
{
	struct limiter *limiter = m->limiter;

	mail_fini(m);
	if (m->subject == LIMITER_EVENT_MAIL)
		spares_give(&limiter->mails[m->event.ticket.worker], m);
	else if (m->subject <= LIMITER_THROTTLED_MAIL)
		spares_give(&limiter->mails[0], m);
	else
		free(m);
	limiter_unref(limiter);
}

/* A mail arrived; after limiter_free it is only thrown away. */
static void
on_mail(struct mail *mail)
{
	struct limiter_mail *m = (struct limiter_mail *)mail;

	if (!atomic_load(&m->limiter->closed))
		mail_read(m);
	mail_free(m);
}

void
limiter_submit(struct limiter *limiter, const struct limiter_ask *ask)
{
	struct limiter_mail *m;

	check(ask->ticket.worker < limiter->loop_count && (unsigned)ask->class < LIMITER_CLASS_COUNT);
	m = mail_new(limiter, LIMITER_SUBMIT_MAIL, ask->ticket.worker);
	m->ask = *ask;
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_ready(struct limiter *limiter, struct limiter_ticket ticket)
{
	struct limiter_mail *m = mail_new(limiter, LIMITER_READY_MAIL, ticket.worker);

	m->ticket = ticket;
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_cancel(struct limiter *limiter, size_t identity, struct limiter_ticket ticket, bool unused_token,
    struct mono_time asked_at)
{
	struct limiter_mail *m = mail_new(limiter, LIMITER_CANCEL_MAIL, ticket.worker);

	/*
	 * Both are known by the ticket, and better: an index may be another configuration's, a date another token's.
	 */
	(void)identity;
	(void)asked_at;
	m->ticket = ticket;
	m->unused_token = unused_token;
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_throttled(struct limiter *limiter, const struct limiter_ask *whose, int64_t pause_us)
{
	struct limiter_mail *m = mail_new_wide(limiter, LIMITER_THROTTLED_MAIL);

	m->ask = *whose;
	m->pause_us = pause_us;
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_leave(struct limiter *limiter, void (*done)(void *arg), void *arg)
{
	struct limiter_mail *m = mail_new_wide(limiter, LIMITER_LEAVE_MAIL);

	m->done = done;
	m->arg = arg;
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_status(struct limiter *limiter, struct loop *asker, void (*told)(void *arg, struct buf *json), void *arg)
{
	struct limiter_mail *m = mail_new_wide(limiter, LIMITER_STATUS_MAIL);

	m->asker = asker;
	m->told = told;
	m->arg = arg;
	loop_post(limiter->loops[0], &m->mail);
}

/* A copy of HEADS. */
static struct heads *
mail_copy_heads(const struct heads *heads)
{
	struct heads *copy = malloc(sizeof(*copy));

	check(copy != NULL);
	*copy = *heads;
	return copy;
}

void
limiter_show_head(struct limiter *limiter, const struct heads_head *own, int64_t keep_ms, struct loop *asker,
    void (*told)(void *arg, const struct heads *heads, const char *why), void *arg)
{
	struct limiter_mail *m = mail_new_wide(limiter, LIMITER_SHOW_MAIL);

	m->heads = mail_copy_heads(&(struct heads){ 1, { *own } });
	m->keep_ms = keep_ms;
	m->showing = (struct limiter_showing){ asker, told, arg };
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_tell_heads(struct limiter *limiter, const struct limiter_showing *showing, const struct heads *heads,
    const char *why)
{
	struct limiter_mail *m = mail_new_wide(limiter, LIMITER_HEADS_MAIL);

	m->showing = *showing;
	if (heads)
		m->heads = mail_copy_heads(heads);
	else
		buf_add(&m->json, str_from(why));
	buf_add_char(&m->json, '\0');
	loop_post(showing->asker, &m->mail);
}

void
limiter_reload(struct limiter *limiter, struct config *config, struct str password)
{
	struct limiter_mail *m = mail_new_wide(limiter, LIMITER_CONFIG_MAIL);

	m->config = config_ref(config);
	m->password = BUF_EMPTY;
	buf_add(&m->password, password);
	loop_post(limiter->loops[0], &m->mail);
}

void
limiter_tell(struct limiter *limiter, const struct limiter_event *event)
{
	bool lost = event->verdict == LIMITER_LOST;
	struct limiter_mail *m = mail_new(limiter, LIMITER_EVENT_MAIL, 0);

	memcpy(&m->event, event, lost ? sizeof(*event) : offsetof(struct limiter_event, lost));
	if (lost) {
		m->lost = BUF_EMPTY;
		buf_add(&m->lost, event->lost);
		m->event.lost = buf_str(&m->lost);
	}
	loop_post(limiter->loops[event->ticket.worker], &m->mail);
}
