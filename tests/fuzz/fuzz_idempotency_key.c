/* Idempotency-Key: what is read is a key of the length and the bytes that it may have, and quoted again it is the same. */
#include "fuzz.h"

#include "base/check.h"
#include "base/buf.h"
#include "rules/idempotency_key.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str value = { (const char *)data, size }, key, again;
	struct buf quoted = BUF_EMPTY;
	struct arena arena;

	arena_init(&arena);
	if (idempotency_key_read(&arena, value, &key) == NULL) {
		check(key.n >= 1 && key.n <= IDEMPOTENCY_KEY_MAX && key.n <= size);
		buf_add_char(&quoted, '"');
		for (size_t i = 0; i < key.n; i++) {
			check(key.p[i] >= 0x20 && key.p[i] < 0x7f);
			if (key.p[i] == '"' || key.p[i] == '\\')
				buf_add_char(&quoted, '\\');
			buf_add_char(&quoted, key.p[i]);
		}
		buf_add_char(&quoted, '"');
		check(idempotency_key_read(&arena, buf_str(&quoted), &again) == NULL && str_eq(key, again));
	}
	buf_fini(&quoted);
	arena_fini(&arena);
	return 0;
}
