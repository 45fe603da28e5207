/**
 * Speed and memory of the built executable, as ratios to other programs in
 * the same run, because the figures of one machine say little about another.
 *
 * Needs nginx, wrk and curl; squid and Go for the intercepting proxy (see
 * bench_intercept.ts). `--seconds N` sets the length of a load (3).
 *
 * @module
 */

import { join } from "node:path";
import { digestToken, mintToken, tokenFileContent } from "$core/binding.ts";
import { systemClock } from "$core/clock.ts";
import { ControlClient, type RunOpened } from "$core/control.ts";
import { findPaths } from "$core/paths.ts";
import { Secret } from "$core/secret.ts";
import { benchAnywhere } from "./bench_anywhere.ts";
import { benchLookUp, BINDINGS, writeBindings } from "./bench_bindings.ts";
import { benchCache } from "./bench_cache.ts";
import { benchIntercept } from "./bench_intercept.ts";
import { benchMetadata } from "./bench_metadata.ts";
import { freePort, Program, untilAnswers } from "./bench_program.ts";
import { median, note, report, show, summarize } from "./bench_report.ts";
import { buildMoat, compile } from "./build.ts";
import { findDenort } from "./denort.ts";
import { must, runScript, ScriptError } from "./process.ts";

const ROLE = "arn:aws:iam::123456789012:role/Bench";
const ROUNDS = 3;

/** A server in which nothing is done but reading and writing. */
const ECHO = `
const answer = new TextEncoder().encode(await Deno.readTextFile(Deno.args[0]));
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log("ready http://127.0.0.1:" + listener.addr.port);
for await (const conn of listener) {
  conn.setNoDelay(true);
  (async () => {
    const buffer = new Uint8Array(4096);
    while (await conn.read(buffer) !== null) await conn.write(answer);
  })().catch(() => {});
}
`;

/** An STS that answers at once and counts; a mock, so that only moat is measured. */
class CountingSts implements AsyncDisposable {
  calls = 0;
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => {
      this.calls++;
      return new Response(ASSUMED, { headers: { "content-type": "text/xml" } });
    },
  );

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const ASSUMED =
  `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:b</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/Bench/b</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIABENCHBENCHBENCH0</AccessKeyId><SecretAccessKey>${
    "s".repeat(40)
  }</SecretAccessKey><SessionToken>${
    "t".repeat(380)
  }</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`;

/** A home with a grant, for one proxy after another. */
interface Home {
  readonly moat: string;
  readonly env: Record<string, string>;
}

async function makeHome(
  moat: string,
  directory: string,
  sts: CountingSts,
): Promise<Home> {
  const env = {
    PATH: "/usr/bin:/bin",
    HOME: directory,
    MOAT_HOME: join(directory, "moat"),
    MOAT_KEYRING: "file",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_ACCESS_KEY_ID: "AKIABENCH",
    AWS_SECRET_ACCESS_KEY: "bench",
  };
  await must([moat, "grant", "aws", "--role", ROLE], { env });
  return { moat, env };
}

/** A run that is opened as `moat run` does, without a command. */
interface OpenRun extends Disposable {
  readonly opened: RunOpened;
  readonly token: string;
}

async function openRun({ env }: Home): Promise<OpenRun> {
  const { controlSocket } = findPaths(env);
  const client = await ControlClient.connect(controlSocket, systemClock);
  if (!client) throw new ScriptError("Cannot reach the proxy");
  const run = crypto.randomUUID().replaceAll("-", "").slice(0, 10);
  const token = mintToken(`run-${run}`).reveal();
  const opened = await client.call("run-open", {
    run,
    grants: ["aws"],
    tokenDigest: digestToken(token),
    directory: "/moat",
    reach: { by: "loopback" },
  });
  return { opened, token, [Symbol.dispose]: () => client.close() };
}

function credentials({ opened, token }: OpenRun): Promise<Response> {
  return fetch(`${opened.endpointUrl}/aws/process-credentials`, {
    headers: { Authorization: `Bearer ${token}` },
  });
}

function startProxy({ moat, env }: Home): Program {
  return new Program([moat, "proxy", "--listen", "127.0.0.1:0"], env);
}

/** Requests per second that wrk reaches. */
async function load(
  url: string,
  connections: number,
  token: string,
): Promise<number> {
  const output = await must([
    ...["wrk", "-t1", `-c${connections}`, `-d${seconds}s`],
    ...(token ? ["-H", `Authorization: Bearer ${token}`] : []),
    url,
  ]);
  if (/Non-2xx|Socket errors/.test(output)) {
    throw new ScriptError(`Cannot measure ${url}: there were errors`, output);
  }
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]);
}

async function benchStart(moat: string, empty: string): Promise<void> {
  const commands = {
    empty: [empty],
    version: [moat, "--version"],
    help: [moat, "--help"],
  };
  const times: Record<string, number[]> = { empty: [], version: [], help: [] };
  for (let i = 0; i < 25; i++) {
    for (const [name, argv] of Object.entries(commands)) {
      const startedAt = performance.now();
      await must(argv);
      times[name]?.push(performance.now() - startedAt);
    }
  }
  const base = median(times["empty"] ?? []);
  for (const name of ["version", "help"]) {
    const ratios = (times[name] ?? []).map((ms) => ms / base);
    report(`start of moat --${name} / empty program`, ratios, "at most", 1.25);
  }
}

async function benchWarm(
  home: Home,
  echo: string,
  directory: string,
): Promise<void> {
  await using proxy = startProxy(home);
  await proxy.url;
  const idle = await proxy.memory();
  using run = await openRun(home);
  const path = "/aws/process-credentials";
  const url = run.opened.endpointUrl + path;
  const answer = await rawAnswer(url, run.token);
  const first = await proxy.memory();
  note(`memory once the AWS SDK is loaded: ${show(first)} MB`);
  const answerFile = join(directory, "answer.http");
  await Deno.writeTextFile(answerFile, answer);
  await using plain = new Program([echo, answerFile]);
  await using nginx = await startNginx(directory, answer);
  const nginxUrl = await nginx.url + path;
  const echoUrl = await plain.url + path;
  const ratios: Record<string, number[]> = { c32: [], c64: [], c1: [] };
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const connections of [32, 64]) {
      const theirs = await load(nginxUrl, connections, run.token);
      const ours = await load(url, connections, run.token);
      rates.push(ours);
      ratios[`c${connections}`]?.push(ours / theirs);
    }
    const theirs = await load(echoUrl, 1, run.token);
    ratios["c1"]?.push(await load(url, 1, run.token) / theirs);
  }
  note(
    `warm answers a second at c32 and c64: ${
      rates.map((r) => r.toFixed(0)).join(", ")
    }`,
  );
  report(
    "warm answers at c32 / nginx, one worker",
    ratios["c32"] ?? [],
    "at least",
    0.65,
  );
  report(
    "warm answers at c64 / nginx, one worker",
    ratios["c64"] ?? [],
    "at least",
    0.65,
  );
  report(
    "warm answers at c1 / raw echo server",
    ratios["c1"] ?? [],
    "at least",
    0.9,
  );
  let served = rates.reduce((sum, rate) => sum + rate * seconds, 0);
  while (served < 1_000_000) served += await load(url, 32, run.token) * seconds;
  report("memory of moat proxy, idle", [idle], "at most", 60, " MB");
  report(
    "memory after a million requests",
    [await proxy.memory()],
    "at most",
    85,
    " MB",
  );
}

/** An answer byte for byte, so that the others serve the same. */
async function rawAnswer(url: string, token: string): Promise<string> {
  const { hostname, port, pathname } = new URL(url);
  using conn = await Deno.connect({ hostname, port: Number(port) });
  const request =
    `GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  await conn.write(new TextEncoder().encode(request));
  const buffer = new Uint8Array(8192);
  const length = await conn.read(buffer) ?? 0;
  return new TextDecoder().decode(buffer.subarray(0, length));
}

async function startNginx(directory: string, answer: string): Promise<Program> {
  const [, body = ""] = answer.split("\r\n\r\n");
  const port = freePort();
  const config = join(directory, "nginx.conf");
  await Deno.writeTextFile(
    config,
    `daemon off; master_process off; pid ${directory}/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; default_type application/json;
server { listen 127.0.0.1:${port}; location / {
add_header Cache-Control no-store; add_header X-Content-Type-Options nosniff;
return 200 '${body}'; } } }`,
  );
  // It is ready when its socket answers; the echo only gives us its URL.
  const script =
    `echo ready http://127.0.0.1:${port}; exec nginx -c ${config} -p ${directory}`;
  const nginx = new Program(["sh", "-c", script], {
    PATH: "/usr/sbin:/usr/bin:/bin",
  });
  await untilAnswers("nginx", port);
  return nginx;
}

/** The environment of a new binding. */
async function bind(
  { moat, env }: Home,
  name: string,
  mode: string,
): Promise<Record<string, string>> {
  const argv = ["bind", name, "--grant", "aws", "--mode", mode];
  const text = await must([moat, ...argv, "--format", "json"], { env });
  return JSON.parse(text).environment;
}

/** Modes differ in where the token is; the plain endpoint is that of a run. */
async function benchModes(home: Home): Promise<void> {
  await using proxy = startProxy(home);
  await proxy.url;
  using run = await openRun(home);
  const plain = `${run.opened.endpointUrl}/ecs/credentials`;
  const ratios: Record<string, number[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const mode of ["ecs-full", "ecs-full-query"]) {
      const env = await bind(home, "bench", mode);
      const url = env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "";
      const header = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "";
      const theirs = await load(plain, 32, run.token);
      const ours = await load(url, 32, header.replace("Bearer ", ""));
      (ratios[mode] ??= []).push(ours / theirs);
    }
  }
  for (const [mode, values] of Object.entries(ratios)) {
    report(`mode ${mode} / plain endpoint, c32`, values, "at least", 0.9);
  }
}

async function benchBind(home: Home): Promise<void> {
  await using proxy = startProxy(home);
  await proxy.url;
  const times: number[] = [];
  const ratios: number[] = [];
  for (let i = 0; i < 25; i++) {
    const startedAt = performance.now();
    await must([home.moat, "--version"]);
    const versionMs = performance.now() - startedAt;
    await bind(home, "bench", "ecs-full");
    const bindMs = performance.now() - startedAt - versionMs;
    times.push(bindMs);
    ratios.push(bindMs / versionMs);
  }
  note(`moat bind / --version: ${show(median(ratios))}`);
  report("moat bind with a proxy", times, "at most", 60, " ms");
}

/** What a hundred thousand bindings cost a proxy that serves some of them. */
async function benchMany(home: Home): Promise<void> {
  const { micros, bytesEach } = benchLookUp();
  report("look-up of a token among 100,000", micros, "at most", 20, " µs");
  report("memory of a live binding", [bytesEach / 1024], "at most", 1, " KB");
  const without = await startTimes(home);
  const tokens = await writeBindings(home.env["MOAT_HOME"] ?? "", "aws");
  const withThem = await startTimes(home);
  report("start of a proxy with 100,000", withThem, "at most", 2, " s");
  note(`without them: ${show(median(without))} s`);
  await using proxy = startProxy(home);
  const url = `${await proxy.url}/ecs/credentials`;
  const ask = async (index: number) => {
    const token = tokens[index] ?? "";
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetch(url, { headers });
    await response.body?.cancel();
    if (response.status !== 200) throw new ScriptError("A binding is refused");
  };
  await ask(0);
  const idle = await proxy.memory();
  const times: number[] = [];
  const step = BINDINGS / ASKED;
  for (let i = 1; i < ASKED; i++) {
    const startedAt = performance.now();
    await ask(i * step);
    times.push(performance.now() - startedAt);
  }
  note(
    `first request of a binding: ${show(median(times))} ms; ${
      show((await proxy.memory() - idle) * 1024 / ASKED)
    } KB of memory for each of ${ASKED} in use`,
  );
}

/** How many of the many bindings are asked for. */
const ASKED = 2000;

async function startTimes(home: Home): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const startedAt = performance.now();
    await using proxy = startProxy(home);
    await proxy.url;
    times.push((performance.now() - startedAt) / 1000);
  }
  return times;
}

async function benchBurst(home: Home, sts: CountingSts): Promise<void> {
  await using proxy = startProxy(home);
  const { port } = new URL(await proxy.url);
  using run = await openRun(home);
  sts.calls = 0;
  const request = new TextEncoder().encode(
    `GET /ecs/credentials HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${run.token}\r\n\r\n`,
  );
  const conns = await Promise.all(
    Array.from(
      { length: 5000 },
      () => Deno.connect({ hostname: "127.0.0.1", port: Number(port) }),
    ),
  );
  const statuses = await Promise.all(conns.map(async (conn) => {
    await conn.write(request);
    const buffer = new Uint8Array(2048);
    const length = await conn.read(buffer) ?? 0;
    conn.close();
    return new TextDecoder().decode(buffer.subarray(0, Math.min(length, 15)));
  }));
  const ok = statuses.filter((status) => status === "HTTP/1.1 200 OK").length;
  if (ok < 5000) {
    throw new ScriptError(`Only ${ok} of 5000 requests were served`);
  }
  // The prefetch of the run and all requests share the one call.
  report(
    "STS calls of 5,000 concurrent first requests",
    [sts.calls],
    "at most",
    1,
  );
}

async function benchFirst(home: Home): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const startedAt = performance.now();
    await using proxy = startProxy(home);
    await proxy.url;
    using run = await openRun(home);
    const response = await credentials(run);
    await response.body?.cancel();
    if (response.status !== 200) throw new ScriptError("No credentials");
    times.push(performance.now() - startedAt);
  }
  report("process start to first credential", times, "at most", 110, " ms");
}

async function benchHelper(home: Home, directory: string): Promise<void> {
  await using proxy = startProxy(home);
  await proxy.url;
  using run = await openRun(home);
  const file = run.opened.files.find((f) => f.path === "aws/credentials");
  const helper = join(directory, "credentials");
  const tokenFile = join(directory, "token");
  const script = String(file?.content ?? "");
  await Deno.writeTextFile(helper, script, { mode: 0o755 });
  await Deno.writeTextFile(tokenFile, tokenFileContent(new Secret(run.token)));
  const url = `${run.opened.endpointUrl}/aws/process-credentials`;
  const curl = ["curl", "-sS", "-H", `Authorization: Bearer ${run.token}`, url];
  const env = {
    MOAT_AWS_CREDENTIAL_URL: url,
    MOAT_AWS_CREDENTIAL_TOKEN_FILE: tokenFile,
  };
  const overheads: number[] = [];
  for (let i = 0; i < 40; i++) {
    const startedAt = performance.now();
    await must(curl);
    const curlMs = performance.now() - startedAt;
    await must(["sh", helper], { env });
    overheads.push(performance.now() - startedAt - 2 * curlMs);
  }
  report(
    "credential helper, beyond plain curl",
    overheads,
    "at most",
    10,
    " ms",
  );
}

/** As an SDK on the host calls it, with the session cached by the proxy. */
async function benchCredentialProcess(home: Home): Promise<void> {
  await using proxy = startProxy(home);
  await proxy.url;
  const { moat, env } = home;
  const ask = [moat, "credential-process", "aws"];
  await must(ask, { env });
  const ratios: number[] = [];
  for (let i = 0; i < 25; i++) {
    const startedAt = performance.now();
    await must([moat, "--version"]);
    const versionMs = performance.now() - startedAt;
    await must(ask, { env });
    const askMs = performance.now() - startedAt - versionMs;
    ratios.push(askMs / versionMs);
  }
  report("credential-process by a proxy / --version", ratios, "at most", 2);
}

async function benchEngine(): Promise<void> {
  const { lookUpNs, burstCalls } = await benchCache();
  const lookUps = lookUpNs.map((ns) => ns / 1000);
  report("cached session look-up", lookUps, "at most", 5, " µs");
  const burst = "calls of 10,000 first requests over 100 keys";
  report(burst, [burstCalls], "at most", 100);
  const samples = await benchAnywhere(["P-256", "RSA-2048"]);
  const limits = { "P-256": 3, "RSA-2048": 8 };
  for (const [kind, limit] of Object.entries(limits)) {
    const what = `Roles Anywhere: key to signature, ${kind}`;
    report(what, samples[kind] ?? [], "at most", limit, " ms");
  }
}

async function compileSource(
  directory: string,
  name: string,
  source: string,
): Promise<string> {
  const work = join(directory, name);
  await Deno.mkdir(join(work, "bundle"), { recursive: true });
  await Deno.writeTextFile(join(work, "bundle/main.js"), source);
  await Deno.writeTextFile(join(work, "bundle/deno.json"), "{}");
  return await compile(work, await findDenort({ release: false }));
}

const at = Deno.args.indexOf("--seconds");
const seconds = at < 0 ? 3 : Number(Deno.args[at + 1]);

await runScript(async () => {
  const directory = await Deno.makeTempDir({ prefix: "moat-bench-" });
  try {
    const { path: moat } = await buildMoat();
    const empty = await compileSource(directory, "empty", "");
    const echo = await compileSource(directory, "echo", ECHO);
    await using sts = new CountingSts();
    const home = await makeHome(moat, directory, sts);
    await benchEngine();
    await benchStart(moat, empty);
    await benchCredentialProcess(home);
    await benchFirst(home);
    await benchHelper(home, directory);
    await benchBurst(home, sts);
    await benchWarm(home, echo, directory);
    await benchModes(home);
    await benchBind(home);
    await benchMany(home);
    await benchMetadata({ moat, directory, seconds });
    await benchIntercept({ moat, directory, seconds });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  return summarize();
});
