import assert from "node:assert/strict";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { HostAddresses, plainAddress } from "./host_addresses.ts";

const SPELLINGS: Record<string, string> = {
  "172.17.0.2": "172.17.0.2",
  "172.17.0.2/16": "172.17.0.2",
  "::ffff:172.17.0.2": "172.17.0.2",
  "::ffff:ac11:2": "172.17.0.2",
  "fd00:0077::0002": "fd00:77::2",
  "FE80::1%eth0": "fe80::1",
};

for (const [address, plain] of Object.entries(SPELLINGS)) {
  Deno.test(`plainAddress() spells ${address} as ${plain}`, () => {
    assert.equal(plainAddress(address), plain);
  });
}

for (const address of ["127.0.0.1", "127.9.9.9", "::1"]) {
  Deno.test(`HostAddresses has ${address} whatever the system says`, () => {
    assert.ok(new HostAddresses(new FakeClock(), () => []).has(address));
  });
}

Deno.test("HostAddresses has those of this machine", () => {
  const host = new HostAddresses(new FakeClock());
  for (const { address } of Deno.networkInterfaces()) {
    assert.ok(host.has(plainAddress(address)), address);
  }
});

Deno.test("HostAddresses reads them at most once a second", async () => {
  const clock = new FakeClock();
  let reads = 0;
  const host = new HostAddresses(clock, () => [`10.0.0.${++reads}`]);
  host.has("10.0.0.1");
  await clock.advance(999);
  assert.ok(host.has("10.0.0.1"));
  await clock.advance(1);
  assert.ok(!host.has("10.0.0.1"));
  assert.equal(reads, 2);
});

Deno.test("HostAddresses reads them anew after the clock was set back", () => {
  let now = 1e12;
  let reads = 0;
  const clock = { now: () => now, after: () => () => {} };
  const host = new HostAddresses(clock, () => [`10.0.0.${++reads}`]);
  host.has("10.0.0.1");
  now -= 3_600_000;
  assert.ok(host.has("10.0.0.2"));
});
