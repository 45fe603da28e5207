/**
 * A client of an instance metadata service that is nothing but curl, so that
 * it runs wherever a container or a network namespace is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseAnswers, type RawAnswer } from "./raw_http.ts";
import type { RunResult } from "./run.ts";

/** Where metadata services are. */
export const IMDS = "http://169.254.169.254";

/** The path of role names, as most SDKs spell it. */
export const ROLES = "/latest/meta-data/iam/security-credentials/";

/** One request. */
export interface Asked {
  /** Default: GET. */
  readonly method?: string;
  /** Sent as it is. */
  readonly path: string;
  /** Instead of the path in the request line, such as a whole URL. */
  readonly target?: string;
  /** Added to Host. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a metadata service says of a role. */
export interface ImdsCredentials {
  readonly Code: string;
  readonly LastUpdated: string;
  readonly Type: string;
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly Token: string;
  readonly Expiration: string;
}

/** What an SDK would have got. */
export interface Served {
  /** The role's name, as it was listed. */
  readonly role: string;
  /** Its session. */
  readonly credentials: ImdsCredentials;
}

/** Which version of the protocol a client speaks. */
export type ImdsVersion = "v1" | "v2";

/** Asks for the role and its session, as SDKs do; stops at the first failure. */
const WALK = `
base=$1; version=$2; shift 2
if [ $version = v2 ]; then
  token=$(curl "$@" -gqsSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' "$base/latest/api/token")
  set -- "$@" -H "X-aws-ec2-metadata-token: $token"
fi
role=$(curl "$@" -gqsSf "$base${ROLES}") || role=
[ -n "$role" ] || exec curl "$@" -gqsSi "$base${ROLES}"
curl "$@" -gqsSi "$base${ROLES}" "$base${ROLES}$role"`;

/** Never longer than this, whatever is wrong. */
const PATIENCE = ["--max-time", "8"];

/** Asks from one place. */
export class ImdsClient {
  /**
   * Makes a client.
   *
   * @param exec Runs a command where the client is.
   * @param base Base URL of the service. Default: {@link IMDS}.
   * @param flags Added to curl's, such as `--interface`.
   */
  constructor(
    readonly exec: (argv: readonly string[]) => Promise<RunResult>,
    readonly base: string = IMDS,
    readonly flags: readonly string[] = [],
  ) {}

  /**
   * Sends requests one after another, on one connection if it may stay open.
   *
   * @returns Their answers.
   */
  async ask(...requests: readonly Asked[]): Promise<RawAnswer[]> {
    const words = requests.flatMap((asked, index) => [
      ...index > 0 ? ["--next"] : [],
      ...this.#curl(asked),
    ]);
    const { code, stdout, stderr } = await this.exec(["curl", ...words]);
    assert.equal(code, 0, stderr);
    const answers = parseAnswers(stdout);
    assert.equal(answers.length, requests.length, stdout);
    return answers;
  }

  /** Sends one request. */
  async get(
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<RawAnswer> {
    const [answer] = await this.ask({ path, headers });
    assert(answer);
    return answer;
  }

  /** Fetches a session token of version 2. */
  async token(ttl = "21600"): Promise<string> {
    const [answer] = await this.ask({
      method: "PUT",
      path: "/latest/api/token",
      headers: { "X-aws-ec2-metadata-token-ttl-seconds": ttl },
    });
    assert.equal(answer?.status, 200, answer?.body);
    return answer.body;
  }

  /**
   * Asks for a session as SDKs do.
   *
   * @returns The answers: the list, and the session unless the list failed.
   */
  async walk(version: ImdsVersion = "v2"): Promise<RawAnswer[]> {
    const flags = [...this.flags, ...PATIENCE];
    const script = ["sh", "-uc", WALK, "sh", this.base, version, ...flags];
    const { code, stdout, stderr } = await this.exec(script);
    assert.equal(code, 0, stderr);
    return parseAnswers(stdout);
  }

  /** As {@link walk}, and there must be a session. */
  async credentials(version: ImdsVersion = "v2"): Promise<Served> {
    const [list, session] = await this.walk(version);
    assert.equal(list?.status, 200, list?.body);
    assert.equal(session?.status, 200, session?.body);
    const credentials: ImdsCredentials = JSON.parse(session.body);
    assert.equal(credentials.Code, "Success");
    return { role: list.body, credentials };
  }

  /** As {@link walk}, and there must be none; gives the answer that said so. */
  async refusal(version: ImdsVersion = "v2"): Promise<RawAnswer> {
    const last = (await this.walk(version)).at(-1);
    assert(last, "wanted an answer");
    assert.notEqual(last.status, 200, "wanted a refusal, found a session");
    assert.doesNotMatch(last.body, /ASIA|SecretAccessKey/);
    return last;
  }

  #curl({ method = "GET", path, target, headers = {} }: Asked): string[] {
    const fields = Object.entries(headers).flatMap(([name, value]) => [
      "--header",
      value === "" ? `${name};` : `${name}: ${value}`,
    ]);
    return [
      ...["-gqsSi", "--path-as-is", ...PATIENCE, ...this.flags],
      ...method === "GET" ? [] : ["--request", method],
      ...target === undefined ? [] : ["--request-target", target],
      ...[...fields, this.base + path],
    ];
  }
}
