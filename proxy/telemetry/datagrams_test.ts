import assert from "node:assert/strict";
import fc from "fast-check";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { DatagramCollector, pack } from "./datagrams.ts";

Deno.test("pack() makes datagrams of at most 1400 bytes, in order, of all lines", () => {
  const line = fc.string({ unit: "grapheme", maxLength: 300 })
    .map((text) => text.replaceAll("\n", "") + "\n");
  fc.assert(
    fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
      const datagrams = pack(lines);
      assert.equal(datagrams.join(""), lines.join(""));
      for (const datagram of datagrams) {
        const { length } = new TextEncoder().encode(datagram);
        assert(length <= 1400 || lines.includes(datagram));
        assert.match(datagram, /\n$/);
      }
    }),
  );
});

Deno.test("DatagramCollector fails for a name that there is not", async () => {
  const to = { hostname: "nowhere.invalid", port: 8125 };
  const collector = new DatagramCollector(new FakeClock(), to);
  await assert.rejects(collector.deliver(["a\n"]));
  collector.close();
});
