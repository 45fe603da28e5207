/**
 * Speed of bindings: how long a look-up, a start and a bind take when there
 * are a hundred thousand of them.
 *
 * @module
 */

import { join } from "node:path";
import { digestToken, mintToken } from "$core/binding.ts";
import { OWN_FORMAT, type StoredBinding } from "$core/binding_store.ts";
import { errorAnswer } from "$core/provider.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { Outbound } from "$proxy/intercept/outbound.ts";
import { BindingTable, LiveBinding } from "$proxy/bindings/binding_table.ts";

/** How many there are. */
export const BINDINGS = 100_000;

const LOOK_UPS = 100_000;
const NOTHING = errorAnswer(404, "not-found", "Nothing");

/**
 * Measures the look-up of a token among as many live bindings.
 *
 * @param rounds How often; default 5.
 * @returns µs per look-up, one figure per round; bytes per binding.
 */
export function benchLookUp(
  rounds = 5,
): { readonly micros: number[]; readonly bytesEach: number } {
  const table = new BindingTable();
  const before = Deno.memoryUsage().heapUsed;
  const tokens: string[] = [];
  for (let i = 0; i < BINDINGS; i++) {
    const name = `service-${i}`;
    const token = mintToken(name).reveal();
    // The tokens themselves are their clients' memory, not ours.
    if (i % 100 === 0) tokens.push(token);
    table.set(name, [
      new LiveBinding({
        binding: { name, grants: ["aws"] },
        tokenDigest: digestToken(token),
        access: "header",
        admits: () => true,
      }, {
        routes: new Map(),
        otherwise: NOTHING,
        outbound: new Outbound(DEFAULT_POLICY, []),
        grants: [],
      }),
    ]);
  }
  const bytesEach = (Deno.memoryUsage().heapUsed - before) / BINDINGS;
  const micros: number[] = [];
  // The first round is for the compiler.
  for (let round = -1; round < rounds; round++) {
    const startedAt = performance.now();
    for (let i = 0; i < LOOK_UPS; i++) {
      const found = table.find(tokens[i % tokens.length] ?? "");
      if (!found) throw new Error("a binding was not found");
    }
    if (round >= 0) {
      micros.push((performance.now() - startedAt) * 1000 / LOOK_UPS);
    }
  }
  return { micros, bytesEach };
}

/**
 * Writes as many bindings as files.
 *
 * @param home A moat home.
 * @param grant The grant that all of them use.
 * @returns A token for each.
 */
export async function writeBindings(
  home: string,
  grant: string,
): Promise<string[]> {
  const directory = join(home, "bindings");
  await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  const tokens: string[] = [];
  for (let i = 0; i < BINDINGS; i++) {
    const name = `service-${i}`;
    const token = mintToken(name).reveal();
    tokens.push(token);
    const stored: StoredBinding = {
      binding: { name, grants: [grant], mode: "ecs-full" },
      tokenDigest: digestToken(token),
      createdAt: 0,
      url: "http://127.0.0.1:19080",
      tokenFile: false,
    };
    Deno.writeTextFileSync(
      join(directory, `${name}.json`),
      OWN_FORMAT.encode(stored),
      { mode: 0o600 },
    );
  }
  return tokens;
}
