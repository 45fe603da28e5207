/**
 * Programs that give credentials: `credential_process`. The SDK's own provider
 * neither bounds their time and output nor keeps what they print out of its
 * errors.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html | Process credential provider}
 */

import { parseJson } from "$core/json.ts";
import { SELF_SOURCE_MARK } from "../errors.ts";
import {
  type Environment,
  ProviderFailure,
  type SdkCredentials,
  type SourceCall,
} from "./call.ts";

/** Far above any credentials. */
const MAX_OUTPUT_BYTES = 64 * 1024;

/** What a program printed. */
export interface Printed {
  /** Whether its exit status was 0 and it was not killed. */
  readonly success: boolean;
  /** Not to be quoted: it may be a secret. */
  readonly stdout: string;
  /** Not to be quoted either. */
  readonly stderr: string;
}

/**
 * Gets credentials from a program, which runs in a shell with this process's
 * environment and `MOAT_SOURCE=1`, under which moat refuses to be its own
 * source. When the call ends it is killed, with all that it started unless it
 * shares a terminal with us.
 *
 * **Security:** no error quotes the program's output.
 *
 * @param profile For the words of an error.
 * @param command A command line for `/bin/sh`.
 * @param call Clock, environment, and what ends it.
 * @returns The credentials, which have not expired.
 * @throws {ProviderFailure} Worded as the SDK does it.
 */
export async function processCredentials(
  profile: string,
  command: string,
  call: SourceCall,
): Promise<SdkCredentials> {
  const { success, stdout, stderr } = await runProgram(command, call);
  if (!success && stderr.includes(SELF_SOURCE_MARK)) {
    throw new ProviderFailure(`Command failed: ${SELF_SOURCE_MARK}`, false);
  }
  if (!success) throw new ProviderFailure("Command failed");
  const fault = (what: string) =>
    new ProviderFailure(`Profile ${profile} credential_process ${what}.`);
  const data = parseObject(stdout);
  if (!data) throw fault("returned invalid JSON");
  const { Version, AccessKeyId, SecretAccessKey, SessionToken, Expiration } =
    data;
  if (Version !== 1) throw fault("returned another version than 1");
  if (typeof AccessKeyId !== "string" || typeof SecretAccessKey !== "string") {
    throw fault("returned invalid credentials");
  }
  const end = typeof Expiration === "string" ? Date.parse(Expiration) : NaN;
  if (end < call.platform.clock.now()) {
    throw fault("returned expired credentials");
  }
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    ...(typeof SessionToken === "string" && SessionToken &&
      { sessionToken: SessionToken }),
    ...(!Number.isNaN(end) && { expiration: new Date(end) }),
  };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  const data = parseJson(text.trim());
  return data !== null && typeof data === "object"
    ? data as Record<string, unknown>
    : undefined;
}

/**
 * Runs a program; see {@link processCredentials} for how.
 *
 * @param command A command line for `/bin/sh`.
 * @param call Environment, and what ends it.
 * @returns What it printed, at most 64 KiB of each.
 * @throws {ProviderFailure} If this process may start none any more.
 */
export async function runProgram(
  command: string,
  { signal, platform: { env } }: Pick<SourceCall, "signal"> & {
    readonly platform: { readonly env: Environment };
  },
): Promise<Printed> {
  signal.throwIfAborted();
  // At a terminal it may ask a question there, which a group of its own could not.
  const detached = !Deno.stdin.isTerminal();
  const child = spawn(command, env, detached);
  const stop = new AbortController();
  const end = () => {
    stop.abort();
    kill(detached ? -child.pid : child.pid);
  };
  signal.addEventListener("abort", end);
  try {
    const [stdout, stderr] = await Promise.all([
      readText(child.stdout, stop.signal, end),
      readText(child.stderr, stop.signal, end),
    ]);
    const { success } = await child.status;
    return { success: success && !stop.signal.aborted, stdout, stderr };
  } finally {
    signal.removeEventListener("abort", end);
  }
}

function spawn(command: string, env: Environment, detached: boolean) {
  try {
    return new Deno.Command("/bin/sh", {
      args: ["-c", command],
      env: { ...env, MOAT_SOURCE: "1" },
      clearEnv: true,
      detached,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    // It names the shell alone: the proxy may have given the permission up.
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new ProviderFailure(error.message);
  }
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

/** Reads until the end, or until it is told to stop or has read too much. */
async function readText(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  signal: AbortSignal,
  onTooMuch: () => void,
): Promise<string> {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  const leave = () => void reader.cancel();
  signal.addEventListener("abort", leave);
  let text = "";
  for (let size = 0;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MAX_OUTPUT_BYTES) onTooMuch();
    else text += decoder.decode(value, { stream: true });
  }
  signal.removeEventListener("abort", leave);
  return text;
}
