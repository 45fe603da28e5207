/**
 * An index of Python packages and a registry of crates, with one package each.
 *
 * @module
 */

import { join } from "node:path";
import { digestOf, PACKAGES, VERSION } from "./packages.ts";
import { byPath, type Vendor } from "./vendor.ts";

/**
 * Makes an index of Python packages.
 *
 * @param packages The directory of `makePackages`.
 * @see {@link https://packaging.python.org/en/latest/specifications/simple-repository-api/ | Simple repository API}
 */
export async function createPythonIndex(packages: string): Promise<Vendor> {
  const bytes = await Deno.readFile(join(packages, PACKAGES.wheel));
  const digest = (await digestOf("SHA-256", bytes)).toHex();
  const link = `/files/${PACKAGES.wheel}#sha256=${digest}`;
  const page = `<!DOCTYPE html><a href="${link}">${PACKAGES.wheel}</a>`;
  return byPath({
    "/simple/acme-widget/": () =>
      new Response(page, { headers: { "content-type": "text/html" } }),
    [`/files/${PACKAGES.wheel}`]: () => new Response(bytes),
  });
}

/**
 * Makes a private registry of crates.
 *
 * @param origin Where it is, such as `https://crates.acme.test`.
 * @param packages The directory of `makePackages`.
 * @see {@link https://doc.rust-lang.org/cargo/reference/registry-index.html | Registry index}
 */
export async function createCrateRegistry(
  origin: string,
  packages: string,
): Promise<Vendor> {
  const bytes = await Deno.readFile(join(packages, PACKAGES.crate));
  const name = "acme-widget";
  const release = {
    name,
    vers: VERSION,
    deps: [],
    cksum: (await digestOf("SHA-256", bytes)).toHex(),
    features: {},
    yanked: false,
  };
  const config = { dl: `${origin}/dl`, api: origin, "auth-required": true };
  return byPath({
    "/index/config.json": () => Response.json(config),
    [`/index/ac/me/${name}`]: () => Response.json(release),
    [`/dl/${name}/${VERSION}/download`]: () => new Response(bytes),
  });
}
