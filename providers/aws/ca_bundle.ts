/**
 * The certificates that AWS_CA_BUNDLE names, for the host's own calls.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import { failure } from "./errors.ts";
import { readSmallFile } from "./files.ts";

/** All the world's roots have a quarter of this. */
const MAX_BYTES = 1024 * 1024;

/**
 * Reads further roots, anew each time.
 *
 * @param path The file.
 * @returns Certificates in PEM.
 * @throws {MoatError} `ca-bundle-unreadable`.
 */
export async function readCaBundle(path: string): Promise<string> {
  const text = await read(path).catch((cause) => {
    throw unreadable(`Cannot read AWS_CA_BUNDLE "${path}"`, cause);
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw unreadable(
    `Cannot use AWS_CA_BUNDLE "${path}": wanted certificates in PEM, found none`,
  );
}

async function read(path: string): Promise<string> {
  return new TextDecoder().decode(await readSmallFile(path, MAX_BYTES));
}

function unreadable(message: string, cause?: unknown): MoatError {
  return failure("ca-bundle-unreadable", message, {
    hint: "grant again with AWS_CA_BUNDLE naming a PEM file",
    cause,
  });
}
