/**
 * Command lines of `docker run` and `podman run`: where our options go, and
 * what the user's own say about network, environment, name, labels, image and
 * command. Pure.
 *
 * @module
 * @see {@link https://docs.docker.com/reference/cli/docker/container/run/ | docker run}
 * @see {@link https://docs.podman.io/en/latest/markdown/podman-run.1.html | podman run}
 */

import { basename } from "node:path";
import { usageError } from "$core/errors.ts";

/** The engines whose command line we understand. */
export type EngineName = "docker" | "podman";

/** A `run` command line, taken apart. */
export interface EngineRun {
  /** Which engine it is, whatever its path. */
  readonly engine: EngineName;
  /** Program and its global options: what other commands of the engine begin with. */
  readonly prefix: readonly string[];
  /** All up to the verb `run`, included. */
  readonly head: readonly string[];
  /** The rest: options, image, command. */
  readonly tail: readonly string[];
  /** The value of the last `--network`, or `pod:NAME`; undefined for the engine's default. */
  readonly network: string | undefined;
  /** Names of variables that the user sets for the container; podman takes `NAME*`, too. */
  readonly envNames: readonly string[];
  /** Files of variables that the user names. */
  readonly envFiles: readonly string[];
  /** The container's name, if the user chose it. */
  readonly name: string | undefined;
  /** Its labels, as `KEY=VALUE` or `KEY`. */
  readonly labels: readonly string[];
  /** Files of labels, which come before {@link EngineRun.labels}. */
  readonly labelFiles: readonly string[];
  /** How many words of {@link EngineRun.tail} are options. */
  readonly optionsEnd: number;
  /** The image, or a directory if {@link EngineRun.isRootfs}; empty if there is none. */
  readonly image: string;
  /** The words behind the image. */
  readonly command: readonly string[];
  /** The value of `--entrypoint`: empty for none, undefined for the image's own; podman takes a JSON array, too. */
  readonly entrypoint: string | undefined;
  /** Whether podman is given a directory instead of an image. */
  readonly isRootfs: boolean;
  /** When to pull the image, in lower case, such as `always`; undefined for the engine's default. */
  readonly pullPolicy: string | undefined;
  /** Options that `pull` needs as well, such as `--platform=linux/arm64`. */
  readonly pullOptions: readonly string[];
}

/** Long global options that take no value; all others do, or are written with `=`. */
const GLOBAL_SWITCHES: Record<EngineName, readonly string[]> = {
  docker: ["--debug", "--help", "--tls", "--tlsverify", "--version"],
  podman: [
    "--help",
    "--noout",
    "--remote",
    "--syslog",
    "--trace",
    "--transient-store",
    "--version",
  ],
};

/** One or more of `-D`, `-r`, `-h`, `-v`, and at the end an option whose value is the next word. */
const GLOBAL_SHORT_WITH_NEXT = /^-[Dhrv]*[^Dhrv]$/;

/** Options of `run` that take no value, of both engines. */
const RUN_SWITCHES = new Set([
  "--detach",
  "--disable-content-trust",
  "--env-host",
  "--help",
  "--http-proxy",
  "--init",
  "--interactive",
  "--no-healthcheck",
  "--no-hostname",
  "--no-hosts",
  "--oom-kill-disable",
  "--passwd",
  "--privileged",
  "--publish-all",
  "--quiet",
  "--read-only",
  "--read-only-tmpfs",
  "--replace",
  "--rm",
  "--rmi",
  "--rootfs",
  "--sig-proxy",
  "--tls-verify",
  "--tty",
  "--unsetenv-all",
  "--use-api-socket",
]);

/** Their one-letter forms, which may be joined, as in `-it`. */
const SHORT_SWITCHES = "ditPq";

/** Options of `run` that say which image is pulled, and how. */
const PULL_OPTIONS = [
  "--arch",
  "--authfile",
  "--cert-dir",
  "--creds",
  "--decryption-key",
  "--disable-content-trust",
  "--os",
  "--platform",
  "--retry",
  "--retry-delay",
  "--tls-verify",
  "--variant",
];

/** What the engines take for "no" after the `=` of a switch (Go's ParseBool). */
const FALSE = ["0", "f", "F", "false", "FALSE", "False"];

/** One option of `run`, in whatever form it was written. */
interface Option {
  readonly name: string;
  readonly value: string;
}

/**
 * Takes a command line apart if it starts a container.
 *
 * @param argv The command after `--`.
 * @param mayDetach Whether its binding outlives the command.
 * @returns Its parts; undefined if the program is neither docker nor podman.
 * @throws {MoatError} `usage` for a command of an engine that cannot be bound.
 */
export function parseEngineRun(
  argv: readonly string[],
  mayDetach = false,
): EngineRun | undefined {
  refuseWrapper(argv);
  const engine = basename(argv[0] ?? "");
  if (engine !== "docker" && engine !== "podman") return undefined;
  const verbAt = skipGlobals(engine, argv);
  const isLong = argv[verbAt] === "container";
  const runAt = isLong ? verbAt + 1 : verbAt;
  const verb = argv[runAt] ?? "";
  if (verb !== "run") throw notRun(engine, argv.slice(verbAt, runAt + 1));
  const tail = argv.slice(runAt + 1);
  const { options, optionsEnd } = parseOptions(tail);
  if (!mayDetach && isOn(options, ["--detach", "-d"])) {
    throw usageError(
      `Cannot run ${engine} run with --detach: the credentials would end with moat run`,
      "leave -d out",
    );
  }
  if (isOn(options, ["--env-host"])) {
    throw usageError(
      `Cannot run ${engine} run with --env-host: it would carry this host's own credentials into the container`,
      "pass single variables with --env NAME",
    );
  }
  return {
    engine,
    prefix: argv.slice(0, verbAt),
    head: argv.slice(0, runAt + 1),
    tail,
    network: networkOf(options),
    envNames: values(options, ["--env", "-e"])
      .map((text) => text.split("=")[0] ?? ""),
    envFiles: values(options, ["--env-file"]),
    name: last(options, ["--name"]) || undefined,
    labels: values(options, ["--label", "-l"]),
    labelFiles: values(options, ["--label-file"]),
    ...parseImage(tail, optionsEnd, options),
  };
}

/** Where the verb is: the first word that no global option takes. */
function skipGlobals(engine: EngineName, argv: readonly string[]): number {
  let at = 1;
  for (let word; (word = argv[at])?.startsWith("-"); at++) {
    if (word === "-" || word === "--") break;
    const takesNext = word.startsWith("--")
      ? !word.includes("=") && !GLOBAL_SWITCHES[engine].includes(word)
      : GLOBAL_SHORT_WITH_NEXT.test(word);
    if (takesNext) at++;
  }
  return at;
}

/** A pod has one network for all its containers. */
function networkOf(options: readonly Option[]): string | undefined {
  const pod = last(options, ["--pod", "--pod-id-file"]);
  return pod ? `pod:${pod}` : last(options, ["--network", "--net"]);
}

/** What is started, and where it comes from. */
function parseImage(
  tail: readonly string[],
  optionsEnd: number,
  options: readonly Option[],
) {
  const imageAt = optionsEnd + (tail[optionsEnd] === "--" ? 1 : 0);
  return {
    optionsEnd,
    image: tail[imageAt] ?? "",
    command: tail.slice(imageAt + 1),
    entrypoint: last(options, ["--entrypoint"]),
    isRootfs: isOn(options, ["--rootfs"]),
    pullPolicy: last(options, ["--pull"])?.toLowerCase(),
    pullOptions: options.filter(({ name }) => PULL_OPTIONS.includes(name))
      .map(({ name, value }) => `${name}=${value}`),
  };
}

/** The options of `run`, up to the image or the `--` before it. */
function parseOptions(
  tail: readonly string[],
): { options: Option[]; optionsEnd: number } {
  const options: Option[] = [];
  let i = 0;
  for (; i < tail.length; i++) {
    const word = tail[i] ?? "";
    if (!word.startsWith("-") || word === "-" || word === "--") break;
    const parsed = word.startsWith("--")
      ? parseLong(word, tail[i + 1])
      : parseShort(word, tail[i + 1]);
    options.push(...parsed.options);
    if (parsed.tookNext) i++;
  }
  return { options, optionsEnd: Math.min(i, tail.length) };
}

interface Parsed {
  readonly options: readonly Option[];
  readonly tookNext: boolean;
}

function parseLong(word: string, next = ""): Parsed {
  const equals = word.indexOf("=");
  if (equals > 0) {
    const name = word.slice(0, equals);
    const option = { name, value: word.slice(equals + 1) };
    return { options: [option], tookNext: false };
  }
  const isSwitch = RUN_SWITCHES.has(word);
  return {
    options: [{ name: word, value: isSwitch ? "true" : next }],
    tookNext: !isSwitch,
  };
}

/** `-it`, `-e A=1`, `-eA=1`, `-ite A=1`, `-d=false`. */
function parseShort(word: string, next = ""): Parsed {
  const options: Option[] = [];
  for (let i = 1; i < word.length; i++) {
    const name = `-${word[i]}`;
    const rest = word.slice(i + 1);
    // A lone = is no separator: -e= sets a variable of that name.
    const value = rest.length > 1 ? rest.replace(/^=/, "") : rest;
    if (!SHORT_SWITCHES.includes(word.charAt(i))) {
      options.push({ name, value: value || next });
      return { options, tookNext: value === "" };
    }
    if (value !== rest) {
      options.push({ name, value });
      break;
    }
    options.push({ name, value: "true" });
  }
  return { options, tookNext: false };
}

function values(
  options: readonly Option[],
  names: readonly string[],
): string[] {
  return options.filter((o) => names.includes(o.name)).map((o) => o.value);
}

function last(
  options: readonly Option[],
  names: readonly string[],
): string | undefined {
  return values(options, names).at(-1);
}

function isOn(options: readonly Option[], names: readonly string[]): boolean {
  return !FALSE.includes(last(options, names) ?? "false");
}

/** Why some verbs cannot be bound. */
const REASONS = new Map([
  [
    "create",
    "a container that is created now starts after moat run has ended",
  ],
  ["start", "a container that exists already cannot be given files"],
  ["compose", "services of a project outlive the command that starts them"],
]);

function notRun(engine: EngineName, verbs: readonly string[]) {
  const reason = REASONS.get(verbs.at(-1) ?? "") ??
    "only run starts a container that ends with its command";
  return usageError(
    `Cannot bind "${[engine, ...verbs].join(" ")}": ${reason}`,
    `use moat run --grant NAME -- ${engine} run …`,
  );
}

/** Programs that start another one, so that moat would not see the engine. */
const WRAPPERS = ["sudo", "env", "nice", "nohup", "time", "timeout"];

/** A container behind a wrapper would get nothing, and nobody would be told. */
function refuseWrapper(argv: readonly string[]): void {
  const wrapper = basename(argv[0] ?? "");
  if (!WRAPPERS.includes(wrapper)) return;
  const at = argv.findIndex((word) => /(^|\/)(docker|podman)$/.test(word));
  if (at < 0) return;
  const engine = basename(argv[at] ?? "");
  throw usageError(
    `Cannot bind ${engine} behind ${wrapper}: moat must start it itself`,
    `${wrapper} moat run --grant NAME -- ${engine} run …`,
  );
}
