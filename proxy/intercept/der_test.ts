import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
// @ts-types="../../tests/support/node_forge.d.ts"
import forge from "node-forge";
import { testUnless } from "../../tests/support/conditional.ts";
import { which } from "../../tests/support/run.ts";
import {
  bitString,
  type Bytes,
  ecdsaSignature,
  element,
  integer,
  octetString,
  oid,
  pem,
  sequence,
  setOfOne,
  tagged,
  time,
  TRUE,
  utf8String,
} from "./der.ts";

const noOpenssl = which("openssl") ? undefined : "not installed: openssl";
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));

/** Parsed by another implementation. */
function parse(der: Uint8Array) {
  return forge.asn1.fromDer(Buffer.from(der).toString("binary"));
}

const VECTORS: [name: string, found: Bytes, wanted: string][] = [
  ["integer() of nothing is 0", integer(unhex("")), "020100"],
  ["integer() of zeros is 0", integer(unhex("0000")), "020100"],
  ["integer() keeps 7f", integer(unhex("7f")), "02017f"],
  ["integer() keeps 80 positive", integer(unhex("80")), "02020080"],
  ["integer() drops leading zeros", integer(unhex("00000100")), "02020100"],
  ["oid() of two arcs", oid("2.5"), "060155"],
  ["oid() of a long arc", oid("1.2.840.10045.4.3.2"), "06082a8648ce3d040302"],
  ["oid() of arc 127 and 128", oid("2.5.127.128"), "0604557f8100"],
  ["oid() of a large second arc", oid("2.999.3"), "0603883703"],
  ["TRUE is ff", TRUE, "0101ff"],
  ["utf8String() is UTF-8", utf8String("é"), "0c02c3a9"],
  ["octetString() wraps", octetString(unhex("ab")), "0401ab"],
  ["bitString() has no unused bits", bitString(unhex("ab")), "030200ab"],
  ["bitString() tells unused bits", bitString(unhex("06"), 1), "03020106"],
  ["sequence() of nothing", sequence(), "3000"],
  ["sequence() joins", sequence(TRUE, TRUE), "30060101ff0101ff"],
  ["setOfOne() wraps", setOfOne(TRUE), "31030101ff"],
  ["tagged() is constructed", tagged(3, [TRUE]), "a3030101ff"],
  ["tagged() may be primitive", tagged(2, [unhex("61")], false), "820161"],
  [
    "time() is UTCTime in 2049",
    time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)),
    "170d" + hex(Buffer.from("491231235959Z")),
  ],
  [
    "time() is GeneralizedTime from 2050",
    time(Date.UTC(2050, 0, 1)),
    "180f" + hex(Buffer.from("20500101000000Z")),
  ],
  [
    "ecdsaSignature() has both halves as positive integers",
    ecdsaSignature(unhex("0001" + "ff02")),
    "3008020101020300ff02",
  ],
];
for (const [name, found, wanted] of VECTORS) {
  Deno.test(name, () => assert.equal(hex(found), wanted));
}

const LENGTHS: [length: number, octets: string][] = [
  [0, "00"],
  [127, "7f"],
  [128, "8180"],
  [255, "81ff"],
  [256, "820100"],
  [65535, "82ffff"],
  [65536, "83010000"],
];
for (const [length, octets] of LENGTHS) {
  Deno.test(`element() writes the length ${length} as ${octets}`, () => {
    const der = element(0x04, new Uint8Array(length));
    assert.equal(hex(der.subarray(1, der.length - length)), octets);
  });
}

Deno.test("element() is read back by another implementation, whatever its length", () => {
  fc.assert(fc.property(
    fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 65_400, max: 65_700 }),
    ),
    fc.integer({ min: 0, max: 255 }),
    (length, octet) => {
      const content = new Uint8Array(length).fill(octet);
      const { value } = parse(element(0x04, content));
      assert.equal(value, Buffer.from(content).toString("binary"));
    },
  ));
});

Deno.test("integer() is read back by another implementation, in its shortest form", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (magnitude) => {
      const digits = Buffer.from(parse(integer(magnitude)).value, "binary");
      const found = BigInt("0x" + digits.toString("hex"));
      const wanted = BigInt("0x0" + hex(magnitude));
      const isShortest = digits.length === 1 || digits[0] !== 0 ||
        (digits[1] ?? 0) >= 0x80;
      assert.deepEqual(
        [found, isShortest, (digits[0] ?? 0) < 0x80],
        [wanted, true, true],
      );
    }),
    { numRuns: 1000 },
  );
});

Deno.test("oid() is read back by another implementation", () => {
  const arc = fc.integer({ min: 0, max: 2 ** 31 - 1 });
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 1 }),
    fc.integer({ min: 0, max: 39 }),
    fc.array(arc, { maxLength: 8 }),
    (top, second, arcs) => {
      const dotted = [top, second, ...arcs].join(".");
      assert.equal(
        forge.asn1.derToOid(parse(oid(dotted)).value),
        dotted,
      );
    },
  ));
});

Deno.test("time() is read back by another implementation", () => {
  const date = fc.date({
    min: new Date("1950-01-01T00:00:00Z"),
    max: new Date("9999-12-31T23:59:59Z"),
    noInvalidDate: true,
  });
  fc.assert(fc.property(date, (instant) => {
    const { type, value } = parse(time(instant.getTime()));
    const read = type === forge.asn1.Type.UTCTIME
      ? forge.asn1.utcTimeToDate(value)
      : forge.asn1.generalizedTimeToDate(value);
    const seconds = (date: Date) => Math.floor(date.getTime() / 1000);
    assert.equal(seconds(read), seconds(instant));
  }));
});

testUnless(noOpenssl, "integer() is what openssl asn1parse reads", async () => {
  const numbers = fc.array(fc.bigInt({ min: 0n, max: 2n ** 2100n }), {
    minLength: 50,
    maxLength: 50,
  });
  await fc.assert(
    fc.asyncProperty(numbers, async (wanted) => {
      const der = sequence(...wanted.map((number) => {
        const digits = number.toString(16);
        return integer(unhex(digits.padStart(digits.length + 1 & ~1, "0")));
      }));
      const text = await asn1parse(der);
      const found = [...text.matchAll(/INTEGER +:([0-9A-F]+)/g)]
        .map(([, digits]) => BigInt(`0x${digits}`));
      assert.deepEqual(found, wanted);
    }),
    { numRuns: 20 },
  );
});

async function asn1parse(der: Bytes): Promise<string> {
  const child = new Deno.Command("openssl", {
    args: ["asn1parse", "-inform", "DER"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  await ReadableStream.from([der]).pipeTo(child.stdin);
  return new TextDecoder().decode((await child.output()).stdout);
}

Deno.test("pem() has lines of 64 characters", () => {
  const text = pem("THING", new Uint8Array(49));
  assert.equal(
    text,
    `-----BEGIN THING-----\n${"A".repeat(64)}\nAA==\n-----END THING-----\n`,
  );
});

Deno.test("pem() has no empty line when the last one is full", () => {
  const text = pem("THING", new Uint8Array(48));
  assert.equal(
    text,
    `-----BEGIN THING-----\n${"A".repeat(64)}\n-----END THING-----\n`,
  );
});
