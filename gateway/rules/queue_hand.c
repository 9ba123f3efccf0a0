/* Tokens in hand. */
#include "rules/queue.h"

void
queue_hand_put(struct queue_hand *hand, struct mono_time asked_at, int64_t count)
{
	size_t place = hand->calls;

	if (count == 0 || hand->calls == QUEUE_HAND_CALLS)
		return;
	for (; place > 0 && hand->of_call[place - 1].asked_at.us > asked_at.us; place--)
		hand->of_call[place] = hand->of_call[place - 1];
	hand->of_call[place].asked_at = asked_at;
	hand->of_call[place].count = count;
	hand->calls++;
}

/* Forget the oldest calls. */
static void
hand_shift(struct queue_hand *hand, size_t calls)
{
	hand->calls -= calls;
	for (size_t i = 0; calls > 0 && i < hand->calls; i++)
		hand->of_call[i] = hand->of_call[i + calls];
}

bool
queue_hand_take(struct queue_hand *hand, struct mono_time *asked_at)
{
	if (hand->calls == 0)
		return false;
	*asked_at = hand->of_call[0].asked_at;
	if (--hand->of_call[0].count == 0)
		hand_shift(hand, 1);
	return true;
}

int64_t
queue_hand_expire(struct queue_hand *hand, struct mono_time since)
{
	int64_t dropped = 0;
	size_t old = 0;

	while (old < hand->calls && mono_since(hand->of_call[old].asked_at, since) <= 0)
		dropped += hand->of_call[old++].count;
	hand_shift(hand, old);
	return dropped;
}

int64_t
queue_hand_count(const struct queue_hand *hand)
{
	int64_t count = 0;

	for (size_t i = 0; i < hand->calls; i++)
		count += hand->of_call[i].count;
	return count;
}
