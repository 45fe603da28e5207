/**
 * The OpenAI provider, and whatever speaks the same API.
 *
 * @module
 * @see {@link https://platform.openai.com/docs/api-reference/authentication | Authentication}
 */

import type { Platform } from "$core/platform.ts";
import type { Provider } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { createTokenProvider, type TokenKind } from "../tokens/provider.ts";

const KINDS: readonly TokenKind[] = [
  {
    name: "key of Anthropic",
    pattern: /^sk-ant-/,
    refusal: {
      why: "is a key of Anthropic",
      hint: "moat grant anthropic",
    },
  },
  {
    name: "admin key",
    pattern: /^sk-admin-/,
    refusal: {
      why: "is an admin key, which opens no model",
      hint: "create a project's key at https://platform.openai.com/api-keys",
    },
  },
  { name: "project key", pattern: /^sk-proj-/ },
  { name: "service account key", pattern: /^sk-svcacct-/ },
  { name: "API key", pattern: /^sk-/ },
];

/**
 * Makes the OpenAI provider.
 *
 * @param platform Clock and environment.
 */
export function createOpenaiProvider(platform: Platform): Provider {
  return createTokenProvider({
    name: "openai",
    description: "OpenAI's API, or one that speaks the same",
    vendor: "OpenAI",
    grantExamples: [
      "moat grant openai",
      "moat grant openai --name local --host models.internal:8443",
    ],
    host: "api.openai.com",
    hostSummary:
      "A server with the same API below /v1 (default: api.openai.com)",
    variables: () => ["OPENAI_API_KEY"],
    conflictingEnv: ["OPENAI_API_KEY", "OPENAI_BASE_URL"],
    hint: "create a key at https://platform.openai.com/api-keys",
    kinds: KINDS,
    shape: () => ({ prefix: "sk-", length: 48 }),
    validation: ({ host }, token) => ({
      url: `https://${host}/v1/models`,
      headers: { authorization: new Secret(`Bearer ${token.reveal()}`) },
      // A key may be restricted to other endpoints; a bad one gets 401.
      allowsForbidden: true,
    }),
    inject(proxy, { host, placeholder }, token) {
      proxy.inject({
        host,
        header: "authorization",
        value: new Secret(`Bearer ${token}`),
        strip: [],
        placeholder,
      });
    },
    placeholderVariables: () => ["OPENAI_API_KEY"],
    settingVariables: ({ host, isVendor }): Record<string, string> =>
      isVendor ? {} : { OPENAI_BASE_URL: `https://${host}/v1` },
  }, platform);
}
