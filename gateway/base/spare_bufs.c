/* Memory of buffers that is kept for the next who needs some. */
#include "base/spare_bufs.h"

#ifdef __SANITIZE_ADDRESS__
#define SPARE_BUFS_ARE_KEPT false
#else
#define SPARE_BUFS_ARE_KEPT true
#endif

void
spare_bufs_fini(struct spare_bufs *spares)
{
	while (spares->count > 0)
		buf_fini(&spares->list[--spares->count]);
}

struct buf
spare_bufs_take(struct spare_bufs *spares)
{
	return spares->count > 0 ? spares->list[--spares->count] : BUF_EMPTY;
}

void
spare_bufs_give(struct spare_bufs *spares, struct buf *b)
{
	if (b->p == NULL)
		return;
	buf_clear(b);
	if (!SPARE_BUFS_ARE_KEPT || b->size > SPARE_BUFS_BYTES_MAX || spares->count == SPARE_BUFS_MOST)
		buf_fini(b);
	else
		spares->list[spares->count++] = buf_take(b);
}
