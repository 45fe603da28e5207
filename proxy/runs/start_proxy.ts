/**
 * Starts the proxy that `moat run` needs when none is running.
 *
 * @module
 */

import type { CommandContext } from "$core/cli/command.ts";
import { MoatError } from "$core/errors.ts";
import { environmentOfChild } from "./child.ts";

/**
 * An intercepted connection takes four descriptors, and a session's usual
 * limit is 1,024; a runtime cannot raise its own.
 */
const MANY_DESCRIPTORS =
  'ulimit -Sn 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)" 2>/dev/null; exec "$0" "$@"';

/** Read early: the path of a program that was replaced since is not found. */
const PROGRAM = Deno.execPath();

/**
 * Starts a proxy in a session of its own, so that a Ctrl-C meant for the
 * command does not reach it; it ends with its last run.
 *
 * @param context The command's context.
 * @param port The port to listen on; default: any.
 * @returns Undefined once it is ready, else why it did not start.
 */
export async function startProxy(
  context: CommandContext,
  port = 0,
): Promise<MoatError | undefined> {
  const child = new Deno.Command("/bin/sh", {
    args: [
      "-c",
      MANY_DESCRIPTORS,
      PROGRAM,
      "proxy",
      "--end-when-idle",
      "--json",
      "--listen",
      `127.0.0.1:${port}`,
    ],
    env: environmentOfChild(context.platform.env),
    clearEnv: true,
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  child.unref();
  const isReady = await endsWithControl(child.stdout);
  if (isReady) {
    await child.stderr.cancel();
    return undefined;
  }
  const stderr = await new Response(child.stderr).text();
  await child.status;
  return readFailure(stderr);
}

/** The `control` line is the last one, when everything is served. */
async function endsWithControl(
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<boolean> {
  let text = "";
  for await (const chunk of stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (/^control .*\n/m.test(text)) return true;
  }
  return false;
}

function readFailure(stderr: string): MoatError {
  const line = stderr.split("\n").find((l) => l.startsWith('{"error"'));
  const { code = "proxy-not-started", message, hint } = line
    ? JSON.parse(line).error
    : {};
  return new MoatError(
    code,
    message ?? "Cannot start a proxy: it ended before it was ready",
    { hint: hint ?? "start moat proxy in another terminal to see why" },
  );
}
