import assert from "node:assert/strict";
import fc from "fast-check";
import { readPem } from "./pem.ts";

const read = (text: string) => readPem(new TextEncoder().encode(text));
const BLOCK = "-----BEGIN A B-----\nAQID\n-----END A B-----\n";

const READ: [name: string, text: string, expected: [string, number[]][]][] = [
  ["nothing in text without a block", "hello\n", []],
  ["one block", BLOCK, [["A B", [1, 2, 3]]]],
  ["lines that end in CR LF", BLOCK.replaceAll("\n", "\r\n"), [[
    "A B",
    [1, 2, 3],
  ]]],
  ["lines that end in CR", BLOCK.replaceAll("\n", "\r"), [["A B", [1, 2, 3]]]],
  ["indented lines", BLOCK.replaceAll(/^/gm, "  "), [["A B", [1, 2, 3]]]],
  ["a block after a byte order mark", `\ufeff${BLOCK}`, [["A B", [1, 2, 3]]]],
  [
    "blocks with text around them",
    `Bag: x\n${BLOCK}subject=/CN=-----\n${BLOCK}end`,
    [["A B", [1, 2, 3]], ["A B", [1, 2, 3]]],
  ],
];
for (const [name, text, expected] of READ) {
  Deno.test(`readPem() reads ${name}`, () => {
    const found = read(text).map(({ label, der }) => [label, [...der]]);
    assert.deepEqual(found, expected);
  });
}

Deno.test("readPem() reads what was encoded", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    const body = bytes.toBase64().replaceAll(/.{64}/g, "$&\n");
    const [block] = read(`-----BEGIN X-----\n${body}\n-----END X-----`);
    assert.deepEqual([...block?.der ?? []], [...bytes]);
  }));
});

Deno.test("readPem() tells legacy encryption by its header", () => {
  const [block] = read(
    "-----BEGIN K-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAQID\n-----END K-----",
  );
  assert.equal(block?.isLegacyEncrypted, true);
});

const REFUSED: [name: string, text: string][] = [
  ["a block without an end", "-----BEGIN A-----\nAQID\n"],
  ["an end without a beginning", "-----END A-----\n"],
  ["another end", "-----BEGIN A-----\nAQID\n-----END B-----"],
  ["a block in a block", `-----BEGIN A-----\n${BLOCK}-----END A-----`],
  ["what is no base64", "-----BEGIN A-----\n!!!!\n-----END A-----"],
];
for (const [name, text] of REFUSED) {
  Deno.test(`readPem() refuses ${name}`, () => {
    assert.throws(() => read(text), SyntaxError);
  });
}
