/**
 * A host on which the built moat has a grant, a mock STS and perhaps a proxy.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { digestToken, mintToken } from "$core/binding.ts";
import { systemClock } from "$core/clock.ts";
import {
  ControlClient,
  type ProxyStatus,
  type RunOpened,
} from "$core/control.ts";
import { findPaths, type Paths } from "$core/paths.ts";
import { CANARY } from "./canary.ts";
import { eventually } from "./eventually.ts";
import { type MockSts, startMockSts } from "./mock_sts.ts";
import { type MoatServer, runMoat, startMoat } from "./moat.ts";
import { exchange, type RawAnswer } from "./raw_http.ts";
import { run, type RunResult } from "./run.ts";
import { Workspace } from "./workspace.ts";
import { isRunning } from "./processes.ts";

/** The role of the grant; only the mock knows it. */
export const ROLE = "arn:aws:iam::123456789012:role/Deploy";

/** A session of a run, as `moat run` would have it. */
export interface TestRun {
  readonly name: string;
  readonly token: string;
  readonly opened: RunOpened;
  /** Asks for a path with the run's token. */
  get(path: string): Promise<RawAnswer>;
  /** Ends the run, as `moat run` does when its command is over. */
  end(): Promise<void>;
  /** Breaks the connection, as a `moat run` that is killed. */
  disconnect(): Promise<void>;
}

/** A proxy of a scene. */
export interface TestProxy extends MoatServer {
  /** Its first listener. */
  readonly address: Deno.NetAddr;
  /** Opens a run through the control socket. */
  openRun(grants?: readonly string[]): Promise<TestRun>;
}

/** A `moat run` whose command waits. */
export interface StartedRun extends MoatServer {
  /** The process of the command; what it was given is in its environment. */
  readonly childPid: number;
  /** The token that is in the run's token file. */
  readonly token: string;
  /** Runs the command's credential helper, as an SDK in the command would. */
  askHelper(): Promise<RunResult>;
}

/** Waits until a signal ends it; its process is the shell's own. */
export const WAIT = "echo ready $$; exec sleep 60";

/** Everything of one test; `await using` removes it. */
export class Scene implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly workspace: Workspace;
  readonly sts: MockSts;
  readonly paths: Paths;
  /** What a user would export: where STS is, and a key that is the canary. */
  readonly env: Record<string, string>;

  private constructor(
    stack: AsyncDisposableStack,
    workspace: Workspace,
    sts: MockSts,
  ) {
    this.#stack = stack;
    this.workspace = workspace;
    this.sts = sts;
    this.paths = findPaths({ MOAT_HOME: workspace.moatHome });
    this.env = {
      AWS_ENDPOINT_URL_STS: sts.url,
      AWS_ACCESS_KEY_ID: "AKIAMOCKSOURCE000000",
      AWS_SECRET_ACCESS_KEY: CANARY,
      AWS_EC2_METADATA_DISABLED: "true",
    };
  }

  /** Opens a scene with the grant `aws`. */
  static async open(): Promise<Scene> {
    const stack = new AsyncDisposableStack();
    const workspace = stack.use(await Workspace.open());
    const scene = new Scene(stack, workspace, stack.use(startMockSts()));
    stack.defer(() => scene.#endProxy());
    await scene.grant();
    return scene;
  }

  /** Runs `moat grant aws`, without asking STS. */
  async grant(...flags: string[]): Promise<void> {
    const { code, stderr } = await this.moat(
      ...["grant", "aws", "--role", ROLE, "--no-validate", ...flags],
    );
    if (code !== 0) throw new Error(stderr);
  }

  /** Runs moat to its end. */
  moat(...args: string[]): Promise<RunResult> {
    return runMoat(args, { workspace: this.workspace, env: this.env });
  }

  /** Starts `moat proxy`; the scene's end stops it. */
  async startProxy(
    { args = ["--listen", "127.0.0.1:0"], env = {}, listeners = 1 } = {},
  ): Promise<TestProxy> {
    const server = await startMoat(["proxy", ...args], {
      workspace: this.workspace,
      env: { ...this.env, ...env },
      listeners,
    });
    this.#stack.defer(async () => void await server.stop());
    const [url = ""] = server.urls;
    const address = addressOf(url);
    await eventually("control line", () => /^control /m.test(server.stdout()));
    return {
      ...server,
      address,
      openRun: (grants) => this.openRun(address, grants),
    };
  }

  /**
   * Starts `moat run` with a shell that prints `ready $$`.
   *
   * @param script What the shell does. Default: {@link WAIT}.
   * @param prefix Put before the command line of moat.
   */
  async startRun(
    script: string = WAIT,
    prefix: readonly string[] = [],
  ): Promise<StartedRun> {
    const server = await startMoat(
      ["run", "--grant", "aws", "--", "sh", "-c", script],
      { workspace: this.workspace, env: this.env, prefix },
    );
    const childPid = Number(server.urls[0]);
    this.#stack.defer(async () => {
      // The command of a `moat run` that was killed holds its pipes.
      if (isRunning(childPid)) Deno.kill(childPid, "SIGKILL");
      await server.stop();
    });
    // It is empty in the midst of an exec.
    const env = await eventually("environment", async () => {
      const env = await environmentOf(childPid);
      return env["MOAT_AWS_CREDENTIAL_URL"] ? env : undefined;
    });
    const helper = `${dirname(env["AWS_CONFIG_FILE"] ?? "")}/credentials`;
    const bearer = await Deno.readTextFile(
      env["MOAT_AWS_CREDENTIAL_TOKEN_FILE"] ?? "",
    );
    const token = bearer.replace(/^Bearer /, "");
    return {
      ...server,
      childPid,
      token,
      askHelper: () => run([helper], { env, clearEnv: true }),
    };
  }

  /** A connection to the control socket of whatever proxy is running. */
  async control(): Promise<ControlClient | undefined> {
    return await ControlClient.connect(this.paths.controlSocket, systemClock);
  }

  /** What the running proxy says about itself. */
  async status(): Promise<ProxyStatus | undefined> {
    const control = await this.control();
    if (!control) return undefined;
    try {
      return await control.call("status", {});
    } finally {
      await hangUp(control);
    }
  }

  /** Opens a run as `moat run` does, but without files and a command. */
  async openRun(
    address: Deno.NetAddr,
    grants: readonly string[] = ["aws"],
  ): Promise<TestRun> {
    const control = await this.control();
    if (!control) throw new Error("no proxy is running");
    const name = crypto.randomUUID().replaceAll("-", "").slice(0, 10);
    const token = mintToken(`run-${name}`).reveal();
    const opened = await control.call("run-open", {
      run: name,
      grants,
      tokenDigest: digestToken(token),
      directory: "/moat",
      reach: { by: "loopback" },
    });
    const disconnect = () => hangUp(control);
    this.#stack.defer(disconnect);
    const headers = { Authorization: `Bearer ${token}` };
    return {
      name,
      token,
      opened,
      get: (path) => get(address, path, headers),
      end: async () => {
        await control.call("run-close", { run: name });
        await disconnect();
      },
      disconnect,
    };
  }

  /** Names in the directory of runs; empty if it is not there. */
  async runNames(): Promise<string[]> {
    try {
      const entries = await Array.fromAsync(Deno.readDir(this.paths.runs));
      return entries.map((entry) => entry.name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  /** Stops everything and removes the home. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** Ends a proxy that a `moat run` started, or waits for its end. */
  async #endProxy(): Promise<void> {
    const left = await this.status().catch(() => undefined);
    if (left) await endProcess(left.pid);
    // One that has removed its socket may still write.
    const path = join(this.paths.locks, "proxy.lock");
    await eventually("end of the proxy", async () => {
      using lock = await Deno.open(path, { create: true, write: true });
      return await lock.tryLock(true);
    });
  }
}

async function hangUp(control: ControlClient): Promise<void> {
  control.close();
  await control.closed;
}

/** The environment in which a process was started, once its exec is over. */
export async function environmentOf(
  pid: number,
): Promise<Record<string, string>> {
  const text = await eventually("whole environment", async () => {
    const read = () => Deno.readTextFile(`/proc/${pid}/environ`);
    const [first, second] = [await read(), await read()];
    // In the midst of an exec it is empty, or cut.
    return first === second && first.endsWith("\0") ? first : undefined;
  });
  const pairs = text.split("\0").filter((pair) => pair.includes("="));
  return Object.fromEntries(pairs.map((pair) => {
    const equals = pair.indexOf("=");
    return [pair.slice(0, equals), pair.slice(equals + 1)];
  }));
}

/** Ends a process of this test by its id, and waits until it is gone. */
export async function endProcess(
  pid: number,
  signal: Deno.Signal = "SIGTERM",
): Promise<void> {
  Deno.kill(pid, signal);
  await eventually(`end of ${pid}`, () => !isRunning(pid));
}

/**
 * Takes the address out of a `ready` URL.
 *
 * @param url Such as `http://127.0.0.1:19080`.
 * @returns What `Deno.connect` takes.
 */
export function addressOf(url: string): Deno.NetAddr {
  const { hostname, port } = new URL(url);
  const bare = hostname.replace(/^\[|\]$/g, "");
  return { transport: "tcp", hostname: bare, port: Number(port) };
}

/**
 * Sends one GET, as an SDK would.
 *
 * @param address Of the proxy.
 * @param path With its query.
 * @param headers Added to Host.
 * @returns The answer.
 */
export async function get(
  address: Deno.NetAddr,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  const [answer] = await exchange(address, getText(address, path, headers));
  if (!answer) throw new Error("no answer");
  return answer;
}

/** The text of such a GET. */
export function getText(
  { hostname, port }: Deno.NetAddr,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): string {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const fields = { Host: `${host}:${port}`, ...headers };
  const lines = Object.entries(fields).map(([k, v]) => `${k}: ${v}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}
