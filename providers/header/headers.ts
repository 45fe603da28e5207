/**
 * Names and values of headers that a definition may name.
 *
 * @module
 */

/** @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.2 | RFC 9110 section 5.6.2} */
const TOKEN = /^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/;

/** Visible ASCII and blanks between it; the blank at the end is the one of `Bearer `. */
const PREFIX = /^[!-~](?:[ -~]{0,98}[ !-~])?$/;

/**
 * Headers that say where a message ends, where it goes or for whom it is: they
 * are the proxy's to write.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-7.6.1 | RFC 9110 section 7.6.1}
 */
const OF_THE_MESSAGE: ReadonlySet<string> = new Set([
  "connection",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "range",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "via",
]);

/**
 * Reads a header's name.
 *
 * @param text In any case.
 * @returns In lower case; undefined for what is none.
 */
export function headerName(text: string): string | undefined {
  const name = text.toLowerCase();
  return TOKEN.test(name) ? name : undefined;
}

/**
 * Tells whether a header is the proxy's own to write.
 *
 * @param name In lower case.
 */
export function isOfTheMessage(name: string): boolean {
  return OF_THE_MESSAGE.has(name);
}

/**
 * Tells whether a text can stand before a credential in a header.
 *
 * @param text Such as `Bearer `.
 */
export function isPrefix(text: string): boolean {
  return PREFIX.test(text);
}
