/**
 * What moat forwards is read by two servers that other people wrote: they must
 * find in it the requests that moat found, and no others. So no client can
 * hide a request from moat inside of another one.
 *
 * The inputs are the table of `raw_requests.ts` and mutations of it, sent
 * through moat to an upstream that keeps all bytes; these are then sent, as
 * they are, to nginx and to Node's server.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { METHODS } from "node:http";
import { CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  framingReason,
  type FramingServer,
  type SeenRequest,
  SENTINEL,
  startFramingServers,
} from "./support/framing_servers.ts";
import { writeText } from "./support/intercept_bed.ts";
import { moatReason } from "./support/moat.ts";
import { fill, PROBE, REQUEST_CASES } from "./support/raw_requests.ts";
import type {
  UpstreamConnection,
  UpstreamRequest,
} from "./support/scripted_upstream.ts";
import { hear, SharedBed } from "./support/shared_bed.ts";

const reason = moatReason() ?? framingReason();

/** How many inputs are under way at once, each with an address of its own. */
const LANES = 4;

/** How many lots of {@link LANES} mutations. */
const LOTS = 75;

const shared = reason === undefined
  ? await SharedBed.open({ count: LANES })
  : undefined;

const servers: readonly FramingServer[] = shared
  ? await startFramingServers(shared.bed.workspace)
  : [];

/**
 * How long an input may do nothing: one that announces more than it sends
 * keeps everybody waiting.
 */
const QUIET_MS = 250;

/** What an upstream got of one input. */
interface Forwarded {
  readonly connections: readonly UpstreamConnection[];
  /** Whether the client heard the end of its connection. */
  readonly isEnded: boolean;
}

/** Sends an input through moat, and a last request behind it. */
async function forward(authority: string, raw: string): Promise<Forwarded> {
  await using upstream = shared!.upstream({ authority });
  const conn = await shared!.bed.connectTls(authority);
  let isEnded = true;
  const guard = setTimeout(() => {
    isEnded = false;
    conn.close();
  }, QUIET_MS);
  try {
    await writeText(conn, raw + fill(PROBE, authority)).catch(() => {});
    await hear(conn);
  } finally {
    clearTimeout(guard);
    if (isEnded) conn.close();
  }
  await upstream.received();
  return { connections: upstream.connections, isEnded };
}

/**
 * Compares how a server reads what moat forwarded with how moat did.
 *
 * Justified exceptions, in which a server refuses what moat forwards:
 * - methods that it does not know: nginx takes capitals, `_` and `-`, Node a list;
 * - `OPTIONS *`, which nginx answers with 400;
 * - an expectation other than 100-continue, which Node answers with 417.
 */
async function compare(
  server: FramingServer,
  { received, requests }: UpstreamConnection,
): Promise<void> {
  const isWhole = received.length === sizeOf(requests);
  const wanted: SeenRequest[] = requests
    .filter(({ head }) => server.name !== "node" || !EXPECTATION.test(head))
    .map(({ method, target, body }) => ({
      method,
      target,
      length: body.length,
    }));
  if (isWhole) wanted.push({ method: "GET", target: "/sentinel", length: 0 });
  const { seen, statuses } = await server.read(
    received + (isWhole ? SENTINEL : ""),
  );
  // Refusing one request, a server may forget those before it on the connection.
  const isRefused = requests.some((request) => isRefusedBy(server, request));
  assert.deepEqual(
    { server: server.name, seen, statuses },
    {
      server: server.name,
      seen: isRefused ? wanted.slice(0, seen.length) : wanted,
      statuses,
    },
    JSON.stringify(received.replaceAll(CANARY, "CANARY").slice(0, 2_000)),
  );
}

const EXPECTATION = /^expect:(?! *100-continue *\r)/im;

function isRefusedBy(
  { name }: FramingServer,
  { method, target }: UpstreamRequest,
): boolean {
  return name === "nginx"
    ? !/^[A-Z_-]+$/.test(method) || target === "*"
    : !METHODS.includes(method);
}

/** How many bytes whole requests have: what is more is a part of another one. */
function sizeOf(requests: readonly UpstreamRequest[]): number {
  return requests.reduce((size, { raw }) => size + raw.length, 0);
}

/** All requests that arrived whole, for the trace. */
const arrived: { method: string; path: string; length: number }[] = [];

/** Whether an input was given up: then the trace may lack a request. */
let wasGivenUp = false;

async function check(authority: string, raw: string): Promise<void> {
  const { connections, isEnded } = await forward(authority, raw);
  wasGivenUp ||= !isEnded;
  for (const connection of connections) {
    for (const { method, target, body } of connection.requests) {
      const [path = ""] = target.split("?", 1);
      arrived.push({ method, path, length: body.length });
    }
    for (const server of servers) await compare(server, connection);
  }
}

for (const { name, see, raw, forwarded } of REQUEST_CASES) {
  if (forwarded === undefined) continue;
  testUnless(reason, `differential: ${name} (${see})`, async () => {
    const authority = shared!.nextAuthority();
    await check(authority, fill(raw, authority));
  });
}

// Mutations

/** What is known to confuse readers. */
const MORSELS = [
  ...["\r", "\n", "\r\n", "\n\n", "\r\r\n", "\r\n\r\n", "\0", "\x0b", "\x0c"],
  ...[" ", "\t", ":", ",", ";", "/", "?", "%", "\\", '"', "0", "1", "f", "-"],
  ...["\x7f", "\x80", "\xa0", "\xff", "+", "_", "0x", "00", "\r\n "],
  ...["Content-Length: 3\r\n", "Content-Length: 0\r\n", "content-length:3\r\n"],
  ...["Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n"],
  ...["Transfer-Encoding:\tchunked\r\n", "Transfer-Encoding: x, chunked\r\n"],
  ...["Content_Length: 7\r\n", "Content-Length : 3\r\n", "TE: chunked\r\n"],
  ...["Connection: Content-Length\r\n", "Connection: close\r\n", "X: y\r\n"],
  ...[
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
    "HTTP/1.0",
    " HTTP/1.1",
  ],
  ...[
    "GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
  ],
];

type Mutation = (text: string) => string;

/** A place as a share of a text, so that shrinking works. */
const place = fc.integer({ min: 0, max: 9_999 });

function at(text: string, share: number): number {
  return Math.floor(text.length * share / 10_000);
}

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(place, fc.constantFrom(...MORSELS)).map(
    ([share, morsel]): Mutation => (text) => {
      const index = at(text, share);
      return text.slice(0, index) + morsel + text.slice(index);
    },
  ),
  fc.tuple(place, fc.constantFrom(...MORSELS)).map(
    ([share, morsel]): Mutation => (text) => {
      const index = at(text, share);
      return text.slice(0, index) + morsel + text.slice(index + morsel.length);
    },
  ),
  // A field behind a line's end is most likely to be understood.
  fc.tuple(place, fc.constantFrom(...MORSELS)).map(
    ([share, morsel]): Mutation => (text) => {
      const index = text.indexOf("\n", at(text, share)) + 1;
      return text.slice(0, index) + morsel + text.slice(index);
    },
  ),
  fc.tuple(place, fc.integer({ min: 1, max: 4 })).map(
    ([share, count]): Mutation => (text) => {
      const index = at(text, share);
      return text.slice(0, index) + text.slice(index + count);
    },
  ),
  fc.tuple(place, place).map(([one, other]): Mutation => (text) => {
    const lines = text.split("\r\n");
    const line = lines[at(lines.join("\n"), one) % lines.length] ?? "";
    return lines.toSpliced(at(lines.join("\n"), other) % lines.length, 0, line)
      .join("\r\n");
  }),
);

/** Short ones; those that are refused as they are may be repaired by a mutation. */
const SHORT = REQUEST_CASES.filter(({ raw }) => raw.length < 500);
const GOOD = SHORT.filter(({ goesOn }) => goesOn);

const mutant = fc.tuple(
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...GOOD) },
    { weight: 1, arbitrary: fc.constantFrom(...SHORT) },
  ),
  fc.array(mutation, { minLength: 1, maxLength: 2 }),
).map(([{ raw }, mutations]) =>
  mutations.reduce((text, mutate) => mutate(text), raw)
);

testUnless(reason, "differential: mutated requests", async () => {
  const lot = fc.array(mutant, { minLength: LANES, maxLength: LANES });
  await fc.assert(
    fc.asyncProperty(lot, async (raws) => {
      const checks = raws.map((raw, lane) => {
        const authority = shared!.granted[lane] ?? "";
        return check(authority, fill(raw, authority));
      });
      // All of them, so that no address is in use when the next lot comes.
      for (const result of await Promise.allSettled(checks)) {
        if (result.status === "rejected") throw result.reason;
      }
    }),
    { numRuns: LOTS, interruptAfterTimeLimit: 30_000 },
  );
  assert(arrived.length > LOTS, "too little was forwarded to prove anything");
});

testUnless(
  reason,
  "differential: the trace tells the same requests",
  async () => {
    const wanted = counted(
      arrived.map(({ method, path, length }) => `${method} ${path} ${length}`),
    );
    await eventually("the whole trace", async () => {
      const { stdout } = await shared!.moat("trace", "client", "--json");
      const told = counted(
        stdout.trim().split("\n").map((line) => JSON.parse(line))
          .filter(({ path, status }) => path !== undefined && status === 200)
          .map(({ method, path, sent }) => `${method} ${path} ${sent}`),
      );
      for (const [request, count] of told) {
        assert((wanted.get(request) ?? 0) >= count, `not arrived: ${request}`);
      }
      if (wasGivenUp) return true;
      assert.deepEqual(told, wanted);
      return true;
    });
  },
);

function counted(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts.toSorted()) {
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return counts;
}
