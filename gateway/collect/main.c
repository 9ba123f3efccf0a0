/* jobgate-collect: follows audit journals into PostgreSQL. */
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "collect/follow.h"
#include "collect/options.h"
#include "collect/stop.h"

/* How often is looked for new records: what a gateway writes is in the database within a second. */
#define MAIN_LOOK_US (500 * CLOCK_MS)

struct collect {
	struct options options;
	struct database *db;
	struct follow **follows;
	int moved, stopped, away, idle;		/* how many directories, in the last round */
};

/* Give each directory its turn. */
static void
collect_round(struct collect *collect)
{
	collect->moved = collect->stopped = collect->away = collect->idle = 0;
	for (int i = 0; i < collect->options.directory_count && !stop_asked(); i++) {
		switch (follow_step(collect->follows[i], collect->db)) {
		case FOLLOW_MOVED: collect->moved++; break;
		case FOLLOW_IDLE: collect->idle++; break;
		case FOLLOW_AWAY: collect->away++; break;
		case FOLLOW_STOPPED: collect->stopped++; break;
		}
	}
}

/* --once: whether it is over. */
static bool
collect_is_over(const struct collect *collect, int *quiet)
{
	/* Two quiet rounds: what is suspect is looked at twice, and so is a directory in another's place. */
	*quiet = collect->moved > 0 ? 0 : *quiet + 1;
	return collect->options.once && (collect->away > 0 || *quiet >= 2);
}

/* Whether all that is in the directories is collected. */
static bool
collect_is_whole(const struct collect *collect)
{
	bool whole = collect->away == 0;

	for (int i = 0; i < collect->options.directory_count; i++)
		whole &= follow_is_whole(collect->follows[i]);
	return whole;
}

/* Wait for new records, or until the database may be there again. */
static void
collect_wait(const struct collect *collect)
{
	int64_t pause = database_pause_us(collect->db);

	if (collect->moved == 0)
		stop_wait(pause > MAIN_LOOK_US ? pause : MAIN_LOOK_US);
}

/* Collect until a signal, or the end of what can be done; the exit code. */
static int
collect_run(struct collect *collect)
{
	int quiet = 0;

	while (!stop_asked()) {
		collect_round(collect);
		if (stop_asked())
			break;
		if (collect_is_over(collect, &quiet))
			return collect_is_whole(collect) ? 0 : 1;
		if (collect->stopped == collect->options.directory_count)
			return 1;
		collect_wait(collect);
	}
	return 0;
}

/* Say how much was done, and free all. */
static void
collect_end(struct collect *collect)
{
	uint64_t stored = 0;

	for (int i = 0; i < collect->options.directory_count; i++) {
		stored += follow_stored(collect->follows[i]);
		follow_free(&collect->follows[i]);
	}
	log_line(LOG_INFO, "jobgate-collect ended", log_i("records", (int64_t)stored));
	free(collect->follows);
	database_free(&collect->db);
}

int
main(int argc, char **argv)
{
	struct collect collect = { .moved = 0 };
	int code;

	switch (options_read(argc, argv, &collect.options)) {
	case OPTIONS_DONE: return 0;
	case OPTIONS_WRONG: return 2;
	case OPTIONS_RUN: break;
	}
	stop_arm();
	collect.db = database_new(collect.options.database);
	collect.follows = calloc((size_t)collect.options.directory_count, sizeof(struct follow *));
	check(collect.follows != NULL);
	for (int i = 0; i < collect.options.directory_count; i++)
		collect.follows[i] = follow_new(collect.options.directories[i], collect.options.taken);
	log_line(LOG_INFO, "jobgate-collect started", log_i("directories", collect.options.directory_count));
	code = collect_run(&collect);
	collect_end(&collect);
	return code;
}
