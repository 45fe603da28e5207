/**
 * The providers that are nothing but data. What each vendor says about its
 * headers is cited beside it.
 *
 * @module
 */

import type { ProviderFactory } from "$core/provider.ts";
import type { HeaderDefinition } from "./definition.ts";
import { createHeaderProvider } from "./provider.ts";

/** Where a key of Datadog may be from: they look alike, and each knows its own. */
const DATADOG_SITES: readonly string[] = [
  "datadoghq.com",
  "datadoghq.eu",
  "us3.datadoghq.com",
  "us5.datadoghq.com",
  "ap1.datadoghq.com",
  "ap2.datadoghq.com",
  "ddog-gov.com",
];

/** In the order of `moat grant providers`. */
export const BUILT_IN: readonly HeaderDefinition[] = [
  {
    // https://api-dashboard.search.brave.com/documentation/guides/authentication
    name: "brave-search",
    aliases: ["brave"],
    description: "Brave's search API",
    hosts: ["api.search.brave.com"],
    inject: [{ header: "x-subscription-token" }],
    env: ["BRAVE_API_KEY"],
    sourceEnv: ["BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY"],
    prompt: "Brave Search API key",
    help: "create one at https://api-dashboard.search.brave.com/app/keys",
    placeholder: { prefix: "BSA", length: 31 },
    // There is nothing to ask that costs nothing; an unknown key gets 422.
    validate: [{
      url: "https://api.search.brave.com/res/v1/web/search?q=moat&count=1",
      rejected: [401, 422],
    }],
  },
  {
    // https://docs.datadoghq.com/api/latest/authentication/
    name: "datadog",
    description: "Datadog's API, for what needs no application key",
    hosts: ["*.datadoghq.com", "*.datadoghq.eu", "*.ddog-gov.com"],
    inject: [{ header: "dd-api-key" }],
    env: ["DD_API_KEY"],
    sourceEnv: ["DD_API_KEY", "DATADOG_API_KEY"],
    prompt: "Datadog API key",
    help:
      "create one in the organization settings of your site, below API Keys",
    placeholder: { length: 32 },
    validate: DATADOG_SITES.map((site) => ({
      url: `https://api.${site}/api/v1/validate`,
      rejected: [401, 403],
    })),
  },
  {
    // https://elevenlabs.io/docs/api-reference/authentication
    name: "elevenlabs",
    description: "ElevenLabs' API for speech",
    hosts: ["api.elevenlabs.io"],
    inject: [{ header: "xi-api-key" }],
    env: ["ELEVENLABS_API_KEY"],
    sourceEnv: ["ELEVENLABS_API_KEY"],
    prompt: "ElevenLabs API key",
    // A key without that permission gets 401, as a bad one does.
    help:
      "create one at https://elevenlabs.io/app/settings/api-keys; only one that may read the user can be validated",
    placeholder: { prefix: "sk_", length: 48 },
    validate: [{ url: "https://api.elevenlabs.io/v1/user" }],
  },
  {
    // https://docs.gitlab.com/api/rest/authentication/ for the two headers of
    // the API; https://docs.gitlab.com/user/profile/personal_access_tokens/ for
    // git, which takes the token as the password of any user. The hosts below
    // gitlab.com get no Authorization: the container registry has its own.
    name: "gitlab",
    aliases: ["gl"],
    description: "GitLab's API and git over https, on gitlab.com",
    hosts: ["gitlab.com", "*.gitlab.com"],
    inject: [
      { header: "private-token" },
      {
        header: "authorization",
        prefix: "Bearer ",
        hosts: ["gitlab.com"],
        path: "/api",
      },
      { header: "authorization", basicUser: "oauth2", hosts: ["gitlab.com"] },
    ],
    env: ["GITLAB_TOKEN"],
    sourceEnv: ["GITLAB_TOKEN", "GL_TOKEN"],
    prompt: "GitLab token",
    help:
      "create one at https://gitlab.com/-/user_settings/personal_access_tokens",
    placeholder: { prefix: "glpat-", length: 31 },
    validate: [{
      url: "https://gitlab.com/api/v4/user",
      forbiddenIsFine: true,
    }],
  },
  {
    // https://linear.app/developers/graphql: keys without Bearer.
    name: "linear",
    description: "Linear's API",
    hosts: ["api.linear.app"],
    inject: [{ header: "authorization" }],
    env: ["LINEAR_API_KEY"],
    sourceEnv: ["LINEAR_API_KEY"],
    prompt: "Linear API key",
    help: "create one at https://linear.app/settings/account/security",
    placeholder: { prefix: "lin_api_", length: 40 },
    validate: [{
      url: "https://api.linear.app/graphql",
      method: "POST",
      body: '{"query":"{ viewer { id } }"}',
      rejected: [400, 401],
    }],
  },
  {
    // https://docs.sentry.io/api/auth/
    name: "sentry",
    description: "Sentry's API",
    hosts: ["sentry.io", "*.sentry.io"],
    inject: [{ header: "authorization", prefix: "Bearer " }],
    env: ["SENTRY_AUTH_TOKEN"],
    sourceEnv: ["SENTRY_AUTH_TOKEN"],
    prompt: "Sentry auth token",
    help: "create one at https://sentry.io/settings/auth-tokens/",
    placeholder: { prefix: "sntryu_", length: 64 },
    validate: [{ url: "https://sentry.io/api/0/", forbiddenIsFine: true }],
  },
  {
    // https://core.telegram.org/bots/api#authorizing-your-bot
    name: "telegram",
    aliases: ["tg"],
    description: "Telegram's API for bots",
    hosts: ["api.telegram.org"],
    inject: "path",
    env: ["TELEGRAM_BOT_TOKEN"],
    sourceEnv: ["TELEGRAM_BOT_TOKEN"],
    prompt: "Telegram bot token",
    help: "ask @BotFather for one by /newbot",
    // Libraries want a number, a colon and 35 characters.
    placeholder: { prefix: "1234567890:AA", length: 33 },
    validate: [{
      url: "https://api.telegram.org/bot{token}/getMe",
      rejected: [401, 404],
    }],
  },
  {
    // https://vercel.com/docs/rest-api#authentication
    name: "vercel",
    description: "Vercel's API",
    hosts: ["api.vercel.com", "*.vercel.com"],
    inject: [{ header: "authorization", prefix: "Bearer " }],
    env: ["VERCEL_TOKEN"],
    sourceEnv: ["VERCEL_TOKEN"],
    prompt: "Vercel token",
    help: "create one at https://vercel.com/account/tokens",
    // Letters and digits alone: the command line tool refuses others.
    placeholder: { length: 31 },
    validate: [{
      url: "https://api.vercel.com/v2/user",
      rejected: [401, 403],
    }],
  },
];

/** Makers of the providers of {@link BUILT_IN}. */
export const HEADER_PROVIDERS: readonly ProviderFactory[] = BUILT_IN.map(
  createHeaderProvider,
);
