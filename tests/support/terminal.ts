/**
 * Command lines as a person types them, in a shell that has the built moat on
 * its PATH and nothing of the developer's own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertNoCanary } from "./canary.ts";
import { eventually } from "./eventually.ts";
import { MOAT, moatEnv } from "./moat.ts";
import { run, type RunResult, SYSTEM_PATH } from "./run.ts";
import { Workspace } from "./workspace.ts";

/** A role that no account has to have. */
export const ROLE = "arn:aws:iam::123456789012:role/Deploy";

/** A shell of one user; `await using` removes the user's home. */
export class Terminal implements AsyncDisposable {
  /** The user's home. */
  readonly workspace: Workspace;
  /** What the user exported. Always: where state is, and a keyring in a file. */
  readonly exported: Record<string, string>;

  private constructor(workspace: Workspace, env: Record<string, string>) {
    this.workspace = workspace;
    this.exported = { ROLE, ...env };
  }

  /** Opens one, with `ROLE` and more variables exported. */
  static async open(env: Record<string, string> = {}): Promise<Terminal> {
    const workspace = await Workspace.open();
    await Deno.mkdir(workspace.path("bin"));
    await Deno.symlink(MOAT, workspace.path("bin", "moat"));
    return new Terminal(workspace, env);
  }

  /**
   * Types a command line and waits for its end. Fails if the canary shows up
   * in what is printed.
   *
   * @param line For sh(1), such as `moat grant list | head -1`.
   * @param env Put before the exported variables.
   * @returns Exit status and output.
   */
  async type(
    line: string,
    env: Record<string, string> = {},
  ): Promise<RunResult> {
    const result = await run(["sh", "-c", line], {
      env: moatEnv(this.workspace, {
        env: {
          PATH: `${this.workspace.path("bin")}:${SYSTEM_PATH}`,
          ...this.exported,
          ...env,
        },
      }),
      clearEnv: true,
      cwd: this.workspace.directory,
      timeoutMs: 30_000,
    });
    assertNoCanary(result.stdout, result.stderr);
    return result;
  }

  /**
   * Types a command line that must succeed.
   *
   * @returns What it printed on stdout.
   */
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

  /** Removes the home, once the proxy of a `moat run` has left it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const home = this.workspace.moatHome;
    await eventually("end of the proxy", () => !hasProxy(home));
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** Whether a process runs as `moat proxy` with this MOAT_HOME. */
function hasProxy(home: string): boolean {
  const ids = [...Deno.readDirSync("/proc")].map((entry) => entry.name)
    .filter((name) => /^\d+$/.test(name));
  return ids.some((id) =>
    read(`/proc/${id}/cmdline`).includes("\0proxy\0") &&
    read(`/proc/${id}/environ`).includes(`MOAT_HOME=${home}\0`)
  );
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** What a refusal is to say. */
export interface Refusal {
  /** 2 for usage. Default: 1. */
  readonly exit?: number;
  readonly error: RegExp;
  readonly hint: RegExp;
}

/**
 * Fails unless a command printed one line `error: …` and one `hint: …` on
 * stderr, and nothing on stdout.
 */
export function assertRefused(result: RunResult, wanted: Refusal): void {
  const { code, stdout, stderr } = result;
  assert.equal(stdout, "");
  const [, error = "", hint = ""] =
    /^error: (.+)\nhint: (.+)\n$/.exec(stderr) ?? [];
  assert.match(error, wanted.error, stderr);
  assert.match(hint, wanted.hint, stderr);
  assert.equal(code, wanted.exit ?? 1, stderr);
}
