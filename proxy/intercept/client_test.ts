import assert from "node:assert/strict";
import {
  liveBinding,
  ORIGIN,
  tokenOf,
} from "../../tests/support/session_bed.ts";
import { BindingTable } from "../bindings/binding_table.ts";
import {
  FakeContainers,
  FakeKnown,
} from "../../tests/support/fake_containers.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { ContainerGate } from "../bindings/container_gate.ts";
import { RequestHead } from "../http1/head.ts";
import { ProxyClient, readProxyToken } from "./client.ts";

const LOOPBACK = "127.0.0.1";

function tableOf(...names: string[]): BindingTable {
  const table = new BindingTable();
  for (const name of names) table.set(name, [liveBinding(name)]);
  return table;
}

async function client(table: BindingTable): Promise<ProxyClient> {
  const found = await ProxyClient.find({ table }, tokenOf("web"), ORIGIN);
  assert(found);
  return found;
}

function token(...values: string[]): string | undefined {
  return readProxyToken(
    new RequestHead("CONNECT", "api.test:443", "1.1", [
      ["Host", "api.test:443"],
      ...values.map((value) => ["Proxy-Authorization", value] as const),
    ]),
  );
}

Deno.test("find() knows the client of a token", async () => {
  assert.equal((await client(tableOf("web"))).name, "web");
});

for (
  const [name, shown, address] of [
    ["another token", tokenOf("job"), LOOPBACK],
    ["no token", "", LOOPBACK],
    ["a token where it does not count", tokenOf("web"), "10.0.0.1"],
  ] as const
) {
  Deno.test(`find() knows no client for ${name}`, async () => {
    const table = tableOf("web");
    const origin = { ...ORIGIN, localHostname: address };
    const found = await ProxyClient.find({ table }, shown, origin);
    assert.equal(found, undefined);
  });
}

Deno.test("find() takes an IPv4 address in an IPv6 one for the same", async () => {
  const table = tableOf("web");
  const origin = { ...ORIGIN, localHostname: "::ffff:127.0.0.1" };
  assert(await ProxyClient.find({ table }, tokenOf("web"), origin));
});

Deno.test("current() gives the binding at once while it lives", async () => {
  const found = await client(tableOf("web"));
  assert.equal(found.current(), found.lastSeen);
});

Deno.test("current() gives what took the binding's place", async () => {
  const table = tableOf("web");
  const found = await client(table);
  const newer = liveBinding("web");
  table.set("web", [newer]);
  assert.deepEqual(
    [await found.current() === newer, found.lastSeen === newer],
    [true, true],
  );
});

Deno.test("current() gives nothing once the binding has ended", async () => {
  const table = tableOf("web");
  const found = await client(table);
  table.remove("web");
  assert.equal(await found.current(), undefined);
});

Deno.test("current() gives nothing where the binding does not count any more", async () => {
  const table = tableOf("web");
  const found = await client(table);
  const moved = liveBinding("web");
  Object.assign(moved.entry, { admits: () => false });
  table.set("web", [moved]);
  assert.equal(await found.current(), undefined);
});

Deno.test("current() gives nothing while the token is not the binding's", async () => {
  const table = tableOf("web");
  const found = await client(table);
  const other = liveBinding("web");
  Object.assign(other.entry, { tokenDigest: "0".repeat(64) });
  table.set("web", [other]);
  assert.equal(await found.current(), undefined);
});

/** The client of a binding that is for the container `web` alone. */
async function contained(containers = new FakeContainers()) {
  const table = new BindingTable();
  const binding = liveBinding("web");
  Object.assign(binding.entry.binding, { container: { name: "web" } });
  table.set("web", [binding]);
  const gate = new ContainerGate({
    platform: fakePlatform(),
    containers: () => Promise.resolve(containers),
  });
  const guards = { table, gate };
  const found = await ProxyClient.find(guards, tokenOf("web"), { ...ORIGIN });
  return { found, binding, table, containers };
}

Deno.test("find() knows the container of a binding with its token", async () => {
  assert((await contained()).found);
});

Deno.test("find() knows no other container with its token", async () => {
  const other = new FakeContainers(new FakeKnown({ name: "db" }));
  assert.equal((await contained(other)).found, undefined);
});

Deno.test("find() knows no container of a binding where no engine is asked", async () => {
  const { table } = await contained();
  const found = ProxyClient.find({ table }, tokenOf("web"), ORIGIN);
  assert.equal(await found, undefined);
});

Deno.test("find() finds nothing of a binding that ended while its client was identified", async () => {
  const containers = new FakeContainers();
  const table = new BindingTable();
  const binding = liveBinding("web");
  Object.assign(binding.entry.binding, { container: { name: "web" } });
  table.set("web", [binding]);
  containers.before = () => void table.remove("web");
  const gate = new ContainerGate({
    platform: fakePlatform(),
    containers: () => Promise.resolve(containers),
  });
  const found = ProxyClient.find({ table, gate }, tokenOf("web"), ORIGIN);
  assert.equal(await found, undefined);
});

Deno.test("current() gives nothing once the container has ended", async () => {
  const { found, containers } = await contained();
  (containers.found as FakeKnown).end();
  containers.found = { problem: "unknown", message: "why" };
  assert.equal(await found?.current(), undefined);
});

Deno.test("onEnd() tells once when the container ends", async () => {
  const { found, binding, containers, table } = await contained();
  let told = 0;
  found?.onEnd(binding, () => void told++);
  (containers.found as FakeKnown).end();
  table.remove("web");
  assert.equal(told, 1);
});

Deno.test("onEnd() tells once when the binding ends", async () => {
  const { found, binding, containers, table } = await contained();
  let told = 0;
  found?.onEnd(binding, () => void told++);
  table.remove("web");
  (containers.found as FakeKnown).end();
  assert.equal(told, 1);
});

Deno.test("onEnd() tells nothing that was taken back", async () => {
  const { found, binding, containers, table } = await contained();
  const stop = found?.onEnd(binding, () => assert.fail());
  stop?.();
  table.remove("web");
  (containers.found as FakeKnown).end();
});

Deno.test("showed() knows the token", async () => {
  const found = await client(tableOf("web"));
  assert.deepEqual(
    [found.showed(tokenOf("web")), found.showed(tokenOf("job"))],
    [true, false],
  );
});

const basic = (text: string) => `Basic ${btoa(text)}`;

const TOKENS: readonly [readonly string[], string | undefined][] = [
  [[basic("moat:a.b.c")], "a.b.c"],
  [[basic(":a.b.c")], "a.b.c"],
  [[basic("anyone else:a.b.c")], "a.b.c"],
  [[basic("moat:a:b")], "a:b"],
  [[basic("moat:a%40b")], "a@b"],
  [[basic("moat:a@b")], "a@b"],
  [["basic " + btoa("moat:x")], "x"],
  [["BASIC  " + btoa("moat:x")], "x"],
  [["Bearer a.b-c_d~"], "a.b-c_d~"],
  [["bearer a@b"], "a@b"],
  [["Bearer a%40b"], "a@b"],
  [[], undefined],
  [[basic("moat")], undefined],
  [[basic("moat:x"), basic("moat:x")], undefined],
  [[basic("moat:x") + ", " + basic("moat:y")], undefined],
  [["Bearer a b"], undefined],
  [["Bearer"], undefined],
  [["Basic"], undefined],
  [["Basic !"], undefined],
  [["Digest username=moat"], undefined],
  [["Negotiate eA=="], undefined],
];
for (const [values, wanted] of TOKENS) {
  Deno.test(`readProxyToken() gives ${wanted} for ${JSON.stringify(values)}`, () => {
    assert.equal(token(...values), wanted);
  });
}
