/**
 * `moat bind`, `unbind`, `bindings`, `env` and `exec`, as a user types them,
 * and what clients of bindings are answered.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason } from "./support/moat.ts";
import {
  connectTo,
  exchange,
  type RawAnswer,
  receiveAnswer,
  send,
} from "./support/raw_http.ts";
import { addressOf, getText } from "./support/scene.ts";
import {
  assertProcessOutput,
  awsTable,
  awsTest,
  SimulatedAws,
} from "./support/simulated_aws.ts";
import { modeOf, namesIn } from "./support/temp_home.ts";
import { assertRefused, type Refusal } from "./support/terminal.ts";

const GRANT = "moat grant aws --no-validate --role $ROLE";
const FULL = "--grant aws --mode ecs-full";

const FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const PROCESS_URL = "MOAT_AWS_CREDENTIAL_URL";
const PROCESS_FILE = "MOAT_AWS_CREDENTIAL_TOKEN_FILE";

/** A token of the binding `web`. */
const WEB_TOKEN = /^moat\.web\.[\w-]{43}$/;

/** Why there is no root here, who may give files away; undefined if there is. */
const noRoot = Deno.build.os === "linux" && Deno.uid() === 0
  ? undefined
  : "needs root on Linux";

/** Opens a host with the grant `aws`, and a proxy unless told otherwise. */
function bindTest(
  name: string,
  fn: (aws: SimulatedAws) => Promise<void>,
  { hasProxy = true, reason }: {
    hasProxy?: boolean;
    reason?: string | undefined;
  } = {},
): void {
  awsTest(name, async (aws) => {
    await aws.do(GRANT);
    if (hasProxy) await aws.startProxy();
    await fn(aws);
  }, { reason });
}

// Files

function pathOf(aws: SimulatedAws, ...parts: string[]): string {
  return join(aws.workspace.moatHome, ...parts);
}

function read(aws: SimulatedAws, ...parts: string[]): Promise<string> {
  return Deno.readTextFile(pathOf(aws, ...parts));
}

/** Reads `KEY=VALUE` lines, as systemd and docker do. */
function parseLines(text: string): Record<string, string> {
  const pairs = text.split("\n").slice(0, -1).map((line) => {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    assert.notEqual(name, "", `not KEY=VALUE: ${line}`);
    return [name, value] as const;
  });
  return Object.fromEntries(pairs);
}

async function environmentOf(
  aws: SimulatedAws,
  name = "web",
): Promise<Record<string, string>> {
  return parseLines(await read(aws, "env", name));
}

/** All that a binding may leave below moat's home, without the grants. */
async function written(aws: SimulatedAws): Promise<string[]> {
  const folders = ["bindings", "env", "tokens", "bound"];
  const each = await Promise.all(folders.map(async (folder) => {
    const names = await namesIn(pathOf(aws, folder)).catch(() => []);
    return names.filter((name) => name !== ".lock")
      .map((name) => `${folder}/${name}`);
  }));
  return each.flat();
}

// Clients

/** A client as an SDK would be that was given an environment. */
interface Client {
  readonly address: Deno.NetAddr;
  /** The request that it sends. */
  readonly request: string;
  /** Without `Bearer`. */
  readonly token: string;
}

async function clientOf(
  env: Readonly<Record<string, string>>,
): Promise<Client> {
  const url = new URL(env[FULL_URI] ?? env[PROCESS_URL] ?? "");
  const file = env[TOKEN_FILE] ?? env[PROCESS_FILE];
  const header = env[TOKEN] ??
    (file === undefined ? undefined : await Deno.readTextFile(file));
  const inQuery = url.searchParams.get("access_token");
  const address = addressOf(url.origin);
  return {
    address,
    request: getText(
      address,
      url.pathname + url.search,
      header === undefined ? {} : { Authorization: header },
    ),
    token: inQuery ?? header?.replace("Bearer ", "") ?? "",
  };
}

/** The client that was given the environment file. */
async function clientIn(aws: SimulatedAws, name = "web"): Promise<Client> {
  return await clientOf(await environmentOf(aws, name));
}

async function ask({ address, request }: Client): Promise<RawAnswer> {
  const [answer] = await exchange(address, request);
  assert(answer, "no answer");
  return answer;
}

async function statusOf(client: Client): Promise<number> {
  return (await ask(client)).status;
}

/** A connection that stays open, and gives the status of each answer. */
async function keepAlive(
  client: Client,
): Promise<Disposable & { status(): Promise<number> }> {
  const conn = await connectTo(client.address);
  return {
    async status() {
      await send(conn, client.request);
      return (await receiveAnswer(conn)).status;
    },
    [Symbol.dispose]: () => conn.close(),
  };
}

// What is written

/** Each mode with its variables; `.` stands for any text. */
const MODES: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  "process": {
    AWS_CONFIG_FILE: /^\/.*\/bound\/web\/files\/aws\/config$/,
    AWS_SHARED_CREDENTIALS_FILE:
      /^\/.*\/bound\/web\/files\/aws\/no-credentials$/,
    AWS_CREDENTIAL_PROFILES_FILE: /^\/.*\/bound\/web\/files\/aws\/config$/,
    AWS_SDK_LOAD_CONFIG: /^1$/,
    AWS_REGION: /^us-east-1$/,
    AWS_DEFAULT_REGION: /^us-east-1$/,
    AWS_PAGER: /^$/,
    [PROCESS_URL]: /^http:\/\/127\.0\.0\.1:19080\/aws\/process-credentials$/,
    [PROCESS_FILE]: /^\/.*\/bound\/web\/files\/token$/,
  },
  "ecs-full": {
    [FULL_URI]: /^http:\/\/127\.0\.0\.1:19080\/ecs\/credentials$/,
    [TOKEN]: /^Bearer moat\.web\.[\w-]{43}$/,
  },
  "ecs-full --token-file": {
    [FULL_URI]: /^http:\/\/127\.0\.0\.1:19080\/ecs\/credentials$/,
    [TOKEN_FILE]: /^\/.*\/tokens\/web$/,
  },
  "ecs-full-query": {
    [FULL_URI]:
      /^http:\/\/127\.0\.0\.1:19080\/ecs\/credentials\?access_token=moat\.web\.[\w-]{43}$/,
  },
  "ecs-relative": {
    [RELATIVE_URI]: /^\/ecs\/credentials$/,
    [TOKEN]: /^Bearer moat\.web\.[\w-]{43}$/,
  },
  "ecs-relative --token-file": {
    [RELATIVE_URI]: /^\/ecs\/credentials$/,
    [TOKEN_FILE]: /^\/.*\/tokens\/web$/,
  },
  "ecs-relative-query": {
    [RELATIVE_URI]: /^\/ecs\/credentials\?access_token=moat\.web\.[\w-]{43}$/,
  },
};

/** A host of its own that has the address of container credentials. */
const WITH_ADDRESS =
  `unshare --net sh -ec 'ip link set lo up; ip address add 169.254.170.2/32 dev lo; exec "$@"' -`;

for (const [flags, wanted] of Object.entries(MODES)) {
  const isRelative = flags.startsWith("ecs-relative");
  bindTest(
    `moat bind --mode ${flags} sets exactly its variables`,
    async (aws) => {
      const prefix = isRelative ? `${WITH_ADDRESS} ` : "";
      await aws.do(`${prefix}moat bind web --grant aws --mode ${flags}`);
      const env = await environmentOf(aws);
      assert.deepEqual(Object.keys(env).sort(), Object.keys(wanted).sort());
      for (const [name, pattern] of Object.entries(wanted)) {
        assert.match(env[name] ?? "", pattern, name);
      }
    },
    { hasProxy: false, reason: isRelative ? noRoot : undefined },
  );
}

bindTest("moat bind chooses mode process", async (aws) => {
  await aws.do("moat bind web --grant aws");
  assert.ok(PROCESS_URL in await environmentOf(aws));
}, { hasProxy: false });

bindTest("moat bind writes private files", async (aws) => {
  await aws.do(`moat bind web ${FULL} --token-file`);
  const files = ["bindings/web.json", "env/web", "tokens/web"];
  const modes = files.map((file) => modeOf(pathOf(aws, file)));
  assert.deepEqual(await Promise.all(modes), [0o600, 0o600, 0o600]);
}, { hasProxy: false });

bindTest(
  "moat bind --token-file writes the header's value and no more",
  async (aws) => {
    await aws.do(`moat bind web ${FULL} --token-file`);
    assert.match(
      await read(aws, "tokens", "web"),
      /^Bearer moat\.web\.[\w-]{43}$/,
    );
  },
  { hasProxy: false },
);

bindTest(
  "moat bind keeps owner and mode of files that are there",
  async (aws) => {
    const bind = `moat bind web ${FULL} --token-file`;
    await aws.do(bind);
    const paths = [pathOf(aws, "env/web"), pathOf(aws, "tokens/web")];
    for (const path of paths) {
      await Deno.chown(path, 65534, 65533);
      await Deno.chmod(path, 0o640);
    }
    await aws.do(bind);
    for (const path of paths) {
      const { uid, gid, mode } = await Deno.stat(path);
      assert.deepEqual([uid, gid, (mode ?? 0) & 0o7777], [65534, 65533, 0o640]);
    }
  },
  { hasProxy: false, reason: noRoot },
);

bindTest("moat bind keeps a digest of the token only", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  const { token } = await clientIn(aws);
  assert.match(token, WEB_TOKEN);
  const secret = token.split(".").at(-1) ?? "";
  assert.ok(!(await read(aws, "bindings", "web.json")).includes(secret));
}, { hasProxy: false });

bindTest("moat bind removes what a killed one left behind", async (aws) => {
  await aws.do(`moat bind web ${FULL} --token-file`);
  const before = await written(aws);
  for (const folder of ["bindings", "env", "tokens"]) {
    const name = `moat/${folder}/.web.0123456789abcdef.tmp`;
    await aws.workspace.write(name, "half");
  }
  await aws.do(`moat bind web ${FULL} --token-file`);
  assert.deepEqual(await written(aws), before);
}, { hasProxy: false });

bindTest(
  "moat bind removes what a killed one left in the directory of a client",
  async (aws) => {
    await aws.do("moat bind web --grant aws");
    const files = pathOf(aws, "bound/web/files");
    const before = await namesIn(files);
    await aws.workspace.write(
      "moat/bound/web/files/.token.0123456789abcdef.tmp",
      "half",
    );
    await aws.do("moat bind web --grant aws");
    assert.deepEqual(await namesIn(files), before);
  },
  { hasProxy: false },
);

bindTest("moat bind leaves no token file of an earlier mode", async (aws) => {
  await aws.do(`moat bind web ${FULL} --token-file`);
  await aws.do(`moat bind web ${FULL}`);
  assert.deepEqual(await written(aws), ["bindings/web.json", "env/web"]);
}, { hasProxy: false });

// Formats

bindTest("moat bind --format env prints the environment file", async (aws) => {
  const out = await aws.do(`moat bind web ${FULL} --format env`);
  assert.equal(out, await read(aws, "env", "web"));
}, { hasProxy: false });

bindTest(
  "moat bind --format export prints what a shell evaluates to the environment",
  async (aws) => {
    const script = `eval "$(moat bind web --grant aws --format export)" && env`;
    const found = parseLines(
      // The shell's own key is not what this is about.
      await aws.do(script, { AWS_SECRET_ACCESS_KEY: "" }),
    );
    const wanted = await environmentOf(aws);
    const names = Object.keys(wanted);
    assert.deepEqual(
      Object.fromEntries(names.map((name) => [name, found[name]])),
      wanted,
    );
  },
  { hasProxy: false },
);

bindTest("moat bind --format json prints environment and file", async (aws) => {
  const found = await aws.json(`moat bind web ${FULL} --format json`);
  assert.deepEqual(found, {
    name: "web",
    environment: await environmentOf(aws),
    environmentFile: pathOf(aws, "env/web"),
    mounts: [],
    hosts: [],
  });
}, { hasProxy: false });

bindTest(
  "moat bind --format systemd names the environment file",
  async (aws) => {
    const out = await aws.do(`moat bind web ${FULL} --format systemd`);
    const file = pathOf(aws, "env/web");
    assert.equal(out, `[Service]\nEnvironmentFile=${file}\n`);
  },
  { hasProxy: false },
);

/** No engine is asked about a container without a network. */
const CONTAINER = `${FULL} --engine docker --network none`;

bindTest("moat bind --format docker names files alone", async (aws) => {
  const out = await aws.do(`moat bind web ${CONTAINER} --format docker`);
  const env = pathOf(aws, "env/web");
  const files = pathOf(aws, "bound/web/files");
  assert.equal(
    out,
    `--env-file ${env} --volume ${files}:/moat:ro --entrypoint /moat/relay\n`,
  );
}, { hasProxy: false });

bindTest("moat bind --format compose names files alone", async (aws) => {
  const out = await aws.do(`moat bind web ${CONTAINER} --format compose`);
  assert.deepEqual(
    [out.includes(`- "${pathOf(aws, "env/web")}"`), /moat\.web/.test(out)],
    [true, false],
  );
}, { hasProxy: false });

bindTest(
  "moat bind --format systemd hands a token file over as a credential",
  async (aws) => {
    const out = await aws.do(
      `moat bind web ${FULL} --token-file --format systemd`,
    );
    const wanted = [
      "[Service]",
      `LoadCredential=moat-token:${pathOf(aws, "tokens/web")}`,
      `Environment=${TOKEN_FILE}=%d/moat-token`,
      `Environment="${FULL_URI}=http://127.0.0.1:19080/ecs/credentials"`,
    ];
    assert.deepEqual(out.trim().split("\n").sort(), wanted.sort());
  },
  { hasProxy: false },
);

bindTest("moat env prints what moat bind did, in every format", async (aws) => {
  const formats = {
    [FULL]: ["env", "export", "json", "systemd"],
    [CONTAINER]: ["env", "docker", "compose", "json"],
  };
  for (const [flags, each] of Object.entries(formats)) {
    for (const format of each) {
      const bound = await aws.do(`moat bind web ${flags} --format ${format}`);
      const shown = await aws.do(`moat env web --format ${format}`);
      assert.equal(shown, bound, format);
    }
  }
}, { hasProxy: false });

bindTest("moat env prints KEY=VALUE by default", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  assert.equal(await aws.do("moat env web"), await read(aws, "env", "web"));
}, { hasProxy: false });

bindTest("moat bind --json tells what was made", async (aws) => {
  assert.deepEqual(
    await aws.json(`moat bind web ${FULL} --token-file --json`),
    {
      name: "web",
      grants: ["aws"],
      mode: "ecs-full",
      url: "http://127.0.0.1:19080",
      environmentFile: pathOf(aws, "env/web"),
      tokenFile: pathOf(aws, "tokens/web"),
      warnings: [],
      notes: ["no proxy is running: moat proxy --listen 127.0.0.1:19080"],
    },
  );
}, { hasProxy: false });

bindTest("moat bindings lists all, damaged ones too", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  await aws.workspace.write("moat/bindings/bad.json", "{");
  const [bad, web, ...others] = await aws.json("moat bindings --json");
  const { boundAt, ...rest } = web;
  assert.deepEqual([bad.name, bad.error.code, others], [
    "bad",
    "binding-damaged",
    [],
  ]);
  assert.deepEqual(rest, {
    name: "web",
    grants: ["aws"],
    mode: "ecs-full",
    url: "http://127.0.0.1:19080",
  });
  assert.ok(Math.abs(Date.parse(boundAt) - Date.now()) < 60_000);
}, { hasProxy: false });

bindTest("moat bindings lists for people, too", async (aws) => {
  assert.match(await aws.do("moat bindings"), /^no bindings/);
  await aws.do(`moat bind web ${FULL}`);
  const out = await aws.do("moat bindings");
  assert.match(out, /^ *web {2}aws {2}ecs-full {2}http:\S+\n$/);
}, { hasProxy: false });

// Being served

const SERVED_MODES = [
  "process",
  "ecs-full",
  "ecs-full --token-file",
  "ecs-full-query",
];
awsTable(
  "moat proxy serves a binding",
  Object.fromEntries(SERVED_MODES.map((mode) => [`of mode ${mode}`, mode])),
  async (aws, mode) => {
    await aws.do(GRANT);
    if (!await isProxyThere(aws)) await aws.startProxy();
    await aws.do(`moat bind web --grant aws --mode ${mode}`);
    const { status, body } = await ask(await clientIn(aws));
    assert.equal(status, 200, body);
    assert.match(JSON.parse(body).AccessKeyId, /^ASIA/);
  },
);

async function isProxyThere(aws: SimulatedAws): Promise<boolean> {
  return (await aws.type("moat status")).code === 0;
}

awsTable("moat bind of an old name refuses the old token at once", {
  "in the header": "ecs-full",
  "in the query": "ecs-full-query",
  "in a file": "ecs-full --token-file",
  "of a helper": "process",
}, async (aws, mode) => {
  await aws.do(GRANT);
  if (!await isProxyThere(aws)) await aws.startProxy();
  const bind = `moat bind web --grant aws --mode ${mode}`;
  await aws.do(bind);
  using open = await keepAlive(await clientIn(aws));
  assert.equal(await open.status(), 200);
  await aws.do(bind);
  assert.equal(await open.status(), 401);
  assert.equal(await statusOf(await clientIn(aws)), 200);
});

bindTest("moat unbind stops an open connection at once", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  using open = await keepAlive(await clientIn(aws));
  assert.equal(await open.status(), 200);
  assert.equal(await aws.do("moat unbind web"), "unbound web\n");
  assert.equal(await open.status(), 401);
});

bindTest("moat unbind leaves nothing behind", async (aws) => {
  await aws.do("moat bind web --grant aws");
  await aws.do("moat bind other --grant aws --mode ecs-full --token-file");
  await aws.do("moat unbind web");
  await aws.do("moat unbind other");
  assert.deepEqual(await written(aws), []);
}, { hasProxy: false });

bindTest("moat unbind removes a damaged binding", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  await aws.workspace.write("moat/bindings/web.json", "{");
  await aws.do("moat unbind web");
  assert.deepEqual(await written(aws), []);
}, { hasProxy: false });

/** What a person may wait for, and a proxy that was not told may take. */
const NOTICE_MS = 50;

bindTest(
  `a binding whose file is removed by hand stops within ${NOTICE_MS} ms`,
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    using open = await keepAlive(await clientIn(aws));
    assert.equal(await open.status(), 200);
    await Deno.remove(pathOf(aws, "bindings/web.json"));
    await new Promise((resolve) => setTimeout(resolve, NOTICE_MS));
    assert.equal(await open.status(), 401);
  },
);

bindTest("a binding outlives the proxy", async (aws) => {
  await using first = await aws.startProxy();
  await aws.do(`moat bind web ${FULL}`);
  const { host } = new URL(first.urls[0] ?? "");
  await first.stop();
  await aws.startProxy(`--listen ${host}`);
  assert.equal(await statusOf(await clientIn(aws)), 200);
}, { hasProxy: false });

bindTest(
  "a binding that was made without a proxy is served by a later one",
  async (aws) => {
    const { port } = freeAddress();
    await aws.do(`moat bind web ${FULL} --url http://127.0.0.1:${port}`);
    await aws.startProxy(`--listen 127.0.0.1:${port}`);
    assert.equal(await statusOf(await clientIn(aws)), 200);
  },
  { hasProxy: false },
);

function freeAddress(): Deno.NetAddr {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr;
}

/** Where the token is shown, and what is answered then. */
interface Shown {
  readonly mode: string;
  readonly status: number;
  request(client: Client): string;
}

const PATH = "/ecs/credentials";
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const inHeader = ({ address, token }: Client) =>
  getText(address, PATH, bearer(token));
const inQuery = ({ address, token }: Client) =>
  getText(address, `${PATH}?access_token=${token}`);
const inBoth = ({ address, token }: Client) =>
  getText(address, `${PATH}?access_token=${token}`, bearer(token));
const twiceInQuery = ({ address, token }: Client) =>
  getText(address, `${PATH}?access_token=${token}&access_token=${token}`);
const twiceInHeader = (client: Client) =>
  inHeader(client).replace(/(Authorization.*\r\n)/, "$1$1");

const SHOWN: Readonly<Record<string, Shown>> = {
  "header mode, in the query": {
    mode: "ecs-full",
    status: 401,
    request: inQuery,
  },
  "query mode, in the header": {
    mode: "ecs-full-query",
    status: 401,
    request: inHeader,
  },
  "header mode, in both": { mode: "ecs-full", status: 400, request: inBoth },
  "query mode, in both": {
    mode: "ecs-full-query",
    status: 400,
    request: inBoth,
  },
  "header mode, twice": {
    mode: "ecs-full",
    status: 400,
    request: twiceInHeader,
  },
  "query mode, twice": {
    mode: "ecs-full-query",
    status: 400,
    request: twiceInQuery,
  },
  "process mode, in the query": {
    mode: "process",
    status: 401,
    request: inQuery,
  },
};
awsTable(
  "a token is refused that is shown elsewhere",
  SHOWN,
  async (aws, row) => {
    await aws.do(GRANT);
    if (!await isProxyThere(aws)) await aws.startProxy();
    await aws.do(`moat bind web --grant aws --mode ${row.mode}`);
    const client = await clientIn(aws);
    assert.equal(await statusOf(client), 200);
    const request = row.request(client);
    assert.equal(await statusOf({ ...client, request }), row.status);
  },
);

bindTest(
  "moat credential-process --binding asks for a stored binding",
  async (aws) => {
    await aws.do(`moat bind web ${FULL} --session-name {binding}`);
    const result = await aws.type("moat credential-process --binding web");
    assert.match(await aws.whoIs(assertProcessOutput(result)), /\/web$/);
  },
);

bindTest(
  "moat credential-process --binding refuses one that was removed",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    await aws.do("moat credential-process --binding web");
    await aws.do("moat unbind web");
    const { code, stdout } = await aws.type(
      "moat credential-process --binding web",
    );
    assert.deepEqual([code, stdout], [1, ""]);
  },
);

// Grants

bindTest(
  "moat revoke stops an open connection at once, and moat grant serves it again",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    const client = await clientIn(aws);
    using open = await keepAlive(client);
    assert.equal(await open.status(), 200);
    await aws.do("moat revoke aws");
    assert.equal(await open.status(), 403);
    assert.equal(JSON.parse((await ask(client)).body).code, "grant-gone");
    await aws.do(GRANT);
    assert.equal(await open.status(), 200);
  },
);

bindTest(
  "a proxy that could not read the grants serves them once it can",
  async (aws) => {
    const { port } = freeAddress();
    await aws.do(`moat bind web ${FULL} --url http://127.0.0.1:${port}`);
    const key = await read(aws, "key");
    await Deno.writeTextFile(pathOf(aws, "key"), key.replaceAll(/\w/g, "A"));
    await aws.startProxy(`--listen 127.0.0.1:${port}`);
    const client = await clientIn(aws);
    const { status, body } = await ask(client);
    assert.notEqual(status, 200);
    assert.doesNotMatch(body, /revoked/);
    await Deno.writeTextFile(pathOf(aws, "key"), key);
    await eventually(
      "the grant",
      async () => await statusOf(client) === 200,
      3_000,
    );
  },
  { hasProxy: false },
);

awsTest("a binding may shorten and name its sessions", async (aws) => {
  const calls = aws.record();
  await aws.do(`${GRANT} --session-duration 1h`);
  await aws.startProxy();
  await aws.do(
    `moat bind web ${FULL} --session-duration 30m --session-name of-{binding}`,
  );
  assert.equal(await statusOf(await clientIn(aws)), 200);
  const [call, ...others] = calls;
  assert.deepEqual(others, []);
  assert.equal(call?.get("DurationSeconds"), "1800");
  assert.equal(call?.get("RoleSessionName"), "of-web");
});

awsTest("bindings of one grant have sessions of their own", async (aws) => {
  const calls = aws.record();
  await aws.do(`${GRANT} --session-duration 1h`);
  await aws.startProxy();
  await aws.do(`moat bind one ${FULL} --session-duration 30m`);
  await aws.do(`moat bind two ${FULL} --session-duration 45m`);
  for (const name of ["one", "two"]) {
    assert.equal(await statusOf(await clientIn(aws, name)), 200);
  }
  const durations = Array.from(
    calls,
    (call) => call.get("DurationSeconds"),
  );
  assert.deepEqual(durations, ["1800", "2700"]);
});

bindTest("a binding that was widened by hand is not served", async (aws) => {
  await aws.do(`moat bind web ${FULL} --session-duration 15m`);
  const path = pathOf(aws, "bindings/web.json");
  const text = await Deno.readTextFile(path);
  assert.match(text, /"durationSeconds": 900\b/);
  await Deno.writeTextFile(
    path,
    text.replace('"durationSeconds": 900', '"durationSeconds": 7200'),
  );
  assert.equal(await statusOf(await clientIn(aws)), 403);
});

// Damage

bindTest(
  "a damaged binding is refused, with one line in the log, and the others are served",
  async (aws) => {
    await aws.do(`moat bind good ${FULL}`);
    await aws.do(`moat bind web ${FULL}`);
    await aws.workspace.write("moat/bindings/web.json", '{"version":1');
    const web = await clientIn(aws);
    for (let i = 0; i < 3; i++) assert.equal(await statusOf(web), 401);
    assert.equal(await statusOf(await clientIn(aws, "good")), 200);
    const lines = aws.logged("binding-unusable");
    assert.deepEqual(
      lines.map(({ binding, code }) => [binding, code]),
      [["web", "binding-damaged"]],
    );
  },
);

const DAMAGES: Readonly<Record<string, (text: string) => string>> = {
  "an empty file": () => "",
  "half of it": (text) => text.slice(0, text.length / 2),
  "another version": (text) => text.replace('"version": 1', '"version": 2'),
  "another binding's name": (text) => text.replace('"web"', '"other"'),
  "a further member": (text) => text.replace("{", '{"admin": true,'),
  "a digest that is none": (text) =>
    text.replace(/("tokenDigest": ")[^"]*/, "$1x"),
  "no digest": (text) => text.replace(/,\s*"tokenDigest": "[^"]*"/, ""),
  "a grant's name that is none": (text) => text.replace('"aws"', '"../aws"'),
  "an unknown mode": (text) => text.replace('"ecs-full"', '"ecs"'),
  "an unknown provider": (text) => text.replace('"aws"', '"nobody"'),
};
awsTable(
  "a binding is not served whose file is or has",
  DAMAGES,
  async (aws, damage) => {
    await aws.do(GRANT);
    if (!await isProxyThere(aws)) await aws.startProxy();
    await aws.do(`moat bind web ${FULL}`);
    const client = await clientIn(aws);
    assert.equal(await statusOf(client), 200);
    const text = await read(aws, "bindings", "web.json");
    assert.notEqual(damage(text), text);
    await aws.workspace.write("moat/bindings/web.json", damage(text));
    await new Promise((resolve) => setTimeout(resolve, NOTICE_MS));
    assert.ok([401, 403].includes(await statusOf(client)));
    await aws.do(`moat bind web ${FULL}`);
    assert.equal(await statusOf(await clientIn(aws)), 200);
  },
);

bindTest(
  "moat env tells what to do without an environment file",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    await Deno.remove(pathOf(aws, "env/web"));
    assertRefused(await aws.type("moat env web"), {
      error: /environment file of binding "web"/,
      hint: /bind it again/,
    });
  },
  { hasProxy: false },
);

// Refusals

/** Before each, there are the grants `aws` for 15 minutes and `aws:long` for an hour. */
const REFUSALS: Readonly<Record<string, Refusal & { line: string }>> = {
  "no grant": {
    line: "moat bind web",
    exit: 2,
    error: /--grant is missing/,
    hint: /moat bind NAME --grant/,
  },
  "a second grant of AWS": {
    line: "moat bind web --grant aws --grant aws:long",
    exit: 2,
    error: /one grant of aws/,
    hint: /each of them/,
  },
  "an unknown grant": {
    line: "moat bind web --grant aws:gone",
    error: /grant "aws:gone"/,
    hint: /moat grant aws --name gone/,
  },
  "an unknown provider": {
    line: "moat bind web --grant nobody",
    error: /"nobody"/,
    hint: /moat grant/,
  },
  "an unknown mode": {
    line: "moat bind web --grant aws --mode ecs",
    exit: 2,
    error: /"ecs" as a mode/,
    hint: /process, ecs-full, ecs-full-query, ecs-relative/,
  },
  "an unknown format": {
    line: `moat bind web ${FULL} --format yaml`,
    exit: 2,
    error: /--format "yaml"/,
    hint: /env, export, docker, compose, json, systemd/,
  },
  "a token file in a query mode": {
    line: "moat bind web --grant aws --mode ecs-full-query --token-file",
    exit: 2,
    error: /--token-file in mode ecs-full-query/,
    hint: /mode ecs-full,/,
  },
  "a longer life than the grant's": {
    line: `moat bind web ${FULL} --session-duration 1h`,
    exit: 2,
    error: /the grant allows 15m/,
    hint: /shorten/,
  },
  "a life that AWS refuses": {
    line: `moat bind web ${FULL} --session-duration 10s`,
    exit: 2,
    error: /"10s" as session duration/,
    hint: /15m to 12h/,
  },
  "a role of its own": {
    line: `moat bind web ${FULL} --role $ROLE`,
    exit: 2,
    error: /--role/,
    hint: /./,
  },
  "a URL with a password": {
    line: `moat bind web ${FULL} --url http://me:hush@127.0.0.1:7224`,
    exit: 2,
    error: /user or password/,
    hint: /http:\/\/127\.0\.0\.1:7224$/,
  },
  "a URL of another host": {
    line: `moat bind web ${FULL} --url http://10.0.0.1:7224`,
    exit: 2,
    error: /over plain http SDKs accept only loopback/,
    hint: /--mode process/,
  },
  "a URL of a name that could be loopback": {
    line: `moat bind web ${FULL} --url http://localhost.example.com`,
    exit: 2,
    error: /over plain http SDKs accept only loopback/,
    hint: /--mode process/,
  },
  "a URL of all addresses": {
    line: `moat bind web ${FULL} --url http://0.0.0.0:7224`,
    exit: 2,
    error: /over plain http SDKs accept only loopback/,
    hint: /--mode process/,
  },
  "a URL without a scheme": {
    line: `moat bind web ${FULL} --url 127.0.0.1:7224`,
    exit: 2,
    error: /as --url: wanted http:\/\/ADDR:PORT/,
    hint: /http:\/\/127\.0\.0\.1/,
  },
  "a URL of another scheme": {
    line: `moat bind web ${FULL} --url ftp://127.0.0.1`,
    exit: 2,
    error: /as --url: wanted http:\/\/ADDR:PORT/,
    hint: /http:\/\/127\.0\.0\.1/,
  },
  "a URL in a mode that has one address": {
    line:
      `${WITH_ADDRESS} moat bind web --grant aws --mode ecs-relative --url http://169.254.170.2`,
    exit: 2,
    error: /--url in mode ecs-relative/,
    hint: /leave --url out/,
  },
  "a relative mode without the address": {
    line: "moat bind web --grant aws --mode ecs-relative",
    error: /no such address/,
    hint: /moat network setup --apply/,
  },
  "a name with a slash": {
    line: `moat bind a/b ${FULL}`,
    exit: 2,
    error: /"a\/b" as a binding's name/,
    hint: /another name/,
  },
  "a name that leads elsewhere": {
    line: `moat bind .. ${FULL}`,
    exit: 2,
    error: /"\.\." as a binding's name/,
    hint: /another name/,
  },
  "a name with a dot first": {
    line: `moat bind .web ${FULL}`,
    exit: 2,
    error: /no dot at the beginning/,
    hint: /another name/,
  },
  "a name with a line break": {
    line: `moat bind 'we\nb' ${FULL}`,
    exit: 2,
    error: /as a binding's name/,
    hint: /another name/,
  },
  "an over-long name": {
    line: `moat bind ${"a".repeat(65)} ${FULL}`,
    exit: 2,
    error: /1 to 64 letters/,
    hint: /another name/,
  },
  "a name of a run": {
    line: `moat bind run-x ${FULL}`,
    exit: 2,
    error: /belong to moat run/,
    hint: /such as x$/,
  },
  "two names": {
    line: `moat bind web two ${FULL}`,
    exit: 2,
    error: /at most 1 operand/,
    hint: /usage/,
  },
  "nothing to unbind": {
    line: "moat unbind web",
    error: /binding "web"/,
    hint: /moat bindings/,
  },
  "nothing to show": {
    line: "moat env web",
    error: /binding "web"/,
    hint: /moat bindings/,
  },
  "nothing to be the client of": {
    line: "moat exec web -- true",
    exit: 125,
    error: /binding "web"/,
    hint: /moat bindings/,
  },
};
/** Those that need a host of their own. */
const NEED_ROOT = ["a URL in a mode that has one address"];

testUnless(
  moatReason(),
  "moat bind and its like refuse, and write nothing",
  async (t) => {
    await using aws = await SimulatedAws.open();
    await aws.do(GRANT);
    await aws.do(`${GRANT} --name long --session-duration 1h`);
    for (const [name, { line, ...wanted }] of Object.entries(REFUSALS)) {
      const ignore = noRoot !== undefined && NEED_ROOT.includes(name);
      await t.step({
        name,
        ignore,
        fn: async () => {
          const result = await aws.type(line);
          assertRefused(result, wanted);
          assert.ok(!result.stderr.includes("hush"));
          assert.deepEqual(await written(aws), []);
        },
      });
    }
  },
);

bindTest(
  "moat bind refuses a relative mode that the proxy does not serve",
  async (aws) => {
    assertRefused(
      await aws.type("moat bind web --grant aws --mode ecs-relative-query"),
      {
        error: /169\.254\.170\.2:80: the proxy does not listen there/,
        hint: /moat network setup --apply/,
      },
    );
  },
);

const WARNINGS: Readonly<Record<string, { flags: string; warning: RegExp }>> = {
  "that a path is dropped": {
    flags: "--mode ecs-full --url http://127.0.0.1:7224/x",
    warning:
      /path and query of --url are not used, only http:\/\/127\.0\.0\.1:7224$/m,
  },
  "that SDKs ignore private CAs": {
    flags: "--mode ecs-full --url https://moat.example.com",
    warning: /SDKs ignore private CAs/,
  },
  "of query tokens": {
    flags: "--mode ecs-full-query",
    warning: /SSRF, and its token leaks into logs/,
  },
};
awsTable("moat bind warns", WARNINGS, async (aws, { flags, warning }) => {
  await aws.do(GRANT);
  const result = await aws.type(`moat bind web --grant aws ${flags}`);
  assert.equal(result.code, 0);
  assert.match(result.stderr, /^warning: /m);
  assert.match(result.stderr, warning);
});

awsTable(
  "moat bind writes nothing when it cannot read its grant",
  {
    "the key is another one": [
      "key",
      (text: string) => text.replaceAll(/\w/g, "A"),
    ],
    "the grant is damaged": ["grants/aws.grant", () => "garbage"],
  } as const,
  async (aws, [file, damage]) => {
    await aws.do(GRANT);
    const text = await read(aws, file);
    await Deno.writeTextFile(pathOf(aws, file), damage(text));
    const { code, stdout } = await aws.type("moat bind web --grant aws");
    await Deno.writeTextFile(pathOf(aws, file), text);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.deepEqual(await written(aws), []);
  },
);

const IN_OPEN_HOME: readonly string[] = [
  `moat bind other ${FULL}`,
  "moat unbind web",
  "moat bindings",
  "moat env web",
  "moat exec web -- true",
];
bindTest("no command uses a home that others may write", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  const before = await written(aws);
  await Deno.chmod(aws.workspace.moatHome, 0o777);
  for (const line of IN_OPEN_HOME) {
    const { code, stdout, stderr } = await aws.type(line);
    assert.notEqual(code, 0, line);
    assert.equal(stdout, "");
    assert.match(stderr, /mode is 0777, must be 0700/);
  }
  await Deno.chmod(aws.workspace.moatHome, 0o700);
  assert.deepEqual(await written(aws), before);
}, { hasProxy: false });

/** A read-only directory, though root asks. */
const READ_ONLY = (path: string, line: string) =>
  `unshare --mount sh -ec 'mount --bind ${path} ${path}; mount -o remount,ro,bind ${path}; ${line}'`;

awsTable("moat bind that cannot write leaves the old token as it was", {
  "without the directory of bindings": "bindings",
  "without the directory of environments": "env",
}, async (aws, folder) => {
  await aws.do(GRANT);
  if (!await isProxyThere(aws)) await aws.startProxy();
  await aws.do(`moat bind web ${FULL}`);
  const client = await clientIn(aws);
  const line = READ_ONLY(pathOf(aws, folder), `moat bind web ${FULL}`);
  for (let i = 0; i < 2; i++) {
    const { code, stderr } = await aws.type(line);
    assert.equal(code, 1);
    assert.match(stderr, /^error: Cannot (write|open)/);
  }
  assert.deepEqual(await clientIn(aws), client);
  assert.equal(await statusOf(client), 200);
}, { reason: noRoot });

bindTest(
  "moat bind that cannot write a new environment leaves no binding",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    const before = await written(aws);
    const line = READ_ONLY(pathOf(aws, "env"), `moat bind new ${FULL}`);
    assert.equal((await aws.type(line)).code, 1);
    assert.deepEqual(await written(aws), before);
  },
  { hasProxy: false, reason: noRoot },
);

bindTest(
  "moat bind that fails twice with another kind of token leaves the old one as it was",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    const client = await clientIn(aws);
    const line = READ_ONLY(
      pathOf(aws, "env"),
      `moat bind web ${FULL} --token-file`,
    );
    for (let i = 0; i < 2; i++) assert.equal((await aws.type(line)).code, 1);
    assert.deepEqual(await clientIn(aws), client);
    assert.equal(await statusOf(client), 200);
  },
  { reason: noRoot },
);

// At once

const AT_ONCE = 20;

bindTest(
  `${AT_ONCE} of moat bind at once leave one token that counts`,
  async (aws) => {
    const results = await Promise.all(
      Array.from(
        { length: AT_ONCE },
        () => aws.type(`moat bind web ${FULL}`),
      ),
    );
    for (const { code, stderr } of results) {
      if (code !== 0) {
        assert.match(
          stderr,
          /^error: Cannot change the bindings/,
        );
      }
    }
    assert.ok(results.some(({ code }) => code === 0));
    assert.equal(await statusOf(await clientIn(aws)), 200);
    assert.deepEqual(await written(aws), ["bindings/web.json", "env/web"]);
  },
);

bindTest(
  "moat bind and moat unbind at once fail in no strange way",
  async (aws) => {
    const lines = Array.from(
      { length: 10 },
      () => ["moat bind web --grant aws", "moat unbind web"],
    ).flat();
    const results = await Promise.all(lines.map((line) => aws.type(line)));
    for (const { code, stderr } of results) {
      assert.ok(
        code === 0 ||
          /^error: Cannot (find binding|find the env|change the b)/.test(
            stderr,
          ),
        stderr,
      );
    }
    await aws.do("moat bind web --grant aws");
    assert.equal(await statusOf(await clientIn(aws)), 200);
  },
);

// moat exec

bindTest("moat exec runs a command as the client of a binding", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  const out = await aws.do("moat exec web -- env");
  const found = parseLines(out);
  const wanted = await environmentOf(aws);
  assert.deepEqual([found[TOKEN], found[FULL_URI]], [
    wanted[TOKEN],
    wanted[FULL_URI],
  ]);
  assert.equal(await statusOf(await clientOf(found)), 200);
});

bindTest("moat exec hides the keys in its user's own files", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  const found = parseLines(await aws.do("moat exec web -- env"));
  const file = found["AWS_SHARED_CREDENTIALS_FILE"] ?? "";
  assert.match(file, /\/files\/aws\/no-credentials$/);
  // With the command it ends.
  await assert.rejects(Deno.lstat(file), Deno.errors.NotFound);
});

bindTest(
  "moat exec keeps credentials of its own environment from the command",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    const out = await aws.do("moat exec web -- env", { AWS_PROFILE: "prod" });
    const names = Object.keys(parseLines(out));
    const stray = names.filter((name) =>
      /^AWS_(PROFILE|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)$/.test(name)
    );
    assert.deepEqual(stray, []);
  },
  { hasProxy: false },
);

awsTable(
  "moat exec ends",
  {
    "with the command's status": ["sh -c 'exit 7'", 7],
    "with 127 for a command that is not there": ["/nonexistent", 127],
    "with 126 for one that cannot be executed": ["/etc/passwd", 126],
    "with 128 and the signal that ended it": ["sh -c 'kill -TERM $$'", 143],
    "with 125 without a command": ["", 125],
  } as const,
  async (aws, [command, code]) => {
    await aws.do(GRANT);
    await aws.do(`moat bind web ${FULL}`);
    assert.equal((await aws.type(`moat exec web -- ${command}`)).code, code);
  },
);

bindTest(
  "moat exec refuses a binding of a container for a plain command",
  async (aws) => {
    await aws.do("moat bind web --grant aws --network none");
    assertRefused(await aws.type("moat exec web -- true"), {
      exit: 125,
      error: /made for a container/,
      hint: /moat exec web -- docker run/,
    });
  },
  { hasProxy: false },
);

// Secrets

/** What a life of bindings prints, where nobody asked for a token. */
const QUIET_LINES: readonly string[] = [
  `moat bind web ${FULL}`,
  `moat bind web ${FULL} --json`,
  `moat bind web ${CONTAINER} --format docker`,
  `moat bind web ${CONTAINER} --format compose`,
  `moat bind web ${FULL} --format systemd`,
  `moat bind file ${FULL} --token-file --format env`,
  `moat bind file ${FULL} --token-file --format json`,
  "moat bind helper --grant aws --format export",
  "moat bind query --grant aws --mode ecs-full-query",
  "moat bindings",
  "moat bindings --json",
  "moat status --json",
];

/** Whoever has this has the token. */
const secretOf = ({ token }: Client) => token.split(".").at(-1) ?? "";

function assertNone(text: string, secrets: readonly string[]): void {
  const found = secrets.filter((secret) => text.includes(secret));
  assert.equal(found.length, 0, "a secret is in the text");
}

bindTest(
  "no token is in what is printed, logged or audited unless it was asked for",
  async (aws) => {
    const proxy = await aws.startProxy("--log-level debug");
    const secrets: string[] = [];
    let printed = "";
    for (const line of QUIET_LINES) {
      const { code, stdout, stderr } = await aws.type(line);
      assert.equal(code, 0, stderr);
      printed += stdout + stderr;
      for (const name of await namesIn(pathOf(aws, "env"))) {
        secrets.push(secretOf(await clientIn(aws, name)));
      }
    }
    const query = await clientIn(aws, "query");
    const web = await clientIn(aws);
    assert.equal(await statusOf(query), 200);
    await statusOf({ ...query, request: inHeader(query) });
    await statusOf({ ...web, request: inQuery(web) });
    await aws.workspace.write("moat/bindings/web.json", "{");
    printed += (await ask(web)).body;
    printed += (await aws.type("moat unbind query")).stdout;
    printed += await aws.do("moat audit --json");
    assert.match(printed, /"event": ?"unbound"/);
    assertNone(printed + proxy.stdout() + proxy.stderr(), secrets);
  },
  { hasProxy: false },
);

bindTest(
  "no token is in the process list while moat exec runs",
  async (aws) => {
    await aws.do(`moat bind web ${FULL}`);
    const secrets = [secretOf(await clientIn(aws))];
    const out = await aws.do(
      `moat exec web -- sh -c 'cat /proc/[0-9]*/cmdline | tr "\\0" " "'`,
    );
    assert.match(out, /moat exec web/);
    assertNone(out, secrets);
  },
);

bindTest("binding, unbinding and vending are audited", async (aws) => {
  await aws.do(`moat bind web ${FULL}`);
  await ask(await clientIn(aws));
  await aws.do("moat unbind web");
  const events = await Promise.all(
    ["bound", "vended", "unbound"].map((event) => aws.audited(event)),
  );
  assert.deepEqual(
    events.map((fields) => fields.map(({ binding }) => binding)),
    [["web"], ["web"], ["web"]],
  );
});
