/**
 * The main job from nothing to the end: simulated STS, grant, proxy, and a
 * workload whose AWS client has a role but no key. Each step is verified; the
 * exit status is 0 only if all were.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { buildMoat } from "./build.ts";
import { type DemoEngine, findEngine } from "./demo_engine.ts";
import { run, type RunResult, runScript, ScriptError } from "./process.ts";

const ROLE = "arn:aws:iam::123456789012:role/Demo";

/** What the workload runs: all it can see, then its AWS client. */
const WORKLOAD = [
  "echo '# environment'; env",
  "echo '# files'; find \"${AWS_CONFIG_FILE%/aws/config}\" . -type f",
  "echo '# content'; find \"${AWS_CONFIG_FILE%/aws/config}\" . -type f -exec cat {} +",
  "echo; echo '# identity'; \"$MOAT_DEMO_CLIENT\" whoami aws --json",
].join("\n");

/** What a step has shown. */
type Shown = string | readonly string[];

let stepsDone = 0;

/** Prints one step; whatever it throws ends the demo. */
async function step<T>(
  title: string,
  work: () => Promise<[T, Shown]>,
): Promise<T> {
  const [result, shown] = await work();
  const [first, ...more] = typeof shown === "string" ? [shown] : shown;
  console.log(` ${++stepsDone}  ${title.padEnd(22)} ${first}`);
  for (const line of more) console.log(`    ${"".padEnd(22)} ${line}`);
  return result;
}

function check(holds: boolean, what: string, seen = ""): asserts holds {
  if (!holds) throw new ScriptError(`The demo failed: ${what}`, seen.trim());
}

/** A long-running moat whose `ready` line was read. */
interface Running extends AsyncDisposable {
  readonly url: string;
  readonly notes: () => string;
}

async function start(
  moat: string,
  args: string[],
  env: Record<string, string>,
): Promise<Running> {
  const child = new Deno.Command(moat, {
    args,
    env,
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let notes = "";
  const reading = (async () => {
    for await (
      const text of child.stderr.pipeThrough(new TextDecoderStream())
    ) notes += text;
  })();
  const url = await readyUrl(child.stdout);
  check(url !== "", `moat ${args.join(" ")} did not become ready`, notes);
  return {
    url,
    notes: () => notes,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await Promise.all([child.status, reading]);
    },
  };
}

async function readyUrl(
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<string> {
  let text = "";
  const reader = stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return "";
    text += value;
    const url = /^ready (\S+)\n/m.exec(text)?.[1];
    if (url) {
      reader.cancel();
      return url;
    }
  }
}

/** The command line of the workload, in a container or as a plain child. */
function workload(
  engine: DemoEngine | string,
  moat: string,
  stsUrl: string,
): readonly string[] {
  const command = ["sh", "-c", WORKLOAD];
  if (typeof engine === "string") {
    const env = [`MOAT_DEMO_CLIENT=${moat}`, `AWS_ENDPOINT_URL_STS=${stsUrl}`];
    return ["env", ...env, ...command];
  }
  const options = [
    ...["--volume", `${moat}:/opt/moat:ro`, "--workdir", "/tmp"],
    ...["--env", "MOAT_DEMO_CLIENT=/opt/moat"],
    ...["--env", `AWS_ENDPOINT_URL_STS=${stsUrl}`],
    ...["--env", "AWS_EC2_METADATA_DISABLED=true"],
  ];
  return [...engine.command(options), ...command];
}

function part(output: string, name: string): string {
  const [, rest = ""] = output.split(`# ${name}\n`);
  return rest.split(/^# /m)[0] ?? "";
}

async function demo(directory: string): Promise<void> {
  const built = await buildMoat();
  const moat = built.path;
  const engine = await findEngine(directory);
  await Deno.mkdir(join(directory, "work"));
  const clean = {
    PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
    HOME: directory,
    MOAT_HOME: join(directory, "moat"),
    MOAT_KEYRING: "file",
    AWS_EC2_METADATA_DISABLED: "true",
  };
  const cwd = join(directory, "work");
  const moatRun = (args: readonly string[], env: Record<string, string>) =>
    run(["env", "-i", ...assignments(env), moat, ...args], { cwd });

  console.log("moat demo: a workload gets an AWS role, and never sees a key\n");
  await using sts = await step("simulated STS", async () => {
    const server = await start(moat, ["simulate", "aws"], clean);
    return [server, `${server.url} (no AWS account is needed)`];
  });
  const keys = await sourceKeys(sts.notes);
  const withKeys = { ...clean, ...keys, AWS_ENDPOINT_URL_STS: sts.url };

  await step("moat grant aws", async () => {
    const args = ["grant", "aws", "--role", ROLE];
    const granted = await moatRun(args, withKeys);
    check(granted.code === 0, "the grant failed", granted.stderr);
    return [undefined, ROLE];
  });

  await using _proxy = await step("moat proxy", async () => {
    const args = ["proxy", "--listen", "127.0.0.1:0"];
    const server = await start(moat, args, withKeys);
    return [server, server.url];
  });

  const where = typeof engine === "string"
    ? ["in a plain child: a convenience, no isolation", `(${engine})`]
    : [`in a container of ${engine.label}`];
  const output = await step("moat run", async () => {
    const command = workload(engine, moat, sts.url);
    const ran = await moatRun(
      ["run", "--grant", "aws", "--", ...command],
      clean,
    );
    check(ran.code === 0, "the workload failed", ran.stderr);
    const arn = identity(ran);
    return [ran.stdout, [...where, `sts:GetCallerIdentity -> ${arn}`]];
  });

  await step("no long-lived key", async () => {
    for (const key of Object.values(keys)) {
      check(!output.includes(key), "a long-lived key is in the workload");
    }
    const variables = part(output, "environment").trim().split("\n").length;
    const files = part(output, "files").trim().split("\n").length;
    check(variables > 5 && files > 3, "the workload showed too little", output);
    return await Promise.resolve([
      undefined,
      `in none of its ${variables} variables and ${files} files`,
    ]);
  });

  await step("moat audit", async () => {
    const verified = await moatRun(["audit", "--verify"], clean);
    check(verified.code === 0, "the audit log is broken", verified.stderr);
    const { stdout } = await moatRun(["audit"], clean);
    for (const event of ["granted", "bound", "vended", "unbound"]) {
      check(stdout.includes(` ${event} `), `no "${event}" in the log`, stdout);
    }
    const lines = stdout.trim().split("\n").map(shorten);
    return [undefined, [verified.stdout.trim(), ...lines]];
  });

  await step("cleaned up", async () => {
    const runs = await Array.fromAsync(
      Deno.readDir(join(clean.MOAT_HOME, "runs")),
    );
    check(runs.length === 0, "a run left files behind");
    if (typeof engine !== "string") await engine.close();
    return [undefined, "no run, token or container is left"];
  });
}

function identity(ran: RunResult): string {
  const { arn } = JSON.parse(part(ran.stdout, "identity")) as { arn: string };
  const role = /^arn:aws:sts::123456789012:assumed-role\/Demo\/moat-run-\w+$/;
  check(role.test(arn), "the workload has another identity", arn);
  return arn;
}

/** The simulator tells its key on stderr, as lines for a shell. */
async function sourceKeys(
  notes: () => string,
): Promise<Record<string, string>> {
  const names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
  const find = (name: string): [string, string] => [
    name,
    new RegExp(`${name}=(\\S+)\n`).exec(notes())?.[1] ?? "",
  ];
  for (let i = 0; i < 100; i++) {
    const keys = names.map(find);
    if (keys.every(([, key]) => key)) return Object.fromEntries(keys);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new ScriptError("The demo failed: the simulator named no key");
}

function assignments(env: Record<string, string>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/** Time and event, without what would wrap. */
function shorten(line: string): string {
  const [time = "", ...rest] = line.split(" ");
  const text = rest.filter((word) =>
    /^(\w[\w-]*$|grant=|binding=|accessKeyId=)/.test(word)
  );
  return `${time.slice(11, 19)} ${text.join(" ")}`;
}

await runScript(async () => {
  const startedAt = performance.now();
  const directory = await Deno.makeTempDir({ prefix: "moat-demo-" });
  try {
    await demo(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`\nAll ${stepsDone} steps verified in ${seconds} s.`);
  console.log(
    "Next: moat grant aws --role ARN, then moat run --grant aws -- docker run …",
  );
  return 0;
});
