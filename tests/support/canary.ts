/**
 * A planted secret, and the search for it in everything that may not hold it.
 *
 * @module
 */

import { join } from "node:path";

/** A new secret per test process; 40 characters, as an AWS secret access key. */
export const CANARY: string = "Canary" +
  [...crypto.getRandomValues(new Uint8Array(17))].map((byte) =>
    byte.toString(16).padStart(2, "0")
  ).join("");

/** Forms in which the canary could leak: itself, hexadecimal, base64. */
const FORMS: readonly string[] = [CANARY, hex(CANARY), ...base64Cores(CANARY)];

function hex(text: string): string {
  return new TextEncoder().encode(text).toHex();
}

/** Base64 depends on where in a text the canary starts; these parts do not. */
function base64Cores(text: string): string[] {
  return [0, 1, 2].map((shift) =>
    btoa(" ".repeat(shift) + text).slice(4, -4).replace(/=+$/, "")
  );
}

/**
 * Fails if a text holds the canary. The message does not repeat the text.
 *
 * @param texts Outputs, logs, answers, file contents.
 */
export function assertNoCanary(...texts: readonly string[]): void {
  for (const [index, text] of texts.entries()) {
    const form = FORMS.findIndex((form) => text.includes(form));
    if (form < 0) continue;
    const kind = ["plain", "hexadecimal"][form] ?? "base64";
    throw new Error(`text ${index} holds the canary (${kind})`);
  }
}

/**
 * Fails if a file or a file's name below a directory holds the canary.
 *
 * @param directory Is searched with all its directories; sockets are left out.
 */
export async function assertNoCanaryBelow(directory: string): Promise<void> {
  for await (const entry of Deno.readDir(directory)) {
    const path = join(directory, entry.name);
    assertNoCanary(path);
    if (entry.isDirectory) await assertNoCanaryBelow(path);
    if (!entry.isFile) continue;
    const bytes = await Deno.readFile(path);
    try {
      assertNoCanary(new TextDecoder("latin1").decode(bytes));
    } catch (cause) {
      throw new Error(`${path} holds the canary`, { cause });
    }
  }
}
