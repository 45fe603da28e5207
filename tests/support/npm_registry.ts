/**
 * A registry of npm with one package, `@acme/widget`.
 *
 * @module
 * @see {@link https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md | Package metadata}
 */

import { join } from "node:path";
import { digestOf, PACKAGES, VERSION } from "./packages.ts";
import { byPath, type Vendor } from "./vendor.ts";

/**
 * Makes the registry.
 *
 * @param url Where it is, with a final slash, such as `https://npm.acme.test/private/`.
 * @param packages The directory of `makePackages`.
 */
export async function createNpmRegistry(
  url: string,
  packages: string,
): Promise<Vendor> {
  const bytes = await Deno.readFile(join(packages, PACKAGES.npm));
  const digest = await digestOf("SHA-512", bytes);
  const path = new URL(url).pathname;
  const file = `@acme/widget/-/widget-${VERSION}.tgz`;
  const dist = {
    tarball: `${url}${file}`,
    integrity: `sha512-${digest.toBase64()}`,
  };
  const metadata = {
    name: "@acme/widget",
    "dist-tags": { latest: VERSION },
    versions: {
      [VERSION]: { name: "@acme/widget", version: VERSION, dist },
    },
  };
  return byPath({
    // As npm asks, and as others do.
    [`${path}@acme%2fwidget`]: () => Response.json(metadata),
    [`${path}@acme/widget`]: () => Response.json(metadata),
    [`${path}${file}`]: () => new Response(bytes),
    [`${path}-/whoami`]: () => Response.json({ username: "acme" }),
  });
}
