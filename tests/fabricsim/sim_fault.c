/* Faults: names, rates and the dice. */
#include "sim_fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_random.h"

static const struct {
	struct str name;
	enum sim_fault_kind kind;
} fault_names[] = {
	{ STR_INIT("none"), SIM_FAULT_NONE },
	{ STR_INIT("drop"), SIM_FAULT_DROP },
	{ STR_INIT("stall"), SIM_FAULT_STALL },
	{ STR_INIT("garbage"), SIM_FAULT_GARBAGE },
	{ STR_INIT("half"), SIM_FAULT_HALF },
	{ STR_INIT("slow"), SIM_FAULT_SLOW },
	{ STR_INIT("early-close"), SIM_FAULT_EARLY_CLOSE },
	{ STR_INIT("close"), SIM_FAULT_CLOSE },
	{ STR_INIT("hints"), SIM_FAULT_HINTS },
	{ STR_INIT("extra"), SIM_FAULT_EXTRA },
};

#define FAULT_NAMES (sizeof(fault_names) / sizeof(fault_names[0]))

/* Look a fault up by its name. */
bool
sim_fault_from(struct str name, struct sim_fault *fault)
{
	uint64_t status;

	for (size_t i = 0; i < FAULT_NAMES; i++)
		if (str_eq(name, fault_names[i].name)) {
			*fault = (struct sim_fault){ fault_names[i].kind, 0 };
			return true;
		}
	if (!str_to_u64(name, &status) || status < 400 || status > 599)
		return false;
	*fault = (struct sim_fault){ SIM_FAULT_STATUS, (int)status };
	return true;
}

/* Name a fault. */
const char *
sim_fault_name(struct sim_fault fault)
{
	static char digits[16];

	for (size_t i = 0; i < FAULT_NAMES; i++)
		if (fault_names[i].kind == fault.kind)
			return fault_names[i].name.p;
	(void)snprintf(digits, sizeof(digits), "%d", fault.status);
	return digits;
}

/* Read how often a rule strikes: "0.25", or "@3" for the third of its requests alone. */
static bool
fault_read_rate(struct sim_fault_rule *rule, struct str rate)
{
	char number[32], *end;

	if (rate.n == 0 || rate.n >= sizeof(number))
		return false;
	if (rate.p[0] == '@')
		return str_to_u64(str_sub(rate, 1, rate.n), &rule->nth) && rule->nth > 0;
	memcpy(number, rate.p, rate.n);
	number[rate.n] = '\0';
	rule->rate = strtod(number, &end);
	return *end == '\0' && rule->rate >= 0 && rule->rate <= 1;
}

/* Add a rule of the command line. */
bool
sim_fault_add(struct sim_fault_plan *plan, const char *text)
{
	struct str rest = str_from(text), name, rate;
	struct sim_fault_rule *rule = &plan->rules[plan->count];

	if (plan->count == SIM_FAULT_RULES_MAX)
		return false;
	if (!str_next(&rest, ':', &name) || !sim_fault_from(name, &rule->fault))
		return false;
	if (!str_next(&rest, ':', &rate) || !fault_read_rate(rule, rate))
		return false;
	rule->method = rest;
	plan->count++;
	return true;
}

/* Tell whether a rule can strike requests of this method. */
static bool
fault_is_for(const struct sim_fault_rule *rule, struct str method)
{
	return rule->method.n == 0 || str_eq(rule->method, method);
}

/* Count a request with the rules that wait for their Nth one; the rule whose turn it is, or NULL. */
static const struct sim_fault_rule *
fault_count(struct sim_fault_plan *plan, struct str method)
{
	const struct sim_fault_rule *found = NULL;

	for (size_t i = 0; i < plan->count; i++) {
		struct sim_fault_rule *rule = &plan->rules[i];

		if (rule->nth > 0 && fault_is_for(rule, method) && ++rule->seen == rule->nth)
			found = rule;
	}
	return found;
}

/* Choose the fault of a request. */
struct sim_fault
sim_fault_choose(struct sim_fault_plan *plan, struct str method)
{
	const struct sim_fault_rule *due;
	double draw;

	if (plan->count == 0)
		return (struct sim_fault){ SIM_FAULT_NONE, 0 };
	due = fault_count(plan, method);
	if (due != NULL)
		return due->fault;
	draw = (double)(sim_random_next(&plan->random) >> 11) / 9007199254740992.0;	/* 53 bits: 0 to 1 */
	for (size_t i = 0; i < plan->count; i++) {
		const struct sim_fault_rule *rule = &plan->rules[i];

		if (rule->nth > 0 || !fault_is_for(rule, method))
			continue;
		if (draw < rule->rate)
			return rule->fault;
		draw -= rule->rate;
	}
	return (struct sim_fault){ SIM_FAULT_NONE, 0 };
}

/* Tell whether the upstream's work is done although the answer is wrong. */
bool
sim_fault_executes(struct sim_fault fault)
{
	if (fault.kind == SIM_FAULT_EARLY_CLOSE)
		return false;
	if (fault.kind != SIM_FAULT_STATUS)
		return true;
	return fault.status == 408 || fault.status == 500 || fault.status == 502 || fault.status == 504;
}
