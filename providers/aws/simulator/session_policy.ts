/**
 * Session policies, session tags, and how much of AWS's space they fill.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html | Pass session tags in AWS STS}
 */

import { deflateRawSync } from "node:zlib";
import { parseJson } from "$core/json.ts";
import type { SessionContext, Tag } from "./keys.ts";
import {
  broken,
  brokenText,
  readStructures,
  readTexts,
  type TextRule,
} from "./parameters.ts";
import { Refusal, validationError } from "./refusal.ts";

/** What narrows and marks a session. */
export interface SessionMarks {
  /** Inline session policy. */
  readonly policy: string | null;
  /** ARNs of managed session policies. */
  readonly policyArns: readonly string[];
  /** Session tags. */
  readonly tags: readonly Tag[];
  /** Keys of the tags that pass on. */
  readonly transitiveKeys: readonly string[];
}

const MAX_POLICY_ARNS = 10;
const MAX_TAGS = 50;
const ARN_RULE: TextRule = { required: true, min: 20, max: 2048 };
const KEY_RULE: TextRule = {
  required: true,
  min: 1,
  max: 128,
  pattern: String.raw`[\p{L}\p{Z}\p{N}_.:/=+\-@]+`,
};
const VALUE_RULE: TextRule = {
  required: true,
  min: 0,
  max: 256,
  pattern: String.raw`[\p{L}\p{Z}\p{N}_.:/=+\-@]*`,
};
const POLICY_ARN =
  /^arn:aws(?:-[a-z]+)*:iam::(?:aws|\d{12}):policy\/[\w+=,.@\/-]{1,640}$/;

/**
 * AWS does not say how it packs. Nine tags of 252 characters were seen to fill
 * 498 % of the space: 455 bytes of tags fill it.
 */
const TAG_BYTES = 455;

/** A guess: a policy of 2,048 characters seldom fills the space alone. */
const POLICY_BYTES = 1024;

/**
 * Reads policies and tags.
 *
 * @param parameters The call's parameters.
 * @returns What was found, and AWS's sentences about broken rules of its model.
 * @throws {Refusal} `MalformedInput` for a list of another form.
 */
export function readMarks(
  parameters: URLSearchParams,
): { marks: SessionMarks; brokenMarks: string[] } {
  const arns = readStructures(parameters, "PolicyArns", ["arn"]);
  const tags = readStructures(parameters, "Tags", ["Key", "Value"]);
  const keys = readTexts(parameters, "TransitiveTagKeys");
  const marks = {
    policy: parameters.get("Policy"),
    policyArns: arns.map(({ arn }) => arn ?? ""),
    tags: tags.map(({ Key, Value }) => ({
      key: Key ?? "",
      value: Value ?? "",
    })),
    transitiveKeys: keys,
  };
  const brokenMarks = [
    ...tooMany("policyArns", marks.policyArns, MAX_POLICY_ARNS),
    ...tooMany("tags", marks.tags.map(({ key }) => key), MAX_TAGS),
    ...tooMany("transitiveTagKeys", keys, MAX_TAGS),
    ...arns.flatMap(({ arn }, i) =>
      brokenText(`policyArns.${i + 1}.member.arn`, arn, ARN_RULE)
    ),
    ...tags.flatMap(({ Key, Value }, i) => [
      ...brokenText(`tags.${i + 1}.member.key`, Key, KEY_RULE),
      ...brokenText(`tags.${i + 1}.member.value`, Value, VALUE_RULE),
    ]),
  ];
  return { marks, brokenMarks };
}

function tooMany(
  member: string,
  found: readonly string[],
  max: number,
): string[] {
  if (found.length <= max) return [];
  const rule = `Member must have length less than or equal to ${max}`;
  return [broken(member, `[${found.join(", ")}]`, rule)];
}

/**
 * Checks what the model's rules do not say.
 *
 * @param marks Policies and tags.
 * @throws {Refusal} `MalformedPolicyDocument`, `ValidationError` for a policy's ARN, or `InvalidParameterValue` for tags.
 */
export function checkMarks(marks: SessionMarks): void {
  if (marks.policy !== null) checkPolicy(marks.policy);
  const bad = marks.policyArns.find((arn) => !POLICY_ARN.test(arn));
  if (bad !== undefined) throw validationError(`ARN ${bad} is not valid.`);
  checkTags(marks);
}

function checkPolicy(policy: string): void {
  const document = parseJson(policy);
  if (document === undefined) {
    throw malformedPolicy("The policy is not in the valid JSON format.");
  }
  if (
    typeof document !== "object" || document === null ||
    !Object.hasOwn(document, "Statement")
  ) {
    throw malformedPolicy("Syntax errors in policy.");
  }
}

function checkTags({ tags, transitiveKeys }: SessionMarks): void {
  const keys = new Set(tags.map(({ key }) => key.toLowerCase()));
  if ([...keys].some((key) => key.startsWith("aws:"))) {
    throw badTag("System tags cannot be added/updated by requester");
  }
  if (keys.size < tags.length) {
    throw badTag(
      "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    );
  }
  if (!transitiveKeys.every((key) => keys.has(key.toLowerCase()))) {
    throw badTag(
      "The specified transitive tag key must be included in the requested tags.",
    );
  }
}

/**
 * Joins a call's transitive tags with those that its caller passes on.
 *
 * @param marks The call's tags.
 * @param caller The session that calls, if it is one.
 * @returns All that the new session passes on.
 * @throws {Refusal} `InvalidParameterValue` if a tag of the call has an inherited one's key.
 */
export function passOn(
  { tags, transitiveKeys }: SessionMarks,
  caller: SessionContext | undefined,
): Tag[] {
  const inherited = caller?.transitiveTags ?? [];
  const taken = new Set(inherited.map(({ key }) => key.toLowerCase()));
  if (tags.some(({ key }) => taken.has(key.toLowerCase()))) {
    throw badTag(
      "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
    );
  }
  const chosen = new Set(transitiveKeys.map((key) => key.toLowerCase()));
  return [
    ...inherited,
    ...tags.filter(({ key }) => chosen.has(key.toLowerCase())),
  ];
}

/**
 * How much of AWS's space policies and tags fill, which AWS measures in a
 * packed form of its own: an estimate.
 *
 * @param marks Policies and tags.
 * @returns Per cent, or undefined if there are none.
 * @throws {Refusal} `PackedPolicyTooLarge` for more than 100.
 */
export function packedSize(
  { policy, policyArns, tags }: SessionMarks,
): number | undefined {
  if (policy === null && policyArns.length === 0 && tags.length === 0) return;
  const policies = policy === null && policyArns.length === 0
    ? 0
    : deflateRawSync([minify(policy ?? ""), ...policyArns].join("\n")).length;
  const bytes = tags.reduce(
    (sum, { key, value }) => sum + utf8Length(key) + utf8Length(value),
    0,
  );
  const share = policies / POLICY_BYTES + bytes / TAG_BYTES;
  const percent = Math.max(1, Math.round(share * 100));
  if (percent <= 100) return percent;
  throw new Refusal(
    400,
    "PackedPolicyTooLarge",
    bytes > 0
      ? `Packed size of session tags consumes ${percent}% of allotted space.`
      : `Packed policy consumes ${percent}% of allotted space, please use smaller policy.`,
  );
}

/** White space between a policy's words is not packed. */
function minify(policy: string): string {
  return policy === "" ? "" : JSON.stringify(JSON.parse(policy));
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}

function malformedPolicy(message: string): Refusal {
  return new Refusal(400, "MalformedPolicyDocument", message);
}

function badTag(message: string): Refusal {
  return new Refusal(400, "InvalidParameterValue", message);
}
