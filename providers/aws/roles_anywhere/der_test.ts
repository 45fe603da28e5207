import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Bytes,
  ecdsaToDer,
  readAll,
  readDer,
  readSequence,
  TAG,
  toDecimal,
} from "./der.ts";

const bytes = (options: fc.IntArrayConstraints) =>
  fc.uint8Array(options) as fc.Arbitrary<Bytes>;

/** As the standard defines a number; independent of `toDecimal`. */
function number(content: Uint8Array): bigint {
  return content.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

const FIELD_BYTES = { "P-256": 32, "P-384": 48, "P-521": 66 };

for (const [curve, size] of Object.entries(FIELD_BYTES)) {
  Deno.test(`ecdsaToDer() keeps both numbers of ${curve}, in the shortest form`, () => {
    const half = bytes({ minLength: size, maxLength: size });
    fc.assert(fc.property(half, half, (r, s) => {
      const der = ecdsaToDer(Uint8Array.from([...r, ...s]));
      assert.equal(readDer(der).raw.length, der.length);
      const integers = readSequence(readDer(der));
      assert.deepEqual(integers.map(({ tag }) => tag), [2, 2]);
      const [first, second] = integers.map(({ content }) => content);
      assert.equal(number(first ?? new Uint8Array()), number(r));
      assert.equal(number(second ?? new Uint8Array()), number(s));
      for (const { content: [one = 0, two] } of integers) {
        assert.ok(one < 0x80, "negative");
        assert.ok(one !== 0 || two === undefined || two >= 0x80, "padded");
      }
    }));
  });
}

const EDGES: [name: string, half: number[], integer: number[]][] = [
  ["zero", [0, 0], [2, 1, 0]],
  ["the highest bit", [0x80, 0], [2, 3, 0, 0x80, 0]],
  ["leading zeros", [0, 0x7f], [2, 1, 0x7f]],
  ["a leading zero before the highest bit", [0, 0x80], [2, 2, 0, 0x80]],
];
for (const [name, half, integer] of EDGES) {
  Deno.test(`ecdsaToDer() writes ${name}`, () => {
    const der = ecdsaToDer(Uint8Array.from([...half, ...half]));
    assert.deepEqual([...der.subarray(2)], [...integer, ...integer]);
  });
}

Deno.test("ecdsaToDer() writes a length above 127 in two bytes", () => {
  const der = ecdsaToDer(new Uint8Array(132).fill(0xff));
  assert.deepEqual([...der.subarray(0, 3)], [0x30, 0x81, 138]);
});

Deno.test("toDecimal() is the unsigned value, whatever the highest bit", () => {
  fc.assert(fc.property(bytes({ maxLength: 21 }), (content) => {
    assert.equal(toDecimal(content), number(content).toString());
  }));
});

Deno.test("toDecimal() does not count a leading zero", () => {
  fc.assert(fc.property(bytes({ maxLength: 21 }), (content) => {
    const padded = Uint8Array.from([0, ...content]);
    assert.equal(toDecimal(padded), toDecimal(content));
  }));
});

Deno.test("readDer() reads lengths of one to four bytes", () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 127, 128, 255, 256, 70_000), (n) => {
      const size = n < 128
        ? [n]
        : n < 256
        ? [0x81, n]
        : n < 65_536
        ? [0x82, n >> 8, n & 255]
        : [0x83, n >> 16, (n >> 8) & 255, n & 255];
      const der = Uint8Array.from([4, ...size, ...new Uint8Array(n), 7, 7]);
      const element = readDer(der);
      assert.equal(element.content.length, n);
      assert.equal(element.raw.length, der.length - 2);
    }),
  );
});

Deno.test("readDer() refuses every cut", () => {
  const whole = bytes({ minLength: 1, maxLength: 300 }).map((content) =>
    ecdsaToDer(
      Uint8Array.from([
        1,
        ...content.subarray(0, 65),
        1,
        ...content.subarray(0, 65),
      ]),
    )
  );
  fc.assert(fc.property(whole, fc.nat(), (der, at) => {
    assert.throws(() => readDer(der.subarray(0, at % der.length)), SyntaxError);
  }));
});

const MALFORMED: [name: string, bytes: number[]][] = [
  ["nothing", []],
  ["an indefinite length", [0x30, 0x80, 0, 0]],
  ["a length of four bytes", [0x30, 0x84, 0, 0, 0, 0]],
  ["a tag of several bytes", [0x1f, 0x81, 1, 0]],
];
for (const [name, der] of MALFORMED) {
  Deno.test(`readDer() refuses ${name}`, () => {
    assert.throws(() => readDer(Uint8Array.from(der)), SyntaxError);
  });
}

Deno.test("readAll() never loops on any bytes", () => {
  fc.assert(fc.property(bytes({ maxLength: 60 }), (content) => {
    try {
      const elements = readAll(content);
      const size = elements.reduce((sum, { raw }) => sum + raw.length, 0);
      assert.equal(size, content.length);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

Deno.test("readSequence() refuses another element", () => {
  const set = readDer(Uint8Array.from([0x31, 0]));
  assert.notEqual(set.tag, TAG.sequence);
  assert.throws(() => readSequence(set), SyntaxError);
});
