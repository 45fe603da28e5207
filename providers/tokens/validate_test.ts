import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { run } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import {
  startVendor,
  type TokenVendor,
  type VendorAnswer,
} from "../../tests/support/token_vendor.ts";
import { validateToken, type Validation } from "./validate.ts";

/** Tries the canary at a vendor. */
function validate(
  { host, rootFile }: Pick<TokenVendor, "host" | "rootFile">,
  special: Partial<Validation> = {},
  clock: FakeClock = new FakeClock(),
) {
  return validateToken({
    vendor: "Example",
    url: `https://${host}/v1/me`,
    headers: { authorization: new Secret(`Bearer ${CANARY}`) },
    hint: "create a new one",
    ...special,
  }, { clock, env: { SSL_CERT_FILE: rootFile } });
}

/** The error, and that neither it nor its cause holds the token. */
async function failureOf(validated: Promise<unknown>): Promise<MoatError> {
  const error = await validated.catch((error: unknown) => error);
  assert.ok(error instanceof MoatError, "did not fail");
  assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
  return error;
}

const RESULTS: {
  name: string;
  answer: VendorAnswer;
  special?: Partial<Validation>;
  result: string;
}[] = [
  { name: "200", answer: {}, result: "ok" },
  { name: "204", answer: { status: 204 }, result: "ok" },
  { name: "429", answer: { status: 429 }, result: "rate-limited" },
  {
    name: "403 with nothing left of the rate",
    answer: { status: 403, headers: { "x-ratelimit-remaining": "0" } },
    result: "rate-limited",
  },
  {
    name: "403 where a good token may get it",
    answer: { status: 403 },
    special: { allowsForbidden: true },
    result: "restricted",
  },
];

for (const { name, answer, special, result } of RESULTS) {
  testUnless(
    noOpenssl,
    `validateToken() takes ${name} for ${result}`,
    async () => {
      await using vendor = await startVendor(answer);
      assert.equal((await validate(vendor, special)).result, result);
    },
  );
}

const FAILURES: {
  name: string;
  answer: VendorAnswer;
  special?: Partial<Validation>;
  code: string;
  message: RegExp;
  hint?: string;
}[] = [
  {
    name: "401",
    answer: { status: 401 },
    code: "token-rejected",
    message: /Example token: localhost:\d+ does not accept it \(401\)$/,
    hint: "create a new one",
  },
  {
    name: "400 where that is a bad token",
    answer: { status: 400 },
    special: { rejects: [400, 401] },
    code: "token-rejected",
    message: /does not accept it \(400\)$/,
  },
  {
    name: "400",
    answer: { status: 400 },
    code: "validation-failed",
    message: /localhost:\d+ answered 400$/,
  },
  {
    name: "403",
    answer: { status: 403 },
    code: "token-forbidden",
    message: /does not let it do anything there \(403\)$/,
  },
  {
    name: "a redirect",
    answer: { status: 302, headers: { location: "https://evil.example/" } },
    code: "validation-failed",
    message: /answered 302$/,
  },
  {
    name: "500",
    answer: { status: 500 },
    code: "validation-failed",
    message: /answered 500$/,
    hint: "try again later, or store it untested with --no-validate",
  },
];

for (const { name, answer, special, code, message, hint } of FAILURES) {
  testUnless(
    noOpenssl,
    `validateToken() refuses ${name} as ${code}, and keeps token and body to itself`,
    async () => {
      await using vendor = await startVendor(answer);
      const error = await failureOf(validate(vendor, special));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      if (hint) assert.equal(error.hint, hint);
    },
  );
}

testUnless(
  noOpenssl,
  "validateToken() does not take the token to where a redirect leads",
  async () => {
    await using other = await startVendor();
    await using vendor = await startVendor({
      status: 307,
      headers: { location: `https://${other.host}/` },
    });
    await failureOf(validate(vendor));
    assert.equal(other.seen.length, 0);
  },
);

testUnless(
  noOpenssl,
  "validateToken() sends the token in the header alone",
  async () => {
    await using vendor = await startVendor();
    await validate(vendor);
    const [request] = vendor.seen;
    assert.equal(request?.headers.get("authorization"), `Bearer ${CANARY}`);
    assert.equal(request?.headers.get("user-agent"), "moat");
    assertNoCanary(request?.path ?? "");
  },
);

testUnless(
  noOpenssl,
  "validateToken() reads nothing of an endless body",
  async () => {
    let isCancelled = false;
    await using vendor = await startVendor(() => ({
      body: new ReadableStream({
        pull: (stream) => stream.enqueue(new Uint8Array(65536)),
        cancel: () => void (isCancelled = true),
      }),
    }));
    assert.equal((await validate(vendor)).result, "ok");
    await eventually("the body is cancelled", () => isCancelled);
  },
);

Deno.test("validateToken() gives up after 10 s", async () => {
  const clock = new FakeClock();
  const slow = startSilent();
  const failure = failureOf(
    validate({ host: slow.host, rootFile: "" }, {}, clock),
  );
  await slow.connected;
  await clock.advance(10_000);
  const error = await failure;
  slow.close();
  assert.equal(error.code, "validation-unreachable");
  assert.match(error.message, /did not answer within 10 s$/);
});

/** Takes one connection and says nothing. */
function startSilent() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let conn: Deno.Conn | undefined;
  const connected = listener.accept().then((accepted) => {
    conn = accepted;
  });
  return {
    host: `localhost:${listener.addr.port}`,
    connected,
    close() {
      conn?.close();
      listener.close();
    },
  };
}

testUnless(
  noOpenssl,
  "validateToken() tells of a server that is not there",
  async () => {
    const vendor = await startVendor();
    await vendor[Symbol.asyncDispose]();
    const error = await failureOf(validate(vendor));
    assert.equal(error.code, "validation-unreachable");
    assert.match(
      error.hint ?? "",
      /HTTPS_PROXY and SSL_CERT_FILE.*--no-validate$/,
    );
  },
);

testUnless(
  noOpenssl,
  "validateToken() does not talk to a server that it cannot verify",
  async () => {
    await using vendor = await startVendor();
    const failure = failureOf(validate({ host: vendor.host, rootFile: "" }));
    assert.equal((await failure).code, "validation-unreachable");
    assert.equal(vendor.seen.length, 0);
  },
);

for (const path of ["/nonexistent/roots.pem", "/etc/hostname", "/dev/zero"]) {
  Deno.test(`validateToken() refuses SSL_CERT_FILE=${path}`, async () => {
    const error = await failureOf(
      validate({ host: "localhost:1", rootFile: path }),
    );
    assert.equal(error.code, "roots-unreadable");
  });
}

Deno.test("validateToken() refuses an SSL_CERT_FILE of broken certificates", async () => {
  await using home = await tempHome();
  const rootFile = join(home.directory, "roots.pem");
  await Deno.writeTextFile(
    rootFile,
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
  );
  const error = await failureOf(validate({ host: "localhost:1", rootFile }));
  assert.equal(error.code, "roots-unreadable");
});

testUnless(noOpenssl, "validateToken() goes through HTTPS_PROXY", async () => {
  await using vendor = await startVendor();
  using proxy = startProxy();
  const child = fileURLToPath(
    new URL("../../tests/support/validate_child.ts", import.meta.url),
  );
  const { stdout, stderr } = await run(
    [
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      child,
      `https://${vendor.host}/`,
    ],
    {
      env: {
        HTTPS_PROXY: proxy.url,
        NO_PROXY: "",
        no_proxy: "",
        SSL_CERT_FILE: vendor.rootFile,
      },
    },
  );
  assert.equal(stdout.trim(), "ok", stderr);
  assert.deepEqual(proxy.targets, [vendor.host]);
});

/** A proxy for CONNECT, good for one connection at a time. */
function startProxy() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const targets: string[] = [];
  void (async () => {
    for await (const conn of listener) {
      const head = new Uint8Array(4096);
      const count = await conn.read(head);
      const [, target = ""] = new TextDecoder()
        .decode(head.subarray(0, count ?? 0)).split(" ");
      targets.push(target);
      const upstream = await Deno.connect({
        hostname: "127.0.0.1",
        port: Number(target.split(":")[1]),
      });
      await conn.write(
        new TextEncoder().encode("HTTP/1.1 200 Established\r\n\r\n"),
      );
      void conn.readable.pipeTo(upstream.writable).catch(() => {});
      void upstream.readable.pipeTo(conn.writable).catch(() => {});
    }
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    targets,
    [Symbol.dispose]: () => listener.close(),
  };
}
