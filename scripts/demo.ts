/**
 * The main job from nothing to the end: simulated STS, grant, proxy, and a
 * workload whose AWS client has a role but no key. Each step is verified; the
 * exit status is 0 only if all were.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildMoat } from "./build.ts";
import {
  type DemoEngine,
  engineEnv,
  type EngineFound,
  failureLine,
  findEngine,
  MOAT_IN_CONTAINER,
} from "./demo_engine.ts";
import {
  Interrupted,
  runClean,
  type Server,
  startServer,
  watchSignals,
} from "./demo_process.ts";
import { exists, type RunResult, runScript, ScriptError } from "./process.ts";

const ROLE = "arn:aws:iam::123456789012:role/Demo";

/** What the workload runs: all it can see, then its AWS client. */
const WORKLOAD = [
  "echo '# environment'; env",
  "echo '# files'; find \"${AWS_CONFIG_FILE%/aws/config}\" . -type f",
  "echo '# content'; find \"${AWS_CONFIG_FILE%/aws/config}\" . -type f -exec cat {} +",
  "echo; echo '# identity'; \"$MOAT_DEMO_CLIENT\" whoami aws --json",
].join("\n");

/** A check of what is built already is done by then. */
const BUILD_NOTE_MS = 500;

type Environment = Readonly<Record<string, string>>;

/** What all steps have. */
interface Scene {
  /** The executable. */
  readonly moat: string;
  /** Private to this demo. */
  readonly directory: string;
  /** All that moat gets: a state and a home of its own. */
  readonly env: Readonly<Record<"PATH" | "HOME" | "MOAT_HOME", string>>;
  readonly signal: AbortSignal;
}

/** What the workload printed, and where it ran. */
interface Workload {
  readonly ran: RunResult;
  /** One or more lines. */
  readonly where: readonly string[];
}

const styled = Deno.stdout.isTerminal() && !Deno.noColor &&
  Deno.env.get("TERM") !== "dumb";
const MARK = styled ? "\x1b[32m✓\x1b[39m " : "ok";

let stepsDone = 0;

/** Prints one step once it is verified; whatever it throws ends the demo. */
async function step<T>(
  title: string,
  work: () => Promise<[result: T, ...shown: string[]]>,
): Promise<T> {
  const [result, first = "", ...more] = await work();
  stepsDone++;
  console.log(` ${MARK} ${title.padEnd(18)} ${first}`);
  for (const line of more) {
    console.log(" ".repeat(23) + (styled ? `\x1b[2m${line}\x1b[22m` : line));
  }
  return result;
}

function check(holds: boolean, what: string, seen = ""): asserts holds {
  if (!holds) throw new ScriptError(`The demo failed: ${what}`, seen.trim());
}

async function demo(scene: Scene): Promise<void> {
  await using sts = await simulateSts(scene);
  const keys = await sourceKeys(sts, scene.signal);
  const source = { ...scene.env, ...keys, AWS_ENDPOINT_URL_STS: sts.url };
  await grant(scene, source);
  await using proxy = await startProxy(scene, source);
  const { directory, moat, signal } = scene;
  const env = Deno.env.toObject();
  const found = await findEngine({ directory, moat, signal, env });
  await using engine = found.engine;
  const output = await runWorkload(scene, found, sts.url);
  await findNoKey(output, Object.values(keys));
  await audit(scene);
  await cleanUp(scene, [proxy, sts], engine);
}

async function simulateSts({ moat, env, signal }: Scene): Promise<Server> {
  return await step("simulated STS", async () => {
    const server = await startServer([moat, "simulate", "aws"], {
      env,
      signal,
    });
    return [server, `${server.url} (no AWS account is needed)`];
  });
}

async function grant(scene: Scene, env: Environment): Promise<void> {
  await step("moat grant aws", async () => {
    const granted = await moatRun(scene, ["grant", "aws", "--role", ROLE], env);
    check(granted.code === 0, "the grant failed", granted.stderr);
    return [undefined, ROLE];
  });
}

async function startProxy(
  { moat, signal }: Scene,
  env: Environment,
): Promise<Server> {
  return await step("moat proxy", async () => {
    const argv = [moat, "proxy", "--listen", "127.0.0.1:0"];
    const server = await startServer(argv, { env, signal });
    return [server, server.url];
  });
}

async function runWorkload(
  scene: Scene,
  found: EngineFound,
  stsUrl: string,
): Promise<string> {
  return await step("moat run", async () => {
    const { ran, where } = await inContainer(scene, found, stsUrl);
    check(ran.code === 0, "the workload failed", ran.stderr);
    return [
      ran.stdout,
      ...where,
      `identity: ${identity(ran)}`,
    ];
  });
}

/** Runs the workload in a container, or where that cannot be, without one. */
async function inContainer(
  scene: Scene,
  { engine, reasons }: EngineFound,
  stsUrl: string,
): Promise<Workload> {
  if (!engine) return await inPlainChild(scene, reasons, stsUrl);
  const command = engine.command([
    ...["--workdir", "/tmp"],
    ...["--env", `MOAT_DEMO_CLIENT=${MOAT_IN_CONTAINER}`],
    ...["--env", `AWS_ENDPOINT_URL_STS=${stsUrl}`],
    ...["--env", "AWS_EC2_METADATA_DISABLED=true"],
  ]);
  // The engine needs the user's HOME; moat must not find AWS files there.
  const empty = join(scene.directory, "empty");
  await Deno.writeTextFile(empty, "");
  const ran = await runGranted(scene, command, {
    ...engineEnv(Deno.env.toObject()),
    ...{ AWS_CONFIG_FILE: empty, AWS_SHARED_CREDENTIALS_FILE: empty },
    ...{ MOAT_HOME: scene.env.MOAT_HOME, MOAT_KEYRING: "file" },
  });
  if (ran.code === 0) {
    return { ran, where: [`in a container of ${engine.label}`] };
  }
  const failed = failureLine(engine.label, ran.stderr);
  return await inPlainChild(scene, [...reasons, failed], stsUrl);
}

async function inPlainChild(
  scene: Scene,
  reasons: readonly string[],
  stsUrl: string,
): Promise<Workload> {
  const ran = await runGranted(scene, [], {
    ...scene.env,
    MOAT_DEMO_CLIENT: scene.moat,
    AWS_ENDPOINT_URL_STS: stsUrl,
  });
  const where = ["in a plain child: a convenience, no isolation", ...reasons];
  return { ran, where };
}

async function runGranted(
  scene: Scene,
  prefix: readonly string[],
  env: Environment,
): Promise<RunResult> {
  const command = [...prefix, "sh", "-c", WORKLOAD];
  return await moatRun(scene, ["run", "--grant", "aws", "--", ...command], env);
}

async function findNoKey(
  output: string,
  keys: readonly string[],
): Promise<void> {
  await step("no long-lived key", () => {
    for (const key of keys) {
      check(!output.includes(key), "a long-lived key is in the workload");
    }
    const variables = part(output, "environment").trim().split("\n").length;
    const files = part(output, "files").trim().split("\n").length;
    check(variables > 5 && files > 3, "the workload showed too little", output);
    const where = `in none of its ${variables} variables and ${files} files`;
    return Promise.resolve([undefined, where]);
  });
}

async function audit(scene: Scene): Promise<void> {
  await step("moat audit", async () => {
    const verified = await moatRun(scene, ["audit", "--verify"]);
    check(verified.code === 0, "the audit log is broken", verified.stderr);
    const { stdout } = await moatRun(scene, ["audit"]);
    for (const event of ["granted", "bound", "vended", "unbound"]) {
      check(stdout.includes(` ${event} `), `no "${event}" in the log`, stdout);
    }
    const lines = stdout.trim().split("\n").map(shorten);
    return [undefined, verified.stdout.trim(), ...lines];
  });
}

/** Says only what it has looked for. */
async function cleanUp(
  { env: { MOAT_HOME } }: Scene,
  servers: readonly Server[],
  engine: DemoEngine | undefined,
): Promise<void> {
  await step("cleaned up", async () => {
    for (const server of servers) {
      check(await server.stop(), "a process did not end well", server.notes());
    }
    const runs = await Array.fromAsync(Deno.readDir(join(MOAT_HOME, "runs")));
    check(runs.length === 0, "a run left files behind");
    const socket = await exists(join(MOAT_HOME, "control.sock"));
    check(!socket, "the proxy left its control socket behind");
    const gone = "gone: processes, files of the run, control socket";
    if (!engine) return [undefined, gone];
    const left = await engine.containers();
    check(left.length === 0, "a container is left", left.join(" "));
    await engine[Symbol.asyncDispose]();
    check(!await engine.hasImage(), "the image is left");
    return [undefined, `${gone}, container, image`];
  });
}

async function moatRun(
  { moat, directory, env, signal }: Scene,
  args: readonly string[],
  ownEnv: Environment = env,
): Promise<RunResult> {
  const cwd = join(directory, "work");
  return await runClean([moat, ...args], { env: ownEnv, cwd, signal });
}

function part(output: string, name: string): string {
  const [, rest = ""] = output.split(`# ${name}\n`);
  return rest.split(/^# /m)[0] ?? "";
}

function identity(ran: RunResult): string {
  const { arn } = JSON.parse(part(ran.stdout, "identity")) as { arn: string };
  const role = /^arn:aws:sts::123456789012:assumed-role\/Demo\/moat-run-\w+$/;
  check(role.test(arn), "the workload has another identity", arn);
  return arn;
}

/** The simulator tells its key on stderr, as lines for a shell. */
async function sourceKeys(
  sts: Server,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
  const find = (name: string): [string, string] => [
    name,
    new RegExp(`${name}=(\\S+)\n`).exec(sts.notes())?.[1] ?? "",
  ];
  for (let i = 0; i < 100; i++) {
    const keys = names.map(find);
    if (keys.every(([, key]) => key)) return Object.fromEntries(keys);
    await delay(20);
    signal.throwIfAborted();
  }
  throw new ScriptError("The demo failed: the simulator named no key");
}

/** Time, event, and the first two fields that a reader would look up. */
function shorten(line: string): string {
  const [time = "", ...rest] = line.split(" ");
  const text = rest.filter((word) =>
    /^(\w[\w-]*$|grant=|binding=|accessKeyId=)/.test(word)
  );
  return `${time.slice(11, 19)} ${text.slice(0, 3).join(" ")}`;
}

async function build(): Promise<string> {
  const note = () => console.log("building dist/moat …\n");
  const timer = setTimeout(note, BUILD_NOTE_MS);
  try {
    return await buildAnyhow();
  } finally {
    clearTimeout(timer);
  }
}

/** The demo needs no relay, and so no C compiler. */
async function buildAnyhow(): Promise<string> {
  try {
    return (await buildMoat()).path;
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    return (await buildMoat({ compiler: "" })).path;
  }
}

async function setUp(
  moat: string,
  directory: string,
  signal: AbortSignal,
): Promise<Scene> {
  const env = {
    PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
    HOME: join(directory, "home"),
    MOAT_HOME: join(directory, "moat"),
    MOAT_KEYRING: "file",
    AWS_EC2_METADATA_DISABLED: "true",
  };
  await Deno.mkdir(env.HOME);
  await Deno.mkdir(join(directory, "work"));
  return { moat, directory, env, signal };
}

async function main(signal: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  console.log("moat demo: a workload gets an AWS role, and never sees a key\n");
  const moat = await build();
  signal.throwIfAborted();
  const directory = await Deno.makeTempDir({ prefix: "moat-demo-" });
  try {
    await demo(await setUp(moat, directory, signal));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  signal.throwIfAborted();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`\nAll ${stepsDone} steps verified in ${seconds} s.`);
  console.log("Next: sudo install dist/moat /usr/local/bin/moat");
  console.log("      moat grant aws --role ARN");
  console.log("      moat run --grant aws -- docker run …");
}

await runScript(async () => {
  const signal = watchSignals();
  try {
    await main(signal);
    return 0;
  } catch (error) {
    // A terminal's Ctrl-C may end a child before it reaches this process.
    await delay(100);
    if (signal.reason instanceof Interrupted) return signal.reason.exitStatus;
    throw error;
  }
});
