/* How threads speak with the polls: each mail owns its bytes and holds them until it has been read. */
#include "gate/polls_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum polls_subject {
	POLLS_CONFIG_MAIL,
	POLLS_ASK_MAIL,
	POLLS_LEAVE_MAIL,
	POLLS_CANCEL_MAIL,
	POLLS_SENT_MAIL,
	POLLS_TURNED_BACK_MAIL,
	POLLS_RESULT_MAIL,
	POLLS_UNSENT_MAIL,
	POLLS_FAILED_MAIL,
	POLLS_INVALIDATE_MAIL,
	POLLS_EVENT_MAIL
};

struct polls_mail {
	struct mail mail;
	struct polls *polls;		/* a reference */
	enum polls_subject subject;
	struct limiter_ticket ticket;
	bool flag;			/* leave: at once; unsent: wants the last; invalidate: others, too */
	struct poll_answer *answer;	/* result: a reference */
	struct config *config;		/* config: a reference */
	struct buf password;		/* the same */
	union {
		struct polls_ask ask;
		struct polls_event event;	/* failed, event */
		uint8_t resource[POLL_DIGEST_BYTES];
	} u;
};

void
polls_unref(struct polls *polls)
{
	if (atomic_fetch_sub(&polls->refs, 1) == 1)
		free(polls);
}

/* Do what a mail says, on the loop it was sent to. */
static void
mail_read(struct polls_mail *m)
{
	switch (m->subject) {
	case POLLS_CONFIG_MAIL:
		polls_take_config(m->polls, m->config, buf_str(&m->password));
		break;
	case POLLS_ASK_MAIL:
		polls_take_ask(m->polls, &m->u.ask);
		break;
	case POLLS_LEAVE_MAIL:
		polls_take_leave(m->polls, m->ticket, m->flag);
		break;
	case POLLS_CANCEL_MAIL:
		polls_take_cancel(m->polls, m->ticket);
		break;
	case POLLS_SENT_MAIL:
		polls_take_sent(m->polls, m->ticket);
		break;
	case POLLS_TURNED_BACK_MAIL:
		polls_take_turned_back(m->polls, m->ticket);
		break;
	case POLLS_RESULT_MAIL:
		polls_take_result(m->polls, m->ticket, m->answer);
		break;
	case POLLS_UNSENT_MAIL:
		polls_take_unsent(m->polls, m->ticket, m->flag);
		break;
	case POLLS_FAILED_MAIL:
		polls_take_failed(m->polls, m->ticket, m->u.event.refusal, m->u.event.message);
		break;
	case POLLS_INVALIDATE_MAIL:
		polls_take_invalidate(m->polls, m->u.resource, m->flag);
		break;
	case POLLS_EVENT_MAIL:
		m->polls->deliver(m->polls->arg, &m->u.event);
		break;
	}
}

/* A mail arrived; after polls_free it is only thrown away. */
static void
on_mail(struct mail *mail)
{
	struct polls_mail *m = (struct polls_mail *)mail;

	if (!atomic_load(&m->polls->closed))
		mail_read(m);
	else if (m->subject == POLLS_EVENT_MAIL)
		poll_answer_unref(&m->u.event.answer);
	poll_answer_unref(&m->answer);
	config_unref(&m->config);
	buf_wipe(&m->password);
	polls_unref(m->polls);
	free(m);
}

/* A mail of SUBJECT, to be filled and posted. */
static struct polls_mail *
mail_new(struct polls *polls, enum polls_subject subject, struct limiter_ticket ticket)
{
	struct polls_mail *m = malloc(sizeof(*m));

	check(m != NULL);
	m->mail = (struct mail){ .run = on_mail };
	m->polls = polls;
	m->subject = subject;
	m->ticket = ticket;
	m->flag = false;
	m->answer = NULL;
	m->config = NULL;
	m->password = BUF_EMPTY;
	atomic_fetch_add(&polls->refs, 1);
	return m;
}

static const struct limiter_ticket no_ticket;

void
polls_reload(struct polls *polls, struct config *config, struct str password)
{
	struct polls_mail *m = mail_new(polls, POLLS_CONFIG_MAIL, no_ticket);

	m->config = config_ref(config);
	buf_add(&m->password, password);
	loop_post(polls->loops[0], &m->mail);
}

void
polls_ask(struct polls *polls, const struct polls_ask *ask)
{
	struct polls_mail *m = mail_new(polls, POLLS_ASK_MAIL, ask->ticket);

	check(ask->ticket.worker < polls->loop_count);
	m->u.ask = *ask;
	loop_post(polls->loops[0], &m->mail);
}

void
polls_leave(struct polls *polls, struct limiter_ticket ticket, bool at_once)
{
	struct polls_mail *m = mail_new(polls, POLLS_LEAVE_MAIL, ticket);

	m->flag = at_once;
	loop_post(polls->loops[0], &m->mail);
}

void
polls_cancel(struct polls *polls, struct limiter_ticket ticket)
{
	loop_post(polls->loops[0], &mail_new(polls, POLLS_CANCEL_MAIL, ticket)->mail);
}

void
polls_sent(struct polls *polls, struct limiter_ticket ticket)
{
	loop_post(polls->loops[0], &mail_new(polls, POLLS_SENT_MAIL, ticket)->mail);
}

void
polls_turned_back(struct polls *polls, struct limiter_ticket ticket)
{
	loop_post(polls->loops[0], &mail_new(polls, POLLS_TURNED_BACK_MAIL, ticket)->mail);
}

void
polls_result(struct polls *polls, struct limiter_ticket ticket, struct poll_answer *answer)
{
	struct polls_mail *m = mail_new(polls, POLLS_RESULT_MAIL, ticket);

	m->answer = answer;
	loop_post(polls->loops[0], &m->mail);
}

void
polls_unsent(struct polls *polls, struct limiter_ticket ticket, bool wants_last)
{
	struct polls_mail *m = mail_new(polls, POLLS_UNSENT_MAIL, ticket);

	m->flag = wants_last;
	loop_post(polls->loops[0], &m->mail);
}

void
polls_failed(struct polls *polls, struct limiter_ticket ticket, enum refusal refusal, struct str message)
{
	struct polls_mail *m = mail_new(polls, POLLS_FAILED_MAIL, ticket);
	size_t n = message.n < POLLS_MESSAGE_BYTES ? message.n : POLLS_MESSAGE_BYTES - 1;

	m->u.event.refusal = refusal;
	memset(m->u.event.message, 0, sizeof(m->u.event.message));
	memcpy(m->u.event.message, message.p, n);
	loop_post(polls->loops[0], &m->mail);
}

bool
polls_are_idle(const struct polls *polls)
{
	return atomic_load(&polls->table.bytes) == 0;
}

void
polls_invalidate(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES], bool fleet)
{
	struct polls_mail *m = mail_new(polls, POLLS_INVALIDATE_MAIL, no_ticket);

	memcpy(m->u.resource, resource, POLL_DIGEST_BYTES);
	m->flag = fleet;
	loop_post(polls->loops[0], &m->mail);
}

void
polls_tell(struct polls *polls, const struct polls_event *event)
{
	struct polls_mail *m = mail_new(polls, POLLS_EVENT_MAIL, event->ticket);

	m->u.event = *event;
	loop_post(polls->loops[event->ticket.worker], &m->mail);
}
