import assert from "node:assert/strict";
import { delimiter, join } from "node:path";
import { testUnless } from "../../tests/support/conditional.ts";
import { CREDENTIAL_HELPER } from "./helper.ts";

const TOKEN = "moat_canary-0123456789_ABCDEFGHIJKLMNOPQRSTUVW";
const CREDENTIALS = JSON.stringify({
  Version: 1,
  AccessKeyId: "ASIAEXAMPLE",
  SecretAccessKey: "secret/+=",
  SessionToken: "t".repeat(1500) + "\\u0041%s$x`",
  Expiration: "2030-01-01T00:00:00Z",
});
const TOOLS = ["bash", "curl", "busybox", "wget", "python3", "node"] as const;
type Tool = typeof TOOLS[number];

/** Programs that a tool is never without, because its packages need them. */
const COMPANIONS: Partial<Record<Tool, string[]>> = {
  wget: ["rm", "mktemp", "timeout"],
};
const SHELLS: Record<string, string[]> = {
  dash: ["dash"],
  bash: ["bash"],
  "bash --posix": ["bash", "--posix"],
  "busybox sh": ["busybox", "sh"],
};

/** Looks in the system's directories first: a version manager's shim needs more programs. */
function find(name: string): string | undefined {
  const path = (Deno.env.get("PATH") ?? "").split(delimiter);
  return ["/usr/bin", "/bin", ...path].map((dir) => join(dir, name)).find(
    (file) => {
      try {
        return Deno.statSync(file).isFile;
      } catch {
        return false;
      }
    },
  );
}

function lacking(...names: string[]): string | undefined {
  const missing = names.filter((name) => !find(name));
  return missing.length > 0 ? `no ${missing.join(", ")} here` : undefined;
}

function toolLacking(tool: Tool): string | undefined {
  return lacking("dash", tool, ...COMPANIONS[tool] ?? []);
}

/** What the server does with one connection. */
type Reply = string | "hang" | "reset";

function http(status: string, body: string, headers: string[] = []): string {
  const length = new TextEncoder().encode(body).length;
  const head = [`HTTP/1.1 ${status}`, `content-length: ${length}`, ...headers];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

function chunked(...chunks: string[]): string {
  const parts = [...chunks, ""].map((chunk) =>
    `${chunk.length.toString(16)};x=1\r\n${chunk}\r\n`
  );
  return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${
    parts.join("")
  }`;
}

const OK = http("200 OK", CREDENTIALS);

/** A server on loopback that answers connection `n` with `replies[n]` (or the last). */
class Server implements AsyncDisposable {
  readonly requests: string[] = [];
  /** Whether a client closed its side before it had the answer. */
  halfClosed = false;
  #listener: Deno.TcpListener;
  #done: Promise<void>;
  #open = new Set<Deno.TcpConn>();

  constructor(readonly replies: Reply[], hostname = "127.0.0.1", port = 0) {
    this.#listener = Deno.listen({ hostname, port });
    this.#done = this.#run();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async #run() {
    const all: Promise<void>[] = [];
    for await (const conn of this.#listener) {
      const reply = this.replies[all.length] ?? this.replies.at(-1) ?? OK;
      this.#open.add(conn);
      all.push(
        this.#answer(conn, reply).catch(() => {}).finally(() => {
          if (this.#open.delete(conn)) conn.close();
        }),
      );
    }
    await Promise.all(all);
  }

  async #answer(conn: Deno.TcpConn, reply: Reply) {
    const buffer = new Uint8Array(65536);
    let text = "";
    while (!text.includes("\r\n\r\n")) {
      const size = await conn.read(buffer);
      if (size === null) return;
      text += new TextDecoder().decode(buffer.subarray(0, size));
    }
    this.requests.push(text);
    if (reply === "reset") return;
    const more = conn.read(buffer).catch(() => undefined);
    if (reply === "hang") {
      await more;
      return;
    }
    const wait = new Promise((resolve) => setTimeout(resolve, 20, "waited"));
    if (await Promise.race([more, wait]) === null) this.halfClosed = true;
    await wait;
    await conn.write(new TextEncoder().encode(reply));
    await conn.closeWrite();
    await more;
  }

  async [Symbol.asyncDispose]() {
    this.#listener.close();
    for (const conn of this.#open) {
      this.#open.delete(conn);
      conn.close();
    }
    await this.#done;
  }
}

interface Run {
  url: string;
  /** Which tools the script finds. Default: bash. */
  tools?: readonly Tool[];
  shell?: string;
  env?: Record<string, string | undefined>;
  /** Content of the token file. */
  token?: string;
  /** Changes the script. */
  edit?: (script: string) => string;
  /** Prepares the directory that is the script's PATH. */
  prepare?: (bin: string) => Promise<void> | void;
  /** Runs the script under another program. */
  under?: string[];
  uid?: number;
}

interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the script where it finds nothing but a shell and the given tools. */
async function run(options: Run): Promise<Result> {
  const { tools = ["bash"], shell = "dash", edit = (text) => text } = options;
  const dir = await Deno.makeTempDir();
  try {
    const bin = join(dir, "bin");
    await Deno.mkdir(bin);
    for (const tool of tools.flatMap((t) => [t, ...COMPANIONS[t] ?? []])) {
      await Deno.symlink(find(tool) ?? tool, join(bin, tool));
    }
    await options.prepare?.(bin);
    const script = join(dir, "credentials");
    await Deno.writeTextFile(script, edit(CREDENTIAL_HELPER));
    const tokenFile = join(dir, "token");
    await Deno.writeTextFile(tokenFile, options.token ?? TOKEN);
    for (const path of [dir, bin, script]) await Deno.chmod(path, 0o755);
    const [name = "", ...flags] = SHELLS[shell] ?? [shell];
    const [program = "", ...args] = [
      ...options.under ?? [],
      find(name) ?? name,
      ...flags,
      script,
    ];
    const env = {
      PATH: bin,
      MOAT_AWS_CREDENTIAL_URL: options.url,
      MOAT_AWS_CREDENTIAL_TOKEN_FILE: tokenFile,
      ...options.env,
    };
    const output = await new Deno.Command(program, {
      args,
      clearEnv: true,
      env: Object.fromEntries(
        Object.entries(env).filter((e): e is [string, string] =>
          e[1] !== undefined
        ),
      ),
      ...options.uid === undefined ? {} : { uid: options.uid },
      signal: AbortSignal.timeout(30_000),
    }).output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return {
      code: output.code,
      stdout: decode(output.stdout),
      stderr: decode(output.stderr),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const SUCCESS: Result = { code: 0, stdout: CREDENTIALS + "\n", stderr: "" };

function failure(sentence: string): Result {
  return { code: 1, stdout: "", stderr: `moat: ${sentence}\n` };
}

/** Runs the script against a server with these replies. */
async function ask(
  replies: Reply[],
  options: Omit<Run, "url"> = {},
  path = "/aws/process-credentials",
): Promise<{ result: Result; server: Server; at: string }> {
  await using server = new Server(replies);
  const at = `127.0.0.1:${server.port}`;
  const result = await run({ url: `http://${at}${path}`, ...options });
  return { result, server, at };
}

for (const tool of TOOLS) {
  const on = (name: string, fn: () => Promise<void>) =>
    testUnless(toolLacking(tool), `helper with only ${tool} ${name}`, fn);
  const tools = [tool];

  on("prints the credentials", async () => {
    assert.deepEqual((await ask([OK], { tools })).result, SUCCESS);
  });

  on("sends the token, path and Host", async () => {
    const { server, at } = await ask([OK], { tools }, "/a/b?c=d&e=%20");
    const [first = "", ...headers] = (server.requests[0] ?? "").split("\r\n");
    const wanted = ["authorization", "host"];
    const sent = headers.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }).filter(([name]) => wanted.includes(name)).sort();
    assert.deepEqual([first, ...sent], [
      "GET /a/b?c=d&e=%20 HTTP/1.1",
      ["authorization", `Bearer ${TOKEN}`],
      ["host", at],
    ]);
  });

  on("keeps its side open until the answer", async () => {
    const { server } = await ask([OK], { tools });
    assert.equal(server.halfClosed, false);
  });

  on("undoes chunks", async () => {
    // Pretty-printed, so that lines and chunks end at different places.
    const text = JSON.stringify(JSON.parse(CREDENTIALS), null, 2) + "\n";
    const reply = chunked(
      text.slice(0, 40),
      text.slice(40, 41),
      text.slice(41),
    );
    const { result } = await ask([reply], { tools });
    assert.equal(result.stdout, text);
  });

  on("ignores proxy variables", async () => {
    const dead = "http://127.0.0.1:1";
    const names = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"];
    const env = Object.fromEntries(names.map((name) => [name, dead]));
    assert.deepEqual((await ask([OK], { tools, env })).result, SUCCESS);
  });

  on("takes an IPv6 address", async () => {
    await using server = new Server([OK], "::1");
    const url = `http://[::1]:${server.port}/x`;
    assert.deepEqual(await run({ tools, url }), SUCCESS);
    assert.match(server.requests[0] ?? "", /\r\nHost: \[::1\]:\d+\r\n/i);
  });

  on("takes a name", async () => {
    await using server = new Server([OK]);
    const url = `http://localhost:${server.port}/x`;
    assert.deepEqual(await run({ tools, url }), SUCCESS);
  });

  on("asks again when the connection ends before any byte", async () => {
    const { result, server } = await ask(["reset", OK], { tools });
    assert.deepEqual([result, server.requests.length], [SUCCESS, 2]);
  });

  on("asks no third time", async () => {
    const { result, server, at } = await ask(["reset"], { tools });
    assert.deepEqual(
      [result, server.requests.length],
      [failure(`cannot reach ${at}: is moat running there?`), 2],
    );
  });

  on("asks again a second after a refused connection", async () => {
    await testRefused(tool);
  });

  const empty = (at: string) => `${at} answered without AWS credentials`;
  const refusals: [string, string, (at: string) => string][] = [
    [
      "a 502 with a message",
      http("502 Bad Gateway", '{ "message": "STS says \\"no\\"", "x": "y" }'),
      (at) => `${at} answered 502: STS says "no"`,
    ],
    [
      "a 403 without one",
      http("403 Forbidden", "<html>message</html>"),
      (at) => `${at} answered 403`,
    ],
    [
      "a 401",
      http("401 Unauthorized", '{"message":"No such token"}'),
      // GNU wget does not give the body of a 401.
      (at) => `${at} answered 401${tool === "wget" ? "" : ": No such token"}`,
    ],
    ["an empty 200", http("200 OK", ""), empty],
    ["HTML", http("200 OK", "<html>AccessKeyId</html>"), empty],
    ["JSON without an access key", http("200 OK", '{"Version":1}'), empty],
    ["a truncated answer", OK.slice(0, -30), empty],
  ];
  for (const [name, reply, sentence] of refusals) {
    on(`refuses ${name}`, async () => {
      const { result, at } = await ask([reply], { tools });
      assert.deepEqual(result, failure(sentence(at)));
    });
  }

  on("follows no redirect", async () => {
    await using other = new Server([OK]);
    const location = `location: http://127.0.0.1:${other.port}/x`;
    const { result } = await ask([http("302 Found", "", [location])], {
      tools,
    });
    assert.deepEqual([result.code, result.stdout], [1, ""]);
    assert.deepEqual(other.requests, []);
  });

  on("prints nothing for garbage", async () => {
    const { result } = await ask(['{"AccessKeyId":1}\r\n\r\n'], { tools });
    assert.deepEqual([result.code, result.stdout], [1, ""]);
  });
}

/** Opens FIFOs in a process of its own: an open that waits stalls Deno's other file calls. */
async function shell(command: string): Promise<string> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", command],
  }).output();
  return new TextDecoder().decode(stdout);
}

/** The first attempt meets a closed port, which opens while the script sleeps. */
async function testRefused(tool: Tool): Promise<void> {
  const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = probe.addr;
  probe.close();
  const dir = await Deno.makeTempDir();
  const fifo = join(dir, "fifo");
  await shell(`mkfifo ${fifo}`);
  const pending = run({
    url: `http://127.0.0.1:${port}/x`,
    tools: [tool],
    prepare: (bin) =>
      // Opening a FIFO waits for the other side.
      Deno.writeTextFile(
        join(bin, "sleep"),
        `#!${find("dash")}\necho "slept $1" >${fifo}\nread -r _ <${fifo}\n`,
        { mode: 0o755 },
      ),
  });
  const slept = await shell(`read -r line <${fifo}; echo "$line"`);
  await using _server = new Server([OK], "127.0.0.1", port);
  await shell(`echo go on >${fifo}`);
  assert.deepEqual([slept, await pending], ["slept 1\n", SUCCESS]);
  await Deno.remove(dir, { recursive: true });
}

testUnless(
  TOOLS.map(toolLacking).find((reason) => reason),
  "helper gives up on a server that does not answer, whatever the tool",
  async () => {
    await using server = new Server(["hang"]);
    const at = `127.0.0.1:${server.port}`;
    const started = performance.now();
    const results = await Promise.all(TOOLS.map((tool) =>
      run({
        tools: [tool],
        url: `http://${at}/x`,
        env: { MOAT_AWS_CREDENTIAL_TIMEOUT: "1" },
      })
    ));
    assert.deepEqual(
      results,
      TOOLS.map(() => failure(`no answer from ${at} within 1 seconds`)),
    );
    assert.ok(performance.now() - started < 8000);
  },
);

for (const [shell, [program = ""]] of Object.entries(SHELLS)) {
  for (const tool of ["bash", "curl", "busybox", "wget"] as const) {
    testUnless(
      lacking(program) ?? toolLacking(tool),
      `helper under ${shell} prints the credentials with ${tool}`,
      async () => {
        const { result } = await ask([OK], { shell, tools: [tool] });
        assert.deepEqual(result, SUCCESS);
      },
    );
  }

  testUnless(
    lacking(program) ?? toolLacking("bash"),
    `helper under ${shell} undoes chunks`,
    async () => {
      const { result } = await ask(
        [chunked(CREDENTIALS.slice(0, 700), CREDENTIALS.slice(700), "\r\n")],
        { shell },
      );
      assert.deepEqual(result, SUCCESS);
    },
  );

  testUnless(
    lacking(program) ?? toolLacking("bash"),
    `helper under ${shell} finds the end of a message`,
    async () => {
      const { result, at } = await ask(
        [http("500 Oops", '{"message":"a \\"b\\\\","x":"y"}')],
        { shell },
      );
      assert.deepEqual(result, failure(`${at} answered 500: a "b\\\\`));
    },
  );

  testUnless(
    lacking(program) ?? toolLacking("bash"),
    `helper under ${shell} replaces control characters of a message`,
    async () => {
      const { result, at } = await ask(
        [http("500 Oops", '{"message":"\u001b[31mred\u007f\tä"}')],
        { shell },
      );
      assert.deepEqual(result, failure(`${at} answered 500: ?[31mred????`));
    },
  );
}

const BROKEN_CHUNKS: [string, string][] = [
  ["a size that is no number", `zz\r\n${CREDENTIALS}\r\n0\r\n\r\n`],
  ["a size beyond the answer", `fff\r\n{"AccessKeyId":1}\r\n0\r\n\r\n`],
  ["a size too small", `5\r\n{"AccessKeyId":1}\r\n0\r\n\r\n`],
  ["no last chunk", `11\r\n{"AccessKeyId":1}\r\n`],
  ["a negative size", `-1\r\n{"AccessKeyId":1}\r\n0\r\n\r\n`],
];
for (const [name, body] of BROKEN_CHUNKS) {
  testUnless(
    toolLacking("bash"),
    `helper refuses chunks with ${name}`,
    async () => {
      const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
      const { result, at } = await ask([head + body]);
      assert.deepEqual(
        result,
        failure(`${at} answered without AWS credentials`),
      );
    },
  );
}

testUnless(toolLacking("bash"), "helper refuses garbage", async () => {
  const { result, at } = await ask(["SSH-2.0-OpenSSH_9.2\r\n\r\n"]);
  assert.deepEqual(
    result,
    failure(`${at} answered something that is not HTTP`),
  );
});

testUnless(
  toolLacking("bash"),
  "helper refuses an answer over 64 KiB",
  async () => {
    const body = `{"AccessKeyId":"${"a".repeat(65536)}"}`;
    const { result, at } = await ask([http("200 OK", body)]);
    assert.deepEqual(
      result,
      failure(`${at} answered something that is not HTTP`),
    );
  },
);

testUnless(toolLacking("bash"), "helper shortens a long message", async () => {
  const body = JSON.stringify({ message: "x".repeat(5000) });
  const { result, at } = await ask([http("500 Oops", body)]);
  assert.deepEqual(result, failure(`${at} answered 500: ${"x".repeat(300)}`));
});

testUnless(
  toolLacking("bash"),
  "helper takes a token file with a final newline",
  async () => {
    const { server } = await ask([OK], { token: TOKEN + "\n" });
    assert.match(server.requests[0] ?? "", new RegExp(`Bearer ${TOKEN}\r\n`));
  },
);

testUnless(
  toolLacking("bash"),
  "helper finds the tools without any PATH",
  async () => {
    const { result } = await ask([OK], { env: { PATH: undefined } });
    assert.deepEqual(result, SUCCESS);
  },
);

testUnless(
  toolLacking("bash"),
  "helper finds the tools when PATH leads nowhere",
  async () => {
    const { result } = await ask([OK], { env: { PATH: "/proc/nonexistent" } });
    assert.deepEqual(result, SUCCESS);
  },
);

testUnless(
  toolLacking("curl"),
  "helper goes on to the next tool when one cannot be used",
  async () => {
    const { result } = await ask([OK], {
      tools: ["curl"],
      prepare: (bin) =>
        Deno.writeTextFile(
          join(bin, "bash"),
          `#!${find("dash")}\nexit 126\n`,
          { mode: 0o755 },
        ),
    });
    assert.deepEqual(result, SUCCESS);
  },
);

const NOBODY = 65534;
testUnless(
  toolLacking("bash") ?? (Deno.uid() === 0 ? undefined : "not root"),
  "helper works for a user without a home",
  async () => {
    const { result } = await ask([OK], { uid: NOBODY });
    assert.deepEqual(result, SUCCESS);
  },
);

testUnless(
  lacking("dash") ?? (Deno.uid() === 0 ? undefined : "not root"),
  "helper refuses a token file that it may not read",
  async () => {
    const file = await Deno.makeTempFile();
    const env = { MOAT_AWS_CREDENTIAL_TOKEN_FILE: file };
    const { result } = await ask([OK], { uid: NOBODY, env });
    assert.deepEqual(result, failure(`cannot read a token from ${file}`));
    await Deno.remove(file);
  },
);

testUnless(lacking("dash"), "helper names the tools it lacks", async () => {
  const { result } = await ask([OK], {
    tools: [],
    edit: (text) => text.replace("/usr/local/bin:/usr/bin:/bin:", ""),
    env: { PATH: "/proc/nonexistent" },
  });
  assert.deepEqual(
    result,
    failure("found none of bash, curl, busybox, GNU wget, python3 and node"),
  );
});

const NO_FORM =
  "MOAT_AWS_CREDENTIAL_URL is not of the form http://HOST:PORT/PATH";
const SETTINGS: [string, Record<string, string | undefined>, string][] = [
  [
    "moat as its own source",
    { MOAT_SOURCE: "1" },
    "refused: moat would be its own source of credentials",
  ],
  [
    "no URL",
    { MOAT_AWS_CREDENTIAL_URL: undefined },
    "MOAT_AWS_CREDENTIAL_URL is not set",
  ],
  [
    "no token file",
    { MOAT_AWS_CREDENTIAL_TOKEN_FILE: undefined },
    "MOAT_AWS_CREDENTIAL_TOKEN_FILE is not set",
  ],
  [
    "a token file that does not exist",
    { MOAT_AWS_CREDENTIAL_TOKEN_FILE: "/proc/nonexistent/\x1b[31m" },
    "cannot read a token from /proc/nonexistent/?[31m",
  ],
  [
    "a directory as token file",
    { MOAT_AWS_CREDENTIAL_TOKEN_FILE: "/" },
    "cannot read a token from /",
  ],
  ...[
    "https://127.0.0.1/",
    "http://",
    "http:///x",
    "http://user@127.0.0.1/",
    "http://127.0.0.1:x/",
    "http://127.0.0.1:123456/",
    "http://-oProxyCommand/",
    'http://127.0.0.1/"',
    "http://127.0.0.1/a b",
    "http://127.0.0.1/\nX: y",
    "http://[::1/",
    "http://127.0.0.1:80?x",
    'http://[::1"\nurl="http://127.0.0.1:1]',
    "http://[::1]\x1b[31m]:80",
    "http://[::1]\n]:80/x",
    "file:///etc/passwd",
  ].map((url): [string, Record<string, string>, string] => [
    `the URL ${JSON.stringify(url)}`,
    { MOAT_AWS_CREDENTIAL_URL: url },
    NO_FORM,
  ]),
];
for (const [name, env, sentence] of SETTINGS) {
  testUnless(lacking("dash"), `helper refuses ${name}`, async () => {
    const result = await run({ url: "http://127.0.0.1:1/", env });
    assert.deepEqual(result, failure(sentence));
  });
}

testUnless(
  toolLacking("wget") ?? lacking("mkfifo"),
  "helper with wget goes around a FIFO that others put in the temporary directory",
  async () => {
    const planted = await Deno.makeTempDir();
    const { result } = await ask([OK], {
      tools: ["wget"],
      env: { TMPDIR: planted },
      // The script is started by this shell, so that it has its process id.
      edit: (text) =>
        text.replace("set -uf", `${find("mkfifo")} "${planted}/moat-$$$$"\n$&`),
    });
    assert.deepEqual(result, SUCCESS);
    const left = Array.from(Deno.readDirSync(planted), ({ name }) => name);
    assert.equal(left.length, 1);
    await Deno.remove(planted, { recursive: true });
  },
);

for (const shell of ["bash", "bash --posix"]) {
  testUnless(
    toolLacking("bash"),
    `helper under ${shell} shows no token when SHELLOPTS asks for a trace`,
    async () => {
      const env = { SHELLOPTS: "xtrace:verbose" };
      const { result } = await ask([OK], { shell, env });
      assert.equal(result.stdout, SUCCESS.stdout);
      assert(!result.stderr.includes(TOKEN));
    },
  );
}

for (const token of ["", "\n", "two words", 'quo"te', "back\\slash", "é"]) {
  testUnless(
    lacking("dash"),
    `helper refuses the token ${JSON.stringify(token)}`,
    async () => {
      const result = await run({ url: "http://127.0.0.1:1/", token });
      assert.match(result.stderr, /^moat: cannot read a token from \S+\n$/);
    },
  );
}

/** Variables of the same names as the script's own, which must not stay exported. */
const EXPORTED = Object.fromEntries(
  ["token", "request", "answer", "body", "text", "rest"].map((n) => [n, "x"]),
);

for (const tool of TOOLS) {
  const trace = async (calls: string, shell = "dash") => {
    const log = await Deno.makeTempFile();
    const under = [find("strace") ?? "", "-f", "-v", "-s", "100000"];
    const { result } = await ask([OK], {
      tools: [tool],
      shell,
      env: { ...EXPORTED, SHELLOPTS: "allexport" },
      under: [...under, "-e", `trace=${calls}`, "-o", log],
    });
    assert.deepEqual(result, SUCCESS);
    const lines = (await Deno.readTextFile(log)).split("\n");
    await Deno.remove(log);
    return lines;
  };
  const reason = toolLacking(tool) ?? lacking("strace", "bash");

  testUnless(
    reason,
    `helper with ${tool} puts no secret on a command line or in an environment`,
    async () => {
      const calls = "execve,execveat";
      const lines = [await trace(calls), await trace(calls, "bash")].flat();
      const started = lines.filter((line) => line.includes("execve"));
      assert.ok(started.length > 1);
      assert.deepEqual(
        started.filter((line) =>
          line.includes(TOKEN) || line.includes("secret/+=")
        ),
        [],
      );
    },
  );

  testUnless(
    reason,
    tool === "wget"
      ? "helper with wget removes its only file, in a directory of its own, before wget starts"
      : `helper with ${tool} writes no file`,
    async () => {
      const lines = await trace(
        "umask,openat,open,creat,mkdir,unlink,unlinkat,execve",
      );
      const change =
        /umask\(077|O_EXCL|O_CREAT(?!\|O_EXCL)|creat\(|mkdir\(|unlink|"--config/;
      const kinds = lines.filter((line) =>
        !/"\/dev\/null"|"\/proc\/self\/fd\/0"|ENOENT/.test(line)
      ).map((line) => change.exec(line)?.[0]).filter((kind) => kind);
      const file = ["umask(077", "mkdir(", "O_CREAT", "unlink", "unlink"];
      const wanted = [...file, '"--config', '"--config']; // timeout, then wget
      assert.deepEqual(kinds, tool === "wget" ? wanted : []);
    },
  );

  testUnless(
    reason,
    `helper with ${tool} leaves no process behind`,
    async () => {
      const lines = await trace("clone,clone3,fork,vfork,wait4,waitid");
      const pids = (call: RegExp) =>
        lines.filter((line) =>
          call.test(line) && !line.includes("CLONE_THREAD")
        )
          .map((line) => / = (\d+)\b/.exec(line)?.[1])
          .filter((pid) => pid !== undefined && pid !== "0").sort();
      const started = pids(/clone|fork/);
      assert.ok(started.length > 0);
      assert.deepEqual(pids(/wait/), started);
    },
  );
}
