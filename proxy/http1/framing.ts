/**
 * What a head says about the end of its body, the same for requests and
 * answers: readers that disagreed about it would let one message be smuggled
 * inside another.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-6 | RFC 9112 section 6}
 */

import type { Fields, Refusals } from "./field_lines.ts";

/** How a body ends that was declared. */
export type DeclaredFraming =
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" };

/** A Content-Length of more digits might not be a safe integer. */
const MAX_LENGTH_DIGITS = 15;

/**
 * Reads Content-Length and Transfer-Encoding.
 *
 * @param head The head.
 * @param refuse Makes the errors.
 * @returns Undefined without either; `chunked` whatever the transfer codings
 * are, which the caller has to look at.
 */
export function declaredFraming(
  head: Fields & { readonly version: "1.0" | "1.1" },
  refuse: Refusals,
): DeclaredFraming | undefined {
  const lengths = head.values("content-length");
  if (!head.names.includes("transfer-encoding")) {
    return lengths.length === 0
      ? undefined
      : { kind: "length", length: parseLength(lengths, refuse) };
  }
  // Section 6.1: both at once ought to be handled as an attack.
  if (lengths.length > 0) {
    throw refuse.malformed(
      "wanted Content-Length or Transfer-Encoding, found both",
    );
  }
  if (head.version === "1.0") {
    throw refuse.malformed("wanted no Transfer-Encoding in HTTP/1.0");
  }
  return { kind: "chunked" };
}

function parseLength(lengths: readonly string[], refuse: Refusals): number {
  const [length = "", more] = lengths;
  if (
    more !== undefined || !/^[0-9]+$/.test(length) ||
    length.length > MAX_LENGTH_DIGITS
  ) {
    throw refuse.malformed("wanted one decimal number as Content-Length");
  }
  return Number(length);
}

/**
 * Tells whether content follows a head.
 *
 * @param framing How its body ends.
 * @returns False for a Content-Length of 0, and if nothing was declared.
 */
export function declaresBody(framing: DeclaredFraming | undefined): boolean {
  return framing?.kind === "chunked" || (framing?.length ?? 0) > 0;
}
