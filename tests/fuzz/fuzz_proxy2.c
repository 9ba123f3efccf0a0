/* Headers of the PROXY protocol: how they are cut must not matter, and what is behind them neither. */
#include "fuzz.h"

#include <string.h>

#include "base/check.h"
#include "base/proxy2.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	char whole[PROXY2_PEER_BYTES] = "", cut[PROXY2_PEER_BYTES] = "";
	size_t need, cut_need = 0, n = 0;
	enum proxy2 verdict = proxy2_parse(bytes, &need, whole), step = PROXY2_MORE;

	check(need <= PROXY2_BYTES_MAX || verdict == PROXY2_WRONG);
	check(verdict == PROXY2_MORE || verdict == PROXY2_WRONG || need <= size);
	/* Read as from a socket: never more than is known to be the header's. */
	while (step == PROXY2_MORE) {
		step = proxy2_parse(str_sub(bytes, 0, n), &cut_need, cut);
		if (step != PROXY2_MORE || n == size)
			break;
		check(cut_need > n);
		n = cut_need < size ? cut_need : size;
	}
	check(step == verdict && strcmp(whole, cut) == 0);
	check(step == PROXY2_MORE || step == PROXY2_WRONG || n == need);
	return 0;
}
