/**
 * Speed and memory of instance metadata: how containers are known, warm
 * answers beside those of the plain endpoint, and how soon a new container has
 * credentials.
 *
 * All but the index runs in network namespaces of its own, which needs root,
 * wrk, curl and ip; podman or dockerd for new containers, and nginx, which
 * stands there for what curl itself takes. By itself:
 *
 *     deno run -A scripts/bench_metadata.ts [--seconds N] [--moat FILE]
 *
 * @module
 */

import { join } from "node:path";
import { startHost } from "./bench_metadata/host.ts";
import { CONTAINERS, type IndexFigures } from "./bench_metadata/index.ts";
import { BenchEngine, makeContainers } from "./bench_metadata/fake_engine.ts";
import {
  CABLE,
  type EngineName,
  layCable,
  type RealEngine,
  startEngine,
} from "./bench_metadata/networks.ts";
import { freePort, Program } from "./bench_program.ts";
import { describe, note, report, show, summarize } from "./bench_report.ts";
import { buildMoat } from "./build.ts";
import { exists, must, ROOT, runScript, ScriptError } from "./process.ts";

const ROUNDS = 5;

/** What is measured, and how long. */
export interface MetadataBench {
  /** The executable. */
  readonly moat: string;
  /** Where files may be put. */
  readonly directory: string;
  /** How long a load lasts. */
  readonly seconds: number;
}

/**
 * Measures, and reports it.
 *
 * @param options What, and how long.
 * @throws {ScriptError} For a program that is not there.
 */
export async function benchMetadata(options: MetadataBench): Promise<void> {
  const directory = join(options.directory, "metadata");
  await Deno.mkdir(directory);
  const bench = { ...options, directory };
  await reportIndex();
  await noteGrowth(bench);
  if (Deno.uid() !== 0) {
    return note("instance metadata over a network is not measured: needs root");
  }
  await benchAnswers(bench);
  for (const name of ["podman", "docker"] as const) {
    await using engine = await startEngine(name);
    if (engine) await benchFirst(bench, name, engine);
    else note(`first credential of a container: ${name} is not there`);
  }
}

async function reportIndex(): Promise<void> {
  const output = await must([
    ...[Deno.execPath(), "run", "-A", "--no-check", "--v8-flags=--expose-gc"],
    join(ROOT, "scripts/bench_metadata/index.ts"),
  ]);
  const figures: IndexFigures = JSON.parse(output);
  const { lookUpMicros, identifyMicros, bytesEach } = figures;
  const what = `among ${CONTAINERS} containers`;
  report(`address to container ${what}`, lookUpMicros, "at most", 10, " µs");
  note(
    `the same with an engine that answers at once: ${
      describe(identifyMicros, " µs")
    }`,
  );
  report("memory of a container", [bytesEach / 1024], "at most", 2, " KB");
}

/** What a proxy grows by, beside one whose engine has no container. */
async function noteGrowth({ moat, directory }: MetadataBench): Promise<void> {
  const sizes: number[] = [];
  for (const count of [0, CONTAINERS]) {
    const socket = join(directory, `engine-${count}.sock`);
    await using engine = new BenchEngine(socket, makeContainers(count));
    await using host = await startHost({
      ...{ moat, socket, directory: join(directory, `home-${count}`) },
      listen: "127.0.0.1:0",
      imds: `127.0.0.1:${freePort()}`,
    });
    for (let i = 0; i < 500 && engine.lists === 0; i++) await pause(20);
    // The list is read; most of what it was made of is garbage.
    await pause(1000);
    sizes.push(await host.proxy.memory());
  }
  const [none = NaN, all = NaN] = sizes;
  note(
    `moat proxy knows none: ${show(none)} MB; ${CONTAINERS}: ${
      show(all)
    } MB, with what is left of the list`,
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const TOKEN_HEADER = "X-aws-ec2-metadata-token";
const TTL = `${TOKEN_HEADER}-ttl-seconds: 21600`;
const ROLES_PATH = "/latest/meta-data/iam/security-credentials/";

/** One container, whose requests come over a cable. */
async function benchAnswers(bench: MetadataBench): Promise<void> {
  const { moat, directory } = bench;
  await using cable = await layCable();
  const socket = join(directory, "engine.sock");
  const [one] = makeContainers(1);
  const container = { ...one!, address: CABLE.client, role: "service" };
  await using engine = new BenchEngine(socket, [container]);
  const imds = `${CABLE.metadata}:80`;
  await using host = await startHost({
    ...{ moat, socket, directory: join(directory, "home"), imds },
    inside: cable.host,
    listen: `${CABLE.credentials}:80`,
  });
  const plain = await host.bind();
  const curl = (...args: string[]) =>
    must(cable.client(["curl", "-sSf", "--max-time", "10", ...args]));
  const base = `http://${imds}`;
  const token = await curl("-X", "PUT", "-H", TTL, `${base}/latest/api/token`);
  const header = `${TOKEN_HEADER}: ${token}`;
  const role = await curl("-H", header, base + ROLES_PATH);
  const ours = { url: base + ROLES_PATH + role, header };
  const theirs = {
    url: plain.url,
    header: `Authorization: Bearer ${plain.token}`,
  };
  for (const { url, header } of [ours, theirs]) await curl("-H", header, url);
  const wrk = (argv: readonly string[]) => load(cable.client(argv));
  await benchWarm(bench.seconds, wrk, ours, theirs);
  await noteConnections(bench, wrk, ours, theirs, engine);
}

/** Where, and with which token. */
interface Asked {
  readonly url: string;
  readonly header: string;
}

type Load = (argv: readonly string[]) => Promise<number>;

/** Requests per second that wrk reaches. */
async function load(argv: readonly string[]): Promise<number> {
  const output = await must(argv);
  if (/Non-2xx|Socket errors/.test(output)) {
    throw new ScriptError(`Cannot measure ${argv.at(-1)}: errors`, output);
  }
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]);
}

async function benchWarm(
  seconds: number,
  wrk: Load,
  ours: Asked,
  theirs: Asked,
): Promise<void> {
  for (const connections of [32, 1]) {
    const rate = ({ url, header }: Asked) =>
      wrk([
        ...["wrk", "-t1", `-c${connections}`, `-d${seconds}s`],
        ...["-H", header, url],
      ]);
    const ratios: number[] = [];
    const rates: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      // Whoever is first finds another machine than who is second.
      const isFirst = round % 2 === 1;
      const before = isFirst ? await rate(ours) : undefined;
      const plain = await rate(theirs);
      const own = before ?? await rate(ours);
      rates.push(own);
      ratios.push(own / plain);
    }
    const what = `warm metadata at c${connections} / plain endpoint`;
    report(what, ratios, "at least", 0.9);
    note(`answers a second: ${describe(rates)}`);
  }
}

/** As an SDK that starts: a token, the role's name, its credentials. */
const STARTING = (role: string) => `
local token = ""
local step = 0
function request()
  step = step % 3 + 1
  local h = { ["Connection"] = "close" }
  if step == 1 or token == "" then
    step = 1
    h["${TOKEN_HEADER}-ttl-seconds"] = "21600"
    return wrk.format("PUT", "/latest/api/token", h)
  end
  h["${TOKEN_HEADER}"] = token
  return wrk.format("GET", step == 2 and "${ROLES_PATH}" or "${role}", h)
end
function response(status, headers, body)
  if #body == 43 then token = body end
end
`;

async function noteConnections(
  { directory, seconds }: MetadataBench,
  wrk: Load,
  ours: Asked,
  theirs: Asked,
  engine: BenchEngine,
): Promise<void> {
  const script = join(directory, "starting.lua");
  const { pathname } = new URL(ours.url);
  await Deno.writeTextFile(script, STARTING(pathname));
  const before = engine.inspections;
  const common = ["wrk", "-t1", "-c8", `-d${seconds}s`];
  const rate = await wrk([...common, "-s", script, ours.url]);
  const inspections = engine.inspections - before;
  const plain = await wrk([
    ...[...common, "-H", "Connection: close"],
    ...["-H", theirs.header, theirs.url],
  ]);
  note(
    `new connections a second, c8: ${
      show(rate)
    } for token, role and credentials; ${show(plain)} at the plain endpoint`,
  );
  note(
    `the engine was asked ${inspections} times for about ${
      show(rate * seconds)
    } connections, and ${engine.lists} times for all containers`,
  );
}

const STARTS = 8;

/** An address of the engine's host that its containers reach. */
const HOST_ADDRESS = "203.0.113.1";

/**
 * Asks moat and then a server that does nothing, by curl on connections of
 * their own, and prints how many ns each took. Nothing is done before: a
 * container has what it needs as soon as it asks.
 */
const FETCH = `
fetch() {
  token=$(ask -X PUT -H "${TTL}" "$1/latest/api/token")
  role=$(ask -H "${TOKEN_HEADER}: $token" "$1${ROLES_PATH}")
  ask -H "${TOKEN_HEADER}: $token" "$1${ROLES_PATH}$role" | grep -q Secret
}
ask() { curl -sSf --max-time 10 "$@"; }
set -e
begun=$(date +%s%N)
fetch http://${CABLE.metadata}
asked=$(date +%s%N)
fetch http://${HOST_ADDRESS}:8080
echo $((asked - begun)) $(($(date +%s%N) - asked))`;

/** What a new container waits for besides the engine. */
async function benchFirst(
  { moat, directory }: MetadataBench,
  name: EngineName,
  engine: RealEngine,
): Promise<void> {
  const add = ["ip", "address", "add", `${HOST_ADDRESS}/32`, "dev", "lo"];
  await must(engine.inside(add));
  await using host = await startHost({
    ...{ moat, socket: engine.socket, inside: engine.inside },
    directory: join(directory, `home-${name}`),
    listen: "127.0.0.1:19080",
    imds: `${CABLE.metadata}:80`,
  });
  await using _nginx = await startNginx(join(directory, name), engine);
  const times: Record<"beyond" | "curl" | "start", number[]> = {
    ...{ beyond: [], curl: [], start: [] },
  };
  for (let round = -1; round < STARTS; round++) {
    const argv = engine.run("--env", `IAM_ROLE=${name}`);
    const startedAt = performance.now();
    await must([...argv, "true"]);
    const startMs = performance.now() - startedAt;
    const output = await must([...argv, "sh", "-c", FETCH]);
    const [ours = NaN, plain = NaN] = output.split(" ").map((ns) =>
      Number(ns) / 1e6
    );
    // The first round loads programs and the AWS SDK.
    if (round < 0) continue;
    times.start.push(startMs);
    times.curl.push(plain);
    times.beyond.push(ours - plain);
  }
  const what = `first credential, ${name}, beyond curl's own`;
  report(what, times.beyond, "at most", 100, " ms");
  note(
    `start and end of a container ${describe(times.start, " ms")}; curl ${
      describe(times.curl, " ms")
    }; the proxy has ${show(await host.proxy.memory())} MB`,
  );
}

/** Answers all that is asked with one text. */
async function startNginx(
  directory: string,
  { inside }: RealEngine,
): Promise<Program> {
  await Deno.mkdir(directory);
  const config = join(directory, "nginx.conf");
  await Deno.writeTextFile(
    config,
    `daemon off; master_process off; pid ${directory}/nginx.pid; error_log /dev/null;
events { worker_connections 64; }
http { access_log off; client_body_temp_path ${directory}/body;
server { listen ${HOST_ADDRESS}:8080; location / { return 200 'Secret'; } } }`,
  );
  const url = `http://${HOST_ADDRESS}:8080/`;
  const script = `echo ready ${url}; exec nginx -c ${config} -p ${directory}`;
  const nginx = new Program(inside(["sh", "-c", script]), {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
  });
  await nginx.url;
  await must(inside([
    ...["curl", "-sSf", "--retry", "20", "--retry-connrefused"],
    ...["--retry-delay", "1", "-o", "/dev/null", url],
  ]));
  return nginx;
}

if (import.meta.main) {
  await runScript(async () => {
    const valueOf = (flag: string) => {
      const at = Deno.args.indexOf(flag);
      return at < 0 ? undefined : Deno.args[at + 1];
    };
    const given = valueOf("--moat");
    if (given !== undefined && !await exists(given)) {
      throw new ScriptError(`Cannot measure "${given}": there is no such file`);
    }
    const directory = await Deno.makeTempDir({ prefix: "moat-bench-" });
    try {
      const moat = given ?? (await buildMoat()).path;
      const seconds = Number(valueOf("--seconds") ?? 3);
      await benchMetadata({ moat, directory, seconds });
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
    return summarize();
  });
}
