/* The steps of a request's states; each does what can be done now and moves the request on, or leaves it to wait. */
#ifndef JOBGATE_GATE_STEPS_H
#define JOBGATE_GATE_STEPS_H

#include "gate/request.h"

/* address.c: learn where the client is; at the request's birth */
void address_client(struct request *request);

/* steps_in.c: who calls, what is asked, whether it may */
void step_head(struct request *request);
void step_body(struct request *request);

/* identify.c: find the caller by what the request shows of it, or refuse */
void identify_caller(struct request *request);

/*
 * identify_token.c: the token in Authorization, where it is of a configured issuer. Refuses one that is not in order;
 * where HAS_KEY a key is shown too, and one that nobody can judge is left to the upstream. *CALLER and the entry that
 * matched, or NULL where it names nobody who is configured.
 */
const struct config_token *identify_token(struct request *request, bool has_key, const struct config_caller **caller);

/* steps_poll.c: whether another's answer does */

/* See whether it is a poll, from its head; then, with what selects the representation that it wants, what it asks for. */
void poll_begin(struct request *request);
void poll_name(struct request *request, struct str selecting);
void step_polling(struct request *request);
/* Of a request that leads: it is being sent; the upstream has answered; what came is for all. True where that says what is answered. */
void poll_sent(struct request *request);
void poll_turned_back(struct request *request);
void poll_keep(struct request *request, const struct upstream_response *response);
bool poll_hand_over(struct request *request);
/* It is refused before it was sent: true where the last that is known may be the answer. */
bool poll_ask_for_last(struct request *request);
/* Back to POLLING where another's call has brought the answer that this one was to ask for; else false. */
bool poll_recalled(struct request *request);
/* It has ended, whatever it was: tell whom it concerns. */
void poll_end(struct request *request);

/* steps_claim.c: whether it was asked for before */

/* Keep the key that the head has, or refuse. */
void claim_keep_key(struct request *request);
void step_claiming(struct request *request);
/* Say what became of its claim, as far as is known: that it is not known, or at its end, which may say otherwise. */
void claim_lose(struct request *request);
void claim_end(struct request *request);
/* What became of a request that has ended, keyed or not. */
enum claim_fate claim_fate_of(const struct request *request);

/* Answer with the kept answer TEXT of a request before it. */
void claim_take_answer(struct request *request, struct str text);
/* What is kept of its own answer, which is the upstream's. */
void claim_keep_answer(const struct request *request, struct buf *out);
/* The digest of texts, each ended by a NUL, and of the body where WITH_BODY. */
void claim_digest(struct request *request, const struct str *texts, size_t count, bool with_body, uint8_t out[CLAIM_DIGEST_BYTES]);

/* steps_lost.c: whether an identical run before it has lost its answer; claiming, for runs without a key */
void lost_step(struct request *request);
/* The fleet has TEXT of what it looks for, by the grant or because it was asked; AWAY: it does not answer. */
void lost_hear(struct request *request, bool away, struct str text);
/* The same at the last moment before it is sent: whether one has lost its answer since. It is then to claim again. */
bool lost_since(struct request *request);
/* It ends while it waits for another. */
void lost_leave_it(struct request *request);
/* What it is called: by what it asks for; who shows another id of its own asks for something else. */
const uint8_t *lost_name_of(struct request *request);
/* Its caller has gone: where it was sent, the next identical run may join it. */
void lost_fly_alone(struct request *request);
/* Nobody knows what became of it. */
void lost_lose(struct request *request);
/* It is to be answered now: what is to be remembered if that is lost; NULL: nothing. */
struct delivery *lost_delivery(struct request *request);
/* It has ended: what nobody was told is remembered. */
void lost_end(struct request *request);

/* steps_admit.c: when */
/* How long it waits is counted from now, unless it waits already. */
void admit_begin_wait(struct request *request);
void step_waiting(struct request *request);
void step_next(struct request *request);
void step_ready(struct request *request);
/* Fill in whose bucket it takes from: identity, and principal where each token has its own. */
void admit_name_bucket(const struct request *request, struct limiter_ask *ask);

/* steps_forward.c: what came of it */
/* Forget the answer, which is counted, as if nothing had been sent. */
void forwarding_forget(struct request *request);
void step_forwarding(struct request *request);

/* steps_out.c: what is recorded and answered */
void step_recording(struct request *request);
/* Answer the client now, if it is there and was not answered. */
void step_out_answer(struct request *request);

/* authorize.c: as whom the upstream is called */

/* Whether the request's identity has a credential of the gateway's; else the caller's own token passes through. */
bool authorize_is_ours(const struct request *request);
/* Look whether a token of the credential is still waited for (awaits_access); false where the endpoint says no, and so the request was refused. */
bool authorize_waiting(struct request *request);
/* The request's time is up: true where it was that token which it waited for, and it was refused for that. */
bool authorize_timed_out(struct request *request);
/* Whether there is one at this moment, just before sending; that one it then is. */
bool authorize_now(struct request *request);
/* The upstream has answered 401 to it: another one is to be fetched. */
void authorize_again(struct request *request);
/* The value of Authorization; empty where it is not ours to say. */
struct str authorize_value(const struct request *request);

/* forward.c: what crosses the gate, in both directions */

/* Make the head that goes upstream from the caller's, while that is there: a poll's at once, others' before they are first sent. */
void forward_head_keep(struct request *request);
/* The same for an errand, with AUTHORIZATION where its identity has no credential. */
void forward_head_errand(struct request *request, struct str authorization);
/* The Authorization that the caller sent, of the kept head; empty where it sent none or it was not for the upstream. */
struct str forward_authorization(const struct request *request);
/* Make the call's message: the kept head, made now where it is not yet, with the token that is good now and the body's length, and the body. */
void forward_message(struct request *request);
/* Keep of the upstream's response what is relayed and recorded. */
void forward_answer_take(struct request *request, const struct upstream_response *response);
/* The list of the item's instances, as an unknown outcome's Location. */
struct str forward_instances_location(struct request *request);

#endif
