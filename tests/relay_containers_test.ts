/**
 * The relay in real containers: of images that hold nothing but busybox, so
 * no C library either, without network, privileges and anything to write to.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseEngineRun } from "$proxy/engine_run/command_line.ts";
import { readEntrypoint, wrapCommand } from "$proxy/engine_run/image.ts";
import { ROOT } from "../scripts/process.ts";
import { compileRelay } from "../scripts/relay.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  type Bed,
  bedReason,
  type Engine,
  openBed,
} from "./support/containers.ts";
import { run, type RunResult, which } from "./support/run.ts";

/** Where the relay listens; every container has a loopback of its own. */
const PORT = 7224;

const ANSWER = '{"answer":"from moat"}';

/** What a program in the container does with it. */
const FETCH = `wget -q -O - http://127.0.0.1:${PORT}/ecs/credentials`;

const LOCKED = [
  ...["--rm", "--read-only", "--cap-drop", "all", "--user", "1000:1000"],
];

/** An image for every way to say what is started. */
const IMAGES: Readonly<Record<string, readonly string[]>> = {
  "entrypoint-and-cmd": [
    'ENTRYPOINT ["/busybox","sh","-c"]',
    `CMD ["${FETCH}"]`,
  ],
  "cmd": [`CMD ["/busybox","sh","-c","${FETCH}"]`],
  "bare": [],
};

/** A bed with the images, and what is mounted into containers. */
class Scene implements AsyncDisposable {
  readonly #listener: Deno.Listener;

  private constructor(
    readonly engine: Engine,
    readonly bed: Bed,
    readonly files: string,
  ) {
    const path = join(files, "endpoint.sock");
    this.#listener = Deno.listen({ transport: "unix", path });
    Deno.chmodSync(path, 0o666);
    void answer(this.#listener);
  }

  static async open(engine: Engine): Promise<Scene> {
    const bed = await openBed(engine);
    const files = join(bed.directory, "files");
    await Deno.mkdir(files);
    await Deno.chmod(files, 0o755);
    await compileRelay(ROOT, join(files, "relay"));
    const root = join(bed.directory, "busybox");
    await Deno.mkdir(root);
    await Deno.copyFile(which("busybox") ?? "", join(root, "busybox"));
    const tar = join(bed.directory, "busybox.tar");
    await must(["tar", "-C", root, "-cf", tar, "."]);
    for (const [name, changes] of Object.entries(IMAGES)) {
      const options = changes.flatMap((change) => ["--change", change]);
      await must([bed.engine, "import", ...options, tar, `localhost/${name}`]);
    }
    return new Scene(engine, bed, files);
  }

  get rootfs(): string {
    return join(this.bed.directory, "busybox");
  }

  /** The command line that moat makes of `run` with these words. */
  async wrap(words: readonly string[]): Promise<string[]> {
    const given = parseEngineRun([this.bed.engine, "run", ...words]);
    assert(given);
    const argv = await readEntrypoint(
      given,
      (args) => must([this.bed.engine, ...args]),
    );
    const { head, tail } = wrapCommand(given, argv, PORT);
    return [...head, "--volume", `${this.files}:/moat:ro`, ...tail];
  }

  async run(...words: string[]): Promise<RunResult> {
    return await run(await this.wrap(words));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.bed.close();
  }
}

async function must(argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function answer(listener: Deno.Listener): Promise<void> {
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${ANSWER.length}\r\n\r\n`;
  for await (const connection of listener) {
    await connection.read(new Uint8Array(4096));
    await connection.write(new TextEncoder().encode(`${head}${ANSWER}`));
    connection.close();
  }
}

/** How a container is started, and what it must print. */
const CONTAINERS: { name: string; words: string[]; only?: Engine }[] = [
  {
    name: "an image with ENTRYPOINT and CMD",
    words: ["localhost/entrypoint-and-cmd"],
  },
  { name: "an image with CMD", words: ["localhost/cmd"] },
  {
    name: "words in place of CMD",
    words: ["localhost/entrypoint-and-cmd", `echo; ${FETCH}`],
  },
  {
    name: "an image without either",
    words: ["localhost/bare", "/busybox", "sh", "-c", FETCH],
  },
  {
    name: "an entrypoint of the user's",
    words: [
      ...["--entrypoint", "/busybox", "localhost/entrypoint-and-cmd"],
      ...["sh", "-c", FETCH],
    ],
  },
  {
    name: "an entrypoint that is a JSON array",
    words: [
      ...["--entrypoint", '["/busybox","sh","-c"]'],
      ...["localhost/entrypoint-and-cmd", FETCH],
    ],
    only: "podman",
  },
  {
    name: "no entrypoint",
    words: [
      ...["--entrypoint=", "localhost/entrypoint-and-cmd"],
      ...["/busybox", "sh", "-c", FETCH],
    ],
  },
  {
    name: "an image behind --",
    words: ["--", "localhost/entrypoint-and-cmd"],
  },
];

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const missing = ["cc", "busybox"].filter((program) => !which(program));
  const reason = missing.length > 0
    ? `not installed: ${missing.join(", ")}`
    : bedReason(engine);

  testUnless(reason, `the relay in containers of ${engine}`, async (t) => {
    await using scene = await Scene.open(engine);
    const none = ["--network", "none", ...LOCKED];
    const shell = ["localhost/bare", "/busybox", "sh", "-c"];

    for (const { name, words, only = engine } of CONTAINERS) {
      if (only !== engine) continue;
      await t.step(`answers with ${name}`, async () => {
        const { stdout, stderr } = await scene.run(...none, ...words);
        assert.equal(stdout.trim(), ANSWER, stderr);
      });
    }

    await t.step("answers in a network that leads nowhere", async () => {
      await must([scene.bed.engine, "network", "create", "--internal", "in"]);
      const words = ["--network", "in", ...LOCKED, ...shell, FETCH];
      const { stdout, stderr } = await scene.run(...words);
      assert.equal(stdout, ANSWER, stderr);
    });

    await t.step("answers behind an init process", async () => {
      // Debian's podman brings none of its own.
      const init = engine === "podman"
        ? ["--init", "--init-path", which("docker-init") ?? ""]
        : ["--init"];
      const words = [...none, ...init, ...shell, `echo $$; ${FETCH}`];
      const { stdout, stderr } = await scene.run(...words);
      assert.match(stdout, /^([2-9]|\d\d+)\n{"answer":"from moat"}$/, stderr);
    });

    await t.step("answers when the host's processes are in sight", async () => {
      const words = [...none, "--pid", "host", ...shell, FETCH];
      const { stdout, stderr } = await scene.run(...words);
      assert.equal(stdout, ANSWER, stderr);
    });

    await t.step("leaves nothing when its container ends", async () => {
      await scene.run(...none, "--pid", "host", ...shell, FETCH);
      assert.deepEqual(await processesOf(join(scene.files, "relay")), []);
    });

    if (engine === "podman") {
      await t.step("answers in a directory instead of an image", async () => {
        const words = ["--rootfs", scene.rootfs, ...shell.slice(1), FETCH];
        const { stdout, stderr } = await scene.run(...none, ...words);
        assert.equal(stdout, ANSWER, stderr);
      });
    }

    await t.step("makes the command process 1, with one child", async () => {
      const script = "read c </proc/1/task/1/children; echo $$ $c";
      const { stdout } = await scene.run(...none, ...shell, script);
      assert.match(stdout, /^1 \d+\n$/);
    });

    await t.step("leaves the terminal to the command", async () => {
      const script = "[ -t 0 ] && [ -t 1 ] && echo yes";
      const { stdout } = await scene.run(...none, "--tty", ...shell, script);
      assert.equal(stdout.trim(), "yes");
    });

    await t.step("passes the exit status on", async () => {
      const { code } = await scene.run(...none, ...shell, "exit 7");
      assert.equal(code, 7);
    });

    await t.step("passes stdin on", async () => {
      const words = [...none, "--interactive", ...shell, "cat"];
      const { stdout } = await run(await scene.wrap(words), { stdin: "hello" });
      assert.equal(stdout, "hello");
    });

    await t.step("says that there is no such program", async () => {
      const words = [...none, "localhost/bare", "no-such-program"];
      const { code, stderr } = await scene.run(...words);
      assert.equal(code, 127);
      assert.match(stderr, /moat relay: Cannot run "no-such-program": No such/);
    });

    await t.step("lets the command have the signals", async () => {
      const script =
        "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done";
      const words = [...none, "--name", "signalled", ...shell, script];
      const ended = run(await scene.wrap(words));
      const kill = [scene.bed.engine, "kill", "--signal", "TERM", "signalled"];
      await eventually("a container that is ready", async () => {
        return (await run([scene.bed.engine, "logs", "signalled"])).stdout;
      });
      await must(kill);
      assert.equal((await ended).code, 9);
    });
  });
}

/** Processes that run a program, under whatever path they see it. */
async function processesOf(program: string): Promise<number[]> {
  const { dev, ino } = await Deno.stat(program);
  const found: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const exe = await Deno.stat(`/proc/${name}/exe`).catch(() => undefined);
    if (exe?.dev === dev && exe.ino === ino) found.push(Number(name));
  }
  return found;
}
