/**
 * The place of needroleshere: its command lines, directories and answers, with
 * the executable's name replaced and AWS simulated.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import {
  joinFiles,
  makeCertificate,
  noOpenssl,
  pkiPath,
} from "./support/anywhere_pki.ts";
import { CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { FastClock, fastClockReason } from "./support/fast_clock.ts";
import {
  MOAT,
  moatReason,
  type MoatServer,
  startMoat,
} from "./support/moat.ts";
import {
  parseAnswers,
  type RawAnswer,
  receive,
  receiveAnswer,
  send,
} from "./support/raw_http.ts";
import { isThere, run, type RunResult, which } from "./support/run.ts";
import { SimulatedAws } from "./support/simulated_aws.ts";
import { assertRefused, type Refusal } from "./support/terminal.ts";

/** Why no server can be given a socket here; undefined if it can. */
const noSockets = !which("python3")
  ? "not installed: python3"
  : isThere("/lib/systemd/systemd-socket-proxyd")
  ? undefined
  : "not installed: systemd-socket-proxyd";

/** As a service manager: opens so many sockets, then becomes the program. */
const ACTIVATE = `
import fcntl, os, socket, sys
count, *argv = sys.argv[1:]
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(count))]
# Out of the way first: one may be where another one belongs.
high = [fcntl.fcntl(s, fcntl.F_DUPFD_CLOEXEC, 100) for s in sockets]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
os.environ.update(LISTEN_FDS=count, LISTEN_PID=str(os.getpid()))
os.execvp(argv[0], argv)
`;

const ANY = "rolesanywhere:eu-central-1:123456789012";

/** What every `bind` is told; the files are those of `installKey()`. */
const FLAGS =
  "--certificate $DIR/tls/chain.pem --private-key $DIR/tls/leaf.key \
--trust-anchor-arn $ANCHOR --profile-arn $PROFILE --role-arn $ROLE \
--endpoint $SIMULATOR";

/** The same for a server of clients on loopback. */
const FULL = `${FLAGS} --url http://127.0.0.1:7224`;

/** A host with certificates whose CA the simulated AWS trusts. */
class Host implements AsyncDisposable {
  readonly aws: SimulatedAws;
  readonly #prefix: readonly string[];
  readonly #stack = new AsyncDisposableStack();
  readonly #servers: MoatServer[] = [];

  private constructor(aws: SimulatedAws, prefix: readonly string[]) {
    this.aws = this.#stack.use(aws);
    this.#prefix = prefix;
  }

  static async open(prefix: readonly string[] = []): Promise<Host> {
    await makeLeaf("leaf");
    const aws = await SimulatedAws.open({
      flags: `--trust-anchor ${pkiPath("root.crt")}`,
      hasKey: false,
      prefix,
    });
    const host = new Host(aws, prefix);
    const { workspace, terminal } = aws;
    await Deno.symlink(MOAT, workspace.path("bin/needroleshere"));
    Object.assign(terminal.exported, {
      ANCHOR: `arn:aws:${ANY}:trust-anchor/a1b2`,
      PROFILE: `arn:aws:${ANY}:profile/c3d4`,
      SIMULATOR: aws.url,
      DIR: workspace.directory,
      RUNTIME_DIRECTORY: host.path(),
    });
    await host.installKey("leaf");
    return host;
  }

  /** In the directory of the bindings. */
  path(...parts: string[]): string {
    return this.aws.workspace.path("nrh", ...parts);
  }

  async read(...parts: string[]): Promise<string> {
    return await Deno.readTextFile(this.path(...parts));
  }

  /** Puts key and chain where the bindings name them. */
  async installKey(name: string): Promise<void> {
    const chain = await joinFiles(`${name}.pem`, `${name}.crt`, "issuing.crt");
    const { workspace } = this.aws;
    for (
      const [from, to] of [[chain, "chain.pem"], [
        pkiPath(`${name}.key`),
        "leaf.key",
      ]] as const
    ) {
      await workspace.write(`tls/${to}`, await Deno.readTextFile(from));
    }
  }

  /** Binds, and gives the new token. */
  async bind(name: string, flags = ""): Promise<string> {
    await this.aws.do(`moat bind ${name} ${FULL} --no-validate ${flags}`);
    return await this.token(name);
  }

  /** The token in an environment file. */
  async token(name: string): Promise<string> {
    const text = decodeURIComponent(await this.read("env", name));
    const [token] = /needroleshere\.[\w.@-]+/.exec(text) ?? [];
    assert(token, "no token");
    return token;
  }

  /** Starts a server on sockets that it is given. */
  async serve(
    flags = "--region eu-central-1",
    { sockets = 1, env = {} }: {
      sockets?: number;
      env?: Record<string, string>;
    } = {},
  ): Promise<Served> {
    const { workspace, terminal, url } = this.aws;
    const server = await startMoat(
      ["serve", "--endpoint", url, ...flags.split(" ").filter(Boolean)],
      {
        workspace,
        env: {
          ...terminal.exported,
          AWS_EC2_METADATA_DISABLED: "true",
          ...env,
        },
        prefix: [...this.#prefix, "python3", "-c", ACTIVATE, String(sockets)],
        listeners: sockets,
      },
    );
    this.#stack.use(server);
    this.#servers.push(server);
    return new Served(server);
  }

  /** Stops everything; no log may hold a token. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const server of this.#servers) {
        assert.doesNotMatch(
          server.stdout() + server.stderr(),
          /needroleshere\.[\w.@-]+\.[\w-]{43}/,
        );
      }
    } finally {
      await this.#stack.disposeAsync();
    }
  }
}

/** A running `moat serve`. */
class Served {
  readonly server: MoatServer;

  constructor(server: MoatServer) {
    this.server = server;
  }

  get urls(): readonly string[] {
    return this.server.urls;
  }

  /** Asks for credentials as an SDK does. */
  async ask(token: string, url = this.urls[0]): Promise<RawAnswer> {
    const answer = await fetch(`${url}/ecs/credentials`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    return {
      status: answer.status,
      headers: answer.headers as unknown as ReadonlyMap<string, string>,
      body: await answer.text(),
    };
  }

  /** As `ask`, and the answer must be a session. */
  async credentials(token: string, url = this.urls[0]): Promise<Credentials> {
    const { status, body } = await this.ask(token, url);
    assert.equal(status, 200, body);
    return JSON.parse(body);
  }

  connect(): Promise<Deno.Conn> {
    const { hostname, port } = new URL(this.urls[0] ?? "");
    return Deno.connect({ hostname, port: Number(port) });
  }

  /** Sends one request as it stands; `Host` and the end of the head are added. */
  async raw(head: string): Promise<RawAnswer> {
    using conn = await this.connect();
    const { host } = new URL(this.urls[0] ?? "");
    const [line, ...fields] = head.split("\n");
    const lines = [
      `${line} HTTP/1.1`,
      ...fields.some((field) => /^host:/i.test(field)) ? [] : [`Host: ${host}`],
      ...fields,
      "Connection: close",
    ];
    await send(conn, lines.join("\r\n") + "\r\n\r\n");
    const [answer] = parseAnswers(await receive(conn), {
      head: head.startsWith("HEAD "),
    });
    assert(answer, "no answer");
    return answer;
  }

  async isHealthy(): Promise<boolean> {
    const answer = await fetch(`${this.urls[0]}/healthz`);
    return answer.status === 200 && (await answer.text()).trim() === "ok";
  }
}

/** Answers of an endpoint of container credentials. */
interface Credentials {
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly Token: string;
  readonly Expiration: string;
}

/** Whose session it is. */
async function whoIs(host: Host, found: Credentials): Promise<string> {
  const { Token: SessionToken, ...rest } = found;
  return await host.aws.whoIs({ Version: 1, SessionToken, ...rest });
}

/** A CA below another one: what most companies have. */
async function makeLeaf(
  name: string,
  wish: Parameters<typeof makeCertificate>[1] = {},
): Promise<void> {
  await makeCertificate("root", { isAuthority: true });
  await makeCertificate("issuing", { isAuthority: true, issuer: "root" });
  const usage = "digitalSignature";
  await makeCertificate(name, { issuer: "issuing", usage, ...wish });
}

function test(
  name: string,
  fn: (host: Host) => Promise<void>,
  more: { reason?: string | undefined; prefix?: readonly string[] } = {},
): void {
  const reason = moatReason() ?? noOpenssl ?? noSockets ?? more.reason;
  testUnless(reason, name, async () => {
    await using host = await Host.open(more.prefix);
    await fn(host);
  });
}

/** Its steps share a host, because starting one takes longer than they do. */
function table<Row>(
  name: string,
  rows: Readonly<Record<string, Row>>,
  fn: (host: Host, row: Row) => Promise<void>,
): void {
  testUnless(moatReason() ?? noOpenssl ?? noSockets, name, async (t) => {
    await using host = await Host.open();
    for (const [step, row] of Object.entries(rows)) {
      await t.step(step, () => fn(host, row));
    }
  });
}

/** From needroleshere's README. */
const README = `needroleshere bind myrole \\
  --mode ecs-full \\
  --url http://127.0.0.1:7224 \\
  --certificate /path/to/certificate.pem \\
  --private-key /path/to/private-key.pem \\
  --trust-anchor-arn arn:aws:rolesanywhere:region:account:trust-anchor/TA_ID \\
  --profile-arn arn:aws:rolesanywhere:region:account:profile/PROFILE_ID \\
  --role-arn arn:aws:iam::account:role/myrole \\
  --configuration-directory /path/to/etc/needroleshere`;

/** What a reader of it puts in. */
function fillIn(line: string): string {
  return line
    .replaceAll("/path/to/certificate.pem", "$DIR/tls/chain.pem")
    .replaceAll("/path/to/private-key.pem", "$DIR/tls/leaf.key")
    .replaceAll("/path/to/etc/needroleshere", "$DIR/etc/needroleshere")
    .replaceAll(":region:account:", ":eu-central-1:123456789012:")
    .replaceAll("::account:", "::123456789012:");
}

for (const program of ["moat", "needroleshere"]) {
  test(`needroleshere's own example works as ${program}`, async (host) => {
    const line = fillIn(README).replace("needroleshere", program);
    await host.aws.do(`${line} --endpoint $SIMULATOR`);
    const serve = "--configuration-directory $DIR/etc/needroleshere"
      .replace("$DIR", host.aws.workspace.directory);
    const served = await host.serve(`--region eu-central-1 ${serve}`);
    const environment = await host.aws.do("cat etc/needroleshere/env/myrole");
    const [, token = ""] = /"Bearer (.*)"/.exec(environment) ?? [];
    const found = await served.credentials(token);
    assert.match(await whoIs(host, found), /:assumed-role\/myrole\//);
  });
}

test("option: needroleshere bind NAME", async (host) => {
  await host.aws.do(`moat bind myrole ${FULL}`);
  const { exported } = host.aws.terminal;
  const token = await host.token("myrole");
  const { secret_hash: digest, ...file } = JSON.parse(
    await host.read("bindings/myrole.json"),
  );
  assert.match(token, /^needroleshere\.myrole\.[\w-]{86}$/);
  assert.match(digest, /^[\w-]{64}$/);
  const { DIR, PROFILE, ANCHOR, ROLE } = exported;
  assert.deepEqual(file, {
    name: "myrole",
    "certificate_files": [`${DIR}/tls/chain.pem`],
    "private_key_file": `${DIR}/tls/leaf.key`,
    request: {
      durationSeconds: null,
      profileArn: PROFILE,
      roleArn: ROLE,
      sessionName: null,
      trustAnchorArn: ANCHOR,
    },
    mode: { kind: "EcsFull" },
  });
});

/** What an environment file has, with TOKEN in the place of its token. */
const ENVIRONMENTS: Readonly<Record<string, string>> = {
  "ecs-full": `AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer TOKEN"
AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:7224/ecs/credentials
`,
  "ecs-full-query":
    `AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:7224/ecs/credentials?access_token=TOKEN
`,
  "ecs-relative": `AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer TOKEN"
AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/ecs/credentials
`,
  "ecs-relative-query":
    `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/ecs/credentials?access_token=TOKEN
`,
};
table(
  "option: needroleshere bind --mode",
  Object.fromEntries(Object.entries(ENVIRONMENTS).map((row) => [row[0], row])),
  async (host, [mode, wanted]) => {
    await host.bind("a@b", `--mode ${mode}`);
    const found = (await host.read("env/a@b"))
      .replace(/needroleshere\.a@b\.[\w-]{86}/, "TOKEN")
      // A form's encoding, as needroleshere writes it.
      .replace(/=needroleshere\.a%40b\.[\w-]{86}/, "=TOKEN");
    assert.equal(found, wanted);
    const isQuery = found.includes("?access_token=");
    assert.equal((await host.read("env/a@b")).includes("%40"), isQuery);
  },
);

test("bind is in mode ecs-full without --mode", async (host) => {
  await host.bind("web");
  const { mode } = JSON.parse(await host.read("bindings/web.json"));
  assert.deepEqual(mode, { kind: "EcsFull" });
});

for (const mode of ["ecs-full-query", "ecs-relative-query"]) {
  test(`bind warns of mode ${mode}`, async (host) => {
    const { stderr } = await host.aws.type(
      `moat bind web ${FULL} --no-validate --mode ${mode}`,
    );
    assert.match(stderr, /^warning: .*SSRF/m);
  });
}

table("option: needroleshere --url", {
  "with a path": "http://127.0.0.1:7224/path?x#y http://127.0.0.1:7224",
  "with http's own port": "http://127.0.0.1:80 http://127.0.0.1",
  "with a name": "http://localhost:7224 http://localhost:7224",
  "with IPv6": "http://[::1]:7224 http://[::1]:7224",
}, async (host, row) => {
  const [given = "", wanted = ""] = row.split(" ");
  await host.aws.do(
    `moat bind web ${FLAGS} --no-validate --url '${given}'`,
  );
  assert.match(
    await host.read("env/web"),
    new RegExp(`_FULL_URI=${RegExp.escape(wanted)}/ecs/credentials$`, "m"),
  );
});

test("option: needroleshere --configuration-directory", async (host) => {
  await host.aws.do(
    `moat bind web ${FULL} --no-validate --configuration-directory other`,
  );
  const names = await host.aws.do("ls other/bindings other/env");
  assert.match(names, /^web\.json$/m);
  // The one in the environment is not used as well.
  assert.equal(isThere(host.path()), false);
});

test("option: needroleshere bind --certificate", async (host) => {
  const chain = pkiPath("issuing.crt");
  await host.aws.do(
    `moat bind web ${FULL.replace("chain.pem", "leaf.pem")} \
--certificate ${chain}`.replace("$DIR/tls/leaf.pem", pkiPath("leaf.crt")),
  );
  const { certificate_files: files } = JSON.parse(
    await host.read("bindings/web.json"),
  );
  assert.deepEqual(files, [pkiPath("leaf.crt"), chain]);
  assert.deepEqual(await host.aws.calls(), { CreateSession: 1 });
});

table("option: needroleshere bind --private-key", {
  "another one's": "--private-key $DIR/other.key",
  "none": "--private-key $DIR/gone.key",
}, async (host, flag) => {
  await makeLeaf("other");
  await Deno.copyFile(
    pkiPath("other.key"),
    host.aws.workspace.path("other.key"),
  );
  const line = FULL.replace(/--private-key \S+/, flag);
  const result = await host.aws.type(`moat bind web ${line}`);
  assertRefused(result, { error: /\.key/, hint: /./ });
  assert.deepEqual(await host.aws.calls(), {});
  assert.equal(isThere(host.path("bindings/web.json")), false);
});

test("option: needroleshere bind --role-arn", async (host) => {
  const role = "arn:aws:iam::123456789012:role/service/Other";
  await host.aws.do(`moat bind web ${FULL.replace("$ROLE", role)}`);
  const served = await host.serve();
  const found = await served.credentials(await host.token("web"));
  assert.match(await whoIs(host, found), /:assumed-role\/Other\//);
});

/** Of each, what is no ARN of its kind. */
const WRONG_ARNS: Readonly<Record<string, { flag: string; wanted: Refusal }>> =
  {
    "option: needroleshere bind --trust-anchor-arn": {
      flag: "--trust-anchor-arn $PROFILE",
      wanted: {
        exit: 2,
        error: /--trust-anchor-arn/,
        hint: /trust-anchor\/ID/,
      },
    },
    "option: needroleshere bind --profile-arn": {
      flag: "--profile-arn $ANCHOR",
      wanted: { exit: 2, error: /--profile-arn/, hint: /profile\/ID/ },
    },
  };
for (const [name, { flag, wanted }] of Object.entries(WRONG_ARNS)) {
  test(name, async (host) => {
    const [word = ""] = flag.split(" ");
    const line = FULL.replace(new RegExp(`${word} \\S+`), flag);
    assertRefused(await host.aws.type(`moat bind web ${line}`), wanted);
  });
}

test("option: needroleshere bind --session-duration", async (host) => {
  const token = await host.bind("web", "--session-duration 900");
  const { request } = JSON.parse(await host.read("bindings/web.json"));
  assert.equal(request.durationSeconds, 900);
  const served = await host.serve();
  const { Expiration } = await served.credentials(token);
  const life = Date.parse(Expiration) - Date.now();
  assert.ok(life > 800_000 && life <= 900_000, `${life} ms`);
});

test("option: needroleshere bind --session-name", async (host) => {
  const token = await host.bind("web", "--session-name my-name");
  const { request } = JSON.parse(await host.read("bindings/web.json"));
  assert.equal(request.sessionName, "my-name");
  const served = await host.serve();
  const found = await served.credentials(token);
  assert.match(await whoIs(host, found), /\/Deploy\/my-name$/);
});

test("option: needroleshere bind --no-validate", async (host) => {
  await host.aws.do(`moat bind web ${FULL} --no-validate`);
  assert.deepEqual(await host.aws.calls(), {});
  await host.aws.do(`moat bind web ${FULL}`);
  assert.deepEqual(await host.aws.calls(), { CreateSession: 1 });
});

test("a binding that AWS refuses is not written", async (host) => {
  await makeCertificate("stranger", { usage: "digitalSignature" });
  const line = FULL.replace("$DIR/tls/chain.pem", pkiPath("stranger.crt"))
    .replace("$DIR/tls/leaf.key", pkiPath("stranger.key"));
  const { code } = await host.aws.type(`moat bind web ${line}`);
  assert.equal(code, 1);
  assert.equal(isThere(host.path("bindings/web.json")), false);
  assert.equal(isThere(host.path("env/web")), false);
});

test("option: needroleshere bind --region", async (host) => {
  const line = FULL.replace(/--endpoint \S+/, "--region us-east-1");
  assertRefused(await host.aws.type(`moat bind web ${line}`), {
    exit: 2,
    error: /--region us-east-1: the trust anchor is in the region/,
    hint: /leave --region out/,
  });
  // It is only for the trial, so without one it does not matter.
  await host.aws.do(`moat bind web ${line} --no-validate`);
});

test("option: needroleshere unbind NAME", async (host) => {
  const token = await host.bind("web");
  await host.bind("other");
  const served = await host.serve();
  assert.equal((await served.ask(token)).status, 200);
  await host.aws.do(`moat unbind web --configuration-directory ${host.path()}`);
  assert.equal((await served.ask(token)).status, 401);
  const files = ["bindings/web.json", "env/web", "env/other"]
    .map((name) => isThere(host.path(name)));
  assert.deepEqual(files, [false, false, true]);
  const again = await host.aws.type("moat unbind web");
  assertRefused(again, { error: /"web"/, hint: /./ });
});

test("the directory is $RUNTIME_DIRECTORY without a flag", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve();
  assert.equal((await served.ask(token)).status, 200);
  await host.aws.do("moat unbind web");
  assert.equal(isThere(host.path("env/web")), false);
});

test("bind and unbind need no home, as in a unit of systemd", async (host) => {
  const { exported, workspace } = host.aws.terminal;
  const homeless = (line: string) =>
    run(["env", "-u", "HOME", "-u", "MOAT_HOME", "sh", "-c", line], {
      env: {
        ...exported,
        PATH: `${workspace.path("bin")}:/usr/bin:/bin`,
      },
      clearEnv: true,
      cwd: workspace.directory,
    });
  const bound = await homeless(`needroleshere bind web ${FULL} --no-validate`);
  assert.equal(bound.code, 0, bound.stderr);
  const unbound = await homeless("needroleshere unbind web");
  assert.equal(unbound.code, 0, unbound.stderr);
});

table("bind and serve want a directory", {
  bind: `moat bind web ${FULL} --no-validate`,
  serve: "moat serve --region eu-central-1",
}, async (host, line) => {
  const result = await host.aws.type(`unset RUNTIME_DIRECTORY; ${line}`);
  assertRefused(result, {
    exit: 2,
    error: /directory/i,
    hint: /--configuration-directory/,
  });
});

/** What bind says about flags, in one sentence each. */
const REFUSED: Readonly<Record<string, { line: string } & Refusal>> = {
  "a full URI without --url": {
    line: `moat bind web ${FLAGS} --no-validate`,
    exit: 2,
    error: /--url/,
    hint: /--url http/,
  },
  "a missing flag": {
    line: "moat bind web --certificate a.pem --url http://127.0.0.1:1",
    exit: 2,
    error: /--role-arn, --trust-anchor-arn, --profile-arn, --private-key are/,
    hint: /./,
  },
  "another mode": {
    line: `moat bind web ${FULL} --no-validate --mode process`,
    exit: 2,
    error: /"process"/,
    hint: /ecs-full/,
  },
  "a grant beside it": {
    line: `moat bind web ${FULL} --no-validate --grant aws`,
    exit: 2,
    error: /--grant/,
    hint: /./,
  },
  "a name with a slash": {
    line: `moat bind a/b ${FULL} --no-validate`,
    exit: 2,
    error: /"a\/b"/,
    hint: /./,
  },
  "a URL with a user": {
    line: `moat bind web ${FLAGS} --no-validate --url http://a:b@127.0.0.1:1`,
    exit: 2,
    error: /--url/,
    hint: /./,
  },
};
table("bind refuses", REFUSED, async (host, { line, ...wanted }) => {
  assertRefused(await host.aws.type(line), wanted);
  assert.equal(isThere(host.path("bindings/web.json")), false);
});

for (const name of ["web1", "a_b", "a.b"]) {
  test(`bind warns that needroleshere cannot read the name ${name}`, async (host) => {
    const result = await host.aws.type(
      `moat bind ${name} ${FULL} --no-validate`,
    );
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stderr, /^warning: needroleshere.* "?.*name/m);
    const served = await host.serve();
    await served.credentials(await host.token(name));
  });
}

test("bind has nothing to warn of a name that needroleshere reads", async (host) => {
  const { stderr } = await host.aws.type(
    `moat bind My-role@a ${FULL} --no-validate`,
  );
  assert.equal(stderr, "");
});

test("bind and serve read an encrypted key by the file of its passphrase", async (host) => {
  const { workspace } = host.aws;
  await workspace.write("passphrase", CANARY + "\n");
  await host.aws.do(
    `openssl pkcs8 -topk8 -in tls/leaf.key -passout file:passphrase -out locked.key`,
  );
  await host.aws.do(
    `moat bind web ${FULL.replace("tls/leaf.key", "locked.key")} \
--passphrase-file $DIR/passphrase`,
  );
  const served = await host.serve();
  await served.credentials(await host.token("web"));
});

testUnless(
  Deno.uid() === 0 ? moatReason() ?? noOpenssl ?? noSockets : "needs root",
  "binding again keeps owner and mode of the environment file",
  async () => {
    await using host = await Host.open();
    await host.bind("web");
    await Deno.chown(host.path("env/web"), 65534, 65534);
    await Deno.chmod(host.path("env/web"), 0o440);
    await host.bind("web");
    const { uid, gid, mode } = await Deno.stat(host.path("env/web"));
    assert.deepEqual([uid, gid, (mode ?? 0) & 0o777], [65534, 65534, 0o440]);
  },
);

test("a file that a killed needroleshere left does not hold up bind", async (host) => {
  await host.bind("web");
  await Deno.writeTextFile(host.path("bindings/.wip.web"), "{");
  const token = await host.bind("web");
  const served = await host.serve();
  await served.credentials(token);
});

/** Written by needroleshere 0.4.0. */
const THEIRS = fileURLToPath(
  new URL("testdata/needroleshere", import.meta.url),
);

test("a directory of needroleshere is served as it is", async (host) => {
  const file = JSON.parse(
    await Deno.readTextFile(join(THEIRS, "bindings/at@b.json")),
  );
  const { DIR } = host.aws.terminal.exported;
  await host.aws.workspace.write(
    "nrh/bindings/at@b.json",
    JSON.stringify({
      ...file,
      "certificate_files": [`${DIR}/tls/chain.pem`],
      "private_key_file": `${DIR}/tls/leaf.key`,
    }),
  );
  await Deno.mkdir(host.path("env"));
  await Deno.copyFile(join(THEIRS, "env/at@b"), host.path("env/at@b"));
  const before = await host.read("bindings/at@b.json");
  const served = await host.serve();
  await served.credentials(await host.token("at@b"));
  assert.equal(await host.read("bindings/at@b.json"), before);
  const names = [...Deno.readDirSync(host.path("bindings"))];
  assert.deepEqual(names.map(({ name }) => name), ["at@b.json"]);
});

test("paths that are relative are those of the server's directory", async (host) => {
  const token = await host.bind("web");
  const { DIR = "" } = host.aws.terminal.exported;
  const file = await host.read("bindings/web.json");
  await Deno.writeTextFile(
    host.path("bindings/web.json"),
    file.replaceAll(`${DIR}/`, ""),
  );
  const served = await host.serve();
  await served.credentials(token);
});

test("bind keeps a path as it was typed", async (host) => {
  await host.aws.do(
    `moat bind web ${FULL.replaceAll("$DIR/", "./")}`,
  );
  const file = JSON.parse(await host.read("bindings/web.json"));
  assert.deepEqual(
    [file["certificate_files"], file["private_key_file"]],
    [["./tls/chain.pem"], "./tls/leaf.key"],
  );
});

test("serve answers with the four members that SDKs read", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve();
  const { headers, body } = await served.ask(token);
  assert.deepEqual(
    Object.keys(JSON.parse(body)).sort(),
    ["AccessKeyId", "Expiration", "SecretAccessKey", "Token"],
  );
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("cache-control"), "no-store");
});

/**
 * A request, with H and Q for the tokens of the header and query bindings, and
 * S for that of H with bits set which base64 leaves unused.
 */
interface Row {
  readonly head: string;
  readonly status: number;
}

const CREDENTIALS = "GET /ecs/credentials";
const SECRET = "A".repeat(86);

/** What needroleshere 0.4.0 answered to the same requests. */
const ANSWERS: Readonly<Record<string, Row>> = {
  "health": { head: "GET /healthz", status: 200 },
  "health by HEAD": { head: "HEAD /healthz", status: 200 },
  "health by POST": { head: "POST /healthz", status: 405 },
  "a token": { head: `${CREDENTIALS}\nAuthorization: Bearer H`, status: 200 },
  "a token in the query": {
    head: `${CREDENTIALS}?access_token=Q`,
    status: 200,
  },
  "HEAD": {
    head: "HEAD /ecs/credentials\nAuthorization: Bearer H",
    status: 200,
  },
  "HEAD without a token": { head: "HEAD /ecs/credentials", status: 400 },
  "POST": {
    head: "POST /ecs/credentials\nAuthorization: Bearer H",
    status: 405,
  },
  "PUT": { head: "PUT /ecs/credentials", status: 405 },
  "DELETE": { head: "DELETE /ecs/credentials", status: 405 },
  "OPTIONS": { head: "OPTIONS /ecs/credentials", status: 405 },
  "another path": { head: "GET /\nAuthorization: Bearer H", status: 404 },
  "another path by POST": { head: "POST /", status: 404 },
  "a final slash": {
    head: "GET /ecs/credentials/\nAuthorization: Bearer H",
    status: 404,
  },
  "a path of moat proxy": {
    head: "GET /aws/process-credentials\nAuthorization: Bearer H",
    status: 404,
  },
  "no token": { head: CREDENTIALS, status: 400 },
  "another query": { head: `${CREDENTIALS}?a=b`, status: 400 },
  "a token in both": {
    head: `${CREDENTIALS}?access_token=H\nAuthorization: Bearer H`,
    status: 400,
  },
  "two headers": {
    head: `${CREDENTIALS}\nAuthorization: Bearer H\nAuthorization: Bearer H`,
    status: 400,
  },
  "two in the query": {
    head: `${CREDENTIALS}?access_token=Q&access_token=Q`,
    status: 400,
  },
  "a token without its scheme": {
    head: `${CREDENTIALS}\nAuthorization: H`,
    status: 400,
  },
  "another scheme": {
    head: `${CREDENTIALS}\nAuthorization: Basic dTpw`,
    status: 400,
  },
  "a scheme in lower case": {
    head: `${CREDENTIALS}\nAuthorization: bearer H`,
    status: 400,
  },
  "a scheme alone": {
    head: `${CREDENTIALS}\nAuthorization: Bearer`,
    status: 400,
  },
  "an empty token": { head: `${CREDENTIALS}?access_token=`, status: 401 },
  "no base64": {
    head: `${CREDENTIALS}\nAuthorization: Bearer ~`,
    status: 401,
  },
  "a token of moat's own": {
    head: `${CREDENTIALS}\nAuthorization: Bearer moat.header.${SECRET}`,
    status: 401,
  },
  "another name": {
    head: `${CREDENTIALS}\nAuthorization: Bearer needroleshere.x.${SECRET}`,
    status: 401,
  },
  "another secret": {
    head:
      `${CREDENTIALS}\nAuthorization: Bearer needroleshere.header.${SECRET}`,
    status: 401,
  },
  "no secret": {
    head: `${CREDENTIALS}\nAuthorization: Bearer needroleshere.header.`,
    status: 401,
  },
  "another spelling of the secret": {
    head: `${CREDENTIALS}\nAuthorization: Bearer S`,
    status: 401,
  },
  "a secret that is cut": {
    head: `${CREDENTIALS}\nAuthorization: Bearer needroleshere.header.AAAA`,
    status: 401,
  },
  "a name that leads elsewhere": {
    head:
      `${CREDENTIALS}\nAuthorization: Bearer needroleshere.../env/x.${SECRET}`,
    status: 401,
  },
  "a header's token in the query": {
    head: `${CREDENTIALS}?access_token=H`,
    status: 401,
  },
  "a query's token in the header": {
    head: `${CREDENTIALS}\nAuthorization: Bearer Q`,
    status: 401,
  },
  "a binding of mode Empty": {
    head: `${CREDENTIALS}\nAuthorization: Bearer needroleshere.empty.${SECRET}`,
    status: 401,
  },
};

/** What needroleshere served. */
const STRICTER: Readonly<Record<string, Row>> = {
  "another host": {
    head: `${CREDENTIALS}\nAuthorization: Bearer H\nHost: evil.example`,
    status: 403,
  },
  "a page of a browser": {
    head: `${CREDENTIALS}\nAuthorization: Bearer H\nOrigin: http://127.0.0.1`,
    status: 403,
  },
  "a forwarding proxy": {
    head: `${CREDENTIALS}\nAuthorization: Bearer H\nX-Forwarded-For: 10.0.0.1`,
    status: 403,
  },
  "an absolute target": {
    head: `GET http://127.0.0.1/ecs/credentials\nAuthorization: Bearer H`,
    status: 400,
  },
};

const BASE64URL =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function respell(token: string): string {
  const last = BASE64URL.indexOf(token.at(-1) ?? "");
  return token.slice(0, -1) + BASE64URL[last + 1];
}

testUnless(
  moatReason() ?? noOpenssl ?? noSockets,
  "serve answers",
  async (t) => {
    await using host = await Host.open();
    const header = await host.bind("header");
    const query = await host.bind("query", "--mode ecs-full-query");
    await Deno.writeTextFile(
      host.path("bindings/empty.json"),
      (await host.read("bindings/header.json")).replace("EcsFull", "Empty"),
    );
    const served = await host.serve();
    const rows = { ...ANSWERS, ...STRICTER };
    const tokens: Readonly<Record<string, string>> = {
      H: header,
      Q: query,
      S: respell(header),
    };
    for (const [name, { head, status }] of Object.entries(rows)) {
      await t.step(`${name} with ${status}`, async () => {
        const filled = head.replaceAll(
          /\b[HQS]$|\b[HQS](?=[\n&])/g,
          (letter) => tokens[letter] ?? "",
        );
        assert.equal((await served.raw(filled)).status, status);
      });
    }
    await t.step("405 with what it takes", async () => {
      const { headers } = await served.raw("POST /ecs/credentials");
      assert.match(headers.get("allow") ?? "", /\bGET\b/);
    });
  },
);

test("a client that does not know the secret learns nothing of the binding", async (host) => {
  await host.bind("header");
  await host.bind("query", "--mode ecs-full-query");
  const served = await host.serve();
  const answers = await Promise.all(
    ["header", "query", "nobody"].flatMap((name) => {
      const token = `needroleshere.${name}.${SECRET}`;
      return [
        served.raw(`${CREDENTIALS}\nAuthorization: Bearer ${token}`),
        served.raw(`${CREDENTIALS}?access_token=${token}`),
      ];
    }),
  );
  const texts = answers.map(({ status, body }) => `${status} ${body}`);
  assert.equal(new Set(texts).size, 1, texts.join("\n"));
});

test("binding again stops the old token, also on an open connection", async (host) => {
  const old = await host.bind("web");
  const served = await host.serve();
  using conn = await served.connect();
  const { host: authority } = new URL(served.urls[0] ?? "");
  const ask = async (token: string) => {
    await send(
      conn,
      `${CREDENTIALS} HTTP/1.1\r\nHost: ${authority}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
    return (await receiveAnswer(conn)).status;
  };
  assert.equal(await ask(old), 200);
  const fresh = await host.bind("web");
  assert.equal(await ask(old), 401);
  assert.equal((await served.ask(old)).status, 401);
  assert.equal((await served.ask(fresh)).status, 200);
});

test("serve asks AWS once for many requests", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve();
  await Promise.all(
    Array.from({ length: 30 }, () => served.credentials(token)),
  );
  assert.deepEqual(await host.aws.calls(), { CreateSession: 1 });
});

test("a binding anew keeps the session that is there", async (host) => {
  const served = await host.serve();
  const first = await served.credentials(await host.bind("web"));
  assert.deepEqual(await served.credentials(await host.bind("web")), first);
});

const EASTERN = FULL
  .replace(
    "$ANCHOR",
    "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/e",
  )
  .replace(
    "$PROFILE",
    "arn:aws:rolesanywhere:us-east-1:123456789012:profile/e",
  );

test("one server serves several regions", async (host) => {
  const west = await host.bind("west");
  await host.aws.do(`moat bind east ${EASTERN} --no-validate`);
  const served = await host.serve("--region eu-west-3");
  await served.credentials(west);
  // The simulator takes a signature for the trust anchor's region alone.
  await served.credentials(await host.token("east"));
});

test("option: needroleshere serve --region", async (host) => {
  const result = await host.aws.type("moat serve --region europe");
  assertRefused(result, {
    exit: 2,
    error: /"europe" from --region/,
    hint: /--region/,
  });
  const token = await host.bind("web");
  const served = await host.serve("--region eu-central-1");
  await served.credentials(token);
});

test("serve needs no region", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve("");
  await served.credentials(token);
});

test("serve accepts on all sockets that it is given", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve("", { sockets: 2 });
  assert.equal(new Set(served.urls).size, 2);
  for (const url of served.urls) await served.credentials(token, url);
});

test("certificate and key are renewed without a restart", async (host) => {
  await makeLeaf("stale", {
    valid: [Date.now() - 9 * 86_400_000, Date.now() - 86_400_000],
  });
  await host.installKey("stale");
  const token = await host.bind("web");
  const served = await host.serve();
  const { status, body } = await served.ask(token);
  assert.deepEqual(
    [status, JSON.parse(body).code],
    [500, "certificate-expired"],
  );
  await host.installKey("leaf");
  await eventually(
    "a session",
    async () => (await served.ask(token)).status === 200,
  );
});

test(
  "a renewed certificate counts while the old one's session is valid",
  async (host) => {
    await makeLeaf("first", { serial: "0xa1" });
    await makeLeaf("second", { serial: "0xb2", kind: "RSA-2048" });
    await host.installKey("first");
    const token = await host.bind("web", "--session-duration 12h");
    const served = await host.serve();
    const first = await served.credentials(token);
    assert.match(await whoIs(host, first), /\/0*a1$/i);
    await host.installKey("second");
    const second = await eventually("another session", async () => {
      const found = await served.credentials(token);
      return found.AccessKeyId === first.AccessKeyId ? undefined : found;
    });
    assert.match(await whoIs(host, second), /\/0*b2$/i);
  },
  { reason: fastClockReason(), prefix: new FastClock(60).wrap([]) },
);

test("a session outlives an AWS that fails", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve();
  const first = await served.credentials(token);
  await host.aws.fault({ kind: "500" });
  assert.deepEqual(await served.credentials(token), first);
});

test("an AWS that fails at first is answered with 500", async (host) => {
  const token = await host.bind("web");
  await host.aws.fault({ kind: "500" });
  const served = await host.serve();
  const { status, body } = await served.ask(token);
  assert.equal(status, 500, body);
  assert.deepEqual(Object.keys(JSON.parse(body)), ["code", "message"]);
});

test("one damaged binding does not harm the others", async (host) => {
  const broken = await host.bind("broken");
  const token = await host.bind("web");
  const served = await host.serve();
  await Deno.writeTextFile(host.path("bindings/broken.json"), "{");
  assert.equal((await served.ask(broken)).status, 401);
  await served.credentials(token);
  await eventually(
    "a line in the log",
    () =>
      /binding-unusable.*"broken"|"broken".*binding-unusable/
        .test(served.server.stderr()),
  );
});

test("serve takes whatever a client sends", async (host) => {
  const token = await host.bind("web");
  const served = await host.serve();
  const word = fc.oneof(
    fc.constantFrom(token, "Bearer", "needroleshere", ".", "..", "~", "%", "="),
    fc.string({ unit: fc.constantFrom(...'Aa0._-~+/=@%&?#: \t"\x01\x7f\xff') }),
  );
  const text = fc.array(word, { maxLength: 6 }).map((words) => words.join(""));
  const head = fc.oneof(
    text.map((value) => `${CREDENTIALS}\nAuthorization: ${value}`),
    text.map((value) => `${CREDENTIALS}\nAuthorization: Bearer ${value}`),
    text.map((value) => `${CREDENTIALS}?${value}`),
    text.map((value) => `${CREDENTIALS}?access_token=${value}`),
    text.map((value) => `GET /${value}`),
  );
  await fc.assert(
    fc.asyncProperty(head, async (head) => {
      const { status } = await served.raw(head);
      assert.ok(
        head.endsWith(token) && status === 200 || status >= 400 && status < 500,
        String(status),
      );
    }),
    { numRuns: 200 },
  );
  assert.ok(await served.isHealthy());
  await served.credentials(token);
});

/** Runs a command line where every port of loopback is free. */
function alone(host: Host, line: string): Promise<RunResult> {
  return host.aws.type(
    `unshare --net sh -c 'ip link set lo up && timeout 20 sh -c "$0"' '${line}'`,
  );
}

const notRoot = Deno.uid() === 0 ? moatReason() ?? noOpenssl : "needs root";

/** The owner of a directory, who may not be trusted. */
const OWNER = 65534;

testUnless(
  notRoot,
  "bind and unbind of root act as the owner of the directory",
  async () => {
    await using host = await Host.open();
    const directory = await Deno.makeTempDir();
    try {
      await Deno.chmod(directory, 0o755);
      await Deno.chown(directory, OWNER, OWNER);
      const flags = `--configuration-directory ${directory} --no-validate`;
      // The owner must be able to look at the key.
      await Deno.chmod(host.aws.workspace.directory, 0o755);
      await Deno.chmod(host.aws.workspace.path("tls"), 0o755);
      await Deno.chmod(host.aws.workspace.path("tls/leaf.key"), 0o644);
      await host.aws.do(`moat bind web ${FULL} ${flags}`);
      const files = ["bindings/web.json", "env/web"];
      const owners = files.map((file) =>
        Deno.statSync(join(directory, file)).uid
      );
      assert.deepEqual(owners, [OWNER, OWNER]);
      await host.aws.do(
        `moat unbind web --configuration-directory ${directory}`,
      );
      assert.equal(isThere(join(directory, "bindings/web.json")), false);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
);

for (const name of ["bindings", "env", "tokens", "bound"]) {
  testUnless(
    notRoot,
    `unbind follows no link at ${name}, where it would remove what is root's`,
    async () => {
      await using host = await Host.open();
      const precious = host.aws.workspace.path("precious");
      await Deno.mkdir(join(precious, "web"), { recursive: true });
      await Deno.writeTextFile(join(precious, "web.json"), "precious");
      await Deno.mkdir(host.path(), { recursive: true });
      await Deno.symlink(precious, host.path(name));
      const { code, stderr } = await host.aws.terminal.type("moat unbind web");
      assert.equal(code, 1, stderr);
      assert.match(stderr, /Cannot use directory ".*": wanted a directory/);
      assert.deepEqual(
        [isThere(join(precious, "web")), isThere(join(precious, "web.json"))],
        [true, true],
      );
    },
  );
}

testUnless(
  notRoot,
  "bind refuses a directory that others may write",
  async () => {
    await using host = await Host.open();
    await Deno.mkdir(host.path("bindings"), { recursive: true });
    await Deno.chmod(host.path("bindings"), 0o777);
    const { code, stderr } = await host.aws.terminal.type(
      `moat bind web ${FULL} --no-validate`,
    );
    assert.equal(code, 1, stderr);
    assert.match(stderr, /mode is 0777, so that others can write there/);
  },
);

const noNamespaces = Deno.uid() !== 0
  ? "needs root"
  : which("unshare") && which("ip")
  ? undefined
  : "not installed: unshare, ip";

test(
  "serve listens on 127.0.0.1:3000 without a socket, and says so",
  async (host) => {
    const { stdout, stderr } = await alone(
      host,
      `moat serve >out 2>err & id=$!
i=0; until grep -q ready out || [ $i -gt 100 ]; do sleep 0.1; i=$((i+1)); done
curl --silent --noproxy "*" http://127.0.0.1:3000/healthz; cat out; cat err >&2
kill $id; wait $id`,
    );
    assert.equal(stdout, "ok\nready http://127.0.0.1:3000\n");
    assert.match(stderr, /warn.*127\.0\.0\.1:3000/i);
  },
  { reason: noNamespaces },
);

test("serve tells of a port 3000 that is taken", async (host) => {
  const { code, stdout, stderr } = await alone(
    host,
    `python3 -m http.server --bind 127.0.0.1 3000 >/dev/null 2>&1 & id=$!
i=0; until curl -s -o /dev/null http://127.0.0.1:3000 || [ $i -gt 100 ]; do sleep 0.1; i=$((i+1)); done
moat serve; code=$?; kill $id; exit $code`,
  );
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /error: Cannot listen.*127\.0\.0\.1:3000/);
}, { reason: noNamespaces });
