/**
 * A user's host whose AWS is `moat simulate aws`: command lines as they are
 * typed, a proxy if wanted, and what reached AWS.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { assertNoCanary, assertNoCanaryBelow } from "./canary.ts";
import { testUnless } from "./conditional.ts";
import { eventually } from "./eventually.ts";
import { moatReason, type MoatServer, startMoat } from "./moat.ts";
import { startRecorder } from "./recorder.ts";
import { run, type RunResult } from "./run.ts";
import { Terminal } from "./terminal.ts";
import type { Workspace } from "./workspace.ts";

/** Answers of `moat credential-process`. */
export interface ProcessCredentials {
  readonly Version: 1;
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly SessionToken: string;
  readonly Expiration: string;
}

/** A fault as the simulator takes it while it runs. */
export interface SimulatedFault {
  readonly kind: string;
  readonly count?: number;
  readonly action?: string;
}

/** An answer of the proxy. */
export interface ProxyAnswer {
  readonly status: number;
  readonly body: string;
}

/** A `moat run` whose command waits. */
export interface LiveRun {
  /** The run's name; its binding is `run-` and this. */
  readonly name: string;
  /** What `moat run` printed on stderr so far. */
  stderr(): string;
  /** Asks the proxy with the run's token; default: for process credentials. */
  ask(path?: string): Promise<ProxyAnswer>;
  /** As `ask`, and the answer must be a session. */
  credentials(): Promise<ProcessCredentials>;
}

/** How the host begins. */
export interface SimulatedAwsOptions {
  /** Flags of the simulator. */
  readonly flags?: string;
  /** Put before the simulator and the proxy, such as a clock. */
  readonly prefix?: readonly string[];
  /** Whether the simulator's key is exported. Default: yes. */
  readonly hasKey?: boolean;
}

/** Waits until a signal ends it, and shows its URL and token. */
const WAIT =
  'token=$(cat "$MOAT_AWS_CREDENTIAL_TOKEN_FILE"); echo "ready $MOAT_AWS_CREDENTIAL_URL#${token#Bearer }"; exec sleep 60';

/** The path of the answer that is short on time. */
export const CONTAINER = "/ecs/credentials";

/** The host; `await using` stops all, and looks for secrets in what is left. */
export class SimulatedAws implements AsyncDisposable {
  /** Where command lines are typed. */
  readonly terminal: Terminal;
  /** Of the simulator. */
  readonly url: string;
  readonly #stack: AsyncDisposableStack;
  readonly #prefix: readonly string[];
  #proxy: MoatServer | undefined;

  private constructor(
    stack: AsyncDisposableStack,
    terminal: Terminal,
    url: string,
    prefix: readonly string[],
  ) {
    this.#stack = stack;
    this.terminal = terminal;
    this.url = url;
    this.#prefix = prefix;
  }

  /** Starts the simulator. */
  static async open(options: SimulatedAwsOptions = {}): Promise<SimulatedAws> {
    const { flags = "", prefix = [], hasKey = true } = options;
    const stack = new AsyncDisposableStack();
    const terminal = stack.use(await Terminal.open());
    const args = flags.split(" ").filter(Boolean);
    const simulator = stack.use(
      await startMoat(
        ["simulate", "aws", "--listen", "127.0.0.1:0", ...args],
        { workspace: terminal.workspace, prefix },
      ),
    );
    const [url = ""] = simulator.urls;
    Object.assign(terminal.exported, {
      AWS_ENDPOINT_URL_STS: url,
      ...hasKey && SIMULATOR_KEY,
    });
    return new SimulatedAws(stack, terminal, url, prefix);
  }

  /** The user's home. */
  get workspace(): Workspace {
    return this.terminal.workspace;
  }

  /** Types a command line; no secret may show up but those asked for. */
  async type(
    line: string,
    env: Record<string, string> = {},
  ): Promise<RunResult> {
    const result = await this.terminal.type(line, env);
    assertNoKey(result.stdout + result.stderr);
    return result;
  }

  /** Types a command line that must succeed; gives its stdout. */
  async do(line: string, env: Record<string, string> = {}): Promise<string> {
    const { code, stdout, stderr } = await this.type(line, env);
    assert.equal(code, 0, `${line}: ${stderr}`);
    return stdout;
  }

  /** Types a command line that must succeed, and parses what it printed. */
  // deno-lint-ignore no-explicit-any -- tests compare whatever is in it
  async json(line: string, env: Record<string, string> = {}): Promise<any> {
    return JSON.parse(await this.do(line, env));
  }

  /** Types a command line that must fail; gives `error` of its JSON. */
  async failure(line: string): Promise<Record<string, string>> {
    const { code, stdout, stderr } = await this.type(`${line} --json`);
    assert.deepEqual([code, stdout], [1, ""], stderr);
    return JSON.parse(stderr).error;
  }

  /** How often each action was called. */
  async calls(): Promise<Record<string, number>> {
    return await (await fetch(`${this.url}/_simulator/calls`)).json();
  }

  /** Puts faults in place of those that are left. */
  async fault(...faults: SimulatedFault[]): Promise<void> {
    const answer = await fetch(`${this.url}/_simulator/faults`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ faults }),
    });
    assert.equal(answer.status, 200, await answer.text());
  }

  /** From here on STS is asked through this, and calls are kept. */
  record(): readonly URLSearchParams[] {
    const recorder = this.#stack.use(startRecorder(this.url));
    this.terminal.exported["AWS_ENDPOINT_URL_STS"] = recorder.url;
    // Its list is a new one each time.
    return new Proxy([], {
      get: (_, name) => Reflect.get(recorder.forms, name),
    });
  }

  /** Starts `moat proxy` in the exported environment. */
  async startProxy(flags = ""): Promise<MoatServer> {
    const args = flags.split(" ").filter(Boolean);
    const proxy = await startMoat(
      ["proxy", "--listen", "127.0.0.1:0", ...args],
      {
        workspace: this.workspace,
        env: {
          ...this.terminal.exported,
          AWS_EC2_METADATA_DISABLED: "true",
        },
        prefix: this.#prefix,
      },
    );
    this.#stack.defer(async () => void await proxy.stop());
    await eventually("control line", () => /^control /m.test(proxy.stdout()));
    this.#proxy = proxy;
    return proxy;
  }

  /** The events of one kind in the proxy's log so far. */
  logged(event: string): Record<string, unknown>[] {
    return (this.#proxy?.stderr() ?? "").split("\n").slice(0, -1)
      .map((line) => JSON.parse(line))
      .filter((entry) => entry.event === event);
  }

  /** What Prometheus gets of a metric: value by labels, as they are written. */
  async metric(name: string): Promise<Record<string, number>> {
    const out = this.#proxy?.stdout() ?? "";
    const [, url] = /^metrics (\S+)$/m.exec(out) ?? [];
    const text = await (await fetch(`${url}/metrics`)).text();
    const lines = text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm);
    return Object.fromEntries(
      [...lines].filter(([, found]) => found === `moat_${name}`)
        .map(([, , labels = "", value]) => [labels, Number(value)]),
    );
  }

  /** The audit log's events of one kind. */
  async audited(event: string): Promise<Record<string, unknown>[]> {
    const lines = (await this.do("moat audit --json")).trim().split("\n");
    return lines.map((line) => JSON.parse(line))
      .filter((entry) => entry.event === event)
      .map(({ fields }) => fields);
  }

  /** Starts `moat run` with a command that waits until the end of the test. */
  async startRun(flags = "--grant aws"): Promise<LiveRun> {
    const server = this.#stack.use(
      await startMoat(
        ["run", ...flags.split(" "), "--", "sh", "-c", WAIT],
        { workspace: this.workspace, env: this.terminal.exported },
      ),
    );
    const url = new URL(server.urls[0] ?? "");
    const headers = { Authorization: `Bearer ${url.hash.slice(1)}` };
    const ask = async (path = url.pathname) => {
      const answer = await fetch(url.origin + path, { headers });
      return { status: answer.status, body: await answer.text() };
    };
    const status = await this.json("moat status --json");
    return {
      name: status.runs.at(-1),
      stderr: () => server.stderr(),
      ask,
      async credentials() {
        const { status, body } = await ask();
        assert.equal(status, 200, body);
        return JSON.parse(body);
      },
    };
  }

  /** Whose session STS takes some credentials for. */
  async whoIs(credentials: ProcessCredentials): Promise<string> {
    const { arn } = await this.terminal.json("moat whoami aws --json", {
      AWS_ENDPOINT_URL_STS: this.url,
      AWS_ACCESS_KEY_ID: credentials.AccessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.SecretAccessKey,
      AWS_SESSION_TOKEN: credentials.SessionToken,
    });
    return arn;
  }

  /** Stops everything; neither log nor files may hold a secret of the source. */
  async [Symbol.asyncDispose](): Promise<void> {
    const proxy = this.#proxy;
    try {
      if (proxy) {
        await proxy.stop();
        assertNoCanary(proxy.stdout(), proxy.stderr());
        assertNoKey(proxy.stdout() + proxy.stderr());
        await assertNoCanaryBelow(this.workspace.moatHome);
        const argv = ["grep", "-rlF", SECRET, this.workspace.moatHome];
        const { code, stdout } = await run(argv);
        assert.deepEqual([code, stdout], [1, ""]);
      }
    } finally {
      await this.#stack.disposeAsync();
    }
  }
}

const SECRET = SIMULATOR_SECRET_ACCESS_KEY;

/** What a user exports to use the simulator. */
export const SIMULATOR_KEY = {
  AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
  AWS_SECRET_ACCESS_KEY: SECRET,
};

/** The simulator prints its key; nobody else may. */
function assertNoKey(text: string): void {
  assert.ok(!text.includes(SECRET), "the secret access key is in the output");
}

/** The keys of what an SDK reads from a `credential_process`. */
const PROCESS_KEYS = [
  "Version",
  "AccessKeyId",
  "SecretAccessKey",
  "SessionToken",
  "Expiration",
];

/** Fails unless it is one line of JSON with a live session and nothing else. */
export function assertProcessOutput(result: RunResult): ProcessCredentials {
  const { code, stdout, stderr } = result;
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^\{[^\n]+\}\n$/);
  const found = JSON.parse(stdout);
  assert.deepEqual(Object.keys(found), PROCESS_KEYS);
  assert.equal(found.Version, 1);
  assert.match(found.AccessKeyId, /^ASIA/);
  assert.match(found.Expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.ok(Date.parse(found.Expiration) > Date.now());
  return found;
}

/** How {@link awsTest} starts. */
export interface AwsTestOptions extends SimulatedAwsOptions {
  /** Why it cannot run here; undefined if it can. */
  readonly reason?: string | undefined;
}

/**
 * Registers a test of the built moat with a simulator of its own.
 *
 * @param name The test's name.
 * @param fn The test.
 * @param options Of {@link SimulatedAws.open}, and why it cannot run here.
 */
export function awsTest(
  name: string,
  fn: (aws: SimulatedAws) => Promise<void>,
  { reason, ...options }: AwsTestOptions = {},
): void {
  testUnless(moatReason() ?? reason, name, async () => {
    await using aws = await SimulatedAws.open(options);
    await fn(aws);
  });
}

/**
 * Registers a test with a step for each row of a table. They share a
 * simulator, because starting one takes longer than what they do.
 *
 * @param name The test's name.
 * @param rows By the steps' names.
 * @param fn One step.
 * @param options As of {@link awsTest}.
 */
export function awsTable<Row>(
  name: string,
  rows: Readonly<Record<string, Row>>,
  fn: (aws: SimulatedAws, row: Row) => Promise<void>,
  { reason, ...options }: AwsTestOptions = {},
): void {
  testUnless(moatReason() ?? reason, name, async (t) => {
    await using aws = await SimulatedAws.open(options);
    for (const [step, row] of Object.entries(rows)) {
      await t.step(step, () => fn(aws, row));
    }
  });
}
