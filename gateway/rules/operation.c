/* The operations of the Job Scheduler API. */
#include "rules/operation.h"

static const struct {
	struct str name;
	bool trigger, starts_job;
	enum operation_right right;
} operations[OPERATION_COUNT] = {
	[OPERATION_RUN] = { STR_INIT("run"), true, true, RIGHT_RUN },
	[OPERATION_GET] = { STR_INIT("get"), false, false, RIGHT_READ },
	[OPERATION_LIST] = { STR_INIT("list"), false, false, RIGHT_READ },
	[OPERATION_CANCEL] = { STR_INIT("cancel"), true, false, RIGHT_CANCEL },
	[OPERATION_SCHEDULE_GET] = { STR_INIT("schedule_get"), false, false, RIGHT_READ },
	[OPERATION_SCHEDULE_LIST] = { STR_INIT("schedule_list"), false, false, RIGHT_READ },
	[OPERATION_SCHEDULE_CREATE] = { STR_INIT("schedule_create"), true, true, RIGHT_SCHEDULE },
	[OPERATION_SCHEDULE_UPDATE] = { STR_INIT("schedule_update"), true, false, RIGHT_SCHEDULE },
	[OPERATION_SCHEDULE_DELETE] = { STR_INIT("schedule_delete"), true, false, RIGHT_SCHEDULE },
	[OPERATION_OTHER] = { STR_INIT("other"), false, false, RIGHT_READ },
	[OPERATION_NONE] = { STR_INIT("none"), false, false, RIGHT_READ },
};

struct str
operation_name(enum operation op)
{
	return operations[op].name;
}

bool
operation_is_trigger(enum operation op)
{
	return operations[op].trigger;
}

bool
operation_is_metered(enum operation op)
{
	return op != OPERATION_OTHER;
}

bool
operation_starts_job(enum operation op)
{
	return operations[op].starts_job;
}

enum operation_right
operation_right(enum operation op)
{
	return operations[op].right;
}

bool
operation_right_from(struct str word, enum operation_right *right)
{
	static const struct str names[RIGHT_COUNT] = { STR_INIT("run"), STR_INIT("read"), STR_INIT("cancel"),
		STR_INIT("schedule") };

	for (int i = 0; i < RIGHT_COUNT; i++)
		if (str_eq(word, names[i])) {
			*right = (enum operation_right)i;
			return true;
		}
	return false;
}
