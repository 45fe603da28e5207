/**
 * The Gemini provider: the API by a key, in its header.
 *
 * @module
 * @see {@link https://ai.google.dev/gemini-api/docs/api-key | Using Gemini API keys}
 */

import type { Platform } from "$core/platform.ts";
import type { Provider } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { createTokenProvider, type TokenKind } from "../tokens/provider.ts";

const KINDS: readonly TokenKind[] = [
  {
    name: "OAuth token",
    pattern: /^ya29\.|^1\/\//,
    refusal: {
      why: "is an OAuth token, not an API key",
      hint: "create a key at https://aistudio.google.com/apikey",
    },
  },
  { name: "standard key", pattern: /^AIza/ },
  { name: "authorization key", pattern: /^AQ\./ },
];

/**
 * Makes the Gemini provider.
 *
 * @param platform Clock and environment.
 */
export function createGeminiProvider(platform: Platform): Provider {
  return createTokenProvider({
    name: "gemini",
    aliases: ["google"],
    description: "Google's Gemini API",
    vendor: "Gemini",
    grantExamples: [
      "moat grant gemini",
      "moat grant gemini --name team --token-file team.key",
    ],
    host: "generativelanguage.googleapis.com",
    hostSummary:
      "A gateway that speaks the same API (default: generativelanguage.googleapis.com)",
    // Google's libraries prefer the first.
    variables: () => ["GOOGLE_API_KEY", "GEMINI_API_KEY"],
    conflictingEnv: [
      "GOOGLE_API_KEY",
      "GEMINI_API_KEY",
      "GOOGLE_GEMINI_BASE_URL",
    ],
    hint: "create a key at https://aistudio.google.com/apikey",
    kinds: KINDS,
    // The forms of keys have changed twice.
    otherKind: "API key",
    shape: () => ({ prefix: "AIza", length: 35 }),
    validation: ({ host }, token) => ({
      // Never with ?key=, which ends up in logs.
      url: `https://${host}/v1beta/models?pageSize=1`,
      headers: { "x-goog-api-key": token },
      // A bad key is an invalid argument there (API_KEY_INVALID).
      rejects: [400, 401],
    }),
    inject(proxy, { host, placeholder }, token) {
      proxy.inject({
        host,
        header: "x-goog-api-key",
        value: new Secret(token),
        strip: ["authorization"],
        placeholder,
      });
    },
    placeholderVariables: () => ["GEMINI_API_KEY"],
    settingVariables: ({ host, isVendor }): Record<string, string> =>
      isVendor ? {} : { GOOGLE_GEMINI_BASE_URL: `https://${host}` },
  }, platform);
}
