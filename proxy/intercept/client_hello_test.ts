import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type ClientHello,
  MAX_CLIENT_HELLO_BYTES,
  readClientHello,
} from "./client_hello.ts";

/** What a real client sent, and what it means. */
interface Vector {
  readonly comment: string;
  /** Base64. */
  readonly bytes: string;
  readonly expect: ClientHello;
}

const VECTORS = new URL("../../tests/testdata/client_hello/", import.meta.url);
const REAL: Vector[] = [...Deno.readDirSync(VECTORS)].map(({ name }) =>
  JSON.parse(Deno.readTextFileSync(new URL(name, VECTORS)))
);

for (const { comment, bytes, expect } of REAL) {
  Deno.test(`readClientHello() reads that of ${comment}`, () =>
    assert.deepEqual(readClientHello(fromBase64(bytes)), expect));
}

Deno.test("readClientHello() knows post-quantum hellos longer than 1 KiB", () =>
  assert(REAL.some(({ bytes }) => fromBase64(bytes).length > 1024)));

Deno.test("readClientHello() takes each begin of a hello as incomplete", () => {
  for (const { bytes } of REAL) {
    const whole = fromBase64(bytes);
    for (let length = 0; length < whole.length; length++) {
      assert.equal(readClientHello(whole.subarray(0, length)), "incomplete");
    }
  }
});

Deno.test("readClientHello() ignores how records divide a hello", () =>
  fc.assert(fc.property(
    fc.constantFrom(...REAL),
    fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1 }),
    ({ bytes, expect }, sizes) => {
      const message = fromBase64(bytes).subarray(5);
      assert.deepEqual(readClientHello(divide(message, sizes)), expect);
    },
  )));

Deno.test("readClientHello() ignores what follows a hello", () => {
  const { bytes, expect } = REAL[0] as Vector;
  const followed = join(fromBase64(bytes), [23, 3, 3, 0, 1, 0]);
  assert.deepEqual(readClientHello(followed), expect);
});

Deno.test("readClientHello() answers any bytes", () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const hello = readClientHello(bytes);
      return typeof hello === "string" || Array.isArray(hello.alpn);
    }),
    { numRuns: 2_000 },
  ));

Deno.test("readClientHello() answers any hello with changed bytes", () =>
  fc.assert(
    fc.property(
      fc.constantFrom(...REAL),
      fc.array(fc.tuple(fc.nat(2_000), fc.integer({ min: 0, max: 255 }))),
      ({ bytes }, changes) => {
        const changed = fromBase64(bytes);
        for (const [at, byte] of changes) changed[at] = byte;
        const hello = readClientHello(changed);
        return typeof hello === "string" || Array.isArray(hello.alpn);
      },
    ),
    { numRuns: 2_000 },
  ));

Deno.test("readClientHello() gives up at 16 KiB", () => {
  const huge = divide(Uint8Array.of(1, 0, 0x3f, 0xf0, 3, 3), [1]);
  const padding = divide(new Uint8Array(MAX_CLIENT_HELLO_BYTES), [1]);
  const bytes = join(huge, padding).subarray(0, MAX_CLIENT_HELLO_BYTES);
  assert.deepEqual(
    [readClientHello(bytes.subarray(0, -1)), readClientHello(bytes)],
    ["incomplete", "not-tls"],
  );
});

Deno.test("readClientHello() reads the parts that matter", () =>
  assert.deepEqual(
    readClientHello(hello([
      ...serverName("a.example"),
      ...extension(16, [0, 3, 2, 104, 50]),
      ...extension(43, [4, 3, 4, 3, 3]),
      ...extension(45, [1, 1]),
    ])),
    {
      serverName: "a.example",
      offersTls13: true,
      pskKeyExchangeModes: true,
      alpn: ["h2"],
    },
  ));

const NOTHING = { offersTls13: false, pskKeyExchangeModes: false, alpn: [] };

const READ: { name: string; extensions: number[]; expect: unknown }[] = [
  { name: "no extension", extensions: [], expect: NOTHING },
  {
    name: "psk_ke alone, to which no ticket is sent",
    extensions: extension(45, [1, 0]),
    expect: NOTHING,
  },
  {
    name: "GREASE among protocols (RFC 8701)",
    extensions: extension(16, [0, 6, 2, 10, 10, 2, 104, 50]),
    expect: { ...NOTHING, alpn: ["\n\n", "h2"] },
  },
  {
    name: "a name of another kind",
    extensions: extension(0, [0, 4, 9, 0, 1, 97]),
    expect: NOTHING,
  },
];
for (const { name, extensions, expect } of READ) {
  Deno.test(`readClientHello() reads ${name}`, () =>
    assert.deepEqual(readClientHello(hello(extensions)), expect));
}

Deno.test("readClientHello() reads a hello that ends before extensions", () =>
  assert.deepEqual(readClientHello(record(message([]))), NOTHING));

const REFUSED: { name: string; bytes: Uint8Array }[] = [
  { name: "HTTP", bytes: new TextEncoder().encode("G") },
  { name: "SSL 2.0", bytes: Uint8Array.of(0x80) },
  { name: "another major version", bytes: Uint8Array.of(22, 2) },
  { name: "an empty record", bytes: Uint8Array.of(22, 3, 1, 0, 0) },
  { name: "an overlong record", bytes: Uint8Array.of(22, 3, 1, 0x40, 1) },
  { name: "a ServerHello", bytes: Uint8Array.of(22, 3, 1, 0, 9, 2) },
  {
    name: "a message of 64 KiB",
    bytes: Uint8Array.of(22, 3, 1, 0, 9, 1, 1, 0, 0),
  },
  {
    name: "something behind the hello in its record",
    bytes: record([...message([]), 0]),
  },
  { name: "a message that is too short", bytes: record([1, 0, 0, 2, 3, 3]) },
  {
    name: "SSL 2 inside",
    bytes: record(message([]).with(4, 2)),
  },
  { name: "no cipher suite", bytes: record(message([], [])) },
  { name: "half a cipher suite", bytes: record(message([], [1])) },
  {
    name: "bytes behind the extensions",
    bytes: record(message([0, 0, 9])),
  },
  {
    name: "extensions cut short",
    bytes: record(message([0, 4, 0, 45])),
  },
  {
    name: "an extension twice (RFC 8446 section 4.2)",
    bytes: hello([...extension(45, [1, 1]), ...extension(45, [1, 1])]),
  },
  {
    name: "two names (RFC 6066 section 3)",
    bytes: hello(extension(0, [0, 8, 0, 0, 1, 97, 0, 0, 1, 98])),
  },
  { name: "an empty name", bytes: hello(extension(0, [0, 3, 0, 0, 0])) },
  { name: "an empty list of names", bytes: hello(extension(0, [0, 0])) },
  { name: "a name with a blank", bytes: hello(serverName("a b")) },
  { name: "a name with NUL", bytes: hello(serverName("a\0b")) },
  { name: "a name beyond ASCII", bytes: hello(serverName("\xe9")) },
  { name: "an empty protocol", bytes: hello(extension(16, [0, 1, 0])) },
  {
    name: "an odd list of versions",
    bytes: hello(extension(43, [3, 3, 4, 3])),
  },
  {
    name: "bytes behind a list",
    bytes: hello(extension(45, [1, 1, 1])),
  },
];
for (const { name, bytes } of REFUSED) {
  Deno.test(`readClientHello() refuses ${name}`, () =>
    assert.equal(readClientHello(bytes), "not-tls"));
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function join(...parts: Iterable<number>[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A record of a handshake. */
function record(content: Iterable<number>): Uint8Array {
  const bytes = [...content];
  return join([22, 3, 1, bytes.length >> 8, bytes.length & 255], bytes);
}

/** Puts a message into records of some sizes, over and over. */
function divide(message: Uint8Array, sizes: number[]): Uint8Array {
  const records: Uint8Array[] = [];
  for (let at = 0; at < message.length;) {
    const size = sizes[records.length % sizes.length] ?? 1;
    records.push(record(message.subarray(at, at += size)));
  }
  return join(...records);
}

/** A hello with the bytes of extensions behind its compression methods. */
function message(extensions: number[], ciphers = [0x13, 1]): number[] {
  const body = [
    ...[3, 3, ...new Uint8Array(32), 0],
    ...[0, ciphers.length, ...ciphers, 1, 0],
    ...extensions,
  ];
  return [1, 0, body.length >> 8, body.length & 255, ...body];
}

function hello(extensions: number[]): Uint8Array {
  const { length } = extensions;
  return record(message([length >> 8, length & 255, ...extensions]));
}

function extension(type: number, content: number[]): number[] {
  return [0, type, content.length >> 8, content.length & 255, ...content];
}

function serverName(name: string): number[] {
  const bytes = [...name].map((character) => character.charCodeAt(0));
  const { length } = bytes;
  return extension(0, [0, length + 3, 0, 0, length, ...bytes]);
}
