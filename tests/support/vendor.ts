/**
 * What the vendors of the tests have in common.
 *
 * @module
 */

/** Answers what is asked of one vendor's host. */
export type Vendor = (request: Request) => Response | Promise<Response>;

/**
 * Lets only requests with a credential through.
 *
 * @param header Its name.
 * @param value Its whole value; a second one in the request would be part of
 * what is compared.
 * @param vendor Answers those.
 * @returns Answers 401 to all others.
 */
export function guarded(
  header: string,
  value: string,
  vendor: Vendor,
): Vendor {
  return (request) => {
    if (request.headers.get(header) === value) return vendor(request);
    return new Response("who are you?\n", {
      status: 401,
      headers: { "www-authenticate": 'Basic realm="vendor"' },
    });
  };
}

/** Answers 404. */
export const NOT_FOUND: Vendor = (): Response =>
  new Response("no such thing\n", { status: 404 });

/**
 * Answers requests by their path.
 *
 * @param routes By path as it is sent, without query.
 */
export function byPath(routes: Readonly<Record<string, Vendor>>): Vendor {
  return (request) => {
    const { pathname } = new URL(request.url);
    return (routes[pathname] ?? NOT_FOUND)(request);
  };
}

/** Writes a pair of HTTP Basic (RFC 7617). */
export function basicAuth(user: string, password: string): string {
  return `Basic ${btoa(`${user}:${password}`)}`;
}
