/*
 * Access tokens: what is published of an endpoint's answers and failures, when it is asked on the upstream's word, and reloads. The endpoint is
 * a plain peer in the place of instance metadata.
 */
#include "upstream_fixture.h"

#include "config_change.h"
#include "gate/access_tokens.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define TOKEN(text) HEAD "Connection: close\r\nContent-Length: " text

/* What the endpoint says to everybody: a token of one hour, or no. */
static const char good[] = TOKEN("48\r\n\r\n{\"access_token\":\"ey.token\",\"expires_in\":\"3600\" }");
static const char down[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
static const char no[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 27\r\n\r\n{\"error\":\"invalid_request\"}";
static const char empty[] = TOKEN("2\r\n\r\n{}");

struct published {
	struct fixture f;
	struct access_tokens *tokens;
	struct config *config;
	struct access_token *newest;
	unsigned count, wanted;
};

static struct published *published_now;

static void
on_publish(void *arg, size_t identity, struct access_token *token)
{
	struct published *p = arg;

	assert_int_equal(identity, 0);
	access_token_unref(&p->newest);
	p->newest = access_token_ref(token);
	p->count++;
}

static bool
until_published(struct fixture *f)
{
	(void)f;
	return published_now->count >= published_now->wanted;
}

/* Run until COUNT snapshots in all were published. */
static void
published_wait(struct published *p, unsigned count)
{
	published_now = p;
	p->wanted = count;
	fixture_run(&p->f, until_published);
}

/* A configuration whose one identity has CREDENTIAL. */
static struct config *
config_with(const char *credential)
{
	struct buf identities = BUF_EMPTY, errors = BUF_EMPTY;
	char *with, *text;
	struct config *config;

	buf_printf(&identities, "[{\"name\": \"default\"%s%s}]", credential ? ", \"credential\": " : "", credential ? credential : "");
	buf_add_char(&identities, '\0');
	with = change(LEAST, "identities", identities.p);
	text = change(with, "callers[0].allow", "[{}]");
	config = config_parse(str_from(text), STR("f.json"), STR("/"), &errors);
	assert_non_null(config);
	free(with);
	free(text);
	buf_fini(&identities);
	buf_fini(&errors);
	return config;
}

/* The credential that asks the fixture's peer, for SCOPE. */
static const char *
credential_at(struct published *p, const char *scope, char out[160])
{
	snprintf(out, 160, "{\"managed_identity\": {\"endpoint\": \"http://127.0.0.1:%u\"}, \"scope\": \"%s\"}", p->f.peer.port, scope);
	return out;
}

static void
published_init(struct published *p, const char *answer)
{
	struct access_settings settings = { .publish = on_publish, .arg = p };
	char credential[160];

	memset(p, 0, sizeof(*p));
	fixture_init(&p->f, &(struct fixture_options){ .plain = true });
	p->f.peer.steps[0] = (struct peer_step){ .response = answer, .end = PEER_CLEAN };
	p->f.peer.step_count = 1;
	settings.loop = p->f.loop;
	settings.resolver = p->f.resolver;
	p->config = config_with(credential_at(p, "a", credential));
	p->tokens = access_tokens_new(&settings, p->config, (struct str){ NULL, 0 });
	assert_int_equal(p->count, 0);
	published_wait(p, 1);
}

static void
published_fini(struct published *p)
{
	access_tokens_free(&p->tokens);
	access_token_unref(&p->newest);
	config_unref(&p->config);
	fixture_fini(&p->f);
}

static void
test_a_token(void **state)
{
	struct published p;

	(void)state;
	published_init(&p, good);
	assert_true(str_eq(access_token_value(p.newest), STR("Bearer ey.token")));
	assert_true(str_eq(access_token_text(p.newest), STR("ey.token")));
	assert_int_equal(p.newest->version, 1);
	assert_true(access_token_is_usable(p.newest, clock_now_mono()));
	assert_true(access_token_is_usable(p.newest, mono_add(clock_now_mono(), INT64_C(3590) * CLOCK_SECOND)));
	assert_false(access_token_is_usable(p.newest, mono_add(clock_now_mono(), INT64_C(3596) * CLOCK_SECOND)));
	assert_false(access_token_is_usable(NULL, clock_now_mono()));
	assert_false(access_tokens_are_ill(p.tokens));
	pthread_mutex_lock(&p.f.peer.lock);
	assert_non_null(strstr(p.f.peer.last_head, "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=a HTTP/1.1\r\n"));
	assert_non_null(strstr(p.f.peer.last_head, "\r\nMetadata: true\r\n"));
	pthread_mutex_unlock(&p.f.peer.lock);
	published_fini(&p);
}

/* What is no token is published as none; a refusal is told from an accident. */
static void
test_no_token(void **state)
{
	static const struct { const char *answer; bool refused; } rows[] = { { down, false }, { no, true }, { empty, false }, { "220 mail\r\n", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct published p;

		published_init(&p, rows[i].answer);
		assert_false(access_token_is_usable(p.newest, clock_now_mono()));
		assert_int_equal(p.newest->refused, rows[i].refused);
		assert_int_equal(p.newest->round, 1);
		assert_true(access_tokens_are_ill(p.tokens));
		published_fini(&p);
	}
}

/* The upstream's 401: another token is fetched once, then for a while it is only said that there is no other; an old version is nobody's. */
static void
test_turned_away(void **state)
{
	struct published p;

	(void)state;
	published_init(&p, good);
	access_tokens_turned_away(p.tokens, 0, 7);
	access_tokens_turned_away(p.tokens, 5, 1);
	assert_int_equal(p.count, 1);
	access_tokens_turned_away(p.tokens, 0, 1);
	access_tokens_turned_away(p.tokens, 0, 1);	/* the second worker's word of the same */
	published_wait(&p, 2);
	assert_int_equal(p.newest->version, 2);
	assert_int_equal(p.newest->round, 2);
	access_tokens_turned_away(p.tokens, 0, 2);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.newest->version, 2);
	assert_int_equal(p.newest->round, 3);
	assert_true(access_token_is_usable(p.newest, clock_now_mono()) && !p.newest->refused);
	assert_int_equal(atomic_load(&p.f.peer.requests), 2);
	published_fini(&p);
}

/* While the endpoint says no the old token goes on. */
static void
test_the_old_token_goes_on(void **state)
{
	struct published p;

	(void)state;
	published_init(&p, good);
	p.f.peer.steps[0].response = no;
	access_tokens_turned_away(p.tokens, 0, 1);
	published_wait(&p, 2);
	assert_int_equal(p.newest->version, 1);
	assert_true(str_eq(access_token_text(p.newest), STR("ey.token")) && !p.newest->refused);
	assert_true(access_tokens_are_ill(p.tokens));
	published_fini(&p);
}

/* The same principal keeps its token until the next one is there; another's is taken away; none leaves nothing ill. */
static void
test_reloads(void **state)
{
	struct published p;
	struct config *same, *other, *none;
	char credential[160];

	(void)state;
	published_init(&p, good);
	same = config_with(credential_at(&p, "a", credential));
	access_tokens_reload(p.tokens, same, (struct str){ NULL, 0 });
	assert_int_equal(p.count, 1);
	published_wait(&p, 2);
	assert_int_equal(p.newest->version, 2);
	p.f.peer.steps[0].response = down;
	other = config_with(credential_at(&p, "b", credential));
	access_tokens_reload(p.tokens, other, (struct str){ NULL, 0 });
	assert_int_equal(p.count, 3);
	assert_false(access_token_is_usable(p.newest, clock_now_mono()));
	published_wait(&p, 4);
	assert_true(access_tokens_are_ill(p.tokens));
	none = config_with(NULL);
	access_tokens_reload(p.tokens, none, (struct str){ NULL, 0 });
	assert_false(access_tokens_are_ill(p.tokens));
	config_unref(&same);
	config_unref(&other);
	config_unref(&none);
	published_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_token),
		cmocka_unit_test(test_no_token),
		cmocka_unit_test(test_turned_away),
		cmocka_unit_test(test_the_old_token_goes_on),
		cmocka_unit_test(test_reloads),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
