/**
 * Says which source a grant would use and why each earlier one is passed over.
 *
 * @module
 */

import { failure, mapAwsError } from "../errors.ts";
import type { SourceKind } from "../settings.ts";
import {
  inTime,
  ProviderFailure,
  type SdkCredentials,
  SOURCE_TIMEOUT_MS,
  type SourceLook,
  triesNextLink,
} from "./call.ts";
import { checkCredentials } from "./credentials.ts";
import { type Kind, KINDS } from "./kinds.ts";
import { ownSource } from "./own.ts";
import { profileName } from "./profile.ts";

/** A kind and what became of it. */
export type SourceLine = [label: string, value: string];

/** A person is not kept waiting for what most machines do not have. */
const INSTANCE_TIMEOUT_MS = 1000;

/** Three of them fit into the bound. */
const INSTANCE_REQUEST_MS = 300;

/**
 * Tries a source for real, kind by kind.
 *
 * @param call Where to look.
 * @returns One line per kind: `used`, `passed over`, `failed` or `not tried`.
 * It names access key IDs, files and addresses; never a secret.
 */
export async function explainKinds(
  call: SourceLook,
): Promise<SourceLine[]> {
  const lines: SourceLine[] = [];
  let isSettled = false;
  for (const kind of call.source.order) {
    if (isSettled) {
      lines.push([kind, "not tried"]);
      continue;
    }
    const { text, isLast } = await tryKind(kind, call);
    lines.push([kind, text]);
    isSettled = isLast;
  }
  return lines;
}

interface Outcome {
  readonly text: string;
  readonly isLast: boolean;
}

async function tryKind(kind: SourceKind, call: SourceLook): Promise<Outcome> {
  const missing = await KINDS[kind].missing(call);
  if (missing) return { text: `passed over: ${missing}`, isLast: false };
  try {
    const own = await ownSource(kind, call.source, call.platform.env);
    if (own) throw own;
    const credentials = await askInTime(kind, KINDS[kind], call);
    checkCredentials(credentials, call.platform.clock.now());
    return { text: `used: ${describe(kind, credentials, call)}`, isLast: true };
  } catch (error) {
    const isLast = !triesNextLink(kind, error);
    const word = isLast ? "failed" : "passed over";
    return { text: `${word}: ${why(error, kind, call)}`, isLast };
  }
}

function describe(
  kind: SourceKind,
  { accessKeyId, expiration }: SdkCredentials,
  { source }: SourceLook,
): string {
  const key = `access key ID ${printable(accessKeyId)}`;
  const end = expiration ? `, until ${expiration.toISOString()}` : "";
  const from = kind === "profile" ? `profile "${profileName(source)}", ` : "";
  return from + key + end;
}

/** It comes from a program or a server. */
function printable(text: string): string {
  return text.slice(0, 128).replaceAll(/[^\x21-\x7e]/g, "?");
}

/** Follows `Cannot` in a message that is cut there again. */
const ACTION = "use it";

function why(
  error: unknown,
  kind: SourceKind,
  { at, source }: SourceLook,
): string {
  const settings = { ...at, roles: [], source: { ...source, order: [kind] } };
  const { message } = mapAwsError(error, { settings, action: ACTION });
  return message.replace(/^Cannot use (it|the source credentials): /, "");
}

async function askInTime(
  kind: SourceKind,
  { ask }: Kind,
  call: SourceLook,
): Promise<SdkCredentials> {
  const { clock } = call.platform;
  if (kind === "instance") {
    const late = new ProviderFailure("TimeoutError from instance metadata");
    const instanceTimeoutMs = INSTANCE_REQUEST_MS;
    return await inTime(
      clock,
      INSTANCE_TIMEOUT_MS,
      late,
      (signal) => ask({ ...call, instanceTimeoutMs, signal }),
    );
  }
  const late = failure("source-timeout", `Cannot ${ACTION}: it took too long`);
  return await inTime(
    clock,
    SOURCE_TIMEOUT_MS,
    late,
    (signal) => ask({ ...call, signal }),
  );
}
