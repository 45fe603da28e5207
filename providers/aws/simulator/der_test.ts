import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DER,
  DerError,
  readBits,
  readElement,
  readElements,
  readInteger,
  readOid,
  readTime,
} from "./der.ts";

const hex = (text: string) =>
  Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (b) => parseInt(b, 16));
const element = (text: string) => readElement(hex(text));

/** Writes an element, by no code of the reader. */
function write(tag: number, content: Uint8Array): Uint8Array {
  const digits = content.length.toString(16);
  const length = hex(digits.padStart(digits.length + digits.length % 2, "0"));
  const head = content.length < 128
    ? [tag, content.length]
    : [tag, 0x80 + length.length, ...length];
  return Uint8Array.from([...head, ...content]);
}

const INTEGERS: [string, bigint][] = [
  ["020100", 0n],
  ["02017f", 127n],
  ["02020080", 128n],
  ["0201ff", -1n],
  ["020180", -128n],
  ["0209008000000000000000", 0x8000000000000000n],
];
for (const [text, value] of INTEGERS) {
  Deno.test(`readInteger() reads ${value}`, () => {
    assert.equal(readInteger(element(text)), value);
  });
}

const OIDS: [string, string][] = [
  ["0603550403", "2.5.4.3"],
  ["06092a864886f70d01010b", "1.2.840.113549.1.1.11"],
  ["06052b81040022", "1.3.132.0.34"],
  ["0603883703", "2.999.3"],
];
for (const [text, oid] of OIDS) {
  Deno.test(`readOid() reads ${oid}`, () => {
    assert.equal(readOid(element(text)), oid);
  });
}

const ascii = (tag: number, text: string) =>
  readElement(write(tag, new TextEncoder().encode(text)));
const TIMES: [number, string, string][] = [
  [DER.utcTime, "260101000000Z", "2026-01-01T00:00:00Z"],
  [DER.utcTime, "500101000000Z", "1950-01-01T00:00:00Z"],
  [DER.utcTime, "491231235959Z", "2049-12-31T23:59:59Z"],
  [DER.generalizedTime, "20500228123456Z", "2050-02-28T12:34:56Z"],
];
for (const [tag, text, iso] of TIMES) {
  Deno.test(`readTime() reads ${text}`, () => {
    assert.equal(readTime(ascii(tag, text)), Date.parse(iso));
  });
}

const BROKEN: [string, () => unknown][] = [
  ["a length of more bytes than there are", () => element("30020500ff00")],
  ["a length that needs no second byte", () => element("30810100")],
  ["a length with a leading zero", () => element("3082000100")],
  ["an indefinite length", () => element("30800000")],
  ["a tag of several bytes", () => element("1f0100")],
  ["half a head", () => element("30")],
  ["two elements instead of one", () => element("05000500")],
  ["no element", () => element("")],
  ["another tag", () => readElement(hex("0500"), DER.sequence)],
  ["an integer without bytes", () => readInteger(element("0200"))],
  ["an integer that is too long", () => readInteger(element("02020001"))],
  ["a negative one that is too long", () => readInteger(element("0202ff80"))],
  ["an integer that is absent", () => readInteger(undefined)],
  ["an OID without bytes", () => readOid(element("0600"))],
  ["an OID that breaks off", () => readOid(element("06022a86"))],
  ["an OID with a leading zero", () => readOid(element("06032a8001"))],
  ["a bit string without bytes", () => readBits(element("0300"))],
  ["eight unused bits", () => readBits(element("03020800"))],
  ["unused bits of nothing", () => readBits(element("030101"))],
  ["a time without seconds", () => readTime(ascii(0x17, "2601010000Z"))],
  ["a time with an offset", () => readTime(ascii(0x17, "260101000000+0100"))],
  ["a month 13", () => readTime(ascii(0x17, "261301000000Z"))],
  ["a short year", () => readTime(ascii(0x18, "260101000000Z"))],
  ["a time that is text", () => readTime(ascii(0x0c, "260101000000Z"))],
];
for (const [what, read] of BROKEN) {
  Deno.test(`DER refuses ${what}`, () => assert.throws(read, DerError));
}

Deno.test("readElements() reads back what was written", () => {
  const item = fc.tuple(
    fc.nat({ max: 255 }).filter((tag) => (tag & 31) !== 31),
    fc.uint8Array({ maxLength: 300 }),
  );
  fc.assert(fc.property(fc.array(item, { maxLength: 5 }), (items) => {
    const bytes = items.flatMap(([tag, content]) => [...write(tag, content)]);
    const found = readElements(Uint8Array.from(bytes));
    assert.deepEqual(
      found.map(({ tag, content }) => [tag, Uint8Array.from(content)]),
      items.map(([tag, content]) => [tag, Uint8Array.from(content)]),
    );
  }));
});

Deno.test("readElements() loses no byte, and fails only in its own way", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    try {
      const wholes = readElements(bytes).flatMap(({ whole }) => [...whole]);
      assert.deepEqual(wholes, [...bytes]);
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
    }
  }));
});

Deno.test("readInteger() reads back every number", () => {
  fc.assert(fc.property(fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }), (
    value,
  ) => {
    let size = 1;
    while (BigInt.asIntN(8 * size, value) !== value) size++;
    const digits = BigInt.asUintN(8 * size, value).toString(16);
    const content = hex(digits.padStart(2 * size, "0"));
    assert.equal(readInteger(readElement(write(DER.integer, content))), value);
  }));
});
