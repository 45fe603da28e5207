/**
 * PEM, as OpenSSL writes it: any number of blocks, with text between them.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc7468.html | RFC 7468}
 */

import type { Bytes } from "./der.ts";

/** One block. */
export interface PemBlock {
  /** Such as `CERTIFICATE`. */
  readonly label: string;
  /** What was encoded. */
  readonly der: Bytes;
  /** Whether it is encrypted in the way before PKCS#8 (RFC 1421). */
  readonly isLegacyEncrypted: boolean;
}

const EDGE = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----$/;

/**
 * Reads all blocks of a file.
 *
 * @param bytes The file.
 * @returns Its blocks; none if it is not PEM.
 * @throws {SyntaxError} If a block is cut short, or no base64.
 */
export function readPem(bytes: Uint8Array): PemBlock[] {
  const blocks: PemBlock[] = [];
  let block: { label: string; body: string; headers: string } | undefined;
  for (const line of new TextDecoder().decode(bytes).split(/\r\n?|\n/)) {
    const text = line.trim();
    const [, edge, label = ""] = EDGE.exec(text) ?? [];
    if (edge === "BEGIN" && !block) {
      block = { label, body: "", headers: "" };
    } else if (edge === "END" && block?.label === label) {
      blocks.push(close(block));
      block = undefined;
    } else if (edge) {
      throw new SyntaxError("PEM blocks that do not match");
    } else if (block) {
      block[text.includes(":") ? "headers" : "body"] += text;
    }
  }
  if (block) throw new SyntaxError("a PEM block without an end");
  return blocks;
}

function close(
  { label, body, headers }: { label: string; body: string; headers: string },
): PemBlock {
  const der = Uint8Array.fromBase64(body);
  return { label, der, isLegacyEncrypted: headers.includes("ENCRYPTED") };
}
