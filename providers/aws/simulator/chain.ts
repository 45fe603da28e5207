/**
 * Whether a certificate leads to a trust anchor, by Roles Anywhere's rules.
 *
 * Names are compared byte by byte; revocation, name constraints and policies
 * are not looked at.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/trust-model.html | The IAM Roles Anywhere trust model}
 */

import { type Certificate, hasSigned } from "./certificate.ts";
import { accessDeniedException, type Refusal } from "./refusal.ts";

/** What a leaf comes with, and what it is judged by. */
export interface ChainContext {
  /** The certificates that were sent besides the leaf, in any order. */
  readonly chain: readonly Certificate[];
  /** The trust anchors; empty if every chain is trusted that hangs together. */
  readonly anchors: readonly Certificate[];
  /** In ms since the Unix epoch. */
  readonly now: number;
}

/**
 * Checks a leaf and its chain.
 *
 * Without anchors, every certificate of the chain must be on the way up from
 * the leaf; the last one's issuer may be unknown.
 *
 * @param leaf Whose key signed the request.
 * @param context Chain, anchors and time.
 * @throws {Refusal} `AccessDeniedException`.
 */
export async function checkChain(
  leaf: Certificate,
  context: ChainContext,
): Promise<void> {
  const { now } = context;
  if (now < leaf.notBefore) throw untrusted("Certificate is not yet valid");
  if (now > leaf.notAfter) throw untrusted("Certificate is expired");
  if (!isEndEntity(leaf)) throw untrusted("Insufficient certificate");
  const trusts = context.anchors.length > 0 ? reachesAnchor : hangsTogether;
  if (await trusts(leaf, context)) return;
  throw accessDeniedException("Untrusted signing certificate");
}

/** AWS's constraints on end-entity certificates. */
function isEndEntity(leaf: Certificate): boolean {
  return leaf.version === 3 && !leaf.isCa && leaf.signedWith !== undefined &&
    leaf.keyUsage?.digitalSignature === true && leaf.notUnderstood.length === 0;
}

/** Searches for a way up; each certificate of the chain is tried once. */
async function reachesAnchor(
  leaf: Certificate,
  { chain, anchors, now }: ChainContext,
): Promise<boolean> {
  const tried = new Set<Certificate>();
  const climb = async (from: Certificate, below: number): Promise<boolean> => {
    for (const issuer of [...anchors, ...chain]) {
      if (tried.has(issuer)) continue;
      if (!await isIssuer(issuer, from, below, now)) continue;
      if (anchors.includes(issuer)) return true;
      tried.add(issuer);
      if (await climb(issuer, below + 1)) return true;
    }
    return false;
  };
  return await climb(leaf, 0);
}

async function hangsTogether(
  leaf: Certificate,
  { chain, now }: ChainContext,
): Promise<boolean> {
  const left = new Set(chain);
  let from: Certificate | undefined = leaf;
  for (let below = 0; from && left.size > 0; below++) {
    let next: Certificate | undefined;
    for (const issuer of left) {
      if (await isIssuer(issuer, from, below, now)) next ??= issuer;
    }
    if (next) left.delete(next);
    from = next;
  }
  return left.size === 0;
}

/** Whether one certificate may have signed another, and has. */
async function isIssuer(
  issuer: Certificate,
  of: Certificate,
  below: number,
  now: number,
): Promise<boolean> {
  const { signedWith } = of;
  const { isCa, pathLength = Infinity, keyUsage, keyKind } = issuer;
  const mayIssue = issuer.version === 3 && isCa && below <= pathLength &&
    keyUsage?.keyCertSign !== false && issuer.notUnderstood.length === 0 &&
    issuer.notBefore <= now && now <= issuer.notAfter;
  if (!mayIssue || !signedWith || issuer.subject !== of.issuer) return false;
  if ((keyKind === "RSA") !== (signedWith.kind === "RSA")) return false;
  return await hasSigned(issuer, signedWith.hash, of.signature, of.signed);
}

function untrusted(reason: string): Refusal {
  return accessDeniedException(`Untrusted certificate. ${reason}`);
}
