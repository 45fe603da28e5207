/**
 * Parameters of the AWS query protocol and the rules that AWS's model has for
 * them. All rules are checked before a call is refused, as AWS does.
 *
 * @module
 */

import { MAX_DURATION_SECONDS, MIN_DURATION_SECONDS } from "../duration.ts";
import { parseRoleArn, type RoleArn } from "../arn.ts";
import { Refusal, validationError } from "./refusal.ts";

/** What AWS's model says about a text. */
export interface TextRule {
  /** Whether it must be there. Default: false. */
  readonly required?: boolean;
  /** Least length, in UTF-16 code units. */
  readonly min: number;
  /** Greatest length, in UTF-16 code units. */
  readonly max: number;
  /** A regular expression that all of it must match, as AWS shows it. */
  readonly pattern?: string;
}

/** What AWS's model says about a duration in seconds. */
export interface SecondsRule {
  /** What counts if there is none. */
  readonly standard: number;
  /** At least. Default: 900. */
  readonly min?: number;
  /** At most. Default: 43,200. */
  readonly max?: number;
}

/** The rule for names of sessions and source identities. */
export const NAME_RULE: TextRule = {
  min: 2,
  max: 64,
  pattern: String.raw`[\w+=,.@-]*`,
};

/** The rules for what every action that opens a role takes. */
export const ROLE_RULES: Readonly<Record<string, TextRule>> = {
  RoleArn: { required: true, min: 20, max: 2048 },
  RoleSessionName: { ...NAME_RULE, required: true },
  Policy: {
    min: 1,
    max: 2048,
    pattern: String.raw`[\u0009\u000A\u000D\u0020-\u00FF]+`,
  },
};

/**
 * Says which rules a call's texts break.
 *
 * @param parameters The call's parameters.
 * @param rules By parameter name.
 * @returns AWS's sentences; empty if all is well.
 */
export function brokenTexts(
  parameters: URLSearchParams,
  rules: Readonly<Record<string, TextRule>>,
): string[] {
  return Object.entries(rules).flatMap(([name, rule]) =>
    brokenText(member(name), parameters.get(name), rule)
  );
}

/**
 * Says which rules a text breaks.
 *
 * @param member AWS's name for its place, such as `tags.1.member.key`.
 * @param value The text, or null if there is none.
 * @param rule The rules.
 * @returns AWS's sentences; empty if all is well.
 */
export function brokenText(
  member: string,
  value: string | null,
  { required = false, min, max, pattern }: TextRule,
): string[] {
  if (value === null) {
    return required ? [broken(member, null, "Member must not be null")] : [];
  }
  const found: string[] = [];
  if (pattern && !new RegExp(`^(?:${pattern})$`, "u").test(value)) {
    found.push(`Member must satisfy regular expression pattern: ${pattern}`);
  }
  if (value.length < min) {
    found.push(`Member must have length greater than or equal to ${min}`);
  }
  if (value.length > max) {
    found.push(`Member must have length less than or equal to ${max}`);
  }
  return found.map((rule) => broken(member, value, rule));
}

/**
 * Reads `DurationSeconds`.
 *
 * @param parameters The call's parameters.
 * @param rule Bounds and default.
 * @returns The seconds, and AWS's sentences if they are out of bounds.
 * @throws {Refusal} `MalformedInput` if it is no number.
 */
export function readSeconds(
  parameters: URLSearchParams,
  rule: SecondsRule,
): { seconds: number; brokenSeconds: string[] } {
  const text = parameters.get("DurationSeconds");
  if (text !== null && !/^\d{1,9}$/.test(text)) {
    throw malformed("DurationSeconds is not an integer");
  }
  const seconds = text === null ? rule.standard : Number(text);
  const { min = MIN_DURATION_SECONDS, max = MAX_DURATION_SECONDS } = rule;
  const rules: [boolean, string][] = [
    [
      seconds < min,
      `Member must have value greater than or equal to ${min}`,
    ],
    [seconds > max, `Member must have value less than or equal to ${max}`],
  ];
  return {
    seconds,
    brokenSeconds: rules.filter(([isBroken]) => isBroken)
      .map(([, rule]) => broken("durationSeconds", String(seconds), rule)),
  };
}

/**
 * One of AWS's sentences about a parameter.
 *
 * @param member AWS's name for its place.
 * @param value What was found there.
 * @param rule What it had to be.
 * @returns The sentence.
 */
export function broken(
  member: string,
  value: string | null,
  rule: string,
): string {
  const shown = value === null ? "null" : `'${value}'`;
  return `Value ${shown} at '${member}' failed to satisfy constraint: ${rule}`;
}

/**
 * Refuses a call that breaks a rule.
 *
 * @param sentences What it breaks; nothing happens if it is empty.
 * @throws {Refusal} `ValidationError` with all of them.
 */
export function refuseBroken(sentences: readonly string[]): void {
  if (sentences.length === 0) return;
  const errors = sentences.length === 1 ? "error" : "errors";
  throw validationError(
    `${sentences.length} validation ${errors} detected: ${
      sentences.join("; ")
    }`,
  );
}

/**
 * Reads a list of structures, such as `Tags.member.1.Key`.
 *
 * @param parameters The call's parameters.
 * @param list The list's name.
 * @param fields The names of a structure's fields.
 * @returns A structure per member, in the order of their numbers; a field that was not sent is null.
 * @throws {Refusal} `MalformedInput` for a name that has another form, or numbers that are not 1, 2, 3 and so on.
 */
export function readStructures<Field extends string>(
  parameters: URLSearchParams,
  list: string,
  fields: readonly Field[],
): Record<Field, string | null>[] {
  const numbers = new Set<number>();
  for (const name of parameters.keys()) {
    if (!name.startsWith(`${list}.`)) continue;
    const [, number, field] = /^\.member\.([1-9]\d{0,3})\.(\w+)$/.exec(
      name.slice(list.length),
    ) ?? [];
    if (!(fields as readonly (string | undefined)[]).includes(field)) {
      throw malformed(`${name} is not a parameter`);
    }
    numbers.add(Number(number));
  }
  return counted(numbers, list).map((number) =>
    Object.fromEntries(
      fields.map((
        field,
      ) => [field, parameters.get(`${list}.member.${number}.${field}`)]),
    ) as Record<Field, string | null>
  );
}

/**
 * Reads a list of texts, such as `TransitiveTagKeys.member.1`.
 *
 * @param parameters The call's parameters.
 * @param list The list's name.
 * @returns The texts, in the order of their numbers.
 * @throws {Refusal} `MalformedInput` as {@link readStructures}.
 */
export function readTexts(parameters: URLSearchParams, list: string): string[] {
  const numbers = new Set<number>();
  for (const name of parameters.keys()) {
    if (!name.startsWith(`${list}.`)) continue;
    const [, number] = /^\.member\.([1-9]\d{0,3})$/.exec(
      name.slice(list.length),
    ) ?? [];
    if (!number) throw malformed(`${name} is not a parameter`);
    numbers.add(Number(number));
  }
  return counted(numbers, list).map((number) =>
    parameters.get(`${list}.member.${number}`) ?? ""
  );
}

function counted(numbers: ReadonlySet<number>, list: string): number[] {
  const sorted = [...numbers].sort((a, b) => a - b);
  if (sorted.some((number, i) => number !== i + 1)) {
    throw malformed(`${list} does not count its members from 1`);
  }
  return sorted;
}

/**
 * Takes a role ARN apart.
 *
 * @param arn The parameter `RoleArn`.
 * @returns Its parts.
 * @throws {Refusal} `ValidationError` if it is none.
 */
export function readRole(arn: string): RoleArn {
  try {
    return parseRoleArn(arn);
  } catch {
    throw validationError(`${arn} is invalid`);
  }
}

/**
 * Checks a duration against the role's bound.
 *
 * @param seconds What was asked for.
 * @param maxSessionSeconds The bound.
 * @throws {Refusal} `ValidationError` if it is longer.
 */
export function checkMaximum(seconds: number, maxSessionSeconds: number): void {
  if (seconds <= maxSessionSeconds) return;
  throw validationError(
    "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
  );
}

/** AWS's name for a parameter's place. */
function member(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}

function malformed(message: string): Refusal {
  return new Refusal(400, "MalformedInput", message);
}
