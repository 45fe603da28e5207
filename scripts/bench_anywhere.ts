/**
 * How long it takes to sign one request to IAM Roles Anywhere: reading and
 * parsing key and certificates, which are not cached, included.
 *
 * Needs openssl. By itself it prints the median of each kind of key.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { loadIdentity } from "$providers/aws/roles_anywhere/identity.ts";
import { signRequest } from "$providers/aws/roles_anywhere/sign.ts";
import { must } from "./process.ts";

/** How openssl makes a key of each kind. */
const KINDS = {
  "P-256": ["EC", "ec_paramgen_curve:P-256"],
  "P-384": ["EC", "ec_paramgen_curve:P-384"],
  "P-521": ["EC", "ec_paramgen_curve:P-521"],
  "RSA-2048": ["RSA", "rsa_keygen_bits:2048"],
  "RSA-4096": ["RSA", "rsa_keygen_bits:4096"],
} as const;

/** A kind of key. */
export type AnywhereKind = keyof typeof KINDS;

const WARM_UP = 20;
const SAMPLES = 100;

/**
 * Measures signing.
 *
 * @param kinds Kinds of key.
 * @returns Samples of each kind in ms: from the files to the signed headers.
 */
export async function benchAnywhere(
  kinds: readonly AnywhereKind[],
): Promise<Record<string, readonly number[]>> {
  const directory = await Deno.makeTempDir({ prefix: "moat-bench-" });
  try {
    const samples: Record<string, readonly number[]> = {};
    for (const kind of kinds) samples[kind] = await measure(kind, directory);
    return samples;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function measure(
  kind: AnywhereKind,
  directory: string,
): Promise<number[]> {
  const [key, certificate] = ["key", "crt"].map((end) =>
    join(directory, `${kind}.${end}`)
  ) as [string, string];
  const [algorithm, option] = KINDS[kind];
  await must([
    ...["openssl", "genpkey", "-algorithm", algorithm, "-pkeyopt", option],
    ...["-out", key],
  ]);
  await must([
    ...["openssl", "req", "-x509", "-new", "-key", key, "-days", "2"],
    ...["-subj", "/CN=bench", "-out", certificate],
  ]);
  const samples: number[] = [];
  for (let i = 0; i < WARM_UP + SAMPLES; i++) {
    // A file with another time is read anew.
    await Deno.utime(key, i, i);
    const start = performance.now();
    await signOnce(certificate, key);
    samples.push(performance.now() - start);
  }
  return samples.slice(WARM_UP);
}

async function signOnce(certificate: string, key: string): Promise<void> {
  const region = "eu-central-1";
  const now = Date.now();
  const identity = await loadIdentity(
    {
      ...{ trustAnchorArn: "", profileArn: "", region },
      ...{ certificates: [certificate], privateKey: key },
    },
    undefined,
    now,
  );
  const request = {
    method: "POST",
    url: new URL(`https://rolesanywhere.${region}.amazonaws.com/sessions?a=b`),
    headers: { "content-type": "application/json" },
    body: '{"durationSeconds":3600}',
  };
  const scope = { now, region, service: "rolesanywhere" };
  await signRequest(request, scope, identity);
}

if (import.meta.main) {
  const kinds = Object.keys(KINDS) as AnywhereKind[];
  const all = Object.entries(await benchAnywhere(kinds));
  for (const [kind, samples] of all) {
    const sorted = [...samples].sort((a, b) => a - b);
    const at = (share: number) =>
      (sorted[Math.floor(sorted.length * share)] ?? NaN).toFixed(2);
    console.log(`${kind.padEnd(9)} ${at(0.5)} ms (p95 ${at(0.95)} ms)`);
  }
}
