/* rules/scopes: what a user's token permits to run. */
#include "rules/scopes.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static void
test_runs_need_a_scope(void **state)
{
	static const struct { const char *scp, *collection; bool permitted; } rows[] = {
		{ "Item.Execute.All", "items", true }, { "Item.Execute.All", "notebooks", true },
		{ "item.execute.all", "lakehouses", true }, { "a  Item.Execute.All b", "graphModels", true },
		{ "Notebook.Execute.All", "notebooks", true }, { "Notebook.Execute.All", "NOTEBOOKS", true },
		{ "Notebook.Execute.All", "items", true }, { "Warehouse.Execute.All", "items", true },
		{ "Notebook.Execute.All", "dataPipelines", false }, { "Warehouse.Execute.All", "notebooks", false },
		{ "SparkJobDefinition.Execute.All DataPipeline.Execute.All", "dataPipelines", true },
		{ "SparkJobDefinition.Execute.All DataPipeline.Execute.All", "sparkJobDefinitions", true },
		{ "SparkJobDefinition.Execute.All DataPipeline.Execute.All", "dataflows", false },
		{ "Dataflow.Execute.All", "dataflows", true }, { "DataBuildToolJob.Execute.All", "dataBuildToolJobs", true },
		{ "", "items", false }, { " ", "notebooks", false }, { ".Execute.All", "items", false },
		{ "Execute.All", "items", false }, { "Item.Execute.All.x", "items", false }, { "Item.ReadWrite.All", "items", false },
		{ "Item.Execute", "notebooks", false }, { "Notebook.Execute.Al", "items", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (scopes_permit_run(scopes_of(str_from(rows[i].scp)), str_from(rows[i].collection)) != rows[i].permitted)
			fail_msg("\"%s\" for %s", rows[i].scp, rows[i].collection);
}

static void
test_the_scope_of_a_type_has_its_name(void **state)
{
	(void)state;
	assert_true(str_eq(scopes_wanted(STR("sparkjobdefinitions")), STR("SparkJobDefinition.Execute.All")));
	assert_null(scopes_wanted(STR("items")).p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_need_a_scope),
		cmocka_unit_test(test_the_scope_of_a_type_has_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
