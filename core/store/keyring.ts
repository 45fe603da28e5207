/**
 * The operating system's keyring, through the program that comes with it:
 * `secret-tool` (libsecret) on Linux, `security` on macOS.
 *
 * A program instead of a native library, which would need permission to load
 * code. The secret goes through a pipe, never through an argument.
 *
 * @module
 */

import { delimiter, isAbsolute, join } from "node:path";
import type { Clock } from "../clock.ts";

/** Keeps small texts under account names. */
export interface Keyring {
  /**
   * Stores a text, in place of an older one.
   *
   * @returns Whether it says that it did; look it up to be sure.
   */
  store(account: string, secret: string): Promise<boolean>;
  /**
   * Looks a text up.
   *
   * @returns The text; undefined if there is none, or the keyring is locked,
   * absent or slow.
   */
  lookup(account: string): Promise<string | undefined>;
}

/** What running a keyring's program takes. */
export interface KeyringHost {
  /** Limits how long the program may run. */
  readonly clock: Clock;
  /** The process's environment; the program gets only {@link PASSED_ON}. */
  readonly env: Readonly<Record<string, string>>;
}

/** A locked keyring may ask on a screen that nobody watches. */
const TIMEOUT_MS = 3_000;

/** More than any key takes. */
const MAX_OUTPUT_BYTES = 4_096;

const SERVICE = "moat";

/** How the programs find the user's session bus, or login keychain. */
const PASSED_ON = ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "HOME"];

/**
 * Finds this machine's keyring.
 *
 * @param host Environment and clock.
 * @param os Default: the system that this runs on.
 * @returns The keyring, which may still prove locked; undefined if there is no program for it.
 */
export async function findKeyring(
  host: KeyringHost,
  os: typeof Deno.build.os = Deno.build.os,
): Promise<Keyring | undefined> {
  if (os === "darwin") return macKeychain("/usr/bin/security", host);
  const program = await findProgram("secret-tool", host.env["PATH"] ?? "");
  return program === undefined ? undefined : secretService(program, host);
}

/**
 * The Secret Service of a Linux desktop.
 *
 * @param program Path of `secret-tool`.
 * @param host Environment and clock.
 * @see {@link https://specifications.freedesktop.org/secret-service-spec/latest/ | Secret Service API}
 */
export function secretService(program: string, host: KeyringHost): Keyring {
  const attributes = (account: string) => [
    "service",
    SERVICE,
    "account",
    account,
  ];
  return {
    async store(account, secret) {
      const args = ["store", "--label=moat", ...attributes(account)];
      return await run(program, args, secret, host) !== undefined;
    },
    async lookup(account) {
      const args = ["lookup", ...attributes(account)];
      return await run(program, args, "", host);
    },
  };
}

/**
 * The login keychain of macOS.
 *
 * @param program Path of `security`.
 * @param host Environment and clock.
 * @see `man security`: `-i` takes commands from its standard input.
 */
export function macKeychain(program: string, host: KeyringHost): Keyring {
  return {
    async store(account, secret) {
      const command =
        `add-generic-password -U -s ${SERVICE} -a "${account}" -w "${secret}"\n`;
      return await run(program, ["-i"], command, host) !== undefined;
    },
    async lookup(account) {
      const args = [
        "find-generic-password",
        "-s",
        SERVICE,
        "-a",
        account,
        "-w",
      ];
      const output = await run(program, args, "", host);
      return output?.replace(/\n$/, "");
    },
  };
}

async function findProgram(
  name: string,
  path: string,
): Promise<string | undefined> {
  for (const directory of path.split(delimiter).filter(isAbsolute)) {
    const program = join(directory, name);
    const info = await Deno.stat(program).catch(() => undefined);
    if (info?.isFile && ((info.mode ?? 0) & 0o111) !== 0) return program;
  }
  return undefined;
}

/** Runs a program to its end, or kills it; its output if it succeeded. */
async function run(
  program: string,
  args: string[],
  input: string,
  { clock, env }: KeyringHost,
): Promise<string | undefined> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args,
      clearEnv: true,
      env: pick(env, PASSED_ON),
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
  } catch {
    return undefined;
  }
  const reader = child.stdout.getReader();
  const disarm = clock.after(TIMEOUT_MS, () => {
    kill(child);
    // A grandchild may hold the pipe open.
    reader.cancel().catch(() => {});
  });
  try {
    await feed(child.stdin, input);
    const output = await readText(reader);
    if (output === undefined) kill(child);
    return (await child.status).success ? output : undefined;
  } finally {
    disarm();
  }
}

function pick(
  env: Readonly<Record<string, string>>,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => names.includes(name)),
  );
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended already.
  }
}

async function feed(
  stdin: WritableStream<Uint8Array>,
  input: string,
): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch {
    // It ended without reading; its exit status tells more.
  }
}

/** All of it, or undefined if it is too much. */
async function readText(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_OUTPUT_BYTES) {
      await reader.cancel();
      return undefined;
    }
  }
}
