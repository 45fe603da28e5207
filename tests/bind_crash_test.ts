/**
 * `moat bind` that is killed at each of its changes on disk: whatever the
 * environment file says then must count, so that no client loses its right.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { testUnless } from "./support/conditional.ts";
import { MOAT, moatEnv, moatReason } from "./support/moat.ts";
import { addressOf, get } from "./support/scene.ts";
import { run, type RunResult, which } from "./support/run.ts";
import { SimulatedAws } from "./support/simulated_aws.ts";

/**
 * Kills its process right before the change number `KILL_AT` to the files below
 * `KILL_BELOW`; if that is a write, after the first half.
 */
const KILLER = String.raw`
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int changes;

static int isLast(const char *path) {
  const char *below = getenv("KILL_BELOW"), *at = getenv("KILL_AT");
  if (!below || !at || strncmp(path, below, strlen(below)) != 0) return 0;
  return atomic_fetch_add(&changes, 1) + 1 == atoi(at);
}

static void before(const char *path) {
  if (isLast(path)) raise(SIGKILL);
}

static const char *pathOf(int fd, char path[4096]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, 4095);
  path[length < 0 ? 0 : length] = 0;
  return path;
}

#define NEXT(name) __typeof__(name) *next = dlsym(RTLD_NEXT, #name)

int rename(const char *from, const char *to) { NEXT(rename); before(to); return next(from, to); }
int unlink(const char *path) { NEXT(unlink); before(path); return next(path); }
int unlinkat(int at, const char *path, int flags) { NEXT(unlinkat); before(path); return next(at, path, flags); }

ssize_t write(int fd, const void *bytes, size_t count) {
  NEXT(write);
  char path[4096];
  if (fd > 2 && isLast(pathOf(fd, path))) {
    next(fd, bytes, count / 2);
    raise(SIGKILL);
  }
  return next(fd, bytes, count);
}

int open64(const char *path, int flags, ...) {
  NEXT(open64);
  va_list list;
  va_start(list, flags);
  mode_t mode = va_arg(list, mode_t);
  va_end(list);
  if (flags & O_CREAT) before(path);
  return next(path, flags, mode);
}
`;

const KILLED = 128 + 9;

/** More than a bind makes. */
const MAX_CHANGES = 90;

/** Why no process can be killed so; undefined if it can. */
function crashReason(): string | undefined {
  if (Deno.build.os !== "linux") return "needs Linux";
  return which("cc") ? moatReason() : "not installed: cc";
}

/** A host with the grant `aws`, a proxy, and commands that are killed. */
class CrashBed implements AsyncDisposable {
  readonly aws: SimulatedAws;
  readonly #killer: string;

  private constructor(aws: SimulatedAws, killer: string) {
    this.aws = aws;
    this.#killer = killer;
  }

  static async open(): Promise<CrashBed> {
    const aws = await SimulatedAws.open();
    const source = await aws.workspace.write("killer.c", KILLER);
    const killer = aws.workspace.path("killer.so");
    const flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"];
    const result = await run(["cc", ...flags, "-o", killer, source, "-ldl"]);
    assert.equal(result.code, 0, result.stderr);
    await aws.do("moat grant aws --no-validate --role $ROLE");
    await aws.startProxy();
    return new CrashBed(aws, killer);
  }

  path(...parts: string[]): string {
    return join(this.aws.workspace.moatHome, ...parts);
  }

  /** Runs moat, which is killed at the change of this number if it gets there. */
  async moat(line: string, killAt = 0): Promise<RunResult> {
    const { workspace, terminal } = this.aws;
    return await run([MOAT, ...line.split(" ")], {
      env: moatEnv(workspace, {
        env: {
          ...terminal.exported,
          LD_PRELOAD: this.#killer,
          KILL_BELOW: `${workspace.moatHome}/`,
          KILL_AT: String(killAt),
        },
      }),
      clearEnv: true,
      cwd: workspace.directory,
    });
  }

  /** Runs moat, which must be killed there or succeed; tells whether it was killed. */
  async isKilled(line: string, killAt: number): Promise<boolean> {
    const { code, stderr } = await this.moat(line, killAt);
    assert.ok([0, KILLED].includes(code), stderr);
    return code === KILLED;
  }

  async do(line: string): Promise<void> {
    const { code, stderr } = await this.moat(line);
    assert.equal(code, 0, stderr);
  }

  /** What a client is answered that was given the environment file; undefined without one. */
  async status(name: string): Promise<number | undefined> {
    const env = await textIfAny(this.path("env", name));
    if (env === undefined) return undefined;
    const values = Object.fromEntries(
      env.split("\n").map((line) => line.split(/=(.*)/, 2)),
    );
    const url = new URL(
      values["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ??
        values["MOAT_AWS_CREDENTIAL_URL"],
    );
    const file = values["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ??
      values["MOAT_AWS_CREDENTIAL_TOKEN_FILE"];
    const header = values["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ??
      (file && await Deno.readTextFile(file));
    const answer = await get(
      addressOf(url.origin),
      url.pathname + url.search,
      header === undefined ? {} : { Authorization: header },
    );
    return answer.status;
  }

  /** The half-written files below moat's home. */
  async leftovers(): Promise<string[]> {
    const { stdout } = await run(["find", this.path(), "-name", "*.tmp"]);
    return stdout.split("\n").filter((line) => line !== "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.aws[Symbol.asyncDispose]();
  }
}

async function textIfAny(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const PROCESS = "--grant aws";
const HEADER = `${PROCESS} --mode ecs-full`;
const FILE = `${HEADER} --token-file`;
const QUERY = `${PROCESS} --mode ecs-full-query`;

/** How a binding is made, and how it is made anew. */
const CHANGES: Readonly<Record<string, readonly [from: string, to: string]>> = {
  "a token": [HEADER, HEADER],
  "a token in a file": [FILE, FILE],
  "a token in the files of a client": [PROCESS, PROCESS],
  "from the header to the query": [HEADER, QUERY],
  "from the environment to a file": [HEADER, FILE],
  "from a file to the environment": [FILE, HEADER],
  "from the files of a client to a file": [PROCESS, FILE],
};

testUnless(
  crashReason(),
  "moat bind that is killed leaves a token that counts",
  async (t) => {
    await using bed = await CrashBed.open();
    for (const [index, change] of Object.keys(CHANGES).entries()) {
      const [from = "", to = ""] = CHANGES[change] ?? [];
      const name = `web-${index}`;
      await t.step(`while it changes ${change}`, async () => {
        await bed.do(`bind ${name} ${from}`);
        let killAt = 1;
        // Each begins with what the one before it left.
        while (await bed.isKilled(`bind ${name} ${to}`, killAt)) {
          assert.equal(await bed.status(name), 200, `killed at ${killAt}`);
          assert.ok(++killAt < MAX_CHANGES);
        }
        assert.ok(killAt > 9, `only ${killAt} changes`);
        assert.equal(await bed.status(name), 200);
      });
    }
    await t.step("and nothing that the next ones do not remove", async () => {
      assert.deepEqual(await bed.leftovers(), []);
    });
  },
);

testUnless(
  crashReason(),
  "moat bind that is killed does not hold up the next",
  async () => {
    await using bed = await CrashBed.open();
    await bed.do(`bind web ${HEADER}`);
    for (
      let killAt = 1;
      await bed.isKilled(`bind web ${FILE}`, killAt);
      killAt++
    ) {
      await bed.do(`bind web ${HEADER}`);
      assert.equal(await bed.status("web"), 200, `killed at ${killAt}`);
      assert.ok(killAt < MAX_CHANGES);
    }
  },
);

testUnless(
  crashReason(),
  "moat bind that is killed leaves no new token that does not count",
  async () => {
    await using bed = await CrashBed.open();
    let killAt = 1;
    while (await bed.isKilled(`bind web-${killAt} ${HEADER}`, killAt)) {
      const status = await bed.status(`web-${killAt}`);
      assert.ok([undefined, 200].includes(status), `killed at ${killAt}`);
      assert.ok(++killAt < MAX_CHANGES);
    }
    assert.equal(await bed.status(`web-${killAt}`), 200);
  },
);

testUnless(
  crashReason(),
  "moat unbind that is killed leaves nothing that the next one does not remove",
  async () => {
    await using bed = await CrashBed.open();
    for (let killAt = 1; killAt < MAX_CHANGES; killAt++) {
      await bed.do(`bind web ${PROCESS}`);
      const wasKilled = await bed.isKilled("unbind web", killAt);
      if (await textIfAny(bed.path("bindings/web.json")) === undefined) {
        assert.ok([undefined, 401].includes(await bed.status("web")));
      }
      await bed.moat("unbind web");
      for (const path of ["bindings/web.json", "env/web", "bound/web"]) {
        assert.equal(await textIfAny(bed.path(path)), undefined, path);
      }
      if (!wasKilled) return;
    }
  },
);
