/**
 * The built `moat proxy` under many intercepted connections, slow ones, few
 * descriptors, and many bytes: others are served, and memory stays flat.
 *
 * `MOAT_LOAD_MB` makes the bulk transfer longer; 10240 takes some minutes.
 */

import assert from "node:assert/strict";
import { noOpenssl } from "./support/anywhere_pki.ts";
import { testUnless } from "./support/conditional.ts";
import {
  ask,
  closeQuietly,
  descriptorsBack,
  descriptorsOf,
  type FaultBed,
  openFaultBed,
  proofOf,
  request,
  residentBytes,
  untilGone,
} from "./support/fault_bed.ts";
import { readHead, readMessage, writeText } from "./support/intercept_bed.ts";
import { moatReason } from "./support/moat.ts";
import { connectTo } from "./support/raw_http.ts";
import { run, which } from "./support/run.ts";

const reason = moatReason() ?? noOpenssl;

const MEGABYTE = 1024 * 1024;

/** An answer after which the connection stays. */
const KEPT = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkept";

/** Starts the proxy with this many descriptors. */
function limited(count: number): readonly string[] {
  return ["sh", "-c", `ulimit -n ${count}; exec "$0" "$@"`];
}

/** How many descriptors this process may have. */
async function ownLimit(): Promise<number> {
  const { stdout } = await run(["sh", "-c", "ulimit -n"]);
  return Number(stdout) || Infinity;
}

/** Lets the upstream answer each request, for as long as it likes. */
function keepServing({ upstream }: FaultBed): void {
  upstream.script(async (conn) => {
    const buffer = new Uint8Array(64 * 1024);
    let rest = "";
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) return;
      const heads = (rest + new TextDecoder().decode(buffer.subarray(0, count)))
        .split("\r\n\r\n");
      rest = heads.pop() ?? "";
      await writeText(conn, KEPT.repeat(heads.length));
    }
  });
}

/** How long an answer takes on a new connection, in ms. */
async function timeOf(bed: FaultBed): Promise<number> {
  const { authority } = bed.upstream;
  const startedAt = performance.now();
  const buffer = new Uint8Array(2_000);
  const conn = await Deno.connect({ port: bed.address.port });
  // As most clients do: else its kernel holds the request back.
  conn.setNoDelay(true);
  const line = `CONNECT ${authority}`;
  await writeText(conn, request(authority, line, `${proofOf(bed)}\r\n`));
  await conn.read(buffer);
  using tls = await Deno.startTls(conn, {
    hostname: "localhost",
    caCerts: [bed.rootPem],
  });
  await writeText(tls, request(authority));
  const count = await tls.read(buffer) ?? 0;
  assert.equal(new TextDecoder().decode(buffer.subarray(0, count)), KEPT);
  return performance.now() - startedAt;
}

const SLOW_CLIENTS = 200;

testUnless(
  reason,
  `${SLOW_CLIENTS} clients that send a byte now and then keep nobody out, and are shown out`,
  async () => {
    await using bed = await openFaultBed();
    keepServing(bed);
    await timeOf(bed);
    const { authority } = bed.upstream;
    const opened = await Promise.all(
      Array.from({ length: SLOW_CLIENTS }, (_, i) =>
        // One half within CONNECT, the other within a request.
        i % 2 === 0 ? connectTo(bed.address) : bed.connectTls(authority)),
    );
    const slow = opened.map((conn, i) =>
      dribble(
        conn,
        [
          `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nX: `,
          `GET / HTTP/1.1\r\nHost: ${authority}\r\nX: `,
        ][i % 2]!,
      )
    );
    const times: number[] = [];
    for (let i = 0; i < 20; i++) times.push(await timeOf(bed));
    times.sort((a, b) => a - b);
    assert.ok(times[10]! < 1_000, `median ${times[10]} ms`);
    // Both limits are 10 s, looked at each second.
    const ends = await Promise.all(slow);
    const late = ends.filter((ms) => ms > 13_000);
    assert.deepEqual(late, [], "some stayed");
    bed.upstream.hangUp();
    await descriptorsBack(bed);
  },
);

/** Sends a head, and a byte of it from time to time; tells when it was ended, in ms. */
async function dribble(conn: Deno.Conn, head: string): Promise<number> {
  const startedAt = performance.now();
  let isOver = false;
  const over = untilGone(conn).then(() => isOver = true);
  try {
    await writeText(conn, head);
    while (!isOver && performance.now() - startedAt < 20_000) {
      await writeText(conn, "x");
      await Promise.race([
        over,
        new Promise((resolve) => setTimeout(resolve, 100)),
      ]);
    }
  } catch {
    // Ended while it wrote.
  }
  closeQuietly(conn);
  await over;
  return performance.now() - startedAt;
}

/** What is left of the descriptors is for the test runner itself. */
const SPARE_DESCRIPTORS = 200;
const IDLE = Math.min(1_000, await ownLimit() - SPARE_DESCRIPTORS);

testUnless(
  reason,
  `${IDLE} intercepted connections are open at once, and each serves on`,
  async () => {
    await using bed = await openFaultBed({ prefix: limited(8 * IDLE) });
    keepServing(bed);
    await timeOf(bed);
    const memory = residentBytes(bed.proxy.pid);
    const { authority } = bed.upstream;
    const text = request(authority);
    const open: Deno.TlsConn[] = [];
    try {
      for (let i = 0; i < IDLE; i += 50) {
        open.push(
          ...await Promise.all(
            Array.from({ length: 50 }, () => bed.connectTls(authority)),
          ),
        );
        await Promise.all(open.slice(i).map((conn) => ask(conn, text)));
      }
      const each = (residentBytes(bed.proxy.pid) - memory) / IDLE / 1024;
      let served = 0;
      for (const conn of open) {
        served += (await ask(conn, text)).body === "kept" ? 1 : 0;
      }
      assert.equal(served, IDLE);
      assert.ok(each < 250, `${each.toFixed()} KiB for each connection`);
    } finally {
      open.forEach(closeQuietly);
    }
    bed.upstream.hangUp();
    await descriptorsBack(bed);
  },
);

testUnless(
  reason,
  "with 256 descriptors, clients that are too many are told so, and the proxy lives on",
  async () => {
    await using bed = await openFaultBed({ prefix: limited(256) });
    keepServing(bed);
    await timeOf(bed);
    const { authority } = bed.upstream;
    const connect = request(
      authority,
      `CONNECT ${authority}`,
      `${proofOf(bed)}\r\n`,
    );
    const open: Deno.Conn[] = [];
    const told: string[] = [];
    for (let i = 0; i < 200; i++) {
      const conn = await connectTo(bed.address);
      open.push(conn);
      await writeText(conn, connect).catch(() => {/* closed already */});
      const head = await readHead(conn).catch(() => "");
      told.push(head.slice(9, 12));
    }
    const served = told.filter((status) => status === "200").length;
    const others = new Set(told.filter((status) => status !== "200"));
    assert.ok(served >= 20, `${served} were served`);
    assert.ok(others.size > 0, "all were served");
    assert.deepEqual(others.difference(new Set(["503", ""])), new Set());
    assert.ok(descriptorsOf(bed.proxy.pid) < 256);
    open.forEach(closeQuietly);
    bed.upstream.hangUp();
    await descriptorsBack(bed);
    await timeOf(bed);
  },
);

testUnless(
  reason,
  "a burst of 2,000 pipelined requests is answered whole and in order",
  async () => {
    const burst = 2_000;
    await using bed = await openFaultBed();
    const { upstream } = bed;
    const { authority } = upstream;
    upstream.script(async (conn) => {
      for (;;) {
        const from = upstream.received.length;
        await upstream.receive(conn);
        const [, path] = /^GET (\S+)/.exec(upstream.received.slice(from)) ?? [];
        if (path === undefined) return;
        await writeText(
          conn,
          `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`,
        );
      }
    });
    using conn = await bed.connectTls(authority);
    const paths = Array.from({ length: burst }, (_, i) => `/${i}`);
    const sent = writeText(
      conn,
      paths.map((path) => request(authority, `GET ${path}`)).join(""),
    );
    const got: string[] = [];
    for (let i = 0; i < burst; i++) got.push((await readMessage(conn)).body);
    await sent;
    assert.deepEqual(got, paths);
  },
);

/** How much goes through, in MB. */
const BULK_MB = Number(Deno.env.get("MOAT_LOAD_MB") ?? 512);

const CURL = which("curl");

testUnless(
  reason ?? (CURL ? undefined : "not installed: curl"),
  `${BULK_MB} MB down and a quarter of it up leave memory flat`,
  async () => {
    await using bed = await openFaultBed();
    const bytes = BULK_MB * MEGABYTE;
    const { upstream } = bed;
    const block = new Uint8Array(MEGABYTE);
    upstream.script(async (conn) => {
      await upstream.receive(conn);
      const isUp = upstream.received.startsWith("PUT");
      if (isUp) {
        for (let left = bytes / 4; left > 0;) left -= await take(conn);
      }
      await writeText(
        conn,
        `HTTP/1.1 200 OK\r\nContent-Length: ${isUp ? 0 : bytes}\r\n\r\n`,
      );
      for (let left = isUp ? 0 : bytes; left > 0;) {
        left -= await conn.write(block.subarray(0, left));
      }
    });
    async function take(conn: Deno.Conn): Promise<number> {
      return await conn.read(block) ?? Infinity;
    }
    const { port } = bed.address;
    const ca = await bed.workspace.write("root.pem", bed.rootPem);
    const curl = async (...args: string[]) => {
      const { code, stdout, stderr } = await run([
        ...["curl", "-sS", "--noproxy", "", "--cacert", ca, "-o", "/dev/null"],
        ...["-w", "%{size_download} %{size_upload}", ...args],
        ...["--proxy", `http://moat:${bed.token}@127.0.0.1:${port}`],
        `https://${upstream.authority}/`,
      ], {
        timeoutMs: 60_000 + BULK_MB * 100,
      });
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const { pid } = bed.proxy;
    let most = 0;
    let first = 0;
    const watch = setInterval(() => {
      const now = residentBytes(pid);
      first ||= now;
      most = Math.max(most, now);
    }, 50);
    try {
      assert.equal(await curl(), `${bytes} 0`);
      upstream.received = "";
      await Deno.truncate(await bed.workspace.write("big", ""), bytes / 4);
      const up = await curl("-T", bed.workspace.path("big"), "-H", "Expect:");
      assert.equal(up, `0 ${bytes / 4}`);
    } finally {
      clearInterval(watch);
    }
    const growth = (most - first) / MEGABYTE;
    assert.ok(growth < 100, `${growth.toFixed()} MB more`);
  },
);

testUnless(
  reason,
  "2,000 connections one after the other leave no descriptor, and memory flat",
  async () => {
    await using bed = await openFaultBed();
    keepServing(bed);
    const { pid } = bed.proxy;
    const lanes = async (count: number) => {
      const lane = async () => {
        for (let i = 0; i < count / 4; i++) await timeOf(bed);
      };
      await Promise.all([lane(), lane(), lane(), lane()]);
    };
    await lanes(400);
    bed.upstream.hangUp();
    await descriptorsBack(bed);
    const memory = residentBytes(pid);
    await lanes(2_000);
    bed.upstream.hangUp();
    await descriptorsBack(bed);
    const growth = (residentBytes(pid) - memory) / MEGABYTE;
    assert.ok(growth < 100, `${growth.toFixed()} MB more`);
  },
);
