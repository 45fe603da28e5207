import assert from "node:assert/strict";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import type { ListenAddress } from "../listeners.ts";
import { OwnAddresses } from "./own_addresses.ts";

const PORT = 19_080;

interface Row {
  readonly listener: string;
  readonly address: string;
  readonly port?: number;
  readonly expect: boolean;
}

/** The host has 192.0.2.2, fd00::2 and fe80::1. */
const ROWS: Row[] = [
  // A listener on loopback
  { listener: "127.0.0.1", address: "127.0.0.1", expect: true },
  { listener: "127.0.0.1", address: "127.0.0.1", port: 19_081, expect: false },
  { listener: "127.0.0.1", address: "::ffff:127.0.0.1", expect: true },
  { listener: "127.0.0.1", address: "::ffff:7f00:1", expect: true },
  { listener: "127.0.0.1", address: "0:0:0:0:0:FFFF:7F00:0001", expect: true },
  { listener: "127.0.0.1", address: "0.0.0.0", expect: true },
  { listener: "127.0.0.1", address: "::ffff:0.0.0.0", expect: true },
  { listener: "127.0.0.1", address: "127.0.0.9", expect: false },
  { listener: "127.0.0.1", address: "::1", expect: false },
  { listener: "127.0.0.1", address: "192.0.2.2", expect: false },
  { listener: "::1", address: "::1", expect: true },
  { listener: "::1", address: "0:0:0:0:0:0:0:1", expect: true },
  { listener: "::1", address: "::", expect: true },
  // One on everything
  { listener: "0.0.0.0", address: "127.0.0.1", expect: true },
  { listener: "0.0.0.0", address: "127.0.0.9", expect: true },
  { listener: "0.0.0.0", address: "0.0.0.0", expect: true },
  { listener: "0.0.0.0", address: "192.0.2.2", expect: true },
  { listener: "0.0.0.0", address: "::ffff:192.0.2.2", expect: true },
  { listener: "0.0.0.0", address: "192.0.2.3", expect: false },
  { listener: "0.0.0.0", address: "192.0.2.2", port: 443, expect: false },
  { listener: "::", address: "127.0.0.1", expect: true },
  { listener: "::", address: "::1", expect: true },
  { listener: "::", address: "FD00:0::2", expect: true },
  { listener: "::", address: "fe80::1%eth0", expect: true },
  { listener: "::", address: "192.0.2.2", expect: true },
  { listener: "::", address: "2001:db8::1", expect: false },
  // One on the gateway of a network
  { listener: "10.88.0.1", address: "10.88.0.1", expect: true },
  { listener: "::ffff:10.88.0.1", address: "10.88.0.1", expect: true },
  { listener: "10.88.0.1", address: "10.88.0.2", expect: false },
  // A unix socket
  { listener: "/run/moat/s", address: "127.0.0.1", expect: false },
];

function make(listeners: ListenAddress[]): OwnAddresses {
  return new OwnAddresses({
    listeners: () => listeners,
    interfaces: () => ["192.0.2.2", "fd00::2", "fe80::1"],
    clock: new FakeClock(),
  });
}

for (const { listener, address, port = PORT, expect } of ROWS) {
  Deno.test(`has() is ${expect} for ${address} port ${port} with a listener on ${listener}`, () => {
    const own = make([{ hostname: listener, port: PORT }]);
    assert.equal(own.has(address, port), expect);
  });
}

Deno.test("has() knows ports of listeners on loopback", () => {
  const ports = new Set([40_000]);
  const own = new OwnAddresses({
    listeners: () => [],
    loopbackPorts: () => ports,
    clock: new FakeClock(),
  });
  assert.deepEqual(
    ["127.0.0.1", "::ffff:127.0.0.1", "192.0.2.2"].map((address) =>
      own.has(address, 40_000)
    ),
    [true, true, false],
  );
});

Deno.test("has() sees a listener that came later", () => {
  const listeners: ListenAddress[] = [];
  const own = make(listeners);
  const before = own.has("10.88.0.1", PORT);
  listeners.push({ hostname: "10.88.0.1", port: PORT });
  assert.deepEqual([before, own.has("10.88.0.1", PORT)], [false, true]);
});

Deno.test("has() asks for interfaces again after 10 s", async () => {
  const clock = new FakeClock();
  const interfaces: string[] = [];
  const own = new OwnAddresses({
    listeners: () => [{ hostname: "0.0.0.0", port: PORT }],
    interfaces: () => [...interfaces],
    clock,
  });
  const seen = [own.has("10.89.0.1", PORT)];
  interfaces.push("10.89.0.1");
  await clock.advance(9_999);
  seen.push(own.has("10.89.0.1", PORT));
  await clock.advance(1);
  seen.push(own.has("10.89.0.1", PORT));
  assert.deepEqual(seen, [false, false, true]);
});

Deno.test("has() knows the addresses of this host", () => {
  const own = new OwnAddresses({
    listeners: () => [{ hostname: "::", port: PORT }],
    clock: new FakeClock(),
  });
  const addresses = Deno.networkInterfaces().map(({ address }) => address);
  assert.deepEqual(addresses.filter((a) => !own.has(a, PORT)), []);
});
