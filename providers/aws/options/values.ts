/**
 * Checks of single values that flags give: the limits that STS states for its
 * parameters, so that a slip shows before any call. Policies are never quoted
 * in an error, because the wrong file may have been named.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole, Request Parameters}
 */

import { type MoatError, usageError } from "$core/errors.ts";
import { parseJson } from "$core/json.ts";
import type { FlagValues } from "$core/provider.ts";
import type { RoleArn } from "../arn.ts";

/** What STS takes of an inline policy. */
const MAX_POLICY_CHARACTERS = 2048;

/** More than any policy has with its white space; bounds what is read. */
const MAX_POLICY_FILE_BYTES = 65_536;

/** What STS takes of managed policies. */
const MAX_POLICY_ARNS = 10;

/** What STS takes of session tags. */
const MAX_TAGS = 50;

const POLICY_ARN =
  /^arn:([\w-]+):iam::(\d{12}|aws):policy\/(?:[\x21-\x7e]{1,510}\/)?[\w+=,.@-]{1,128}$/;

const TAG_KEY = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u;
const TAG_VALUE = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u;

/** Names that a JavaScript object cannot be trusted to keep. */
const UNSAFE_KEYS = ["__proto__", "constructor", "prototype"];

/**
 * The values of a flag, however often it may be given.
 *
 * @param flags What was given.
 * @param name The flag, without dashes.
 * @returns In the order given; empty if it was not given, or is a switch.
 */
export function valuesOf(flags: FlagValues, name: string): readonly string[] {
  const value = flags[name];
  if (typeof value === "string") return [value];
  return Array.isArray(value) ? value : [];
}

/** The value of `--source` that hands out the source's own session. */
export const DIRECT = "direct";

/**
 * Whether the source's own session is to be handed out.
 *
 * @param flags What was given.
 */
export function isDirect(flags: FlagValues): boolean {
  return valuesOf(flags, "source").includes(DIRECT);
}

/**
 * Checks an external ID.
 *
 * @param text The value of `--external-id`; not shown in the error.
 * @returns The same text.
 * @throws {MoatError} `usage`.
 */
export function checkExternalId(text: string): string {
  if (/^[\w+=,.@:\/-]{2,1224}$/.test(text)) return text;
  throw usageError(
    "Cannot use this --external-id: wanted 2 to 1224 letters, digits or _+=,.@:/-",
    "copy the external ID from the role's trust policy",
  );
}

/**
 * Checks STS's source identity.
 *
 * @param text The value of `--source-identity`.
 * @returns The same text.
 * @throws {MoatError} `usage`; `aws:` cannot begin one, as it has a colon.
 */
export function checkSourceIdentity(text: string): string {
  if (/^[\w+=,.@-]{2,64}$/.test(text)) return text;
  throw usageError(
    `Cannot use ${
      JSON.stringify(text)
    } as --source-identity: wanted 2 to 64 letters, digits or _+=,.@-`,
    "give a user name or an address, such as ana@example.com",
  );
}

/**
 * Checks the serial number or ARN of an MFA device.
 *
 * @param text The value of `--mfa-serial`.
 * @returns The same text.
 * @throws {MoatError} `usage`.
 */
export function checkMfaSerial(text: string): string {
  if (/^[\w+=/:,.@-]{9,256}$/.test(text)) return text;
  throw usageError(
    `Cannot use ${
      JSON.stringify(text)
    } as --mfa-serial: wanted 9 to 256 letters, digits or _+=/:,.@-`,
    "give the device's ARN, such as arn:aws:iam::123456789012:mfa/ana",
  );
}

/**
 * Checks the ARNs of managed session policies.
 *
 * @param arns The values of `--policy-arn`.
 * @param role The role of the session: AWS wants its policies in the same account.
 * @returns The same ARNs.
 * @throws {MoatError} `usage` for a wrong one, or for more than 10.
 */
export function checkPolicyArns(
  arns: readonly string[],
  role: RoleArn,
): readonly string[] {
  if (arns.length > MAX_POLICY_ARNS) {
    throw tooMany("--policy-arn", MAX_POLICY_ARNS, arns.length);
  }
  for (const arn of arns) {
    const [, partition, account] = POLICY_ARN.exec(arn) ?? [];
    if (partition === undefined) throw badPolicyArn(arn, "the ARN of a policy");
    if (partition !== role.partition) {
      throw badPolicyArn(arn, `a policy of partition "${role.partition}"`);
    }
    if (account !== "aws" && account !== role.account) {
      throw badPolicyArn(
        arn,
        `a policy of the role's account ${role.account}, or of AWS`,
      );
    }
  }
  return arns;
}

/**
 * Checks the value of a container's label that becomes a session tag.
 *
 * @param key The label.
 * @param value Its value; not shown in the error.
 * @returns The same value: another one could open what this one does not.
 * @throws {MoatError} `usage`.
 */
export function checkLabelValue(key: string, value: string): string {
  if (TAG_VALUE.test(value)) return value;
  throw usageError(
    `Cannot make a session tag of the container's label ${
      JSON.stringify(key)
    }: wanted at most 256 letters, digits, spaces or _.:/=+-@`,
    "change the label, or grant without --label-tag for it",
  );
}

/**
 * Reads session tags.
 *
 * @param texts The values of `--tag`, each `KEY=VALUE`.
 * @returns Values by key.
 * @throws {MoatError} `usage` for a wrong key or value; values are not shown.
 */
export function readTags(texts: readonly string[]): Record<string, string> {
  const tags = texts.map((text): [string, string] => {
    const end = text.indexOf("=");
    if (end < 0) throw badTag("--tag", text, "KEY=VALUE");
    const key = checkTagKey("--tag", text.slice(0, end));
    const value = text.slice(end + 1);
    if (TAG_VALUE.test(value)) return [key, value];
    throw badTag(
      "--tag",
      key,
      "a value of at most 256 letters, digits, spaces or _.:/=+-@",
    );
  });
  return Object.fromEntries(tags);
}

/**
 * Checks the key of a session tag.
 *
 * @param flag Which flag gave it, for the error.
 * @param key The key.
 * @returns The same key.
 * @throws {MoatError} `usage`.
 */
export function checkTagKey(flag: string, key: string): string {
  if (!TAG_KEY.test(key)) {
    throw badTag(
      flag,
      key,
      "a key of 1 to 128 letters, digits, spaces or _.:/=+-@",
    );
  }
  if (/^aws:/i.test(key)) {
    throw badTag(flag, key, 'a key that does not begin with "aws:"');
  }
  if (UNSAFE_KEYS.includes(key)) throw badTag(flag, key, "another key");
  return key;
}

/**
 * Checks the keys of all tags together: STS does not tell cases apart.
 *
 * @param keys Of `--tag` and `--label-tag`, as given.
 * @throws {MoatError} `usage` for a key that is there twice, or for more than 50.
 */
export function checkTagSet(keys: readonly string[]): void {
  if (keys.length > MAX_TAGS) {
    throw tooMany("--tag and --label-tag", MAX_TAGS, keys.length);
  }
  const seen = new Map<string, string>();
  for (const key of keys) {
    const before = seen.get(key.toLowerCase());
    if (before !== undefined) {
      throw usageError(
        `Cannot use the tag keys ${JSON.stringify(before)} and ${
          JSON.stringify(key)
        } together: STS takes each key once and does not tell cases apart`,
        "leave one of them out",
      );
    }
    seen.set(key.toLowerCase(), key);
  }
}

/**
 * Checks which tags pass on to further roles.
 *
 * @param keys The values of `--transitive-tag`.
 * @param known The keys of all tags.
 * @returns The same keys.
 * @throws {MoatError} `usage` for a key that is no tag, or is there twice.
 */
export function checkTransitiveTags(
  keys: readonly string[],
  known: readonly string[],
): readonly string[] {
  for (const [i, key] of keys.entries()) {
    if (keys.indexOf(key) < i) {
      throw badTag("--transitive-tag", key, "each key once");
    }
    if (!known.includes(key)) {
      throw badTag(
        "--transitive-tag",
        key,
        "the key of a --tag or a --label-tag",
      );
    }
  }
  return keys;
}

/**
 * Reads an inline session policy.
 *
 * @param text JSON when it begins with `{`, else the name of a file.
 * @returns The policy without white space, at most 2,048 characters of those
 * that STS takes.
 * @throws {MoatError} `usage`; no part of the policy is shown.
 */
export async function readPolicy(text: string): Promise<string> {
  return checkPolicy(text.startsWith("{") ? text : await readPolicyFile(text));
}

/**
 * Checks an inline session policy.
 *
 * @param json The policy itself.
 * @returns As {@link readPolicy}.
 * @throws {MoatError} `usage`; no part of the policy is shown.
 */
export function checkPolicy(json: string): string {
  if (!isPolicy(json)) {
    throw badPolicy('wanted a valid JSON object with a "Statement"');
  }
  const policy = minify(json);
  if (policy.length <= MAX_POLICY_CHARACTERS) return policy;
  throw badPolicy(
    `wanted at most ${MAX_POLICY_CHARACTERS} characters without white space, found ${policy.length}`,
  );
}

/**
 * Reads the start of a file.
 *
 * @param path The file; may be a pipe.
 * @param maxBytes Where to stop.
 * @returns The whole file if it is not longer than that.
 */
export async function readStart(
  path: string,
  maxBytes: number,
): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(maxBytes);
  let length = 0;
  while (length < maxBytes) {
    const count = await file.read(bytes.subarray(length));
    if (!count) break;
    length += count;
  }
  return bytes.subarray(0, length);
}

async function readPolicyFile(path: string): Promise<string> {
  let bytes;
  try {
    bytes = await readStart(path, MAX_POLICY_FILE_BYTES + 1);
  } catch (error) {
    const name = JSON.stringify(path);
    const found = error instanceof Deno.errors.NotFound ? "no file " : "";
    throw badPolicy(`wanted a file that can be read, found ${found}${name}`);
  }
  if (bytes.length > MAX_POLICY_FILE_BYTES) {
    throw badPolicy(`wanted a file of at most ${MAX_POLICY_FILE_BYTES} bytes`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badPolicy("wanted text in UTF-8");
  }
}

function isPolicy(json: string): boolean {
  const value = parseJson(json);
  return typeof value === "object" && value !== null &&
    Object.hasOwn(value, "Statement");
}

/**
 * As text, so that no number or doubled key changes. What STS does not take
 * as it stands can only be in a string, where an escape means the same.
 */
function minify(json: string): string {
  return json
    .replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1")
    .replace(
      /[^\x20-\xff]/g,
      (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"),
    );
}

function badPolicy(problem: string): MoatError {
  return usageError(
    `Cannot use this --policy: ${problem}`,
    "give --policy FILE, or JSON that begins with {",
  );
}

function badPolicyArn(arn: string, wanted: string): MoatError {
  return usageError(
    `Cannot use ${JSON.stringify(arn)} as --policy-arn: wanted ${wanted}`,
    "give an ARN such as arn:aws:iam::aws:policy/ReadOnlyAccess",
  );
}

function badTag(flag: string, key: string, wanted: string): MoatError {
  return usageError(
    `Cannot use ${flag} ${JSON.stringify(key)}: wanted ${wanted}`,
    "give tags such as --tag team=payments",
  );
}

function tooMany(flag: string, max: number, found: number): MoatError {
  return usageError(
    `Cannot use this many ${flag}: STS takes ${max}, found ${found}`,
    "leave some out",
  );
}
