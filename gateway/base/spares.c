/* Objects of one size that are kept for the next who needs one. */
#include "base/spares.h"

#include <stdlib.h>

#include "base/check.h"

#ifdef __SANITIZE_ADDRESS__
#define SPARES_ARE_KEPT 0
#else
#define SPARES_ARE_KEPT 1
#endif

struct spare {
	struct spare *next;
};

void
spares_init(struct spares *spares, size_t bytes, size_t most)
{
	check(bytes >= sizeof(struct spare));
	*spares = (struct spares){ bytes, SPARES_ARE_KEPT ? most : 0, 0, NULL };
}

void
spares_fini(struct spares *spares)
{
	struct spare *spare;

	while ((spare = spares->first) != NULL) {
		spares->first = spare->next;
		free(spare);
	}
	spares->count = 0;
}

void *
spares_take(struct spares *spares)
{
	struct spare *spare = spares->first;

	if (spare == NULL) {
		void *object = malloc(spares->bytes);

		check(object != NULL);
		return object;
	}
	spares->first = spare->next;
	spares->count--;
	return spare;
}

void
spares_give(struct spares *spares, void *object)
{
	struct spare *spare = object;

	if (spare == NULL)
		return;
	if (spares->count >= spares->most) {
		free(spare);
		return;
	}
	spare->next = spares->first;
	spares->first = spare;
	spares->count++;
}
