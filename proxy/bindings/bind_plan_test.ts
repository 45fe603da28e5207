import assert from "node:assert/strict";
import type { Arguments } from "$core/cli/command.ts";
import type { ProxyStatus } from "$core/control.ts";
import { createRegistry, type FlagValues, type Mode } from "$core/provider.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import {
  checkMode,
  findClient,
  proxyAdvice,
  queryWarnings,
  readContainer,
  readGrantNames,
} from "./bind_plan.ts";
import { metadataCommand } from "./container_match.ts";

function mode(name: string, more: Partial<Mode> = {}): Mode {
  return {
    name,
    summary: "x",
    access: "header",
    needsFiles: false,
    reach: "loopback",
    ...more,
  };
}

const LINK_LOCAL = { hostname: "169.254.170.2", port: 80 };
const FILES = mode("files", { needsFiles: true, reach: "any" });
const FULL = mode("full");
const QUERY = mode("full-query", { access: "query" });
const RELATIVE = mode("relative", { reach: LINK_LOCAL });
const RELATIVE_QUERY = mode("relative-query", {
  access: "query",
  reach: LINK_LOCAL,
});

const IMDS = mode("imds", {
  access: "container",
  reach: { hostname: "169.254.169.254", port: 80 },
});

const REGISTRY = createRegistry([
  headerProvider({ name: "plain" }),
  {
    ...headerProvider({ name: "alpha" }),
    modes: [FILES, FULL, QUERY, RELATIVE, RELATIVE_QUERY, IMDS],
    checkUrl: (url, { name }) => ({
      url: `${url}/checked-for-${name}`,
      warnings: ["the URL is odd"],
    }),
  },
]);

function args(flags: FlagValues): Arguments {
  return { flags, operands: ["web"], command: [] };
}

const NAMES: [given: string[], names: string[]][] = [
  [["alpha"], ["alpha"]],
  [["alpha:prod", "plain"], ["alpha:prod", "plain"]],
  // Only its endpoints would clash, and it has none.
  [["plain", "plain:x"], ["plain", "plain:x"]],
];
for (const [grant, names] of NAMES) {
  Deno.test(`readGrantNames() reads ${grant}`, () => {
    assert.deepEqual(readGrantNames(args({ grant }), REGISTRY), names);
  });
}

const NO_NAMES: { grant?: string[]; message: RegExp }[] = [
  { message: /--grant is missing/ },
  { grant: [], message: /--grant is missing/ },
  { grant: ["../x"], message: /grant/ },
  {
    grant: ["alpha", "alpha:prod"],
    message: /alpha and alpha:prod together: wanted one grant of alpha$/,
  },
  {
    grant: ["alpha", "alpha"],
    message: /^Cannot bind: a grant was given twice$/,
  },
  {
    grant: ["plain", "plain"],
    message: /^Cannot bind: a grant was given twice$/,
  },
];
for (const { grant, message } of NO_NAMES) {
  Deno.test(`readGrantNames() refuses ${JSON.stringify(grant) ?? "none"}`, () => {
    const flags = grant ? { grant } : {};
    assert.throws(() => readGrantNames(args(flags), REGISTRY), {
      code: "usage",
      message,
    });
  });
}

const MODES: [flags: FlagValues, mode: Mode | undefined][] = [
  [{}, FILES],
  [{ mode: "full" }, FULL],
  [{ mode: "full-query" }, QUERY],
  [{ mode: "full", "token-file": true }, FULL],
];
for (const [flags, mode] of MODES) {
  Deno.test(`checkMode() finds the mode of ${JSON.stringify(flags)}`, () => {
    assert.equal(checkMode(REGISTRY, ["alpha"], args(flags)), mode);
  });
}

Deno.test("checkMode() finds no mode where there is nothing to choose", () => {
  assert.equal(checkMode(REGISTRY, ["plain"], args({})), undefined);
});

const NO_MODES: [flags: FlagValues, hint: string][] = [
  [
    { mode: "nothing" },
    "write one of files, full, full-query, relative, relative-query, imds",
  ],
  [
    { mode: "full-query", "token-file": true },
    "use mode full, or leave --token-file out",
  ],
  [
    { mode: "relative-query", "token-file": true },
    "use mode relative, or leave --token-file out",
  ],
];
for (const [flags, hint] of NO_MODES) {
  Deno.test(`checkMode() refuses ${JSON.stringify(flags)}`, () => {
    assert.throws(() => checkMode(REGISTRY, ["alpha"], args(flags)), {
      code: "usage",
      hint,
    });
  });
}

/** A proxy with some listeners. */
function proxyOn(...listeners: string[]): ProxyStatus {
  return {
    pid: 7,
    version: "1",
    listeners,
    runs: [],
    bindings: [],
    expiries: [],
  };
}

function find(
  mode: Mode | undefined,
  flags: FlagValues = {},
  proxy?: ProxyStatus,
) {
  return findClient({
    registry: REGISTRY,
    args: args({ grant: ["alpha"], ...flags }),
    mode,
    isIntercepted: false,
    proxy,
  });
}

const URLS: { listeners?: string[]; url: string }[] = [
  { url: "http://127.0.0.1:19080" },
  { listeners: ["http://127.0.0.1:5000"], url: "http://127.0.0.1:5000" },
  { listeners: ["http://[::1]:5000"], url: "http://[::1]:5000" },
  {
    listeners: ["http://172.17.0.1:80", "http://127.0.0.1:5000"],
    url: "http://127.0.0.1:5000",
  },
  {
    listeners: ["http://0.0.0.0:80", "http://127.0.0.1:5000"],
    url: "http://127.0.0.1:5000",
  },
  { listeners: ["http://0.0.0.0:5000"], url: "http://127.0.0.1:5000" },
  { listeners: ["http://[::]:5000"], url: "http://127.0.0.1:5000" },
  { listeners: ["http://172.17.0.1:80"], url: "http://127.0.0.1:19080" },
  { listeners: [], url: "http://127.0.0.1:19080" },
];
for (const { listeners, url } of URLS) {
  Deno.test(`findClient() sends a service to ${url} for ${listeners ? `a proxy on [${listeners}]` : "no proxy"}`, async () => {
    const proxy = listeners && proxyOn(...listeners);
    assert.equal((await find(FULL, {}, proxy)).url, url);
  });
}

const CLIENTS: { mode: Mode; flags?: FlagValues; expect: unknown }[] = [
  { mode: FILES, expect: { needsFiles: true, tokenFile: true } },
  { mode: FULL, expect: { needsFiles: false, tokenFile: false } },
  {
    mode: FULL,
    flags: { "token-file": true },
    expect: { needsFiles: false, tokenFile: true },
  },
];
for (const { mode, flags = {}, expect } of CLIENTS) {
  Deno.test(`findClient() gives a service in mode ${mode.name} with ${JSON.stringify(flags)} what it needs`, async () => {
    assert.deepEqual(await find(mode, flags), {
      ...expect as object,
      url: "http://127.0.0.1:19080",
      reach: { by: "loopback" },
      warnings: [],
      notes: [],
    });
  });
}

const INTERCEPTED: [mode: Mode | undefined, tokenFile: boolean][] = [
  [FILES, true],
  [FULL, false],
  [undefined, false],
];
for (const [mode, tokenFile] of INTERCEPTED) {
  Deno.test(`findClient() gives an intercepted service in mode ${mode?.name} files`, async () => {
    const client = await findClient({
      registry: REGISTRY,
      args: args({ grant: ["alpha"] }),
      mode,
      isIntercepted: true,
      proxy: undefined,
    });
    assert.deepEqual([client.needsFiles, client.tokenFile], [true, tokenFile]);
  });
}

Deno.test("findClient() takes the URL that a person gave, as the provider has checked it", async () => {
  const { url, warnings } = await find(FULL, { url: "http://127.0.0.1:1" });
  assert.deepEqual(
    [url, warnings],
    ["http://127.0.0.1:1/checked-for-full", ["the URL is odd"]],
  );
});

for (const mode of [RELATIVE, RELATIVE_QUERY]) {
  Deno.test(`findClient() refuses a URL in mode ${mode.name}`, async () => {
    const proxy = proxyOn("http://169.254.170.2:80");
    const finding = find(mode, { url: "http://127.0.0.1:1" }, proxy);
    await assert.rejects(finding, { code: "usage", hint: "leave --url out" });
  });
}

const SERVING = [
  ["http://127.0.0.1:19080", "http://169.254.170.2:80"],
  ["http://169.254.170.2"],
  ["http://0.0.0.0:80"],
  ["http://[::]:80"],
];
for (const listeners of SERVING) {
  Deno.test(`findClient() finds 169.254.170.2 served on [${listeners}]`, async () => {
    const { url } = await find(RELATIVE, {}, proxyOn(...listeners));
    assert.equal(url, "http://169.254.170.2");
  });
}

const NOT_SERVING = [
  [],
  ["http://127.0.0.1:19080"],
  ["http://169.254.170.2:8080"],
  ["http://0.0.0.0:19080"],
  ["http://169.254.170.23:80"],
];
for (const listeners of NOT_SERVING) {
  Deno.test(`findClient() refuses a client of 169.254.170.2 when the proxy is on [${listeners}]`, async () => {
    await assert.rejects(find(RELATIVE, {}, proxyOn(...listeners)), {
      code: "not-reachable",
      message: /169\.254\.170\.2:80: the proxy does not listen there$/,
      hint:
        "sudo moat network setup --apply, then moat proxy --listen 127.0.0.1:19080 --listen 169.254.170.2:80",
    });
  });
}

Deno.test("findClient() notes without a proxy that one must be started where the client asks", async () => {
  const mode = { ...RELATIVE, reach: { hostname: "127.0.0.1", port: 8080 } };
  const { url, notes } = await find(mode);
  assert.deepEqual([url, notes], ["http://127.0.0.1:8080", [
    "its client asks at 127.0.0.1:8080: sudo moat network setup --apply, then moat proxy --listen 127.0.0.1:19080 --listen 127.0.0.1:8080",
  ]]);
});

const REFUSED: [flags: FlagValues, message: RegExp][] = [
  [{ engine: "lxc" }, /Cannot use "lxc" as --engine/],
  [{ engine: "" }, /Cannot use "" as --engine/],
  [{ network: "none", url: "http://127.0.0.1:1" }, /combine --url/],
  [{ engine: "podman", url: "http://127.0.0.1:1" }, /combine --url/],
];
for (const [flags, message] of REFUSED) {
  Deno.test(`findClient() refuses ${JSON.stringify(flags)}`, async () => {
    await assert.rejects(find(FULL, flags), { code: "usage", message });
  });
}

/** No engine has to be asked about them. */
for (const network of ["none", "container:a"]) {
  Deno.test(`findClient() gives a container on "${network}" a relay and files`, async () => {
    const client = await find(FULL, { network });
    assert(client.reach?.by === "socket");
    const { port } = client.reach;
    assert.deepEqual(
      [client.url, client.directory, client.needsFiles, client.tokenFile],
      [`http://127.0.0.1:${port}`, "/moat", false, false],
    );
    assert.match(client.notes.join(), /reaches moat by a relay/);
  });
}

for (const mode of [QUERY, RELATIVE_QUERY]) {
  Deno.test(`findClient() warns of mode ${mode.name}`, async () => {
    const proxy = proxyOn("http://0.0.0.0:80");
    const { warnings } = await find(mode, {}, proxy);
    assert.deepEqual(warnings, queryWarnings(mode));
  });

  Deno.test(`queryWarnings() names the mode that is better than ${mode.name}`, () => {
    const [warning = ""] = queryWarnings(mode);
    assert.match(warning, /SSRF.*logs/);
    assert.match(warning, new RegExp(`prefer ${mode.name.split("-")[0]} `));
  });
}

Deno.test("findClient() warns of query modes of containers, too", async () => {
  const { warnings } = await find(QUERY, { network: "none" });
  assert.deepEqual(warnings, queryWarnings(QUERY));
});

Deno.test("queryWarnings() has none for tokens in a field", () => {
  assert.deepEqual([FULL, undefined].flatMap(queryWarnings), []);
});

Deno.test("readContainer() finds none unless it is asked for", () => {
  assert.equal(readContainer("web", FULL, args({})), undefined);
});

for (const wanted of [FULL, IMDS]) {
  Deno.test(`readContainer() reads the container of mode ${wanted.name}`, () => {
    const found = readContainer("web", wanted, args({ container: "db" }));
    assert.deepEqual(found, { name: "db" });
  });
}

Deno.test("readContainer() refuses none where there is no token", () => {
  assert.throws(() => readContainer("web", IMDS, args({ grant: ["alpha"] })), {
    code: "usage",
    hint: "moat bind web --grant alpha --mode imds --container NAME",
  });
});

Deno.test("readContainer() refuses a token's file where there is no token", () => {
  const given = args({ container: "db", "token-file": true });
  assert.throws(() => readContainer("web", IMDS, given), { code: "usage" });
});

const SERVED = { ...proxyOn("http://127.0.0.1:1"), imds: ["http://x"] };

Deno.test("findClient() sends a client without a token to its address", async () => {
  const { url, reach, directory } = await find(IMDS, {}, SERVED);
  assert.deepEqual([url, reach, directory], [
    "http://169.254.169.254",
    { by: "address", address: "169.254.169.254", port: 80 },
    undefined,
  ]);
});

Deno.test("findClient() refuses a client without a token where none is served", async () => {
  await assert.rejects(find(IMDS, {}, proxyOn("http://169.254.169.254:80")), {
    code: "not-reachable",
    hint: `stop it; ${metadataCommand()}`,
  });
});

const ADVICE: [name: string, proxy: ProxyStatus | undefined, RegExp][] = [
  [
    "no proxy",
    undefined,
    /no proxy of this user is running.*; (sudo )?moat network-rules/,
  ],
  ["another proxy", proxyOn(), /the running proxy serves no.*; stop it; /],
];
for (const [name, proxy, wanted] of ADVICE) {
  Deno.test(`proxyAdvice() tells what a client without a token needs of ${name}`, async () => {
    assert.match(proxyAdvice(await find(IMDS), proxy, IMDS) ?? "", wanted);
  });
}

Deno.test("proxyAdvice() is content where metadata is served", async () => {
  assert.equal(proxyAdvice(await find(IMDS), SERVED, IMDS), undefined);
});

const CONTAINED = { container: "web" };
const HIDDEN: [name: string, mode: Mode, flags: FlagValues, RegExp][] = [
  ["on loopback", FULL, CONTAINED, /every client has the host's address/],
  ["behind a relay", FULL, { ...CONTAINED, network: "none" }, /a relay's/],
  ["with a token file", RELATIVE, { ...CONTAINED, "token-file": true }, /file/],
];
for (const [name, mode, flags, message] of HIDDEN) {
  Deno.test(`findClient() refuses a single container ${name}`, async () => {
    const asked = find(mode, flags, proxyOn("http://0.0.0.0:80"));
    await assert.rejects(asked, { code: "usage", message });
  });
}

Deno.test("findClient() takes a single container at an address", async () => {
  const { url } = await find(RELATIVE, CONTAINED, proxyOn("http://0.0.0.0:80"));
  assert.equal(url, "http://169.254.170.2");
});
