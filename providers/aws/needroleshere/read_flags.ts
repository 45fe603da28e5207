/**
 * Reads the flags of a binding in needroleshere's form.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import { parseRoleArn } from "../arn.ts";
import { parseDuration } from "../duration.ts";
import {
  encryptedKey,
  isEncrypted,
  readAnywhere,
  requireAnywhereFlags,
} from "../options/anywhere.ts";
import { valuesOf } from "../options/values.ts";
import type { Anywhere, AwsSettings } from "../settings.ts";
import { LITERAL_SESSION_NAME, NEEDROLESHERE_MODES } from "./format.ts";

/** What the flags of `moat bind` say. */
export interface NeedroleshereInput {
  /** One of {@link NEEDROLESHERE_MODES}. */
  readonly mode: string;
  /** With `anywhere`; paths are as they were typed. */
  readonly settings: Omit<AwsSettings, "source">;
}

/**
 * Reads the flags. Makes no call and never asks: it runs in a unit of systemd.
 *
 * @param flags All flags of `moat bind`.
 * @param env The environment; of it only AWS_CA_BUNDLE counts.
 * @param validate Whether the region is going to be used.
 * @returns Mode and settings. Without `--session-duration` the service decides.
 * @throws {MoatError} `usage`.
 */
export async function readBindFlags(
  flags: FlagValues,
  env: Readonly<Record<string, string>>,
  validate: boolean,
): Promise<NeedroleshereInput> {
  refuse(flags);
  const mode = readMode(flags);
  requireAnywhereFlags(flags, "role-arn", true);
  const [roleArn = ""] = valuesOf(flags, "role-arn");
  const role = parseRoleArn(roleArn);
  const { region: _, ...others } = flags;
  // It is not kept, so one that will not be used is not looked at.
  const used = validate ? flags : others;
  const anywhere = asTyped(readAnywhere(used, role.partition), flags);
  const { passphraseFile, privateKey = "" } = anywhere;
  if (!passphraseFile && await isEncrypted(privateKey)) {
    throw encryptedKey(privateKey);
  }
  const [duration] = valuesOf(flags, "session-duration");
  const [sessionName] = valuesOf(flags, "session-name");
  const caBundle = env["AWS_CA_BUNDLE"];
  return {
    mode,
    settings: {
      roles: [role.arn],
      region: anywhere.region,
      ...(duration !== undefined &&
        { durationSeconds: parseDuration(duration) }),
      ...(sessionName !== undefined &&
        { sessionName: checkLiteral(sessionName) }),
      anywhere,
      ...(caBundle && { caBundle }),
    },
  };
}

/** What needroleshere's files have no place for. */
const REFUSED: readonly (readonly [flag: string, instead: string])[] = [
  ["grant", "leave --certificate out to bind a grant that is stored"],
  ["policy", "grant the role with moat grant aws, then bind with --grant"],
];

function refuse(flags: FlagValues): void {
  const [flag, instead] =
    REFUSED.find(([name]) =>
      flags[name] !== undefined && flags[name] !== false
    ) ?? [];
  if (flag === undefined) return;
  throw usageError(
    `Cannot combine --${flag} with the flags of Roles Anywhere: a binding of needroleshere's form cannot have it`,
    instead,
  );
}

function readMode(flags: FlagValues): string {
  const [mode = NEEDROLESHERE_MODES[0] ?? ""] = valuesOf(flags, "mode");
  if (mode.endsWith("-query") && flags["token-file"]) {
    throw usageError(
      `Cannot use --token-file in mode ${mode}: its token is in the URI`,
      "leave --token-file out",
    );
  }
  if (NEEDROLESHERE_MODES.includes(mode)) return mode;
  throw usageError(
    `Cannot use ${
      JSON.stringify(mode)
    } as a mode with --certificate: a binding of needroleshere's form cannot have it`,
    `write one of ${NEEDROLESHERE_MODES.join(", ")}`,
  );
}

/** Checked, but with the paths that a person may move with the directory. */
function asTyped(anywhere: Anywhere, flags: FlagValues): Anywhere {
  const certificates = valuesOf(flags, "certificate");
  const intermediates = valuesOf(flags, "intermediates");
  const [privateKey = certificates.find(isPkcs12) ?? ""] = valuesOf(
    flags,
    "private-key",
  );
  const [passphraseFile] = valuesOf(flags, "passphrase-file");
  return {
    ...anywhere,
    certificates,
    ...(intermediates.length > 0 && { intermediates }),
    privateKey,
    ...(passphraseFile !== undefined && { passphraseFile }),
  };
}

function isPkcs12(path: string): boolean {
  return /\.(p12|pfx)$/i.test(path);
}

function checkLiteral(text: string): string {
  if (LITERAL_SESSION_NAME.test(text)) return text;
  throw usageError(
    `Cannot use ${
      JSON.stringify(text)
    } as --session-name with --certificate: wanted 2 to 64 letters, digits or _+=,.@-`,
    "leave it out for the certificate's serial number",
  );
}
