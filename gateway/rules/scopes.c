/* Scopes of a user's token. */
#include "rules/scopes.h"

#define SCOPE_SUFFIX STR(".Execute.All")

/* The bits of what is no type of an item. */
#define SCOPE_ITEM 1u		/* Item.Execute.All */
#define SCOPE_ANY 2u		/* that of some type */
#define SCOPE_FIRST 2		/* the first type's place */

/* Collections and the scope of their type (reference: Fabric REST, section 1). */
static const struct { struct str collection, scope; } scopes_types[] = {
	{ STR_INIT("notebooks"), STR_INIT("Notebook.Execute.All") },
	{ STR_INIT("dataPipelines"), STR_INIT("DataPipeline.Execute.All") },
	{ STR_INIT("lakehouses"), STR_INIT("Lakehouse.Execute.All") },
	{ STR_INIT("sparkJobDefinitions"), STR_INIT("SparkJobDefinition.Execute.All") },
	{ STR_INIT("dataflows"), STR_INIT("Dataflow.Execute.All") },
	{ STR_INIT("graphModels"), STR_INIT("GraphModel.Execute.All") },
	{ STR_INIT("dataBuildToolJobs"), STR_INIT("DataBuildToolJob.Execute.All") },
};
#define SCOPES_TYPES (sizeof(scopes_types) / sizeof(scopes_types[0]))

/* The bits of one scope. */
static unsigned
scopes_bits(struct str scope)
{
	struct str suffix = SCOPE_SUFFIX;

	if (str_eq_nocase(scope, STR("Item.Execute.All")))
		return SCOPE_ITEM;
	for (unsigned i = 0; i < SCOPES_TYPES; i++)
		if (str_eq_nocase(scope, scopes_types[i].scope))
			return SCOPE_ANY | 1u << (SCOPE_FIRST + i);
	if (scope.n <= suffix.n || !str_eq_nocase(str_sub(scope, scope.n - suffix.n, scope.n), suffix))
		return 0;
	return SCOPE_ANY;	/* a type that has no collection of its own here */
}

unsigned
scopes_of(struct str scp)
{
	struct str scope;
	unsigned bits = 0;

	while (str_next(&scp, ' ', &scope))
		bits |= scopes_bits(scope);
	return bits;
}

bool
scopes_permit_run(unsigned scopes, struct str collection)
{
	if (scopes & SCOPE_ITEM)
		return true;
	for (unsigned i = 0; i < SCOPES_TYPES; i++)
		if (str_eq_nocase(collection, scopes_types[i].collection))
			return (scopes & 1u << (SCOPE_FIRST + i)) != 0;
	return (scopes & SCOPE_ANY) != 0;
}

struct str
scopes_wanted(struct str collection)
{
	for (unsigned i = 0; i < SCOPES_TYPES; i++)
		if (str_eq_nocase(collection, scopes_types[i].collection))
			return scopes_types[i].scope;
	return (struct str){ NULL, 0 };
}
