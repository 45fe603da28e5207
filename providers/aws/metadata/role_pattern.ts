/**
 * Which roles containers may name: patterns, and nothing that none of them
 * allows. They are compared with the ARN that a role really has, never with
 * the text by which a container named it.
 *
 * `*` stands for any text within one part, so it ends at `/`, `:` and `@`; `**`
 * goes on over `/`, but not over `:` and `@`. So a pattern for one account never
 * allows a role of another. All other characters stand for themselves.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { RoleArn } from "../arn.ts";
import { isPartition, type Partition } from "../region.ts";
import { quoted } from "./container_role_name.ts";

/** One pattern, taken apart. */
interface RolePattern {
  /** Undefined for the partition of the grant. */
  readonly partition: Glob | undefined;
  /** Of `ACCOUNT:role/PATH/NAME`. */
  readonly rest: Glob;
}

/** Longer than any ARN of a role. */
const MAX_CHARACTERS = 1024;

const PARTITION = /^[a-z*-]{1,32}$/;

/** 12 digits, or fewer and a star. */
const ACCOUNT = /^(?:\d{12}|(?=.{1,13}$)\d*\*[\d*]*)$/;

/** What paths and names are made of; stars as well. */
const PATH_AND_NAME = /^(?:[\x21-\x39\x3b-\x7e]{1,600}\/)?[\w+=,.@*-]{1,128}$/;

const EXAMPLES =
  "such as arn:aws:iam::123456789012:role/app-*, app-*@123456789012 or team/**@123456789012";

/** The roles that containers may name. */
export class RolePatterns {
  readonly #patterns: readonly RolePattern[];

  /**
   * Reads patterns.
   *
   * @param patterns Each an ARN, `NAME@ACCOUNT`, `PATH/NAME@ACCOUNT`, or these
   * without the account, if there is a default one. The forms without a
   * partition mean that of the grant.
   * @param defaultAccount 12 digits.
   * @throws {MoatError} `bad-config` for what is none, naming it.
   */
  constructor(patterns: readonly string[], defaultAccount?: string) {
    this.#patterns = patterns.map((text) => readPattern(text, defaultAccount));
  }

  /**
   * Tells whether a role is allowed.
   *
   * @param role The role, with the account and the path that it really has.
   * @param home The partition of the grant.
   * @returns False unless a pattern allows it. Takes time in proportion to the
   * length of the ARN and of the patterns.
   */
  allow({ arn, partition }: RoleArn, home: Partition): boolean {
    const rest = arn.slice(`arn:${partition}:iam::`.length);
    return this.#patterns.some((pattern) =>
      (pattern.partition?.matches(partition) ?? partition === home) &&
      pattern.rest.matches(rest)
    );
  }
}

function readPattern(text: string, defaultAccount?: string): RolePattern {
  if (text.length > MAX_CHARACTERS) {
    throw bad(text, `at most ${MAX_CHARACTERS} characters`);
  }
  return text.startsWith("arn:")
    ? readArnPattern(text)
    : readNamePattern(text, defaultAccount);
}

function readArnPattern(text: string): RolePattern {
  const parts = text.split(":");
  const [, partition = "", service, region, account = ""] = parts;
  const [, , , , , resource = ""] = parts;
  if (parts.length !== 6) throw bad(text, "6 parts between colons");
  const isKnown = partition.includes("*")
    ? PARTITION.test(partition)
    : isPartition(partition);
  if (!isKnown) throw bad(text, "a partition such as aws or aws-cn");
  if (service !== "iam" || region !== "") {
    throw bad(text, 'the service "iam" and no region');
  }
  if (!resource.startsWith("role/")) {
    throw bad(text, 'a resource that begins with "role/"');
  }
  return {
    partition: new Glob(partition),
    rest: readRest(text, account, resource.slice("role/".length)),
  };
}

function readNamePattern(text: string, defaultAccount?: string): RolePattern {
  const end = text.lastIndexOf("@");
  const account = end < 0 ? defaultAccount : text.slice(end + 1);
  if (account === undefined) {
    throw bad(text, "an account, since there is no default_account");
  }
  const resource = end < 0 ? text : text.slice(0, end);
  return { partition: undefined, rest: readRest(text, account, resource) };
}

function readRest(text: string, account: string, resource: string): Glob {
  if (!ACCOUNT.test(account)) throw bad(text, "an account of 12 digits, or *");
  if (!PATH_AND_NAME.test(resource)) {
    throw bad(text, "a role's name of letters, digits, +=,.@_- and *");
  }
  return new Glob(`${account}:role/${resource}`);
}

function bad(text: string, wanted: string): MoatError {
  return new MoatError(
    "bad-config",
    `Cannot use ${quoted(text)} in roles of [metadata]: wanted ${wanted}`,
    { hint: `give a role's ARN or a pattern, ${EXAMPLES}` },
  );
}

/** A text with stars. */
class Glob {
  /** Single characters, `*` and `**`. */
  readonly #tokens: readonly string[];

  constructor(pattern: string) {
    this.#tokens = pattern.replaceAll(/\*{3,}/g, "**").match(/\*\*|./gs) ?? [];
  }

  /** Goes through all ways of matching at once, so that there is no going back. */
  matches(text: string): boolean {
    let places = this.#from(0);
    for (const char of text) {
      const next = new Set<number>();
      for (const place of places) {
        const token = this.#tokens[place];
        const isTaken = isStar(token) ? isWithin(token, char) : token === char;
        if (!isTaken) continue;
        const after = isStar(token) ? place : place + 1;
        for (const reached of this.#from(after)) next.add(reached);
      }
      if (next.size === 0) return false;
      places = next;
    }
    return places.has(this.#tokens.length);
  }

  /** A place, and those after its stars, each of which may be nothing. */
  #from(place: number): Set<number> {
    const places = new Set([place]);
    while (isStar(this.#tokens[place])) places.add(++place);
    return places;
  }
}

function isStar(token: string | undefined): token is "*" | "**" {
  return token === "*" || token === "**";
}

function isWithin(star: "*" | "**", char: string): boolean {
  return !(star === "*" ? "/:@" : ":@").includes(char);
}
