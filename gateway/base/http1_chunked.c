/* Decoder of chunked coding: a state for each place in RFC 9112 7.1 where the bytes can end. */
#include "base/http1.h"

#include "base/check.h"
#include "base/http1_bytes.h"

/* Sixteen digits are 64 bits; more, even leading zeros, is somebody's play. */
#define SIZE_DIGITS_MAX 16
/* No known sender's extension comes near it; without a bound one chunk line could be endless. */
#define EXTENSION_BYTES_MAX 256
/* All extensions and trailers of a body together: they are dropped, so they may not cost much. */
#define DROPPED_BYTES_MAX 8192

enum state {
	STATE_SIZE,		/* digits of a chunk's size */
	STATE_EXTENSION,	/* behind ';' */
	STATE_SIZE_LF,
	STATE_DATA,
	STATE_DATA_CR,
	STATE_DATA_LF,
	STATE_TRAILER_START,	/* behind the last chunk, at the start of a line */
	STATE_TRAILER_NAME,
	STATE_TRAILER_VALUE,
	STATE_TRAILER_LF,
	STATE_END_LF,
	STATE_DONE,
	STATE_BROKEN,
};

void
http1_chunked_init(struct http1_chunked *c)
{
	*c = (struct http1_chunked){ .state = STATE_SIZE };
}

/* Begin the next chunk's size line. */
static enum state
begin_size(struct http1_chunked *c)
{
	c->digits = 0;
	c->left = 0;
	c->line_bytes = 0;
	return STATE_SIZE;
}

/* One byte of a chunk's size. */
static enum state
take_size(struct http1_chunked *c, char byte)
{
	int digit = str_hex_value(byte);

	if (digit >= 0) {
		if (++c->digits > SIZE_DIGITS_MAX || c->left > (uint64_t)INT64_MAX >> 4)
			return STATE_BROKEN;
		c->left = c->left << 4 | (uint64_t)digit;
		return STATE_SIZE;
	}
	if (c->digits == 0)
		return STATE_BROKEN;
	if (byte == ';')
		return STATE_EXTENSION;
	return byte == '\r' ? STATE_SIZE_LF : STATE_BROKEN;
}

/* One byte of a chunk's extensions: looked at for control bytes, counted, forgotten. */
static enum state
take_extension(struct http1_chunked *c, char byte)
{
	if (byte == '\r')
		return STATE_SIZE_LF;
	if (++c->line_bytes > EXTENSION_BYTES_MAX || ++c->trailer_bytes > DROPPED_BYTES_MAX)
		return STATE_BROKEN;
	return http1_byte_is(byte, HTTP1_BYTE_VALUE) ? STATE_EXTENSION : STATE_BROKEN;
}

/* One byte of the trailer section: it must be well-formed fields, whose sense is dropped (RFC 9112 7.1.2). */
static enum state
take_trailer(struct http1_chunked *c, char byte)
{
	bool at_start = c->state == STATE_TRAILER_START;

	if (at_start && byte == '\r')
		return STATE_END_LF;
	if (++c->trailer_bytes > DROPPED_BYTES_MAX)
		return STATE_BROKEN;
	if (c->state == STATE_TRAILER_VALUE) {
		if (byte == '\r')
			return STATE_TRAILER_LF;
		return http1_byte_is(byte, HTTP1_BYTE_VALUE) ? STATE_TRAILER_VALUE : STATE_BROKEN;
	}
	if (!at_start && byte == ':')
		return STATE_TRAILER_VALUE;
	return http1_byte_is(byte, HTTP1_BYTE_TOKEN) ? STATE_TRAILER_NAME : STATE_BROKEN;
}

/* The state behind one byte of framing. */
static enum state
take_byte(struct http1_chunked *c, char byte)
{
	switch ((enum state)c->state) {
	case STATE_SIZE:
		return take_size(c, byte);
	case STATE_EXTENSION:
		return take_extension(c, byte);
	case STATE_SIZE_LF:
		if (byte != '\n')
			return STATE_BROKEN;
		return c->left == 0 ? STATE_TRAILER_START : STATE_DATA;
	case STATE_DATA_CR:
		return byte == '\r' ? STATE_DATA_LF : STATE_BROKEN;
	case STATE_DATA_LF:
		return byte == '\n' ? begin_size(c) : STATE_BROKEN;
	case STATE_TRAILER_START:
	case STATE_TRAILER_NAME:
	case STATE_TRAILER_VALUE:
		return take_trailer(c, byte);
	case STATE_TRAILER_LF:
		return byte == '\n' ? STATE_TRAILER_START : STATE_BROKEN;
	case STATE_END_LF:
		return byte == '\n' ? STATE_DONE : STATE_BROKEN;
	case STATE_DATA:
	case STATE_DONE:
	case STATE_BROKEN:
		break;
	}
	check_fail(__FILE__, __LINE__, "a state that takes no byte");
}

enum http1_fault
http1_chunked_next(struct http1_chunked *c, struct str *in, struct str *data, bool *done)
{
	*data = (struct str){ NULL, 0 };
	while (in->n > 0 && c->state < STATE_DONE && c->state != STATE_DATA) {
		c->state = (int)take_byte(c, in->p[0]);
		*in = str_sub(*in, 1, in->n);
	}
	if (c->state == STATE_DATA && in->n > 0) {
		*data = str_sub(*in, 0, c->left < in->n ? (size_t)c->left : in->n);
		*in = str_sub(*in, data->n, in->n);
		c->left -= data->n;
		if (c->left == 0)
			c->state = STATE_DATA_CR;
	}
	*done = c->state == STATE_DONE;
	return c->state == STATE_BROKEN ? HTTP1_BAD_CHUNK : HTTP1_OK;
}
