/**
 * Puts or gets a grant with whatever keyring this session has, for the tests
 * of the keyring.
 *
 * Usage: `keyring_child.ts put|get`, with MOAT_HOME set.
 *
 * @module
 */

import { systemClock } from "$core/clock.ts";
import { toMoatError } from "$core/errors.ts";
import { findPaths } from "$core/paths.ts";
import { Secret } from "$core/secret.ts";
import { createFileStore } from "$core/store/file.ts";
import { createKeyProvider } from "$core/store/key.ts";

const env = Deno.env.toObject();
const paths = findPaths(env);
const keys = createKeyProvider({ paths, env, clock: systemClock });
const store = createFileStore(paths, keys, systemClock);

async function act(): Promise<string> {
  if (Deno.args[0] === "get") {
    return `got ${(await store.get("github")).credential?.reveal()}`;
  }
  await store.put({
    provider: "github",
    name: "github",
    createdAt: 1,
    settings: {},
    credential: new Secret("canary"),
  });
  return "put";
}

const result = await act().catch((error) => toMoatError(error).code);
const { where } = JSON.parse(await Deno.readTextFile(paths.keyRecord));
const file = await Deno.stat(paths.keyFile).catch(() => undefined);
const line = `${where} ${file ? "with" : "without"} key file: ${result}\n`;
await Deno.stdout.write(new TextEncoder().encode(line));
