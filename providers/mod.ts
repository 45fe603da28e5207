/**
 * The one list that names all providers.
 *
 * @module
 */

import type { ProviderFactory } from "$core/provider.ts";
import { createAnthropicProvider } from "./anthropic/mod.ts";
import { createAwsProvider } from "./aws/mod.ts";
import { createGeminiProvider } from "./gemini/mod.ts";
import { createGithubProvider } from "./github/mod.ts";
import { HEADER_PROVIDERS } from "./header/built_in.ts";
import { createNpmProvider } from "./npm/mod.ts";
import { createOpenaiProvider } from "./openai/mod.ts";

export { loadDefinedProviders } from "./header/files.ts";

/** Every provider of this program, in the order of `moat grant providers`. */
export const PROVIDERS: readonly ProviderFactory[] = [
  createAwsProvider,
  createGithubProvider,
  createAnthropicProvider,
  createOpenaiProvider,
  createGeminiProvider,
  createNpmProvider,
  ...HEADER_PROVIDERS,
];
