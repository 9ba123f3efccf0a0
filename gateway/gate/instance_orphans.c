/* Runs that a process before this one has left without an outcome: looked for where `resolve` says so. */
#include <string.h>

#include "base/log.h"
#include "gate/instance_private.h"
#include "gate/settings.h"
#include "io/journal_trail.h"
#include "rules/audit_join.h"

void
instance_on_orphan(void *arg, struct str intent_line)
{
	struct instance *instance = arg;

	if (instance->orphan_count++ >= RESOLUTIONS_MAX)
		return;
	buf_add(&instance->orphans, intent_line);
	buf_add_char(&instance->orphans, '\n');
}

/*
 * As which caller of today the run INTENT may be looked for: its own of then, where the identity that it went as has a
 * credential of the gateway's; nobody has its token any more. NULL: as none.
 */
static const struct config_caller *
orphan_caller(const struct config *config, const struct audit_record *intent)
{
	const struct audit_value *values = intent->values;

	if (!str_eq(values[AUDIT_OPERATION].text, STR("run")) || values[AUDIT_WORKSPACE].token != JSON_STRING ||
	    values[AUDIT_ITEM].token != JSON_STRING || values[AUDIT_JOB_TYPE].token != JSON_STRING)
		return NULL;
	for (size_t i = 0; i < config->caller_count; i++) {
		const struct config_caller *caller = &config->callers[i];
		const struct config_identity *identity = &config->identities[caller->identity];

		if (identity->credential.kind != CONFIG_CREDENTIAL_NONE && str_eq(caller->name, values[AUDIT_CALLER].text) &&
		    str_eq(identity->name, values[AUDIT_IDENTITY].text))
			return caller;
	}
	return NULL;
}

/* One moment by both clocks: records are compared with this process' runs by the clock that nobody sets. */
struct orphan_moment {
	struct wall_time wall;
	struct mono_time mono;
};

/* When a record was written, by this process' clock. */
static struct mono_time
orphan_mono(const struct orphan_moment *moment, struct wall_time time)
{
	return mono_add(moment->mono, time.us - moment->wall.us);
}

/* Note the run that TRIGGER was. */
static void
orphans_note_run(struct runs *runs, const struct orphan_moment *moment, const struct audit_record *trigger)
{
	struct str item = trigger->values[AUDIT_ITEM].text, id = trigger->values[AUDIT_REQUEST_ID].text;
	struct str result = trigger->values[AUDIT_RESULT].text, instance = trigger->values[AUDIT_INSTANCE_ID].text;

	if (trigger->kind != AUDIT_INTENT || item.n != UUID_BYTES || id.n != UUID_BYTES)
		return;
	runs_sent(runs, item, id, orphan_mono(moment, trigger->time));
	if (str_eq(result, STR("accepted")) && instance.n == UUID_BYTES)
		runs_ended(runs, id, RUNS_INSTANCE, instance);
	else if (!str_eq(result, STR("accepted")) && !str_eq(result, STR("unknown")))
		runs_ended(runs, id, RUNS_NOTHING, instance);
}

/* Read of the journal what runs were sent from SINCE on; false where it cannot be read whole. */
static bool
orphans_learn_runs(struct instance *instance, const struct orphan_moment *moment, const char *directory,
    struct wall_time since)
{
	struct audit_filter filter = { .since = since, .until = { INT64_MAX } };
	struct audit_trigger *trigger;
	struct journal_trail trail;
	struct buf error = BUF_EMPTY;
	struct audit_join join;
	enum journal_read got;
	struct str line;

	filter.values[AUDIT_OPERATION] = STR("run");
	if (!journal_trail_open(&trail, directory, journal_date(since), &error)) {
		buf_fini(&error);
		return false;
	}
	audit_join_init(&join, &filter);
	while ((got = journal_trail_next(&trail, &line)) == JOURNAL_READ_LINE && audit_join_line(&join, line))
		while ((trigger = audit_join_first(&join)) != NULL) {
			orphans_note_run(instance->shared.runs, moment, &trigger->record);
			audit_join_drop(&join, trigger);
		}
	audit_join_fini(&join);
	journal_trail_close(&trail);
	return got == JOURNAL_READ_END;
}

/* What is to be known of: when runs may have been sent that can be taken for that of INTENT. */
static struct wall_time
orphan_since(const struct config *config, const struct config_caller *caller, struct wall_time intent)
{
	return (struct wall_time){ intent.us - RESOLVE_SKEW_US - caller->wait_max_us - config->resolve.window_us };
}

/* Learn of all runs of the time of the orphans, so that what others have started is not taken for theirs. */
static void
orphans_learn(struct instance *instance, const struct orphan_moment *moment, struct wall_time since)
{
	struct buf directory = BUF_EMPTY;

	settings_audit_directory(instance->config, &directory);
	buf_add_char(&directory, '\0');
	if (orphans_learn_runs(instance, moment, directory.p, since))
		runs_know_since(instance->shared.runs, orphan_mono(moment, since));
	buf_fini(&directory);
}

void
instance_resolve_orphans(struct instance *instance)
{
	struct str rest = buf_str(&instance->orphans), line;
	struct orphan_moment moment = { clock_now_wall(), clock_now_mono() };
	struct resolutions *resolutions = instance->workers[0]->resolutions;
	struct config *config = instance->config;
	bool learned = false;

	while (config->resolve.match == CONFIG_MATCH_TIME && str_next(&rest, '\n', &line)) {
		const struct config_caller *caller;
		struct audit_record intent;

		if (audit_record_read(line, &intent) != NULL || (caller = orphan_caller(config, &intent)) == NULL)
			continue;
		if (!learned)	/* the first is the oldest */
			orphans_learn(instance, &moment, orphan_since(config, caller, intent.time));
		learned = true;
		resolutions_begin_orphan(resolutions, config, caller, &intent, orphan_mono(&moment, intent.time));
	}
	buf_fini(&instance->orphans);
}
