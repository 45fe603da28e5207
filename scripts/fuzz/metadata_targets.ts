/**
 * Fuzzing of instance metadata: paths, session tokens, what containers name as
 * their roles, the patterns that allow them, and go-metadataproxy's environment.
 *
 * @module
 */

import assert from "node:assert/strict";
import { isIP } from "node:net";
import type { ContainerFacts } from "$core/container.ts";
import { MoatError } from "$core/errors.ts";
import { UNPRINTABLE } from "$core/text.ts";
import { engineSockets } from "$proxy/containers/engine_sockets.ts";
import { readCompatibleEnv } from "$proxy/metadata/compatible_env.ts";
import { parseRoleArn, type RoleArn } from "$providers/aws/arn.ts";
import { readCacheOffset } from "$providers/aws/metadata/cache_offset.ts";
import {
  type ContainerRole,
  ContainerRoles,
} from "$providers/aws/metadata/container_role.ts";
import {
  parseRoleName,
  roleArnOf,
} from "$providers/aws/metadata/container_role_name.ts";
import {
  FIRST_WITH_ROLES,
  type MetadataPath,
  parsePath,
  VERSIONS,
} from "$providers/aws/metadata/paths.ts";
import { RolePatterns } from "$providers/aws/metadata/role_pattern.ts";
import {
  MAX_TOKENS,
  MAX_TTL_SECONDS,
  readTtl,
} from "$providers/aws/metadata/tokens.ts";
import { type Partition, PARTITIONS } from "$providers/aws/region.ts";
import { SOURCE_KINDS, writeSettings } from "$providers/aws/settings.ts";
import { type Target, toText } from "./engine.ts";
import { isLike, TokenModel } from "./metadata_models.ts";

const utf8 = new TextDecoder();

/** What the host itself has set: its own terminal shows it as it wrote it. */
const OWN = ["bad-config", "bad-environment", "usage"];

/** What a {@link MoatError} is called; anything else is a crash. */
function refusal(error: unknown, ...codes: readonly string[]): string {
  if (!(error instanceof MoatError)) throw error;
  const { code, message, hint = "" } = error;
  assert(codes.includes(code), `code ${code}`);
  // deno-lint-ignore no-control-regex
  const bad = OWN.includes(code) ? /[\0-\x1f]/ : UNPRINTABLE;
  assert.equal(message.search(bad), -1, "the error is not one line");
  assert(message.length < 1000, "the error is too long");
  return `${code} ${hint.slice(0, 12)}`;
}

const IAM = "/latest/meta-data/iam";

/** Whatever names a resource is one of few spellings of it, to every reader. */
const PATH: Target = {
  name: "metadata-path",
  seeds: [
    ...["/", "/latest/api/token", `${IAM}/info`, `${IAM}/info/more`],
    ...[
      `${IAM}/security-credentials`,
      `${IAM}/security-credentials/`,
      `${IAM}/security-credentials/app`,
      `${IAM}/security-credentials//app/`,
      `${IAM}/security-credentials/a+=,.@-_b`,
      `${IAM}/security-credentials/..`,
    ],
    "/latest/meta-data/placement/region",
    "/2021-07-15/meta-data/placement/availability-zone/",
    "/1.0/dynamic/instance-identity/document",
    "/latest/user-data",
    "http://169.254.169.254/latest/meta-data/",
  ],
  dictionary: [
    ...["/", "//", ".", "..", "/../", "/./", "%2e", "%2f", "%41", "%", "\\"],
    ...["?", "#", ";", "@", ":", " ", "\0", "\r\n", "\xff", "a".repeat(64)],
    ...["api/token", "meta-data/", "iam/", "info", "security-credentials/"],
    ...["LATEST", "2012-01-12", "2011-05-01", "9999-01-01", "latest/", "app"],
  ],
  run(input) {
    const text = toText(input);
    const kinds = [false, true].map((isCompatible) => {
      const path = parsePath(text, isCompatible);
      checkPath(text, path, isCompatible);
      return path.resource?.kind ?? "none";
    });
    return `${kinds.join(" ")} ${text.split("/").length}`;
  },
};

function checkPath(text: string, path: MetadataPath, isCompatible: boolean) {
  const { version, resource } = path;
  assert([...VERSIONS, "other"].includes(version));
  if (!resource) return;
  assert.match(text, /^\/[\w+=,.@:/-]*$/);
  // A reader with a URL parser finds the same path.
  assert.equal(new URL(`http://169.254.169.254${text}`).pathname, text);
  if (isCompatible && resource.kind !== "versions") {
    assert(version >= FIRST_WITH_ROLES);
  }
  const plain = pathOf(path);
  assert.deepEqual(parsePath(plain, isCompatible), path);
  const spellings = [plain, `${plain}/`];
  if (resource.kind === "credentials") {
    const doubled = plain.replace(/\/(?=[^/]+$)/, "//");
    spellings.push(doubled, `${doubled}/`);
  }
  const isMore = isCompatible && resource.kind === "info" &&
    /^\/[^/]+$/.test(text.slice(plain.length));
  assert(spellings.includes(text) || isMore, "another spelling");
}

/** The one spelling that is documented, without a final slash. */
function pathOf({ version, resource }: MetadataPath): string {
  const rests = {
    "versions": "",
    "token": "api/token",
    "info": "meta-data/iam/info",
    "role-name": "meta-data/iam/security-credentials",
    "credentials": "meta-data/iam/security-credentials/",
    "region": "meta-data/placement/region",
    "availability-zone": "meta-data/placement/availability-zone",
    "identity-document": "dynamic/instance-identity/document",
  };
  if (!resource || resource.kind === "versions") return "/";
  const role = resource.kind === "credentials" ? resource.role : "";
  return `/${version}/${rests[resource.kind]}${role}`;
}

/** More than a client may have tokens. */
const MAX_STEPS = 64;

/** Two bytes for a step: tokens do what a list of them would. */
const TOKENS: Target = {
  name: "session-tokens",
  seeds: [
    "m\x05p\x04p\x01",
    "m\x01m\xffs\x80p\x01s\x10",
    "m\x05".repeat(MAX_TOKENS + 1),
    "m\x01".repeat(MAX_TOKENS) + "p\x01m\x05",
    "1",
    "21600",
    "60,60",
  ],
  dictionary: [
    ...["m\x01", "m\x1e", "p\x00", "p\x01", "p\x3c", "s\x00", "s\x80", "s\xff"],
    ...["0", "21601", "+", "e1", "m\x02".repeat(MAX_TOKENS)],
  ],
  run(input) {
    const ttl = checkTtl(toText(input));
    const model = new TokenModel();
    const { tokens, made } = model;
    const others = model.newTokens();
    for (let at = 0; at + 1 < Math.min(input.length, MAX_STEPS * 2); at += 2) {
      const step = String.fromCharCode(input[at]!);
      const value = input[at + 1]!;
      if (step === "p") model.pass(value * 100);
      if (step === "s") model.wall += (value - 128) * 1000;
      if (step === "m") model.mint(value + 1);
      else model.check();
    }
    model.check();
    assert(tokens.size <= MAX_TOKENS);
    for (const { token } of made.slice(-3)) {
      assert.match(token, /^[\w-]{43}$/);
      assert.equal(others.find(token), undefined);
      assert.equal(tokens.find(`${token}=`), undefined);
    }
    const live = made.filter(({ hasEnded }) => !hasEnded).length;
    return `${ttl} ${made.length} ${live} ${made.at(-1)?.hasEnded}`;
  },
};

/** Whether a text is a life, which it is in plain digits only. */
function checkTtl(text: string): boolean {
  const ttl = readTtl([text]);
  assert.equal(readTtl([text, text]), undefined);
  if (ttl === undefined) return false;
  assert(ttl >= 1 && ttl <= MAX_TTL_SECONDS);
  assert.equal(text.replace(/^0+/, ""), String(ttl));
  return true;
}

const ACCOUNT = "123456789012";
const ROLE = `arn:aws:iam::${ACCOUNT}:role/app`;

const ROLE_WORDS = [
  ...["arn:", "aws", "aws-cn", "aws-us-gov", ":iam::", ":role/", ":user/"],
  ...["role/", "/", "//", ":", "::", "@", "@@", "*", "**", "***", "app", "a*"],
  ...[ACCOUNT, "999999999999", "12345678901", `@${ACCOUNT}`, "\n", "\r", " "],
  ...["\0", "\t", "\x1b[31m", "\u202e", "é", "٣", "x".repeat(64)],
];

/** Each as the bytes of its UTF-8. */
function bytesOf(...texts: readonly string[]): string[] {
  return texts.map((text) => toText(new TextEncoder().encode(text)));
}

/** A role is what its text says, and nothing else. */
const ROLE_NAME: Target = {
  name: "role-name",
  seeds: bytesOf(
    ...["app", `app@${ACCOUNT}`, `team/app@${ACCOUNT}`, `a@b@${ACCOUNT}`],
    ...["a/b/c/app", ROLE, `arn:aws-cn:iam::${ACCOUNT}:role/x/y/app`, "", "@"],
  ),
  dictionary: bytesOf(...ROLE_WORDS),
  run(input) {
    const text = utf8.decode(input);
    try {
      return checkRoleName(text);
    } catch (error) {
      assert.doesNotMatch(text, /^[\w+=,.@-]{1,64}@\d{12}$/);
      return refusal(error, "bad-role");
    }
  },
};

function checkRoleName(text: string): string {
  const name = parseRoleName(text);
  assert(!text.includes("*"));
  assert.match(text, /^[!-~]+$/);
  if (name.arn) {
    assert.equal(name.arn.arn, text);
    assert.deepEqual(parseRoleArn(text), name.arn);
    return `arn ${name.arn.partition} ${text.split("/").length}`;
  }
  const { resource, roleName, account } = name;
  const again = account === undefined ? resource : `${resource}@${account}`;
  assert.equal(again, text);
  const arn = parseRoleArn(
    roleArnOf("aws", { resource, account: account ?? ACCOUNT }),
  );
  assert.equal(arn.roleName, roleName);
  assert(resource === roleName || resource.endsWith(`/${roleName}`));
  return `name ${account?.length} ${resource.split("/").length}`;
}

/** What allows a role: two lines, a pattern and a role's ARN. */
const ROLE_PATTERN: Target = {
  name: "role-pattern",
  seeds: bytesOf(
    ...[`${ROLE}\n${ROLE}`, `app-*\narn:aws:iam::${ACCOUNT}:role/app-web`],
    `team/**@${ACCOUNT}\narn:aws-cn:iam::${ACCOUNT}:role/team/a/b`,
    `arn:aws*:iam::9*:role/**/*b*\narn:aws:iam::999999999999:role/a/abc`,
    `*@*\narn:aws:iam::${ACCOUNT}:role/a`,
  ),
  dictionary: bytesOf(...ROLE_WORDS),
  run(input) {
    const [pattern = "", text = ""] = utf8.decode(input).split("\n");
    const role = roleOf(text);
    if (!role) return "no role";
    try {
      const said = PARTITIONS.map(({ name: home }) => {
        const is = allows([pattern], role.arn, home);
        assert.equal(is, couldMean(pattern, role.arn, home));
        return is;
      });
      return `${said} ${pattern.split("*").length} ${text.split("/").length}`;
    } catch (error) {
      return refusal(error, "bad-config");
    }
  },
};

function roleOf(text: string): RoleArn | undefined {
  try {
    return parseRoleArn(text);
  } catch (error) {
    assert(error instanceof MoatError);
    return undefined;
  }
}

function allows(patterns: readonly string[], arn: string, home: Partition) {
  return new RolePatterns(patterns, ACCOUNT).allow(parseRoleArn(arn), home);
}

/** The same, by one comparison of whole ARNs. */
function couldMean(pattern: string, arn: string, home: string): boolean {
  const end = pattern.lastIndexOf("@");
  const [resource, account] = end < 0
    ? [pattern, ACCOUNT]
    : [pattern.slice(0, end), pattern.slice(end + 1)];
  const whole = pattern.startsWith("arn:")
    ? pattern
    : `arn:${home}:iam::${account}:role/${resource}`;
  return isLike(whole, arn);
}

const GRANT = {
  provider: "aws",
  name: "aws",
  createdAt: 0,
  settings: writeSettings({
    roles: [],
    direct: true,
    region: "us-gov-west-1",
    durationSeconds: 3600,
    source: {
      order: SOURCE_KINDS,
      configFile: "/proc/nonexistent/config",
      credentialsFile: "/proc/nonexistent/credentials",
      instanceDisabled: true,
    },
  }),
};

const NAMES = ["IAM_ROLE", "IAM_EXTERNAL_ID", "IAM_POLICY", "IAM_SESSION_NAME"];

/** Must be in no error: nobody knows what it is. */
const CANARY = "do-not-show-this";

const POLICY = `{"Version": "2012-10-17", "Statement": []}`;

/**
 * What a container says of itself: a line for the patterns, then one for each
 * of the names, begun with `l` for a label or `v` for a variable.
 */
const CONTAINER: Target = {
  name: "container-role",
  seeds: bytesOf(
    `app app-* team/**\nlapp\nv${CANARY}\nl${POLICY}\nvweb {user}`,
    `arn:aws:iam::*:role/**\nvarn:aws:iam::${ACCOUNT}:role/app`,
    `app@*\nlapp@999999999999\nl${CANARY}\nv${CANARY}\nl`,
    `\nlapp`,
    "*\nv\n\n",
  ),
  dictionary: bytesOf(
    ...ROLE_WORDS,
    ...["\nl", "\nv", CANARY, '{"Statement":', "[]", "}", '"', "\\u0022"],
    ...["{container}", "{binding}", "y".repeat(65), "\x1b"],
  ),
  run(input) {
    const [patterns = "", ...said] = utf8.decode(input).split("\n");
    const values = said.slice(0, NAMES.length).map((line) => line.slice(1));
    const facts = factsOf(said);
    try {
      const found = rolesOf(patterns.split(" ")).find(facts, GRANT);
      assert(!(found instanceof Promise), "the account is known");
      checkRole(found, patterns.split(" "), values);
      return `found ${Object.keys(found).length} ${found.role.length >> 4}`;
    } catch (error) {
      const codes = ["bad-config", "bad-role", "role-not-allowed", "no-role"];
      const outcome = refusal(error, ...codes);
      const { message, hint = "" } = error as MoatError;
      // Names of roles are shown.
      const isNamed = `${patterns} ${values[0]}`.includes(CANARY);
      assert(isNamed || !`${message} ${hint}`.includes(CANARY));
      return outcome;
    }
  },
};

function factsOf(said: readonly string[]): ContainerFacts {
  const some = (kind: string) =>
    Object.fromEntries(
      NAMES.flatMap((name, i) =>
        said[i]?.startsWith(kind) ? [[name, said[i].slice(1)]] : []
      ),
    );
  return {
    id: "0123456789abcdef".repeat(4),
    name: "web",
    image: "web:1",
    env: some("v"),
    labels: some("l"),
    startedAt: "2026-01-01T00:00:00Z",
  };
}

function rolesOf(roles: readonly string[]): ContainerRoles {
  return new ContainerRoles({
    platform: { clock: NO_CLOCK },
    engine: { findRole: () => Promise.reject(new Error("asked IAM")) },
    settings: { roles, defaultAccount: ACCOUNT },
  });
}

/** Only look-ups need one. */
const NO_CLOCK = { now: () => 0, after: () => () => {} };

function checkRole(
  found: ContainerRole,
  patterns: readonly string[],
  [named = "", externalId, policy]: readonly string[],
): void {
  const { role, roleName, sessionName = "" } = found;
  assert.equal(parseRoleArn(role).roleName, roleName);
  const full = named.includes("@") && /@\d{12}$/.test(named)
    ? named
    : `${named}@${ACCOUNT}`;
  const [, resource, account] = /^(.*)@(\d{12})$/.exec(full) ?? [];
  const wanted = named.startsWith("arn:")
    ? named
    : `arn:aws-us-gov:iam::${account}:role/${resource}`;
  assert.equal(role, wanted);
  assert(patterns.some((one) => couldMean(one, role, "aws-us-gov")));
  assert.match(sessionName, /^(?:\{container\}-)?[\w+=,.@-]{2,64}$/);
  if (found.externalId !== undefined) {
    assert.equal(found.externalId, externalId);
  }
  if (found.policy === undefined) return;
  assert(found.policy.length <= 2048);
  assert.deepEqual(JSON.parse(found.policy), JSON.parse(policy ?? ""));
}

/** Go-metadataproxy's variables, a line each. */
const ENVIRONMENT: Target = {
  name: "compatible-environment",
  seeds: bytesOf(
    "HOST=0.0.0.0\nPORT=8000\nLOG_LEVEL=INFO\nLOG_FORMAT=gelf",
    `HOST=::1\nDEFAULT_ROLE=app\nDEFAULT_ACCOUNT_ID=${ACCOUNT}`,
    "DOCKER_URL=unix://var/run/docker.sock\nROLE_CACHE_OFFSET=5m30s",
    "DOCKER_HOST=unix:///run/podman/podman.sock\nENABLE_PROMETHEUS=1",
    "STATSD_ADDR=127.0.0.1:8125\nSTATSITE_ADDR=[::1]:8125\nDATADOG_ADDR=:1",
    "COPY_DOCKER_LABELS=a, b,,a\nCOPY_DOCKER_ENV=C\nLABEL_SEPARATOR=.",
  ),
  dictionary: bytesOf(
    ...["HOST=", "PORT=", "LOG_LEVEL=", "LOG_FORMAT=", "DOCKER_HOST="],
    ...["DOCKER_URL=", "STATSD_ADDR=", "DATADOG_ADDR=", "COPY_DOCKER_LABELS="],
    ...["ROLE_CACHE_OFFSET=", "ENABLE_PROMETHEUS=", "LABEL_SEPARATOR=", "\n"],
    ...["constructor", "toString", "__proto__", "TRACE", "json", "localhost"],
    ...["65535", "65536", "-1", "0x1f", "1e3", "[", "]", ":", "::", "\u202e"],
    ...["unix://", "unix:///", "tcp://u:p@h:1", "//", "..", ",", " , ", "\0"],
    ...["h", "ms", "µs", "ns", ".5", "9".repeat(12), "-"],
  ),
  run(input) {
    const env = Object.fromEntries(
      utf8.decode(input).split("\n").map((line) => {
        const end = line.indexOf("=");
        return [line.slice(0, Math.max(end, 0)), line.slice(end + 1)];
      }),
    );
    return [readEnvironment, readSockets, readOffset].map((read) => {
      try {
        return read(env);
      } catch (error) {
        return refusal(error, "usage", "bad-environment");
      }
    }).join(" ");
  },
};

type Env = Readonly<Record<string, string>>;

function readEnvironment(env: Env): string {
  const found = readCompatibleEnv(env);
  const { address, telemetry } = found;
  assert(isIP(address.hostname) > 0);
  assert(isPort(address.port));
  assert(["debug", "info", "warn", "error"].includes(found.logLevel));
  assert(["text", "json", "gelf"].includes(found.logFormat));
  const lists = [
    [telemetry.copy.labels, env["COPY_DOCKER_LABELS"]],
    [telemetry.copy.env, env["COPY_DOCKER_ENV"]],
  ] as const;
  for (const [names, text = ""] of lists) {
    assert.equal(new Set(names).size, names.length);
    for (const name of names) {
      assert(text.split(",").some((part) => part.trim() === name));
      assert(name !== "");
    }
  }
  const { statsd, statsite, datadog } = telemetry;
  for (const collector of [statsd, statsite, datadog]) {
    if (!collector) continue;
    const { hostname, port } = collector;
    assert(port > 0 && isPort(port));
    assert.match(hostname, /^(?:[\w.-]+|[0-9a-fA-F:.]+)$/);
  }
  const set = Object.entries(env).filter(([, value]) => value !== "");
  assert.deepEqual(readCompatibleEnv(Object.fromEntries(set)), found);
  return `${address.hostname.length} ${found.logLevel} ${found.logFormat}`;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 65_535;
}

/** A path of the text, whatever URL it is. */
function readSockets(env: Env): string {
  const url = env["DOCKER_HOST"] || env["DOCKER_URL"];
  // Where they usually are is this machine's.
  if (!url) return "usual";
  const [path = "", ...more] = engineSockets(undefined, env);
  assert.equal(more.length, 0);
  assert.match(path, /^\/[^/]/);
  assert(url.startsWith("unix://") && url.endsWith(path.slice(1)));
  return `socket ${path.split("/").length}`;
}

function readOffset(env: Env): string {
  const text = env["ROLE_CACHE_OFFSET"];
  const ms = readCacheOffset(text);
  assert(Number.isFinite(ms) && ms >= 0);
  assert.doesNotMatch(text ?? "", /-/);
  return `${Math.round(Math.log10(ms + 1))}`;
}

/** All of them. */
export const METADATA_TARGETS: readonly Target[] = [
  PATH,
  TOKENS,
  ROLE_NAME,
  ROLE_PATTERN,
  CONTAINER,
  ENVIRONMENT,
];
