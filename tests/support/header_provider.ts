/**
 * A provider that injects a header, for tests that must not depend on AWS.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { Provider } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";

/** What makes one header provider differ from another. */
export interface HeaderProviderOptions {
  /** Default: `example`. */
  readonly name?: string;
  /** Default: none. */
  readonly aliases?: readonly string[];
  /** Default: `api.example.test`. */
  readonly host?: string;
}

/**
 * Makes a provider with all seven members. Its credential is the flag `token`;
 * the container sees a placeholder.
 */
export function headerProvider(options: HeaderProviderOptions = {}): Provider {
  const { name = "example", aliases = [], host = "api.example.test" } = options;
  return {
    name,
    aliases,
    description: `Injects a bearer token for ${host}`,
    grantFlags: [{ name: "token", value: "TEXT", summary: "the token" }],
    grantExamples: [`moat grant ${name} --token TEXT`],
    conflictingEnv: [],
    grant({ name: grantName, flags }) {
      const token = flags["token"];
      if (typeof token !== "string") {
        const error = new MoatError("usage", "Cannot grant without --token");
        return Promise.reject(error);
      }
      return Promise.resolve({
        provider: name,
        name: grantName,
        createdAt: 0,
        settings: {},
        credential: new Secret(token),
      });
    },
    configureProxy(proxy, { credential }) {
      if (!credential) return;
      proxy.inject({
        host,
        header: "authorization",
        value: new Secret(`Bearer ${credential.reveal()}`),
        strip: ["cookie"],
      });
    },
    containerEnv: () => ({ [`${name.toUpperCase()}_TOKEN`]: "placeholder" }),
    containerMounts: () => [],
    registerEndpoints() {},
    impliedDependencies: () => ["curl"],
    cleanup() {},
  };
}
