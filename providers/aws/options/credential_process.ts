/**
 * Reads the flags of `moat credential-process` that it shares with
 * `aws_signing_helper` and `needroleshere`.
 *
 * Differences on purpose: a flag without a value, or given twice, is refused
 * (the Go tool takes the last one); a value that begins with a dash is
 * written `--flag=value`; a switch takes no `=true`; `HTTPS_PROXY` counts
 * without `--with-proxy`; the trust anchor's region counts before AWS_REGION,
 * as in `aws_signing_helper`.
 *
 * @module
 */

import { resolve } from "node:path";
import { usageError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import {
  encryptedKey,
  isEncrypted,
  readAnywhere,
  requireAnywhereFlags,
} from "./anywhere.ts";
import { parseRoleArn } from "../arn.ts";
import { REFUSED_FLAGS } from "./credential_process_flags.ts";
import { parseDuration } from "../duration.ts";
import { valuesOf } from "./values.ts";
import type { GrantInput } from "./grant.ts";
import type { Anywhere } from "../settings.ts";
import { recordSource } from "../source.ts";

/** What `aws_signing_helper` asks for, and needroleshere documents. */
const DEFAULT_DURATION_SECONDS = 3600;

/**
 * Reads the flags. Makes no call and never asks: an SDK is waiting.
 *
 * @param flags The values of `CREDENTIAL_PROCESS_FLAGS`, without `binding`.
 * @param env The environment; of it only AWS_CA_BUNDLE counts.
 * @returns Settings with `anywhere`, and the key's passphrase if a flag gave it.
 * @throws {MoatError} `usage`.
 */
export async function readCredentialProcessFlags(
  flags: FlagValues,
  env: Readonly<Record<string, string>>,
): Promise<GrantInput> {
  refuse(flags);
  requireAnywhereFlags(flags, "role-arn", false);
  const role = parseRoleArn(valuesOf(flags, "role-arn")[0] ?? "");
  const [duration] = valuesOf(flags, "session-duration");
  const [sessionName] = valuesOf(flags, "role-session-name");
  const anywhere = readAnywhere(flags, role.partition);
  const passphrase = await readPassphrase(flags, anywhere);
  const caBundle = env["AWS_CA_BUNDLE"];
  return {
    settings: {
      roles: [role.arn],
      region: anywhere.region,
      durationSeconds: duration === undefined
        ? DEFAULT_DURATION_SECONDS
        : parseDuration(duration),
      ...(sessionName !== undefined && {
        sessionName: checkRoleSessionName(sessionName),
      }),
      anywhere,
      source: recordSource(env),
      ...(caBundle && { caBundle: resolve(caBundle) }),
    },
    ...(passphrase && { passphrase }),
  };
}

function refuse(flags: FlagValues): void {
  const flag = REFUSED_FLAGS.find(({ name }) => flags[name] !== undefined);
  if (!flag) return;
  throw usageError(`Cannot use --${flag.name}: ${flag.reason}`, flag.instead);
}

async function readPassphrase(
  flags: FlagValues,
  { passphraseFile, privateKey = "" }: Anywhere,
): Promise<Secret | undefined> {
  const [password] = valuesOf(flags, "pkcs8-password");
  if (password === undefined) {
    if (passphraseFile || !await isEncrypted(privateKey)) return undefined;
    throw encryptedKey(privateKey);
  }
  if (passphraseFile === undefined) return new Secret(password);
  throw usageError(
    "Cannot combine --pkcs8-password with --passphrase-file: each gives the passphrase",
    "leave --pkcs8-password out",
  );
}

/** Not a template: the other tools pass it on as it is. */
function checkRoleSessionName(text: string): string {
  if (/^[\w+=,.@-]{2,64}$/.test(text)) return text;
  throw usageError(
    `Cannot use ${
      JSON.stringify(text)
    } as --role-session-name: wanted 2 to 64 letters, digits or _+=,.@-`,
    "leave it out for the certificate's serial number",
  );
}
