/**
 * A second process for the tests of the root certificate: prints the
 * fingerprint of the root of a home, made if there is none.
 *
 * Usage: `root_child.ts HOME`
 *
 * @module
 */

import { systemClock } from "$core/clock.ts";
import { findPaths } from "$core/paths.ts";
import { RootStore } from "$proxy/intercept/root.ts";

const paths = findPaths({ MOAT_HOME: Deno.args[0] ?? "" });
const root = await new RootStore(paths, systemClock).loadOrCreate();
Deno.stdout.writeSync(new TextEncoder().encode(root.fingerprint));
