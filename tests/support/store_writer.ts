/**
 * A second process for the tests of the store, the key and the audit log.
 *
 * Usage: `store_writer.ts MODE ARGUMENT…`; the modes are below.
 *
 * @module
 */

import { createAuditLog } from "$core/audit.ts";
import { systemClock } from "$core/clock.ts";
import { withLock } from "$core/files.ts";
import type { Grant } from "$core/grant.ts";
import { findPaths } from "$core/paths.ts";
import { Secret } from "$core/secret.ts";
import { createFileStore } from "$core/store/file.ts";
import { createKeyProvider } from "$core/store/key.ts";

/** The `index`th state of the grant that mode `loop` writes; checks itself. */
export function numberedGrant(index: number): Grant {
  return {
    provider: "aws",
    name: "aws:loop",
    createdAt: index,
    settings: { filler: "x".repeat((index * 7919) % 20_000) },
    credential: new Secret(`credential ${index}`),
  };
}

const MODES: Record<string, (...args: string[]) => Promise<void>> = {
  /** Writes one grant after the other, from FIRST, and says so. */
  async loop(home, first) {
    const { store } = open(home);
    for (let index = Number(first);; index++) {
      await say(`put ${index}`);
      await store.put(numberedGrant(index));
      await say(`did ${index}`);
    }
  },
  /** Adds one to the grant's counter, COUNT times. */
  async count(home, count) {
    const { store } = open(home);
    for (let i = 0; i < Number(count); i++) {
      await store.update("aws:loop", ({ createdAt }) => {
        return numberedGrant(createdAt + 1);
      });
    }
  },
  /** Waits for the line "go", then uses the key for the first time. */
  async key(home) {
    const { keys } = open(home);
    await say("ready");
    await Deno.stdin.read(new Uint8Array(3));
    await say((await keys.loadOrCreate()).id);
  },
  /** Appends COUNT events to the audit log. */
  async audit(home, count, who) {
    const { paths } = open(home);
    const audit = createAuditLog(paths, systemClock, {
      onFailure: (error) => {
        throw error;
      },
    });
    for (let n = 0; n < Number(count); n++) {
      await audit.record("tested", { who, n });
    }
  },
  /** Appends to the audit log until it is killed. */
  async audits(home) {
    const { paths } = open(home);
    const audit = createAuditLog(paths, systemClock, { onFailure() {} });
    await say("ready");
    for (let n = 0;; n++) {
      await audit.record("tested", { n, filler: "x".repeat(n % 5_000) });
    }
  },
  /** Waits for a lock. */
  async wait(lock = "") {
    await say("waiting");
    await withLock(lock, systemClock, () => say("got it"));
  },
};

function open(home = "") {
  const env = { MOAT_HOME: home, MOAT_KEYRING: "file" };
  const paths = findPaths(env);
  const keys = createKeyProvider({ paths, env, clock: systemClock });
  return { paths, keys, store: createFileStore(paths, keys, systemClock) };
}

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(line + "\n"));
}

if (import.meta.main) {
  const [mode = "", ...args] = Deno.args;
  // Not awaited: a top-level await would keep the process alive by itself.
  MODES[mode]?.(...args);
}
