/*
 * Runs a fuzz target without libFuzzer: over each file of a corpus folder, then over seeded mutations.
 *
 * replay FOLDER [MUTATIONS [SEED]]: the same seed makes the same inputs on every machine. An input that
 * makes the target abort is left in crash-input in the present folder by the handler below.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

/* Longer files add nothing that a shorter one does not reach; mutations may double them. */
#define INPUT_BYTES_MAX 65536
#define FILES_MAX 1024
#define MUTATIONS_DEFAULT 20000

struct input {
	uint8_t *bytes;
	size_t n;
};

static struct input corpus[FILES_MAX];
static size_t corpus_count;
static struct input present;	/* for on_abort */
static uint64_t seed_state;

/* Bytes that steer these parsers, put in more often than chance would. */
static const char *const tokens[] = {
	"\r\n", "\r\n\r\n", "\n", "\r", ":", " ", "\t", ",", ";", "\xff",
	"%", "%2e", "%2f", "%00", "/", "//", "/../", "?", "&", "=", "jobType=", "%6aobType=",
	"Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Host: a\r\n", "Connection: close\r\n",
	"Expect: 100-continue\r\n", "HTTP/1.1", "HTTP/1.0", "0\r\n\r\n", "1\r\n", "GET ", "POST ",
	"ffffffffffffffff", "9223372036854775807", "instances", "schedules", "cancel",
	"{", "}", "[", "]", "\"", "\\", "\\u0000", "\\ud800", "null", "true", "-0.0e1",
};

/* The next number of xorshift64*. */
static uint64_t
next_random(void)
{
	seed_state ^= seed_state >> 12;
	seed_state ^= seed_state << 25;
	seed_state ^= seed_state >> 27;
	return seed_state * UINT64_C(2685821657736338717);
}

/* A number below N. */
static size_t
random_below(size_t n)
{
	return n ? (size_t)(next_random() >> 16) % n : 0;
}

/* Keep the input that broke a promise; write(2) alone, since the process is in a signal. */
static void
on_abort(int number)
{
	int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd >= 0) {
		ssize_t written = write(fd, present.bytes, present.n);

		(void)written;
		close(fd);
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* Read one file of the corpus. */
static void
load_file(const char *folder, const char *name)
{
	char path[4096];
	FILE *file;
	struct input *in = &corpus[corpus_count];
	int n = snprintf(path, sizeof path, "%s/%s", folder, name);

	if (n < 0 || (size_t)n >= sizeof path || corpus_count == FILES_MAX || (file = fopen(path, "rb")) == NULL)
		err(1, "%s/%s", folder, name);
	in->bytes = malloc(INPUT_BYTES_MAX);
	if (in->bytes == NULL)
		err(1, "malloc");
	in->n = fread(in->bytes, 1, INPUT_BYTES_MAX, file);
	fclose(file);
	corpus_count++;
}

/* Order names, so that a seed means the same on every file system. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Read the corpus. */
static void
load_corpus(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, NULL, by_name);

	if (n < 0)
		err(1, "%s", folder);
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.')
			load_file(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (corpus_count == 0)
		errx(1, "%s: no file", folder);
}

/* Put N bytes in the place of CUT bytes at AT. */
static void
replace_bytes(struct input *in, size_t at, size_t cut, const void *bytes, size_t n)
{
	if (in->n - cut + n > INPUT_BYTES_MAX)
		return;
	memmove(in->bytes + at + n, in->bytes + at + cut, in->n - at - cut);
	memcpy(in->bytes + at, bytes, n);
	in->n += n - cut;
}

/* Change one thing: a bit, a byte, a run cut out or doubled, a token put in, another file's tail. */
static void
mutate(struct input *in)
{
	static uint8_t run[64];
	size_t at = random_below(in->n + 1), left = in->n - at;
	size_t length = random_below((left < sizeof run ? left : sizeof run) + 1);
	const char *token = tokens[random_below(sizeof tokens / sizeof tokens[0])];
	const struct input *other = &corpus[random_below(corpus_count)];
	size_t from = random_below(other->n + 1);

	switch (random_below(6)) {
	case 0:
		if (left > 0)
			in->bytes[at] ^= (uint8_t)(1u << random_below(8));
		break;
	case 1:
		if (left > 0)
			in->bytes[at] = (uint8_t)next_random();
		break;
	case 2:
		replace_bytes(in, at, length, "", 0);
		break;
	case 3:
		memcpy(run, in->bytes + at, length);
		replace_bytes(in, at, 0, run, length);
		break;
	case 4:
		replace_bytes(in, at, left > 0 ? random_below(2) : 0, token, strlen(token));
		break;
	default:
		replace_bytes(in, at, left, other->bytes + from, other->n - from);
		break;
	}
}

/* Run the target over a copy of exactly the input's size. */
static void
run(const struct input *in)
{
	present.n = in->n;
	present.bytes = malloc(in->n + (in->n == 0));
	if (present.bytes == NULL)
		err(1, "malloc");
	memcpy(present.bytes, in->bytes, in->n);
	LLVMFuzzerTestOneInput(present.bytes, present.n);
	free(present.bytes);
}

int
main(int argc, char **argv)
{
	long mutations = argc > 2 ? strtol(argv[2], NULL, 10) : MUTATIONS_DEFAULT;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	struct input work = { malloc(INPUT_BYTES_MAX), 0 };

	if (argc < 2 || argc > 4 || work.bytes == NULL)
		errx(2, "usage: replay FOLDER [MUTATIONS [SEED]]");
	signal(SIGABRT, on_abort);
	seed_state = seed * 2 + 1;	/* xorshift never leaves 0 */
	load_corpus(argv[1]);
	for (size_t i = 0; i < corpus_count; i++)
		run(&corpus[i]);
	for (long i = 0; i < mutations; i++) {
		const struct input *from = &corpus[random_below(corpus_count)];

		memcpy(work.bytes, from->bytes, from->n);
		work.n = from->n;
		for (size_t changes = 1 + random_below(6); changes > 0; changes--)
			mutate(&work);
		run(&work);
	}
	printf("%s: %zu files, %ld mutations, seed %llu\n", argv[1], corpus_count, mutations, (unsigned long long)seed);
	for (size_t i = 0; i < corpus_count; i++)
		free(corpus[i].bytes);
	free(work.bytes);
	return 0;
}
