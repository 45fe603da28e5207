/**
 * Installs the AWS clients of `tests/testdata/sdk_clients`: exact versions of
 * SDKs in Python, JavaScript, Go, Java and Rust, below `.cache/sdk_clients`. The
 * others are system packages. Tells also how each client is started.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { exists, must, readIfThere, ROOT, sha256 } from "./process.ts";

/** The clients' programs and the lists of what they need, by language. */
export const SDK_CLIENTS_SOURCE: string = join(
  ROOT,
  "tests/testdata/sdk_clients",
);

/** Where each language's clients are installed, in a folder of its name. */
export const SDK_CLIENTS: string = join(ROOT, ".cache/sdk_clients");

/** Written when a language's clients are complete: a digest of what they are from. */
const MARKER = "moat-source";

interface Recipe {
  /** Files of {@link SDK_CLIENTS_SOURCE} that decide what is installed. */
  readonly from: readonly string[];
  /** Fills an empty target directory. */
  install(source: string, target: string): Promise<unknown>;
}

/** A language whose clients are installed here. */
export type InstalledLanguage = "python" | "node" | "go" | "java" | "rust";

/** Who runs a client: an installed language, or what the system has. */
export type ClientLanguage =
  | InstalledLanguage
  | "venv"
  | "debian"
  | "ruby"
  | "php";

const RECIPES: Readonly<Record<InstalledLanguage, Recipe>> = {
  python: {
    from: ["requirements.txt"],
    install: async (source, target) => {
      // Debian's own Python first: the versions were tried with it.
      const debian = "/usr/bin/python3";
      const python = await exists(debian) ? debian : "python3";
      await must([python, "-m", "venv", target]);
      const pip = [join(target, "bin/pip"), "install", "--quiet"];
      const exactly = ["--no-deps", "--only-binary=:all:", "--retries=2"];
      const list = join(source, "requirements.txt");
      await must([...pip, ...exactly, "--no-compile", "-r", list]);
    },
  },
  node: {
    from: ["package.json", "package-lock.json"],
    install: async (source, target) => {
      for (const name of RECIPES.node.from) {
        await Deno.copyFile(join(source, name), join(target, name));
      }
      const quiet = ["--no-audit", "--no-fund", "--silent"];
      await must(["npm", "ci", "--ignore-scripts", ...quiet], { cwd: target });
    },
  },
  go: {
    from: ["go.mod", "go.sum", "main.go"],
    install: (source, target) => {
      const env = { CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOFLAGS: "" };
      // Unoptimised, which is built in two thirds of the time.
      const fast = ["-gcflags=all=-N -l", "-ldflags=-s -w"];
      const build = ["go", "build", "-buildvcs=false", "-trimpath", ...fast];
      const output = ["-o", join(target, "clients"), "."];
      return must([...build, ...output], { cwd: source, env });
    },
  },
  java: {
    from: ["pom.xml", "Clients.java"],
    install: async (source, target) => {
      const maven = ["mvn", "--batch-mode", "--quiet"];
      const plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
      const copy = [
        `${plugin}:copy-dependencies`,
        `-DoutputDirectory=${target}`,
      ];
      await must([...maven, ...copy], { cwd: source });
      const javac = ["javac", "-cp", join(target, "*"), "-d", target];
      await must([...javac, join(source, "Clients.java")]);
    },
  },
  rust: {
    from: ["Cargo.toml", "Cargo.lock", "src/main.rs"],
    install: async (source, target) => {
      // Kept when the source changes: most of it is the crates'.
      const build = join(SDK_CLIENTS, "rust-build");
      const env = { CARGO_TARGET_DIR: build };
      const cargo = ["cargo", "build", "--quiet", "--locked"];
      await must(cargo, { cwd: source, env, timeoutMs: 1_800_000 });
      await Deno.copyFile(
        join(build, "debug/clients"),
        join(target, "clients"),
      );
    },
  },
};

/** Those that the tests need; Rust's clients, which take minutes, are for the conformance matrix only. */
export const INSTALLED_LANGUAGES: readonly InstalledLanguage[] = [
  "python",
  "node",
  "go",
  "java",
];

/** Whether a language's clients are installed here. */
export function isInstalledLanguage(
  language: ClientLanguage,
): language is InstalledLanguage {
  return language in RECIPES;
}

const source = (name: string) => join(SDK_CLIENTS_SOURCE, name);
const installed = (name: string) => join(SDK_CLIENTS, name);

const JVM = [
  ...["java", "-XX:TieredStopAtLevel=1"],
  ...["-cp", `${installed("java")}:${installed("java/*")}`],
];

/** What runs a language's program; a client's name follows. */
const RUNNERS: Readonly<Record<ClientLanguage, readonly string[]>> = {
  python: [installed("python/bin/python"), source("python/clients.py")],
  venv: [join(ROOT, ".cache/venv/bin/python3"), source("python/clients.py")],
  debian: ["/usr/bin/python3", source("python/clients.py")],
  node: [
    "env",
    `NODE_PATH=${installed("node/node_modules")}`,
    ...["node", source("node/clients.mjs")],
  ],
  go: [installed("go/clients")],
  java: [...JVM, "Clients"],
  rust: [installed("rust/clients")],
  ruby: ["ruby", source("ruby/client.rb")],
  php: ["php", source("php/client.php")],
};

/** Languages with one program for each client. */
const SINGLE: readonly ClientLanguage[] = ["ruby", "php"];

/**
 * Tells how a client is started; it then speaks the protocol of
 * `tests/testdata/sdk_clients/python/clients.py`.
 *
 * @param language Who runs it.
 * @param name The client, such as `boto3`.
 * @returns Program and arguments; `keep` may be added.
 */
export function clientArgv(language: ClientLanguage, name: string): string[] {
  return [...RUNNERS[language], ...SINGLE.includes(language) ? [] : [name]];
}

/**
 * Tells whether a language's clients were installed.
 *
 * @param language Which.
 * @returns Whether they are complete, if perhaps of an older source.
 */
export async function hasSdkClients(
  language: InstalledLanguage,
): Promise<boolean> {
  return await exists(join(SDK_CLIENTS, language, MARKER));
}

/**
 * Installs a language's clients, unless they are there and their source is
 * as it was.
 *
 * @param language Which.
 * @throws {ScriptError} if a tool is missing or fails.
 */
export async function installSdkClients(
  language: InstalledLanguage,
): Promise<void> {
  const folder = source(language);
  const target = installed(language);
  const { from, install } = RECIPES[language];
  const files = from.map((name) => Deno.readFile(join(folder, name)));
  const digest = await sha256(await new Blob(await Promise.all(files)).bytes());
  const found = await readIfThere(join(target, MARKER));
  if (new TextDecoder().decode(found) === digest) return;
  console.error(`installing ${language} clients in .cache/sdk_clients`);
  if (await exists(target)) await Deno.remove(target, { recursive: true });
  await Deno.mkdir(target, { recursive: true });
  await install(folder, target);
  await Deno.writeTextFile(join(target, MARKER), digest);
}
