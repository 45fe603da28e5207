/**
 * What a call takes that opens a role.
 *
 * @module
 */

import type { RoleArn } from "../arn.ts";
import {
  brokenTexts,
  readRole,
  readSeconds,
  refuseBroken,
  ROLE_RULES,
  type TextRule,
} from "./parameters.ts";
import { checkMarks, readMarks, type SessionMarks } from "./session_policy.ts";

/** What a call asks for that opens a role. */
export interface RoleCall {
  /** The role. */
  readonly role: RoleArn;
  /** The session's name. */
  readonly sessionName: string;
  /** How long the session is to be. */
  readonly seconds: number;
  /** Policies and tags. */
  readonly marks: SessionMarks;
}

/** AWS's default for `DurationSeconds`. */
const DEFAULT_SECONDS = 3600;

/**
 * Reads the parameters; as AWS does, checks all of them before it refuses any.
 *
 * @param parameters The call's parameters.
 * @param rules What AWS's model says about further texts.
 * @returns What the call asks for.
 * @throws {Refusal} `ValidationError`, `MalformedInput`, `MalformedPolicyDocument` or `InvalidParameterValue`.
 */
export function readRoleCall(
  parameters: URLSearchParams,
  rules: Readonly<Record<string, TextRule>>,
): RoleCall {
  const { seconds, brokenSeconds } = readSeconds(parameters, {
    standard: DEFAULT_SECONDS,
  });
  const { marks, brokenMarks } = readMarks(parameters);
  refuseBroken([
    ...brokenTexts(parameters, { ...ROLE_RULES, ...rules }),
    ...brokenMarks,
    ...brokenSeconds,
  ]);
  const role = readRole(parameters.get("RoleArn") ?? "");
  checkMarks(marks);
  const sessionName = parameters.get("RoleSessionName") ?? "";
  return { role, sessionName, seconds, marks };
}
