import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import { createRegistry, type Provider } from "$core/provider.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import type { Store } from "$core/store/store.ts";
import { settle } from "../../tests/support/fake_clock.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { prefetchGrants } from "./prefetch.ts";

function grants(count: number, provider = "alpha"): Grant[] {
  return Array.from({ length: count }, (_, i) => ({
    provider,
    name: `${provider}:g${i}`,
    createdAt: 0,
    settings: {},
  }));
}

/** Prepares grants with a provider, and gives what was logged. */
async function prefetch(
  store: Store,
  make?: Provider["prefetch"],
  name?: string,
) {
  const { log, lines } = fakePlatform();
  const provider = {
    ...headerProvider({ name: "alpha" }),
    ...(make && { prefetch: make }),
  };
  const registry = createRegistry([provider]);
  await prefetchGrants({ store, registry, log }, name);
  return lines;
}

Deno.test("prefetchGrants() prepares every grant, without a binding", async () => {
  const asked: unknown[] = [];
  const make = (...call: unknown[]) => Promise.resolve(void asked.push(call));
  const all = grants(9);
  const lines = await prefetch(createMemoryStore(all), make);
  assert.deepEqual([asked, lines], [all.map((grant) => [grant]), []]);
});

Deno.test("prefetchGrants() prepares one grant alone", async () => {
  const asked: string[] = [];
  const store = createMemoryStore(grants(3));
  const make = ({ name }: Grant) => Promise.resolve(void asked.push(name));
  await prefetch(store, make, "alpha:g1");
  assert.deepEqual(asked, ["alpha:g1"]);
});

Deno.test("prefetchGrants() passes over a grant that was revoked", async () => {
  const make = () => Promise.reject(new TypeError("not to be called"));
  assert.deepEqual(
    await prefetch(createMemoryStore(), make, "alpha:g1"),
    [],
  );
});

Deno.test("prefetchGrants() prepares four at once, and no more", async () => {
  const waiting: (() => void)[] = [];
  let most = 0;
  let running = 0;
  const make = async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => waiting.push(resolve));
    running--;
  };
  const done = prefetch(createMemoryStore(grants(10)), make);
  for (let turn = 0; turn < 20; turn++) {
    await settle();
    waiting.splice(0).forEach((resume) => resume());
  }
  await done;
  assert.equal(most, 4);
});

Deno.test("prefetchGrants() goes on after a failure, and logs it", async () => {
  const asked: string[] = [];
  const make = ({ name }: Grant) => {
    asked.push(name);
    if (name === "alpha:g3") throw new TypeError("x");
    return name === "alpha:g1"
      ? Promise.reject(new MoatError("access-denied", "no"))
      : Promise.resolve();
  };
  const lines = await prefetch(createMemoryStore(grants(9)), make);
  assert.equal(asked.length, 9);
  assert.deepEqual(lines.map(({ event, fields }) => [event, fields]), [
    ["prefetch-failed", { grant: "alpha:g3", code: "internal" }],
    ["prefetch-failed", { grant: "alpha:g1", code: "access-denied" }],
  ]);
});

Deno.test("prefetchGrants() passes over providers that cannot prepare", async () => {
  assert.deepEqual(await prefetch(createMemoryStore(grants(2))), []);
});

Deno.test("prefetchGrants() logs that the store cannot be read", async () => {
  const store = {
    ...createMemoryStore(),
    list: () => Promise.reject(new MoatError("key-unavailable", "no")),
  };
  const [line] = await prefetch(store);
  assert.deepEqual(line?.fields, { code: "key-unavailable" });
});
