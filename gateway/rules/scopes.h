/*
 * Scopes of a user's token (`scp`) as far as a run needs them (Fabric REST, delegated scopes: `Item.Execute.All` or
 * `{itemType}.Execute.All`).
 */
#ifndef JOBGATE_RULES_SCOPES_H
#define JOBGATE_RULES_SCOPES_H

#include "base/str.h"

/* What of a token's scopes a run can be permitted by; a set of bits. */
unsigned scopes_of(struct str scp);

/*
 * Whether SCOPES permit to run an item of COLLECTION, the path's word ("notebooks"). Under "items" the type is not
 * known, so that the scope of any type does.
 */
bool scopes_permit_run(unsigned scopes, struct str collection);

/* The scope that a run of COLLECTION may have in place of `Item.Execute.All`, as "Notebook.Execute.All"; p NULL under "items". */
struct str scopes_wanted(struct str collection);

#endif
