/**
 * A temporary directory per test, with a moat home in it.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { eventually } from "./eventually.ts";

/** A private directory that is removed at the end; `await using` does it. */
export class Workspace implements AsyncDisposable {
  /** Absolute; also the HOME of programs that run in it. */
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Makes an empty one. */
  static async open(): Promise<Workspace> {
    const directory = await Deno.makeTempDir({ prefix: "moat-test-" });
    return new Workspace(await Deno.realPath(directory));
  }

  /** What MOAT_HOME is set to; moat makes it when it needs it. */
  get moatHome(): string {
    return this.path("moat");
  }

  /** The path of a file in it. */
  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /**
   * Writes a file, with its directories.
   *
   * @param name Relative to the workspace.
   * @param content The text.
   * @param mode Default: 0o600.
   * @returns Its absolute path.
   */
  async write(name: string, content: string, mode = 0o600): Promise<string> {
    const path = this.path(name);
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(path, content);
    await Deno.chmod(path, mode);
    return path;
  }

  /** Removes the directory and all in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    // A proxy that a `moat run` started ends a moment later, and writes until then.
    await eventually("an empty workspace", async () => {
      await Deno.remove(this.directory, { recursive: true });
      return true;
    });
  }
}
