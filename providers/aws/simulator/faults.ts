/**
 * Faults that the simulator makes on purpose, and counts of calls.
 *
 * @module
 */

import * as v from "valibot";
import { usageError } from "$core/errors.ts";

/** The kinds of fault, with what each does. */
export const FAULTS = {
  "500": "answers that something failed inside",
  "503": "answers that the service is not available",
  throttle: "answers that there were too many calls",
  garbage: "answers 200 with text that is no answer",
  empty: "answers 200 with nothing",
  hang: "never answers",
  reset: "closes the connection without an answer",
  expired: "answers with a session that has ended",
  "idp-error": "AssumeRoleWithWebIdentity: the identity provider is away",
} as const;

/** A kind of fault. */
export type FaultKind = keyof typeof FAULTS;

/** A fault that is to be made. */
export interface Fault {
  /** What goes wrong. */
  readonly kind: FaultKind;
  /** How many calls it is made to. Default: all from now on. */
  readonly count?: number;
  /** The only action that it is made to, such as `AssumeRole`. Default: all. */
  readonly action?: string;
}

/** All that is to go wrong. */
export interface FaultPlan {
  /** The first that fits a call is made. */
  readonly faults: readonly Fault[];
  /** How late every answer is, in ms. */
  readonly delayMs: number;
}

/** Longer than any client waits. */
const MAX_DELAY_MS = 600_000;

const KINDS = Object.keys(FAULTS) as FaultKind[];

/** The only actions that answer with a session. */
const VENDING: ReadonlySet<string> = new Set([
  "AssumeRole",
  "AssumeRoleWithWebIdentity",
  "GetSessionToken",
  "CreateSession",
]);

const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

const PlanSchema = v.strictObject({
  faults: v.optional(
    v.array(v.strictObject({
      kind: v.picklist(KINDS),
      count: v.exactOptional(Count),
      action: v.exactOptional(v.string()),
    })),
    [],
  ),
  delayMs: v.optional(
    v.pipe(
      v.number(),
      v.safeInteger(),
      v.minValue(0),
      v.maxValue(MAX_DELAY_MS),
    ),
    0,
  ),
});

/**
 * Reads a plan that a client sent.
 *
 * @param value `{"faults": [{"kind", "count"?, "action"?}], "delayMs"}`; both may be left out.
 * @returns The plan, or a sentence that says what is wrong with it.
 */
export function readPlan(value: unknown): FaultPlan | string {
  const result = v.safeParse(PlanSchema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  return `${v.getDotPath(issue) ?? "The body"}: ${issue.message}`;
}

/**
 * Parses a fault of the command line.
 *
 * @param text `KIND` or `KIND:COUNT`.
 * @returns The fault.
 * @throws {MoatError} `usage` for anything else.
 */
export function parseFault(text: string): Fault {
  const [, kind, count] = /^([a-z0-9-]+)(?::([1-9]\d{0,8}))?$/.exec(text) ?? [];
  const known = KINDS.find((name) => name === kind);
  if (!known) {
    throw usageError(
      `Cannot make the fault ${
        JSON.stringify(text)
      }: wanted KIND or KIND:COUNT`,
      `the kinds are ${KINDS.join(", ")}`,
    );
  }
  return { kind: known, ...count && { count: Number(count) } };
}

/**
 * Parses a delay of the command line.
 *
 * @param text Such as `250ms`, `2s` or `1m`.
 * @returns In ms, 10 minutes at most.
 * @throws {MoatError} `usage` for anything else.
 */
export function parseDelay(text: string): number {
  const [, number, unit] = /^(\d{1,6})(ms|s|m)$/.exec(text) ?? [];
  const scale = { ms: 1, s: 1000, m: 60_000 }[unit ?? ""] ?? NaN;
  const delayMs = Number(number) * scale;
  if (delayMs <= MAX_DELAY_MS) return delayMs;
  throw usageError(
    `Cannot delay answers by ${JSON.stringify(text)}: wanted at most 10m`,
    "such as 250ms, 2s or 1m",
  );
}

/** The faults that are still to be made, and how often each action was called. */
export class Faults {
  #plan: FaultPlan;
  readonly #calls = new Map<string, number>();

  /**
   * Starts with a plan.
   *
   * @param plan What is to go wrong.
   */
  constructor(plan: FaultPlan) {
    this.#plan = plan;
  }

  /** What is still to go wrong. */
  get plan(): FaultPlan {
    return this.#plan;
  }

  /** Puts another plan in place of what is left of the old one. */
  set plan(plan: FaultPlan) {
    this.#plan = plan;
  }

  /** How often each action was called, faults included. */
  get calls(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#calls);
  }

  /**
   * Counts a call and decides what goes wrong with it.
   *
   * @param action One of the services' own actions, or `other`.
   * @returns The fault, if there is one, and how late the answer is, in ms.
   */
  next(action: string): { kind: FaultKind | undefined; delayMs: number } {
    this.#calls.set(action, (this.#calls.get(action) ?? 0) + 1);
    const { faults, delayMs } = this.#plan;
    const fault = faults.find((fault) => fits(fault, action));
    if (fault?.count !== undefined) {
      const left = { ...fault, count: fault.count - 1 };
      this.#plan = {
        delayMs,
        faults: faults.flatMap((other) =>
          other !== fault ? [other] : left.count > 0 ? [left] : []
        ),
      };
    }
    return { kind: fault?.kind, delayMs };
  }
}

function fits({ kind, action }: Fault, called: string): boolean {
  if (action !== undefined && action !== called) return false;
  if (kind === "expired") return VENDING.has(called);
  return kind !== "idp-error" || called === "AssumeRoleWithWebIdentity";
}
