/**
 * Which moat this is. `scripts/build.ts` puts the values in; a program that
 * runs from its sources says "dev".
 *
 * @module
 */

declare const MOAT_VERSION: string | undefined;
declare const MOAT_COMMIT: string | undefined;

/** The version in deno.json at build time, such as `0.1.0`; `dev` when not built. */
export const VERSION: string = typeof MOAT_VERSION === "string"
  ? MOAT_VERSION
  : "dev";

/**
 * The short commit hash at build time, with `-dirty` when the tree held
 * changes; `unknown` outside git, `dev` when not built.
 */
export const COMMIT: string = typeof MOAT_COMMIT === "string"
  ? MOAT_COMMIT
  : "dev";
