/**
 * Installs the AWS clients of `tests/testdata/sdk_clients`: exact versions of
 * SDKs in Python, JavaScript, Go, Java and Rust, below `.cache/sdk_clients`. The
 * others are system packages. Tells also how each client is started.
 *
 * @module
 */

import { join } from "node:path";
import {
  installNode,
  installOnce,
  installPython,
  isInstalled,
  NODE_FILES,
  type Recipe,
} from "./install_once.ts";
import { must, ROOT } from "./process.ts";

/** The clients' programs and the lists of what they need, by language. */
export const SDK_CLIENTS_SOURCE: string = join(
  ROOT,
  "tests/testdata/sdk_clients",
);

/** Where each language's clients are installed, in a folder of its name. */
export const SDK_CLIENTS: string = join(ROOT, ".cache/sdk_clients");

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
  python: { from: ["requirements.txt"], install: installPython },
  node: { from: NODE_FILES, install: installNode },
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
  return await isInstalled(installed(language));
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
  await installOnce(
    `${language} clients`,
    RECIPES[language],
    source(language),
    installed(language),
  );
}
