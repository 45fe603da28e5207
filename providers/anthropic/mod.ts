/**
 * The Anthropic provider: API keys, and the tokens of `claude setup-token`.
 *
 * @module
 * @see {@link https://platform.claude.com/docs/en/api/overview | Claude API overview}
 * @see {@link https://code.claude.com/docs/en/authentication | Claude Code: authentication}
 */

import type { Platform } from "$core/platform.ts";
import type { Provider } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { createTokenProvider, type TokenKind } from "../tokens/provider.ts";

const OAUTH = "OAuth token";

const KINDS: readonly TokenKind[] = [
  { name: OAUTH, pattern: /^sk-ant-oat/ },
  {
    name: "admin key",
    pattern: /^sk-ant-admin/,
    refusal: {
      why: "is an admin key, which opens no model",
      hint: "create an API key at https://platform.claude.com/settings/keys",
    },
  },
  {
    name: "OAuth refresh token",
    pattern: /^sk-ant-ort/,
    refusal: {
      why: "is a refresh token, which opens nothing by itself",
      hint: "run claude setup-token and give what it prints",
    },
  },
  { name: "API key", pattern: /^sk-ant-/ },
];

/**
 * Makes the Anthropic provider.
 *
 * @param platform Clock and environment.
 */
export function createAnthropicProvider(platform: Platform): Provider {
  return createTokenProvider({
    name: "anthropic",
    aliases: ["claude"],
    description: "Anthropic's API, by an API key or a token of Claude Code",
    vendor: "Anthropic",
    grantExamples: [
      "moat grant anthropic",
      "claude setup-token && moat grant anthropic --name subscription",
    ],
    host: "api.anthropic.com",
    hostSummary:
      "A gateway that speaks the same API (default: api.anthropic.com)",
    variables: () => ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
    // Claude Code prefers the first to the second, and that to the third.
    conflictingEnv: [
      "ANTHROPIC_AUTH_TOKEN",
      "ANTHROPIC_API_KEY",
      "CLAUDE_CODE_OAUTH_TOKEN",
      "ANTHROPIC_BASE_URL",
    ],
    hint:
      "create a key at https://platform.claude.com/settings/keys, or run claude setup-token",
    kinds: KINDS,
    shape: (kind) => ({
      prefix: kind === OAUTH ? "sk-ant-oat01-" : "sk-ant-api03-",
      length: 93,
      suffix: "AA",
    }),
    // Models are listed for nothing.
    validation: ({ host, kind }, token) => ({
      url: `https://${host}/v1/models?limit=1`,
      headers: {
        "anthropic-version": "2023-06-01",
        ...kind === OAUTH
          ? {
            authorization: new Secret(`Bearer ${token.reveal()}`),
            "anthropic-beta": "oauth-2025-04-20",
          }
          : { "x-api-key": token },
      },
      // Tokens of setup-token are for inference alone; a bad one gets 401.
      allowsForbidden: kind === OAUTH,
    }),
    inject(proxy, { host, kind, placeholder }, token) {
      // What else such a token needs, anthropic-beta, its client sends itself:
      // a whole value of ours would replace the client's other betas.
      proxy.inject(
        kind === OAUTH
          ? {
            host,
            header: "authorization",
            value: new Secret(`Bearer ${token}`),
            strip: ["x-api-key"],
            placeholder,
          }
          : {
            host,
            header: "x-api-key",
            value: new Secret(token),
            strip: ["authorization"],
            placeholder,
          },
      );
    },
    placeholderVariables: ({ kind }) => [
      kind === OAUTH ? "CLAUDE_CODE_OAUTH_TOKEN" : "ANTHROPIC_API_KEY",
    ],
    settingVariables: ({ host, isVendor }): Record<string, string> =>
      isVendor ? {} : { ANTHROPIC_BASE_URL: `https://${host}` },
  }, platform);
}
