/*
 * The files that the configuration names, watched: renewed certificates and secrets are taken over without a signal.
 *
 * They are looked at by name once a second, which sees a file written anew, one that was moved into the place, and the link that Kubernetes
 * swaps under a whole folder, on any file system. A change is acted upon when it has stood still for one look, since certificate and key
 * are seldom written at once; what is then refused is tried again at the next change.
 */
#include "gate/instance_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/settings.h"
#include "io/file.h"

#define WATCH_LOOK_US ((int64_t)CLOCK_SECOND)
/* Keys that end soon are named again so often. */
#define WATCH_SAY_US (INT64_C(86400) * CLOCK_SECOND)

struct watched {
	struct str file;		/* of the snapshot */
	struct file_stamp taken;	/* as it was when it was last acted upon */
	struct file_stamp seen;		/* as it was at the last look */
};

struct instance_watch {
	struct instance *instance;
	struct config *config;		/* referenced: whose files these are */
	struct watched *files;
	size_t count, room;
	struct loop_timer timer;
	struct mono_time said;
};

/* Add a file that the configuration names. */
static void
on_file(void *arg, struct str file)
{
	struct instance_watch *watch = arg;
	struct watched *added;

	if (watch->count == watch->room) {
		watch->room = watch->room ? 2 * watch->room : 16;
		watch->files = reallocarray(watch->files, watch->room, sizeof(*watch->files));
		check(watch->files != NULL);
	}
	added = &watch->files[watch->count++];
	added->file = file;
	file_stamp(file.p, &added->taken);
	added->seen = added->taken;
}

/* Look at all files; true where some differ from what was taken and have not changed since the last look. Their names go to NAMES. */
static bool
watch_look(struct instance_watch *watch, struct buf *names)
{
	bool still = true;

	for (size_t i = 0; i < watch->count; i++) {
		struct watched *w = &watch->files[i];
		struct file_stamp now;

		file_stamp(w->file.p, &now);
		still = still && file_stamp_equal(&now, &w->seen);
		w->seen = now;
		if (!file_stamp_equal(&now, &w->taken))
			buf_printf(names, "%s%.*s", names->n ? ", " : "", STR_ARG(w->file));
	}
	return names->n > 0 && still;
}

/* Take over what has changed, by the way of SIGHUP, which replaces the watch where it succeeds. */
static void
watch_act(struct instance_watch *watch, struct str names)
{
	log_line(LOG_INFO, "files have changed", log_s("files", names));
	for (size_t i = 0; i < watch->count; i++)
		watch->files[i].taken = watch->files[i].seen;
	instance_reload(watch->instance);
}

static void
on_look(void *arg)
{
	struct instance_watch *watch = arg;
	struct instance *instance = watch->instance;
	struct mono_time now = loop_now(instance->loop);
	struct buf names = BUF_EMPTY;

	loop_timer_at(&watch->timer, mono_add(now, WATCH_LOOK_US));
	if (mono_since(now, watch->said) >= WATCH_SAY_US) {
		watch->said = now;
		instance_say_expiring(instance->config);
	}
	if (watch_look(watch, &names) && !atomic_load(&instance->draining))
		watch_act(watch, buf_str(&names));	/* and the watch may have been replaced */
	buf_fini(&names);
}

struct instance_watch *
instance_watch_new(struct instance *instance, struct config *config)
{
	struct instance_watch *watch = calloc(1, sizeof(*watch));

	check(watch != NULL);
	watch->instance = instance;
	watch->config = config_ref(config);
	watch->said = loop_now(instance->loop);
	settings_files(config, on_file, watch);
	loop_timer_init(&watch->timer, instance->loop, on_look, watch);
	loop_timer_at(&watch->timer, mono_add(watch->said, WATCH_LOOK_US));
	return watch;
}

void
instance_watch_free(struct instance_watch **watch)
{
	if (*watch == NULL)
		return;
	loop_timer_fini(&(*watch)->timer);
	config_unref(&(*watch)->config);
	free((*watch)->files);
	free(*watch);
	*watch = NULL;
}
