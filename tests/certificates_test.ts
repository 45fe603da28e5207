/**
 * Whether real programs trust our certificates, by the files and variables
 * that a client of moat gets, and by nothing else.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { systemClock } from "$core/clock.ts";
import { LeafMinter } from "$proxy/intercept/leaf.ts";
import { RootStore } from "$proxy/intercept/root.ts";
import { systemRoots, trustEnv, trustFiles } from "$proxy/intercept/trust.ts";
import { testUnless } from "./support/conditional.ts";
import { isThere, run, SYSTEM_PATH, which } from "./support/run.ts";
import { type TempHome, tempHome } from "./support/temp_home.ts";

const DATA = new URL("testdata/certificates/", import.meta.url).pathname;

/** Where a program is, in the developer's PATH, too. */
function find(program: string): string | undefined {
  return which(program) ??
    (Deno.env.get("PATH") ?? "").split(":")
      .map((folder) => join(folder, program)).find(isThere);
}

/** No host name by RFC 952, but there are such hosts. */
const UNDERSCORE = "under_score.example.test";

/** Names of which every verifier accepts a certificate. */
const HOSTS: readonly string[] = [
  "api.example.test",
  "localhost",
  "xn--bcher-kva.example.test",
  UNDERSCORE,
  `${"a".repeat(60)}.${"b".repeat(60)}.example.test`,
  "127.0.0.1",
  "192.0.2.7",
  "::1",
  "2001:db8::7",
];

/** What must be refused: the name that is wanted, and whose leaf is shown. */
const REFUSED: readonly [wanted: string, shown: string][] = [
  ["other.example.test", "api.example.test"],
  ["sub.api.example.test", "api.example.test"],
  ["192.0.2.8", "192.0.2.7"],
  ["2001:db8::8", "2001:db8::7"],
];

/** Shown by a root that the client does not trust. */
const STRANGER = "stranger.example.test";

/** A listener that shows a leaf and says `ok` to each client. */
function serve(leaf: { cert: string; key: string }) {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...leaf });
  const greetings: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) greetings.push(greet(connection));
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(greetings);
    },
  };
}

async function greet(connection: Deno.TlsConn): Promise<void> {
  using secure = connection;
  try {
    await secure.handshake();
    await secure.write(new TextEncoder().encode("ok"));
    // Until the client goes: an early close might overtake the answer.
    await secure.read(new Uint8Array(1));
  } catch {
    // It does not trust us.
  }
}

/** A minter of a home of its own. */
function minterOf(home: TempHome) {
  const store = new RootStore(home.paths, systemClock);
  return { store, minter: new LeafMinter(store, systemClock) };
}

/** Listeners for all hosts, the files of a client, and what a program says to them. */
class Bed implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #ports = new Map<string, number>();
  readonly minter: LeafMinter;
  /** The client's files. Its path has a blank, as a home directory may have one. */
  readonly directory: string;

  private constructor(minter: LeafMinter, directory: string) {
    this.minter = minter;
    this.directory = directory;
  }

  static async start(): Promise<Bed> {
    const home = await tempHome();
    const { store, minter } = minterOf(home);
    const bed = new Bed(minter, join(home.directory, "files of a client"));
    bed.#stack.use(home);
    for (const host of HOSTS) bed.#listen(host, await minter.mint(host));
    const stranger = minterOf(bed.#stack.use(await tempHome())).minter;
    bed.#listen(STRANGER, await stranger.mint(STRANGER));
    await Deno.mkdir(bed.directory);
    const { certificate } = await store.loadOrCreate();
    for (const file of trustFiles(await systemRoots({}), certificate)) {
      const content = Buffer.from(file.content as string);
      await Deno.writeFile(join(bed.directory, file.path), content);
    }
    return bed;
  }

  #listen(host: string, leaf: { cert: string; key: string }): void {
    this.#ports.set(host, this.#stack.use(serve(leaf)).port);
  }

  /** What to connect to, as `HOST=PORT`, and what must come of it. */
  #cases(omits: readonly string[]): { argument: string; wanted: string }[] {
    const row = (host: string, shown: string, result: string) => ({
      argument: `${host}=${this.#ports.get(shown)}`,
      wanted: `${host} ${result}`,
    });
    return [
      ...HOSTS.filter((host) => !omits.includes(host))
        .map((host) => row(host, host, "ok")),
      ...REFUSED.map(([host, shown]) => row(host, shown, "refused")),
      row(STRANGER, STRANGER, "refused"),
    ];
  }

  /** Runs a program of `testdata/certificates` and compares what it prints. */
  async check(
    argv: readonly string[],
    env: Readonly<Record<string, string>>,
    omits: readonly string[],
  ): Promise<void> {
    const cases = this.#cases(omits);
    const { code, stdout, stderr } = await run(
      [...argv, ...cases.map(({ argument }) => argument)],
      {
        env: { PATH: SYSTEM_PATH, ...env, ...trustEnv(this.directory) },
        clearEnv: true,
        cwd: this.directory,
        timeoutMs: 180_000,
      },
    );
    assert.deepEqual(
      [stdout.trimEnd().split("\n"), code],
      [cases.map(({ wanted }) => wanted), 0],
      stderr,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Who verifies, how it is run, and what else it needs in its environment. */
const VERIFIERS: {
  name: string;
  program: string;
  argv: (program: string) => string[];
  env?: Record<string, string>;
  /** Hosts whose names it accepts from nobody. */
  omits?: readonly string[];
}[] = [
  {
    name: "Python, strictly",
    program: "python3",
    argv: (python) => [python, join(DATA, "client.py")],
  },
  {
    name: "Go",
    program: "go",
    argv: (go) => [go, "run", join(DATA, "client.go")],
    env: {
      // Its cache is below: without one it builds its library first.
      HOME: Deno.env.get("HOME") ?? "",
      GOTOOLCHAIN: "local",
      GOPROXY: "off",
    },
  },
  {
    name: "Java",
    program: "java",
    argv: (java) => [java, join(DATA, "Client.java")],
    omits: [UNDERSCORE],
  },
  {
    name: "Node",
    program: "node",
    argv: (node) => [node, join(DATA, "client.mjs")],
  },
  {
    name: "Deno (rustls)",
    program: "deno",
    argv: () => [
      ...[Deno.execPath(), "run", "--allow-net", "--no-check", "--no-config"],
      join(DATA, "client_deno.ts"),
    ],
  },
];
for (const { name, program, argv, env = {}, omits = [] } of VERIFIERS) {
  const path = program === "deno" ? Deno.execPath() : find(program);
  const missing = path ? undefined : `not installed: ${program}`;
  testUnless(missing, `${name} trusts our leaves, and no others`, async () => {
    await using bed = await Bed.start();
    await bed.check(argv(path ?? ""), env, omits);
  });
}

/** What a git server of the old kind says that it has. */
const REFS = `${"1".repeat(40)}\trefs/heads/main\n`;

/** Programs that take the bundle from a variable of their own. */
const TOOLS: {
  program: string;
  variable: string;
  argv: (url: string) => string[];
}[] = [
  {
    program: "curl",
    variable: "CURL_CA_BUNDLE",
    argv: (url) => ["curl", "--silent", `${url}/info/refs`],
  },
  {
    program: "git",
    variable: "GIT_SSL_CAINFO",
    argv: (url) => ["git", "ls-remote", url],
  },
];

/** Runs a program that asks an HTTPS server for {@link REFS}. */
async function askRefs(
  argv: (url: string) => string[],
  variable: string | undefined,
): Promise<string> {
  await using bed = await Bed.start();
  await using server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    ...await bed.minter.mint("localhost"),
    onListen() {},
  }, () => new Response(REFS));
  const trust = Object.entries(trustEnv(bed.directory));
  const { stdout } = await run(argv(`https://localhost:${server.addr.port}`), {
    env: {
      PATH: SYSTEM_PATH,
      HOME: bed.directory,
      ...Object.fromEntries(trust.filter(([name]) => name === variable)),
    },
    clearEnv: true,
  });
  return stdout;
}

for (const { program, variable, argv } of TOOLS) {
  const missing = which(program) ? undefined : `not installed: ${program}`;
  testUnless(
    missing,
    `${program} trusts our leaves by ${variable}`,
    async () => {
      assert.equal(await askRefs(argv, variable), REFS);
    },
  );

  testUnless(missing, `${program} refuses our leaves without it`, async () => {
    assert.equal(await askRefs(argv, undefined), "");
  });
}
