import assert from "node:assert/strict";
import { isLoopback, isUnspecified, unmapAddress } from "./addresses.ts";

const ADDRESSES: { address: string; kind: "loopback" | "any" | "other" }[] = [
  { address: "127.0.0.1", kind: "loopback" },
  { address: "127.255.0.3", kind: "loopback" },
  { address: "::1", kind: "loopback" },
  { address: "::ffff:127.0.0.1", kind: "loopback" },
  { address: "0.0.0.0", kind: "any" },
  { address: "::", kind: "any" },
  { address: "::0", kind: "any" },
  { address: "0:0:0:0:0:0:0:0", kind: "any" },
  { address: "::0.0.0.0", kind: "any" },
  { address: "::ffff:0.0.0.0", kind: "any" },
  { address: "::FFFF:0:0", kind: "any" },
  { address: "172.17.0.1", kind: "other" },
  { address: "10.0.0.0", kind: "other" },
  { address: "0.0.0.1", kind: "other" },
  { address: "fd00:ec2::23", kind: "other" },
  { address: "1::", kind: "other" },
  { address: "::ffff:10.0.0.1", kind: "other" },
];

for (const { address, kind } of ADDRESSES) {
  Deno.test(`isLoopback() and isUnspecified() tell that ${address} is ${kind}`, () => {
    assert.deepEqual(
      [isLoopback(address), isUnspecified(address)],
      [kind === "loopback", kind === "any"],
    );
  });
}

const MAPPED: { address: string; expect: string }[] = [
  { address: "::ffff:10.0.0.1", expect: "10.0.0.1" },
  { address: "::FFFF:10.0.0.1", expect: "10.0.0.1" },
  { address: "10.0.0.1", expect: "10.0.0.1" },
  { address: "::1", expect: "::1" },
  { address: "::ffff:a00:1", expect: "::ffff:a00:1" },
  { address: "", expect: "" },
];

for (const { address, expect } of MAPPED) {
  Deno.test(`unmapAddress() makes "${expect}" of "${address}"`, () => {
    assert.equal(unmapAddress(address), expect);
  });
}
