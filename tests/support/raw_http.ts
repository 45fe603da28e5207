/**
 * A client that sends any bytes, and reads answers as strictly as a careful
 * client would.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";

/** One answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** How long a test waits for the other side before it fails. */
const PATIENCE_MS = 5_000;

/** Each character becomes the byte of the same number. */
export function toBytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Connects to the address of a listener. */
export function connectTo(address: Deno.Addr): Promise<Deno.Conn> {
  if ("hostname" in address) {
    const { hostname, port } = address;
    return Deno.connect({ hostname, port });
  }
  if ("path" in address) {
    return Deno.connect({ transport: "unix", path: address.path });
  }
  throw new TypeError("wanted a TCP or unix address");
}

/** Writes all of a text. */
export async function send(conn: Deno.Conn, text: string): Promise<void> {
  let rest = toBytes(text);
  while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
}

/** Reads until the other side ends, or `enough` says so; fails when it takes too long. */
export async function receive(
  conn: Deno.Conn,
  enough: (text: string) => boolean = () => false,
): Promise<string> {
  const guard = setTimeout(() => conn.close(), PATIENCE_MS);
  const buffer = new Uint8Array(64 * 1024);
  let text = "";
  try {
    while (!enough(text)) {
      const count = await conn.read(buffer);
      if (count === null) break;
      text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
    }
    return text;
  } finally {
    clearTimeout(guard);
  }
}

/** Reads one answer of a connection that stays open. */
export async function receiveAnswer(conn: Deno.Conn): Promise<RawAnswer> {
  const text = await receive(conn, (text) => {
    const length = /\r\nContent-Length: ([0-9]+)\r\n/.exec(text)?.[1];
    const head = text.indexOf("\r\n\r\n");
    return head !== -1 && text.length >= head + 4 + Number(length ?? 0);
  });
  const [answer, ...others] = parseAnswers(text);
  assert(answer, "wanted an answer, found the end of the connection");
  assert.equal(others.length, 0);
  return answer;
}

/** Splits what a server sent; fails on anything that is not a whole answer. */
export function parseAnswers(
  text: string,
  options = { head: false },
): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = text; rest !== "";) {
    const end = rest.indexOf("\r\n\r\n");
    assert.notEqual(end, -1, `not a whole head: ${JSON.stringify(rest)}`);
    const [first = "", ...lines] = rest.slice(0, end).split("\r\n");
    const status = /^HTTP\/1\.1 ([0-9]{3}) /.exec(first)?.[1];
    assert(status, `not a status line: ${JSON.stringify(first)}`);
    const headers = new Map(lines.map((line): [string, string] => {
      const [, name, value] = /^([^: ]+): (.*)$/.exec(line) ?? [];
      assert(name !== undefined && value !== undefined, `not a field: ${line}`);
      return [name.toLowerCase(), value];
    }));
    assert.equal(headers.size, lines.length, "a field is repeated");
    const length = options.head
      ? 0
      : Number(headers.get("content-length") ?? 0);
    const body = rest.slice(end + 4, end + 4 + length);
    assert.equal(body.length, length, "the body is cut short");
    answers.push({ status: Number(status), headers, body });
    rest = rest.slice(end + 4 + length);
  }
  return answers;
}

/** Sends a text, ends our side, and reads all answers. */
export async function exchange(
  address: Deno.Addr,
  text: string,
): Promise<RawAnswer[]> {
  const conn = await connectTo(address);
  try {
    await send(conn, text);
    await conn.closeWrite();
    return parseAnswers(await receive(conn));
  } finally {
    try {
      conn.close();
    } catch {
      // The guard of receive() was faster; it made receive() fail.
    }
  }
}
