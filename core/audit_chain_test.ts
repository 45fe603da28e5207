import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type AuditEvent,
  canonicalJson,
  chainEvent,
  formatEvent,
  GENESIS,
  hashEvent,
  jsonFields,
  parseEvent,
} from "./audit_chain.ts";
import type { Json, JsonObject } from "./grant.ts";
import { Secret } from "./secret.ts";

const NOW = Date.UTC(2026, 0, 1);
const FIELDS = { b: "grün", a: [1, true, null] };
const EVENT = chainEvent(GENESIS, NOW, "grant-made", FIELDS);

const encode = (text: string) => new TextEncoder().encode(text);
const lineOf = (event: AuditEvent) => encode(formatEvent(event).trimEnd());

/** The same JSON with the members of every object in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).reverse().map(([key, v]) => [key, reversed(v)]),
  );
}

const fields = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue())
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)));

Deno.test("hashEvent() gives the digest that another implementation gives", () => {
  // Python: hashlib and struct.pack(">Q", length) over the six parts.
  assert.equal(
    EVENT.hash,
    "cc179f30c96e02af9499bcc2f87b35834dec7abf9d444d881c8cc18e69dc7c18",
  );
});

Deno.test("formatEvent() writes one line of sorted JSON", () => {
  assert.equal(
    formatEvent(EVENT),
    '{"event":"grant-made","fields":{"a":[1,true,null],"b":"grün"},' +
      `"hash":"${EVENT.hash}","previous":"${GENESIS.hash}","seq":1,` +
      '"time":"2026-01-01T00:00:00.000Z"}\n',
  );
});

Deno.test("chainEvent() counts on and names the event before", () => {
  const next = chainEvent(EVENT, NOW, "grant-revoked", {});
  assert.deepEqual([next.seq, next.previous], [2, EVENT.hash]);
});

const MOVED: [string, Partial<AuditEvent>, Partial<AuditEvent>][] = [
  ["seq and time", { seq: 1, time: "23" }, { seq: 12, time: "3" }],
  ["time and event", { time: "12", event: "3" }, { time: "1", event: "23" }],
  ["event and previous", { event: "a", previous: "b" }, {
    event: "b",
    previous: "a",
  }],
];
for (const [name, one, other] of MOVED) {
  Deno.test(`hashEvent() tells where a part ends: ${name}`, () => {
    const hashes = [one, other].map((part) => hashEvent({ ...EVENT, ...part }));
    assert.notEqual(hashes[0], hashes[1]);
  });
}

Deno.test("hashEvent() survives any JSON round trip", () => {
  fc.assert(fc.property(fields, (fields) => {
    const event = chainEvent(GENESIS, NOW, "tested", fields);
    const back = reversed(JSON.parse(JSON.stringify(event))) as AuditEvent;
    assert.equal(hashEvent(back), event.hash);
  }));
});

Deno.test("parseEvent() reads what formatEvent() writes", () => {
  fc.assert(fc.property(fields, (fields) => {
    const event = chainEvent(GENESIS, NOW, "tested", fields);
    assert.deepEqual(parseEvent(lineOf(event)), event);
  }));
});

Deno.test("parseEvent() refuses a line with any one byte changed", () => {
  const line = lineOf(EVENT);
  for (let at = 0; at < line.length; at++) {
    for (const bit of [1 << (at % 8), 0x20]) {
      const flipped = line.slice();
      flipped[at]! ^= bit;
      assert.equal(parseEvent(flipped), undefined, `byte ${at}`);
    }
  }
});

const line = formatEvent(EVENT).trimEnd();
const REFUSED: Record<string, string> = {
  "a space more": line.replace(",", ", "),
  "a member twice": line.replace("{", '{"event":"grant-made",'),
  "an unknown member": line.replace("{", '{"a":1,'),
  "nothing": "",
  "half a line": line.slice(0, 50),
  "a byte order mark": "\ufeff" + line,
};
for (const [name, text] of Object.entries(REFUSED)) {
  Deno.test(`parseEvent() refuses ${name}`, () => {
    assert.equal(parseEvent(encode(text)), undefined);
  });
}

Deno.test("jsonFields() redacts secrets, however deep", () => {
  const fields = { list: [{ token: new Secret("canary") }] };
  assert.deepEqual(jsonFields("tested", fields), {
    list: [{ token: "[redacted]" }],
  });
});

Deno.test("jsonFields() copies", () => {
  const fields = { list: [1] };
  const copy = jsonFields("tested", fields);
  fields.list.push(2);
  assert.deepEqual(copy, { list: [1] });
});

for (
  const name of [
    "",
    "Tested",
    "two words",
    "snake_case",
    "-a",
    "a-",
    "audit-torn",
  ]
) {
  Deno.test(`jsonFields() refuses "${name}" as the name of an event`, () => {
    assert.throws(() => jsonFields(name, {}), TypeError);
  });
}

const CANONICAL: [Json, string][] = [
  [{ b: 1, a: { d: 2, c: 3 } }, '{"a":{"c":3,"d":2},"b":1}'],
  [[{ b: 1, a: 2 }], '[{"a":2,"b":1}]'],
  // RFC 8785 section 3.2.3: by UTF-16 units, so a surrogate before U+FB33.
  [{ "\ufb33": 1, "\u{1f600}": 2 }, '{"\u{1f600}":2,"\ufb33":1}'],
  [JSON.parse('{"__proto__":1}'), '{"__proto__":1}'],
  [1e21, "1e+21"],
];
for (const [value, text] of CANONICAL) {
  Deno.test(`canonicalJson() writes ${text}`, () => {
    assert.equal(canonicalJson(value), text);
  });
}
