/**
 * Installs the AWS clients of `tests/testdata/sdk_clients`: exact versions of
 * SDKs in Python, JavaScript, Go and Java, below `.cache/sdk_clients`. Ruby's
 * is a system package.
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
export type InstalledLanguage = "python" | "node" | "go" | "java";

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
};

/** All of them. */
export const INSTALLED_LANGUAGES: readonly InstalledLanguage[] = Object.keys(
  RECIPES,
) as InstalledLanguage[];

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
  const source = join(SDK_CLIENTS_SOURCE, language);
  const target = join(SDK_CLIENTS, language);
  const { from, install } = RECIPES[language];
  const files = from.map((name) => Deno.readFile(join(source, name)));
  const digest = await sha256(await new Blob(await Promise.all(files)).bytes());
  const found = await readIfThere(join(target, MARKER));
  if (new TextDecoder().decode(found) === digest) return;
  console.error(`installing ${language} clients in .cache/sdk_clients`);
  if (await exists(target)) await Deno.remove(target, { recursive: true });
  await Deno.mkdir(target, { recursive: true });
  await install(source, target);
  await Deno.writeTextFile(join(target, MARKER), digest);
}
