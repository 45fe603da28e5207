/**
 * The environment of go-metadataproxy, as `moat metadata-proxy` reads it. A
 * variable that is empty counts as one that is not set.
 *
 * @module
 */

import { isIP, isIPv6 } from "node:net";
import type { LogFormat, LogLevel } from "$core/cli/output.ts";
import { type MoatError, usageError } from "$core/errors.ts";
import type { ListenAddress } from "../listeners.ts";
import type { CollectorAddress } from "../telemetry/line_sender.ts";
import type { TelemetrySettings } from "../telemetry/telemetry.ts";

/** What the environment says. */
export interface CompatibleEnv {
  /** HOST and PORT. */
  readonly address: ListenAddress;
  /** DEFAULT_ROLE. */
  readonly defaultRole?: string;
  /** DEFAULT_ACCOUNT_ID. */
  readonly defaultAccount?: string;
  /** LOG_LEVEL. */
  readonly logLevel: LogLevel;
  /** LOG_FORMAT. */
  readonly logFormat: LogFormat;
  /** ENABLE_PROMETHEUS. */
  readonly hasPrometheus: boolean;
  /** COPY_DOCKER_LABELS, COPY_DOCKER_ENV, LABEL_SEPARATOR and the collectors. */
  readonly telemetry: TelemetrySettings;
}

type Env = Readonly<Record<string, string>>;

/** Of logrus; moat ends itself with none of them. */
const LEVELS: Readonly<Record<string, LogLevel>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warning: "warn",
  warn: "warn",
  error: "error",
  fatal: "error",
  panic: "error",
};

const FORMATS: Readonly<Record<string, LogFormat>> = {
  text: "text",
  json: "json",
  gelf: "gelf",
};

/**
 * Reads the environment. What is for others to read is theirs to check: the
 * default role and account, ROLE_CACHE_OFFSET, DOCKER_HOST and DOCKER_URL.
 *
 * @param env The process's.
 * @returns What it says.
 * @throws {MoatError} `usage` for a value that cannot be used.
 */
export function readCompatibleEnv(
  env: Readonly<Record<string, string>>,
): CompatibleEnv {
  const { DEFAULT_ROLE, DEFAULT_ACCOUNT_ID } = env;
  return {
    address: readAddress(env["HOST"] || "0.0.0.0", env["PORT"] || "8000"),
    ...(DEFAULT_ROLE && { defaultRole: DEFAULT_ROLE }),
    ...(DEFAULT_ACCOUNT_ID && { defaultAccount: DEFAULT_ACCOUNT_ID }),
    logLevel: readWord(env, "LOG_LEVEL", LEVELS, "info"),
    logFormat: readWord(env, "LOG_FORMAT", FORMATS, "text"),
    hasPrometheus: !/^(|0|f|false)$/i.test(env["ENABLE_PROMETHEUS"] ?? ""),
    telemetry: {
      copy: {
        labels: readNames(env["COPY_DOCKER_LABELS"]),
        env: readNames(env["COPY_DOCKER_ENV"]),
        separator: env["LABEL_SEPARATOR"] || "_",
      },
      ...readCollector(env, "statsd", "STATSD_ADDR"),
      ...readCollector(env, "statsite", "STATSITE_ADDR"),
      ...readCollector(env, "datadog", "DATADOG_ADDR"),
    },
  };
}

function readAddress(host: string, digits: string): ListenAddress {
  const port = readPort(digits);
  if (port === undefined) {
    throw bad("PORT", digits, "a port", "PORT=8000, or leave it out");
  }
  const hostname = host.replace(/^\[(.*)\]$/, "$1")
    .replace(/^localhost$/i, "127.0.0.1");
  if (isIP(hostname)) return { hostname, port };
  throw bad("HOST", host, "an IP address of this host", "HOST=0.0.0.0");
}

function readWord<T>(
  env: Env,
  name: string,
  words: Readonly<Record<string, T>>,
  usual: string,
): T {
  const text = env[name] || usual;
  const key = text.toLowerCase();
  const found = Object.hasOwn(words, key) ? words[key] : undefined;
  if (found !== undefined) return found;
  const wanted = `one of ${Object.keys(words).join(", ")}`;
  throw bad(name, text, wanted, `${name}=${usual}`);
}

function readNames(list = ""): string[] {
  const names = list.split(",").map((name) => name.trim());
  return [...new Set(names)].filter((name) => name !== "");
}

type CollectorName = "statsd" | "statsite" | "datadog";

function readCollector(
  env: Env,
  key: CollectorName,
  variable: string,
): { [key in CollectorName]?: CollectorAddress } {
  const text = env[variable];
  if (!text) return {};
  const [, six, name = "", digits = ""] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]*)):(\d+)$/.exec(text) ?? [];
  const port = readPort(digits);
  const isName = six === undefined ? /^[\w.-]*$/.test(name) : isIPv6(six);
  if (isName && port) {
    // As Go: without a name, this host.
    return { [key]: { hostname: six ?? (name || "127.0.0.1"), port } };
  }
  throw bad(variable, text, "HOST:PORT", `${variable}=127.0.0.1:8125`);
}

function readPort(digits: string): number | undefined {
  const port = Number(digits);
  return /^\d{1,5}$/.test(digits) && port <= 65_535 ? port : undefined;
}

function bad(
  variable: string,
  text: string,
  wanted: string,
  example: string,
): MoatError {
  const shown = JSON.stringify(text.slice(0, 80));
  return usageError(
    `Cannot use ${variable}: wanted ${wanted}, found ${shown}`,
    `write ${example}`,
  );
}
