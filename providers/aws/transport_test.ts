import assert from "node:assert/strict";
import { openTransport } from "./transport.ts";

/** Serves one answer, and gives the URL. */
function serve(answer: () => Response) {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    answer,
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, [Symbol.asyncDispose]: () => server.shutdown() };
}

const DATE = "Thu, 01 Jan 2026 12:00:00 GMT";

/** [status, whether its date counts] */
const STATUSES: readonly [number, boolean][] = [
  [200, true],
  [201, true],
  [400, true],
  [401, false],
  [403, true],
  [404, false],
  [407, false],
  [500, false],
  [503, false],
];

for (const [status, counts] of STATUSES) {
  Deno.test(`openTransport() ${counts ? "tells" : "does not tell"} the date of a ${status}`, async () => {
    await using server = serve(() =>
      new Response("x", { status, headers: { date: DATE } })
    );
    const told: unknown[] = [];
    using transport = await openTransport({}, (...args) => told.push(args));
    await (await transport.fetch(new Request(`${server.url}/path`))).text();
    assert.deepEqual(told, counts ? [[DATE, server.url]] : []);
  });
}

Deno.test("openTransport() refuses a redirect", async () => {
  await using server = serve(() => Response.redirect("http://127.0.0.1:1"));
  using transport = await openTransport({});
  await assert.rejects(transport.fetch(new Request(server.url)), {
    name: "RefusedAnswer",
  });
});

Deno.test("openTransport() reads 64 KiB at most", async () => {
  await using server = serve(() => new Response("x".repeat(65 * 1024)));
  using transport = await openTransport({});
  const response = await transport.fetch(new Request(server.url));
  await assert.rejects(response.text(), /more than 64 KiB/);
});

Deno.test("openTransport() ends its requests with the signal", async () => {
  const waiting = Promise.withResolvers<Response>();
  const asked = Promise.withResolvers<void>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => {
      asked.resolve();
      return waiting.promise;
    },
  );
  const stop = new AbortController();
  using transport = await openTransport({}, undefined, { signal: stop.signal });
  const call = transport.fetch(
    new Request(`http://127.0.0.1:${server.addr.port}`),
  );
  await asked.promise;
  stop.abort();
  await assert.rejects(call, { name: "AbortError" });
  waiting.resolve(new Response());
  await server.shutdown();
});

for (const direct of [true, false]) {
  Deno.test(`openTransport() ${direct ? "passes HTTP_PROXY by when told to" : "honours HTTP_PROXY"}`, async () => {
    await using server = serve(() => new Response("straight"));
    await using proxy = serve(() => new Response("by proxy"));
    const script = `
      const { openTransport } = await import(Deno.args[0]);
      const url = new URL(Deno.args[1]);
      const options = Deno.args[2] === "true" ? { direct: url } : {};
      using transport = await openTransport({}, undefined, options);
      console.log(await (await transport.fetch(new Request(url))).text());`;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["eval", "--no-check", script],
        import.meta.resolve("./transport.ts"),
        ...[server.url, `${direct}`],
      ],
      env: {
        HTTP_PROXY: proxy.url,
        http_proxy: proxy.url,
        NO_PROXY: "",
        no_proxy: "",
      },
      cwd: new URL("../..", import.meta.url),
      stderr: "inherit",
    }).output();
    assert.equal(
      new TextDecoder().decode(stdout).trim(),
      direct ? "straight" : "by proxy",
    );
  });
}
