/**
 * Fuzzing of host names, paths, the first message of TLS, and DER.
 *
 * @module
 */

import assert from "node:assert/strict";
import { canonicalHost, formatAuthority, parseAuthority } from "$core/host.ts";
import { normalizePath } from "$core/request_path.ts";
import {
  MAX_CLIENT_HELLO_BYTES,
  readClientHello,
} from "$proxy/intercept/client_hello.ts";
import * as der from "$proxy/intercept/der.ts";
import { readElement, readInteger, readOid, readTime } from "./der_reader.ts";
import { Random, type Target, toText } from "./engine.ts";

const utf8 = new TextDecoder();

/** UTF-8 of a text, each byte as a character, for seeds. */
function bytesOf(text: string): string {
  return toText(new TextEncoder().encode(text));
}

/** Hosts and authorities. */
const HOST: Target = {
  name: "host",
  seeds: [
    ...["api.example.com", "API.Example.COM.", "localhost:443", "127.0.0.1:80"],
    ...[
      "[::1]:443",
      "[::ffff:127.0.0.1]",
      "0x7f.1",
      "2130706433",
      "0177.0.0.1",
    ],
    ...[
      "xn--bcher-kva.example",
      bytesOf("bücher.example"),
      bytesOf("ａ。ｂ"),
      "a_b.c",
    ],
    ...["user@host:1", "fe80::1%25eth0", "[64:ff9b::1]", "1.2.3.4.", "127.1"],
  ],
  dictionary: [
    ...[".", "..", ":", "[", "]", "@", "%", "%2e", "%00", "0x", "00", "-", "_"],
    ...[
      "xn--",
      "::",
      "::ffff:",
      ":443",
      ":0",
      ":65536",
      "255",
      "256",
      "/",
      "#",
    ],
    ...["?", "\\", " ", "\t", "\0", "localhost", "a".repeat(63), "1"],
    ...[
      bytesOf("。"),
      bytesOf("ß"),
      bytesOf("\u200d"),
      bytesOf("１"),
      bytesOf("İ"),
    ],
  ],
  run(input) {
    const text = utf8.decode(input);
    const host = canonicalHost(text);
    if (host !== undefined) {
      checkHost(host);
      assert.doesNotMatch(text, /[\0-\x20%*/?#@\\\x7f]/);
    }
    const authority = parseAuthority(text, 443);
    if (authority !== undefined) {
      checkHost(authority.host);
      const { port } = authority;
      assert(Number.isInteger(port) && port >= 1 && port <= 65535);
      assert.deepEqual(parseAuthority(formatAuthority(authority)), authority);
      assert.deepEqual(
        parseAuthority(formatAuthority(authority, 443), 443),
        authority,
      );
    }
    return `${shapeOf(host)} ${shapeOf(authority?.host)}`;
  },
};

function checkHost(host: string): void {
  assert.equal(canonicalHost(host), host);
  assert.match(host, /^(?:[a-z0-9_.-]+|[0-9a-f:]+)$/);
  const name = host.includes(":") ? `[${host}]` : host;
  assert.equal(new URL(`http://${name}/`).hostname, name);
  assert(!host.endsWith("."));
}

function shapeOf(host: string | undefined): string {
  return host?.replace(/[a-z]+/g, "a").replace(/[0-9]+/g, "0").slice(0, 12) ??
    "none";
}

/** Paths. */
const PATH: Target = {
  name: "path",
  seeds: [
    ...["/", "/a/b/c?d=e", "/a/../b", "/a/./b/%2e%2E/c", "/a%2fb", "/a%252Fb"],
    ...["//a///b", "/a;x=y/b", "/%7Euser/%41", "/a?b=/../c", "*", "/..;/a"],
    ...["/%c0%ae%c0%ae/", "/a%5cb", '/a|b"c<d>{e}^`', "/%E4%BD%A0"],
  ],
  dictionary: [
    ...["/", "//", "/.", "/..", "/../", "/./", "..", ".", ";", "?", "#", "*"],
    ...["%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%25", "%252e", "%00", "%"],
    ...["%c0%af", "%e0%80%af", "%3f", "%23", "%3b", "%41", "%7e", "\x80", " "],
  ],
  run(input) {
    const text = toText(input);
    const path = normalizePath(text);
    if (path === undefined) return "refused";
    const { target, readings } = path;
    if (text === "*") return "*";
    assert.match(target, /^\/[!-~]*$/);
    assert.equal(queryOf(target), queryOf(text));
    assert(readings.length > 0);
    for (const reading of readings) checkReading(reading);
    const again = normalizePath(target);
    assert.equal(again?.target, target);
    assert.deepEqual(new Set(again?.readings), new Set(readings));
    const forwarded = target.slice(0, target.length - queryOf(target).length);
    // What clients and servers with a URL parser see is what is forwarded.
    const { pathname } = new URL(`http://host${forwarded}`);
    assert.equal(unescapeAll(pathname), unescapeAll(forwarded));
    return `${readings.length} ${forwarded.split("/").length}`;
  },
};

function queryOf(target: string): string {
  const at = target.indexOf("?");
  return at === -1 ? "" : target.slice(at);
}

function checkReading(reading: string): void {
  assert(reading.startsWith("/"), "a reading is no path");
  assert.doesNotMatch(reading, /\/\.\.?(?:\/|$)/);
  assert(!reading.includes("\0"), "a reading has a NUL");
}

/** Escapes of what URL parsers escape on their own are as good as none. */
function unescapeAll(path: string): string {
  return path.replace(
    /%(22|3C|3E|5E|60|7B|7C|7D)/gi,
    (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)),
  );
}

/** A number of one to three bytes. */
function uint(value: number, width: number): number[] {
  return Array.from(
    { length: width },
    (_, i) => value >>> 8 * (width - 1 - i) & 255,
  );
}

function vector(width: number, content: readonly number[]): number[] {
  return [...uint(content.length, width), ...content];
}

function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

function extension(type: number, content: readonly number[]): number[] {
  return [...uint(type, 2), ...vector(2, content)];
}

const SERVER_NAME = extension(
  0,
  vector(2, [0, ...vector(2, ascii("api.example.com"))]),
);
const PROTOCOLS = extension(
  16,
  vector(2, [...vector(1, ascii("h2")), ...vector(1, ascii("http/1.1"))]),
);
const VERSIONS = extension(43, vector(1, [3, 4, 3, 3]));
const MODES = extension(45, vector(1, [1]));

/** A ClientHello, in one record or several. */
function hello(
  recordBytes: number,
  ...extensions: readonly number[][]
): string {
  const body = [
    ...[3, 3, ...new Array(32).fill(7)],
    ...vector(1, []),
    ...vector(2, [0x13, 1, 0x13, 2]),
    ...vector(1, [0]),
    ...extensions.length > 0 ? vector(2, extensions.flat()) : [],
  ];
  const message = [1, ...vector(3, body)];
  const records: number[] = [];
  for (let at = 0; at < message.length; at += recordBytes) {
    const part = message.slice(at, at + recordBytes);
    records.push(22, 3, 1, ...vector(2, part));
  }
  return toText(Uint8Array.from(records));
}

/** The first message of a TLS client. */
const CLIENT_HELLO: Target = {
  name: "client-hello",
  seeds: [
    hello(16384, SERVER_NAME, PROTOCOLS, VERSIONS, MODES),
    hello(40, SERVER_NAME, VERSIONS),
    hello(1, MODES),
    hello(16384),
    "GET / HTTP/1.1\r\n",
    "\x15\x03\x01\x00\x02\x02\x28",
  ],
  dictionary: [
    ...[SERVER_NAME, PROTOCOLS, VERSIONS, MODES].map((bytes) =>
      toText(Uint8Array.from(bytes))
    ),
    ...[
      "\x16\x03\x01",
      "\x16\x03\x03\0\x01",
      "\0\0",
      "\xff\xff",
      "\0\x10",
      "\x01",
    ],
  ],
  run(input) {
    const found = readClientHello(input);
    const random = Random.of(input);
    if (random.below(8) === 0) {
      const begun = readClientHello(
        input.subarray(0, random.below(input.length + 1)),
      );
      if (begun !== "incomplete") assert.deepEqual(begun, found);
    }
    if (typeof found === "string") return found;
    assert(input.length > 40 && input.length < MAX_CLIENT_HELLO_BYTES);
    if (found.serverName !== undefined) {
      assert.match(found.serverName, /^[!-~]+$/);
    }
    assert(!found.alpn.includes(""));
    return `hello ${Object.values(found).map(String).join(" ").slice(0, 40)}`;
  },
};

/** DER: the bytes say what is written; an independent reader reads it back. */
const DER: Target = {
  name: "der",
  seeds: [
    "\x00\x05hello",
    "\x01\x03\x80\x00\x01\x02\x04\x01\x02\x03\x04",
    "\x05\x02\x00\x01\x00\x00",
    "\x06\x06\x7f\xff\xff\xff\xff\x01",
    "\x03\xff" + "x".repeat(255),
    "\x04\x40" + "\x80".repeat(64),
  ],
  dictionary: [
    "\x00",
    "\x7f",
    "\x80",
    "\xff",
    "\0\0\0",
    "\x01\x00",
    "\x80\x00",
  ],
  run(input) {
    let shapes = "";
    const elements: Uint8Array[] = [];
    for (let at = 0; at + 2 <= input.length;) {
      const size = input[at + 1]!;
      const content = input.slice(at + 2, at + 2 + size);
      const kind = input[at]! % DER_KINDS.length;
      const element = DER_KINDS[kind]!(content);
      shapes += kind;
      elements.push(element);
      at += 2 + size;
    }
    const outer = der.tagged(input.length % 31, [der.sequence(...elements)]);
    const tagged = readElement(outer, 0, outer.length);
    const sequence = readElement(outer, tagged.start, tagged.end);
    assert.equal(tagged.tag, 0xa0 | input.length % 31);
    assert.equal(sequence.tag, 0x30);
    let at = sequence.start;
    for (const element of elements) {
      const { end } = readElement(outer, at, sequence.end);
      assert.deepEqual(outer.slice(at, end), element);
      at = end;
    }
    assert.equal(at, sequence.end);
    return `${shapes.slice(0, 3)} ${uint(outer.length, 3).findIndex(Boolean)}`;
  },
};

type Bytes = Uint8Array<ArrayBuffer>;

/** Each writes one element of some content, and checks it. */
const DER_KINDS: readonly ((content: Bytes) => Bytes)[] = [
  (content) => checkContent(der.octetString(content), 0x04, content),
  (content) => {
    const element = der.integer(content);
    assert.equal(readInteger(element), BigInt(`0x0${content.toHex()}`));
    return element;
  },
  (content) => {
    const raw = content.subarray(0, content.length & ~1);
    const half = raw.length / 2;
    const element = der.ecdsaSignature(raw);
    const { start, end } = readElement(element, 0, element.length);
    const r = readElement(element, start, end);
    assert.equal(
      readInteger(element.slice(start, r.end)),
      BigInt(`0x0${raw.subarray(0, half).toHex()}`),
    );
    assert.equal(
      readInteger(element.slice(r.end, end)),
      BigInt(`0x0${raw.subarray(half).toHex()}`),
    );
    return element;
  },
  (content) => {
    const arcs = [content.length % 3, (content[0] ?? 0) % 40];
    for (let at = 1; at < content.length; at += 4) {
      arcs.push(content.subarray(at, at + 4).reduce((n, b) => n * 256 + b, 0));
    }
    const element = der.oid(arcs.join("."));
    assert.equal(readOid(element), arcs.join("."));
    return element;
  },
  (content) => {
    const unused = content.length > 0 ? content.length % 8 : 0;
    const wanted = Uint8Array.of(unused, ...content);
    return checkContent(der.bitString(content, unused), 0x03, wanted);
  },
  (content) => {
    // From 1950 to 9999.
    const number = content.reduce((n, b) => (n * 256 + b) % 8050 / 1, 0);
    const ms = Date.UTC(1950, 0, 1) + number * 31_556_952 * 1000 +
      (content[0] ?? 0) * 1000;
    const element = der.time(ms);
    assert.equal(readTime(element), Math.floor(ms / 1000) * 1000);
    return element;
  },
  (content) => {
    const text = utf8.decode(content);
    return checkContent(
      der.utf8String(text),
      0x0c,
      new TextEncoder().encode(text),
    );
  },
];

function checkContent(element: Bytes, tag: number, content: Uint8Array): Bytes {
  const read = readElement(element, 0, element.length);
  assert.equal(read.tag, tag);
  assert.deepEqual(element.slice(read.start, read.end), content);
  assert.equal(read.end, element.length);
  return element;
}

/** All of them. */
export const OTHER_TARGETS: readonly Target[] = [HOST, PATH, CLIENT_HELLO, DER];
