/* jobgate key new NAME: make a key, show it once, and say what the configuration needs. */
#include "command/command.h"

#include <stdio.h>
#include <string.h>

#include "io/tls.h"
#include "rules/apikey.h"
#include "rules/config.h"

/* As many digits of the hash as tell a caller's keys apart in records. */
#define KEY_ID_DIGITS 8

static int
key_usage(FILE *out, int code)
{
	fputs("usage: jobgate key new NAME\n\n"
	    "Makes an API key for the caller NAME and prints it, once, and the line for \"callers\" in the\n"
	    "configuration, which holds only the key's SHA-256. The key is stored nowhere.\n", out);
	return code;
}

/* Print the key and the configuration's line; false where standard output took them not. */
static bool
key_print(const char *name, const char *key)
{
	uint8_t sha256[32];
	char hex[2 * sizeof(sha256)];

	digest_sha256((struct str){ key, APIKEY_BYTES }, sha256);
	str_hex_encode(sha256, sizeof(sha256), hex);
	printf("%s\n", key);
	printf("{\"name\": \"%s\", \"keys\": [{\"id\": \"%.*s\", \"sha256\": \"%.*s\"}]}\n", name, KEY_ID_DIGITS, hex,
	    (int)sizeof(hex), hex);
	return fflush(stdout) == 0;
}

int
command_key(int argc, char **argv)
{
	uint8_t random[APIKEY_RANDOM_BYTES];
	char key[APIKEY_BYTES + 1];
	bool ok;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return key_usage(stdout, 0);
	if (argc != 3 || strcmp(argv[1], "new") != 0)
		return key_usage(stderr, 2);
	if (!config_is_name(str_from(argv[2]))) {
		fprintf(stderr, "jobgate key: NAME must be 1 to 64 ASCII letters, digits or any of . _ - : @ /\n");
		return 2;
	}
	random_bytes(random, sizeof(random));
	apikey_format(random, key);
	ok = key_print(argv[2], key);
	if (ok)
		fprintf(stderr, "The first line is the key: give it to the caller, it cannot be shown again. The "
		    "second belongs into \"callers\".\n");
	else
		perror("jobgate key: standard output");
	explicit_bzero(random, sizeof(random));
	explicit_bzero(key, sizeof(key));
	return ok ? 0 : 1;
}
