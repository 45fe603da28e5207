/**
 * Installs the clients of `tests/testdata/proxy_clients`: programs in several
 * languages that use a proxy as their environment says, below
 * `.cache/proxy_clients`.
 *
 * @module
 */

import { join } from "node:path";
import {
  installNode,
  installOnce,
  installPython,
  NODE_FILES,
  type Recipe,
} from "./install_once.ts";
import { must, ROOT } from "./process.ts";

/** The clients' programs and the lists of what they need, by language. */
export const PROXY_CLIENTS_SOURCE: string = join(
  ROOT,
  "tests/testdata/proxy_clients",
);

/** Where each language's clients are installed, in a folder of its name. */
export const PROXY_CLIENTS: string = join(ROOT, ".cache/proxy_clients");

/** A language whose clients are installed. */
export type ProxyClientLanguage = "python" | "node" | "go" | "java";

const RECIPES: Readonly<Record<ProxyClientLanguage, Recipe>> = {
  python: { from: ["requirements.txt"], install: installPython },
  node: { from: NODE_FILES, install: installNode },
  go: {
    from: ["go.mod", "main.go"],
    install: (source, target) => {
      const env = { CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOFLAGS: "" };
      const build = ["go", "build", "-buildvcs=false", "-trimpath"];
      const output = ["-o", join(target, "client"), "."];
      return must([...build, ...output], { cwd: source, env });
    },
  },
  java: {
    from: ["Client.java"],
    install: (source, target) =>
      must(["javac", "-d", target, join(source, "Client.java")]),
  },
};

/** All of them. */
export const PROXY_CLIENT_LANGUAGES = Object.keys(
  RECIPES,
) as readonly ProxyClientLanguage[];

/**
 * Installs a language's clients, unless they are there and their source is
 * as it was.
 *
 * @param language Which.
 * @throws {ScriptError} if a tool is missing or fails.
 */
export async function installProxyClients(
  language: ProxyClientLanguage,
): Promise<void> {
  await installOnce(
    `${language} clients of proxies`,
    RECIPES[language],
    join(PROXY_CLIENTS_SOURCE, language),
    join(PROXY_CLIENTS, language),
  );
}
