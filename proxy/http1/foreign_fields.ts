/**
 * What no SDK sends: requests of browsers, and of proxies on their way to us.
 *
 * @module
 */

import type { RequestHead } from "./head.ts";

const FOREIGN_FIELDS = [
  "cookie",
  "forwarded",
  "origin",
  "referer",
  "true-client-ip",
  "via",
  "x-client-ip",
  "x-original-url",
  "x-real-ip",
  "x-rewrite-url",
];

/** The beginnings of further such fields. */
const FOREIGN_PREFIXES = ["sec-fetch-", "x-forwarded-"];

/**
 * Tells whether a browser or a forwarding proxy sent a request.
 *
 * @param head The request.
 */
export function isForeign(head: Pick<RequestHead, "headers">): boolean {
  return head.headers.some(([name]) => {
    const field = name.toLowerCase();
    return FOREIGN_FIELDS.includes(field) ||
      FOREIGN_PREFIXES.some((prefix) => field.startsWith(prefix));
  });
}
