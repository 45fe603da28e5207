/**
 * How long policy and injection take for one request, in this process: from
 * a parsed head to the bytes that are forwarded.
 *
 * @module
 */

import process from "node:process";
import type { Binding } from "$core/binding.ts";
import { DEFAULT_POLICY, type Policy } from "$core/policy.ts";
import { errorAnswer, type Injection } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { LiveBinding } from "$proxy/bindings/binding_table.ts";
import { RequestHead } from "$proxy/http1/head.ts";
import { Outbound } from "$proxy/intercept/outbound.ts";
import { prepare } from "$proxy/intercept/prepare.ts";

const HOST = "api.github.com";
const REQUESTS = 100_000;

/** Its rules look at path and method of each request, and the last one allows. */
const POLICY: Policy = {
  ...DEFAULT_POLICY,
  rules: [
    { action: "deny", host: HOST, methods: ["DELETE"] },
    { action: "deny", host: HOST, path: "/repos/*/*/actions/secrets/**" },
    { action: "deny", host: HOST, methods: ["PUT"], path: "/orgs/**" },
    { action: "allow", host: "registry.example.com" },
    { action: "allow", host: HOST, path: "/repos/acme/**" },
  ],
};

/** Two grants for the same host: the client's placeholder chooses. */
function injection(name: string): Injection {
  return {
    host: HOST,
    header: "authorization",
    value: new Secret(`Bearer ghp_${name.repeat(36)}`),
    strip: [],
    placeholder: `ghp_moatPlaceholder${name.repeat(20)}`,
  };
}

function makeHead(number: number): RequestHead {
  return new RequestHead(
    "GET",
    `/repos/acme/widgets/issues/${number}?state=open&per_page=100`,
    "1.1",
    [
      ["Host", HOST],
      ["User-Agent", "bench/1.0"],
      ["Accept", "application/vnd.github+json"],
      ["Accept-Encoding", "gzip, deflate, br"],
      ["X-GitHub-Api-Version", "2022-11-28"],
      ["Authorization", `token ghp_moatPlaceholder${"b".repeat(20)}`],
      ["Cache-Control", "no-cache"],
      ["Connection", "keep-alive"],
    ],
  );
}

/**
 * Measures requests of which no two are alike.
 *
 * @param rounds How often. Default: 5.
 * @returns µs of processor time for each request, one figure for each round.
 */
export function benchPolicy(rounds = 5): number[] {
  const grants = ["a", "b"].map((name) => ({
    grant: `github:${name}`,
    injections: [injection(name)],
    substitutions: [],
    allowed: [],
  }));
  const binding: Binding = { name: "bench", grants: ["github:a", "github:b"] };
  const live = new LiveBinding(
    { binding, tokenDigest: "", access: "header", admits: () => true },
    {
      routes: new Map(),
      otherwise: errorAnswer(404, "not-found", "Nothing"),
      outbound: new Outbound(POLICY, grants),
      grants: [],
    },
  );
  const authority = { host: HOST, port: 443 };
  const heads = Array.from({ length: 1000 }, (_, i) => makeHead(i));
  const micros: number[] = [];
  // The first round is for the compiler.
  for (let round = -1; round < rounds; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < REQUESTS; i++) {
      const head = heads[i % heads.length]!;
      const { grants } = prepare(head, { scheme: "https", authority }, live);
      if (grants[0] !== "github:b") throw new Error("another grant was chosen");
    }
    if (round >= 0) {
      // Processor time: another program's turn is not ours.
      const { user, system } = process.cpuUsage(before);
      micros.push((user + system) / REQUESTS);
    }
  }
  return micros;
}
