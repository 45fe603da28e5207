import assert from "node:assert/strict";
import type { Authority } from "$core/host.ts";
import {
  makeCertificate,
  noOpenssl,
  pkiPath,
} from "../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import type { ProxyFailure } from "./failure.ts";
import { secureUpstream } from "./upstream_tls.ts";

const DAY_MS = 24 * 60 * 60_000;
const NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1";

/** A server's certificate; by default a right one. */
interface Certificate {
  readonly name: string;
  readonly names?: string;
  /** `upstreams` is trusted, `strangers` is not; empty for itself. Default: `upstreams`. */
  readonly issuer?: "upstreams" | "strangers" | "";
  readonly isAuthority?: boolean;
  readonly valid?: readonly [number, number];
}

/** Gives what listenTls takes. */
async function make(
  { name, issuer = "upstreams", names = NAMES, ...wish }: Certificate,
): Promise<{ cert: string; key: string }> {
  await makeCertificate("upstreams", { isAuthority: true });
  await makeCertificate("strangers", { isAuthority: true });
  await makeCertificate(name, { names, issuer, ...wish });
  return {
    cert: await Deno.readTextFile(pkiPath(`${name}.crt`)),
    key: await Deno.readTextFile(pkiPath(`${name}.key`)),
  };
}

const RIGHT: Certificate = { name: "right" };

/** Connects to a server of TLS, and tells what came of it and what it received. */
async function secure(
  options: Deno.ListenTlsOptions & Deno.TlsCertifiedKeyPem,
  host: string,
): Promise<{ outcome: unknown; received: number | null | undefined }> {
  using listener = Deno.listenTls(options);
  const served = (async () => {
    using conn = await listener.accept();
    return await conn.read(new Uint8Array(9)).catch(() => undefined);
  })();
  const outcome = await attempt(listener.addr.port, host);
  return { outcome, received: await served };
}

async function attempt(port: number, host: string): Promise<unknown> {
  const trusted = await Deno.readTextFile(pkiPath("upstreams.crt"));
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const authority: Authority = { host, port };
  const options = {
    roots: { certificates: [trusted] },
    clock: new FakeClock(),
  };
  try {
    const tls = await secureUpstream(conn, authority, options);
    tls.close();
    return "secured";
  } catch (error) {
    return error;
  }
}

const LISTEN = { hostname: "127.0.0.1", port: 0 };

for (const host of ["localhost", "127.0.0.1", "::1"]) {
  testUnless(
    noOpenssl,
    `secureUpstream() accepts a certificate for ${host}`,
    async () => {
      const certificate = await make(RIGHT);
      const { outcome } = await secure({ ...LISTEN, ...certificate }, host);
      assert.equal(outcome, "secured");
    },
  );
}

testUnless(
  noOpenssl,
  "secureUpstream() asks for HTTP/1.1 by ALPN",
  async () => {
    const certificate = await make(RIGHT);
    const alpnProtocols = ["h2", "http/1.1"];
    using listener = Deno.listenTls({
      ...LISTEN,
      ...certificate,
      alpnProtocols,
    });
    const chosen = (async () => {
      using conn = await listener.accept();
      return (await conn.handshake()).alpnProtocol;
    })();
    await attempt(listener.addr.port, "localhost");
    assert.equal(await chosen, "http/1.1");
  },
);

const now = Date.now();
const REFUSED: readonly {
  readonly certificate: Certificate;
  readonly host?: string;
  readonly says: RegExp;
}[] = [
  {
    certificate: { name: "wrong-name", names: "DNS:other.example" },
    says: /another name/,
  },
  { certificate: RIGHT, host: "127.0.0.9", says: /another name/ },
  { certificate: RIGHT, host: "localhost.example", says: /another name/ },
  // A name in a message must not look like another cause.
  { certificate: RIGHT, host: "expired.example", says: /another name/ },
  {
    certificate: { name: "expired", valid: [now - 2 * DAY_MS, now - DAY_MS] },
    says: /has expired/,
  },
  {
    certificate: { name: "not-yet", valid: [now + DAY_MS, now + 2 * DAY_MS] },
    says: /not valid yet/,
  },
  {
    certificate: { name: "stranger", issuer: "strangers" },
    says: /does not trust/,
  },
  { certificate: { name: "self-signed", issuer: "" }, says: /does not trust/ },
  {
    certificate: { name: "self-made", issuer: "", isAuthority: true },
    says: /self-signed/,
  },
];

for (const { certificate, host = "localhost", says } of REFUSED) {
  testUnless(
    noOpenssl,
    `secureUpstream() refuses ${host} with the certificate ${certificate.name}, and sends nothing`,
    async () => {
      const { outcome, received } = await secure(
        { ...LISTEN, ...await make(certificate) },
        host,
      );
      const { status, code, error, message } = outcome as ProxyFailure;
      assert.deepEqual([status, code, error], [
        502,
        "upstream-certificate",
        "tls_certificate_error",
      ]);
      assert.match(message, says);
      assert(!received, "the server got bytes");
    },
  );
}

testUnless(
  noOpenssl,
  "secureUpstream() tells an upstream that speaks HTTP/2 only",
  async () => {
    const certificate = await make(RIGHT);
    const { outcome } = await secure(
      { ...LISTEN, ...certificate, alpnProtocols: ["h2"] },
      "localhost",
    );
    const { status, code, error } = outcome as ProxyFailure;
    assert.deepEqual([status, code, error], [
      502,
      "upstream-needs-h2",
      "tls_alert_received",
    ]);
  },
);

/** Connects to a server that does `answer` instead of TLS. */
async function withoutTls(
  answer: (conn: Deno.Conn) => void | Promise<unknown>,
): Promise<ProxyFailure> {
  using listener = Deno.listen(LISTEN);
  await makeCertificate("upstreams", { isAuthority: true });
  const served = (async () => {
    const conn = await listener.accept();
    await answer(conn);
    return conn;
  })();
  const outcome = await attempt(listener.addr.port, "localhost");
  try {
    (await served).close();
  } catch {
    // It has closed it.
  }
  return outcome as ProxyFailure;
}

const INSTEAD: readonly (readonly [
  what: string,
  answer: (conn: Deno.Conn) => void | Promise<unknown>,
])[] = [
  [
    "answers in plain text",
    (conn) => conn.write(new TextEncoder().encode("HTTP/1.1 400 No\r\n\r\n")),
  ],
  ["ends the connection", (conn) => conn.close()],
];

for (const [what, answer] of INSTEAD) {
  testUnless(
    noOpenssl,
    `secureUpstream() tells an upstream that ${what}`,
    async () => {
      const { status, code, error } = await withoutTls(answer);
      assert.deepEqual([status, code, error], [
        502,
        "upstream-tls",
        "tls_protocol_error",
      ]);
    },
  );
}

/** Begins a handshake that is never answered. */
async function stalled(
  use: (clock: FakeClock, signal: AbortController) => Promise<void>,
): Promise<unknown> {
  using listener = Deno.listen(LISTEN);
  const { port } = listener.addr;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  using _accepted = await listener.accept();
  const clock = new FakeClock();
  const gone = new AbortController();
  const roots = { certificates: [] };
  const done = secureUpstream(
    conn,
    { host: "localhost", port },
    { roots, clock },
    gone.signal,
  ).catch((error) => error);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await use(clock, gone);
  return await done;
}

Deno.test("secureUpstream() gives up after 10 s", async () => {
  const outcome = await stalled((clock) => clock.advance(10_000));
  const { status, code, error } = outcome as ProxyFailure;
  assert.deepEqual([status, code, error], [
    504,
    "upstream-tls-timeout",
    "connection_timeout",
  ]);
});

Deno.test("secureUpstream() ends with its client's reason", async () => {
  const outcome = await stalled((_, gone) => {
    gone.abort("gone");
    return Promise.resolve();
  });
  assert.equal(outcome, "gone");
});

Deno.test("secureUpstream() closes a connection to a name that no certificate can have", async () => {
  using listener = Deno.listen(LISTEN);
  const { port } = listener.addr;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  using accepted = await listener.accept();
  const work = secureUpstream(conn, { host: "a b", port }, {
    roots: { certificates: [] },
    clock: new FakeClock(),
  });
  await assert.rejects(work, { code: "upstream-tls" });
  assert.equal(await accepted.read(new Uint8Array(1)), null);
});
