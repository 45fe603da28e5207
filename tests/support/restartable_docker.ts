/**
 * A docker daemon that a test stops and starts again, in the network namespace
 * of a bed that clears away whatever is left. As on most hosts, its containerd
 * is a daemon of its own that stays.
 *
 * @module
 */

import { join } from "node:path";
import { type Bed, bedReason, openBed } from "./containers.ts";
import { run, type Server, startServer, which } from "./run.ts";

/** How a daemon is started. */
export interface DaemonOptions {
  /** Whether containers outlive it. Default: true. */
  readonly isLiveRestore?: boolean;
  /** Whether it has the socket that moat knows. Default: true. */
  readonly isPublic?: boolean;
}

/** Why there can be none; undefined if there can. */
export function restartableDockerReason(): string | undefined {
  // The bed around it is podman's, which has no daemon of its own.
  return bedReason("podman") ?? bedReason("docker");
}

/** A daemon; closing {@link RestartableDocker.bed} ends it. */
export class RestartableDocker {
  readonly #around: Bed;
  #containerd: Server | undefined;
  #daemon: Server | undefined;
  /** As a docker bed; closing it removes all containers. */
  readonly bed: Bed;

  private constructor(around: Bed) {
    this.#around = around;
    const { directory, prefix, image, mounts } = around;
    const engine = join(directory, "bin/docker");
    const socket = `unix://${this.#path("cli.sock")}`;
    const close = () => this.#close();
    this.bed = {
      ...{ engine, directory, prefix, image, mounts, close },
      plain: { argv: [which("docker") ?? engine, "--host", socket], env: {} },
      [Symbol.asyncDispose]: close,
    };
  }

  /** Starts one for the first time. Takes about 2 s. */
  static async open(): Promise<RestartableDocker> {
    const opened = new RestartableDocker(await openBed("podman"));
    try {
      await opened.#writeWrapper();
      await opened.#startContainerd();
      await opened.start();
      const { engine, directory, image } = opened.bed;
      const tarball = join(directory, "image.tar");
      const { code, stderr } = await run([engine, "import", tarball, image]);
      if (code !== 0) throw new Error(`Cannot import the image: ${stderr}`);
      return opened;
    } catch (error) {
      await opened.#close();
      throw error;
    }
  }

  /** Starts the daemon, and waits until it answers. */
  async start(
    { isLiveRestore = true, isPublic = true }: DaemonOptions = {},
  ): Promise<void> {
    const netns = this.bed.directory.split("/").at(-1);
    const sockets = ["cli.sock", ...isPublic ? ["docker.sock"] : []];
    const argv = [
      ...[...this.bed.prefix, "dockerd", `--data-root=${this.#path("data")}`],
      ...[`--exec-root=${this.#path("exec")}`],
      `--pidfile=${this.#path("dockerd.pid")}`,
      `--containerd=${this.#path("containerd.sock")}`,
      `--live-restore=${isLiveRestore}`,
      ...sockets.map((name) => `--host=unix://${this.#path(name)}`),
      `--containerd-namespace=${netns}`,
      `--containerd-plugins-namespace=${netns}-plugins`,
    ];
    this.#daemon = await startServer(argv, {
      ...{ ready: /API listen on/g, on: "stderr", count: sockets.length },
    });
  }

  /** Ends the daemon and its sockets. */
  async stop(signal?: Deno.Signal): Promise<void> {
    await this.#daemon?.stop(signal);
    this.#daemon = undefined;
    for (const name of ["cli.sock", "docker.sock"]) {
      // One that was killed leaves them.
      await Deno.remove(this.#path(name)).catch(() => {});
    }
  }

  async #startContainerd(): Promise<void> {
    const argv = [
      ...["containerd", `--address=${this.#path("containerd.sock")}`],
      ...[`--root=${this.#path("containerd")}`],
      `--state=${this.#path("containerd-state")}`,
    ];
    this.#containerd = await startServer(argv, {
      ...{ ready: /containerd successfully booted/g, on: "stderr" },
    });
  }

  async #writeWrapper(): Promise<void> {
    const { engine, directory, plain } = this.bed;
    const command = plain.argv.join(" ");
    const script =
      `#!/bin/sh\nDOCKER_CONFIG=${directory} exec ${command} "$@"\n`;
    await Deno.writeTextFile(engine, script, { mode: 0o755 });
  }

  #path(name: string): string {
    return join(this.#around.directory, name);
  }

  async #close(): Promise<void> {
    const { engine } = this.bed;
    if (this.#daemon) {
      const { stdout } = await run([engine, "ps", "--all", "--quiet"]);
      const ids = stdout.split("\n").filter(Boolean);
      if (ids.length > 0) await run([engine, "rm", "--force", ...ids]);
      await this.stop();
    }
    await this.#containerd?.stop();
    await this.#around.close();
  }
}
