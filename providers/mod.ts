/**
 * The one list that names all providers.
 *
 * @module
 */

import type { ProviderFactory } from "$core/provider.ts";
import { createAwsProvider } from "./aws/mod.ts";

/** Every provider of this program, in the order of `moat grant providers`. */
export const PROVIDERS: readonly ProviderFactory[] = [createAwsProvider];
