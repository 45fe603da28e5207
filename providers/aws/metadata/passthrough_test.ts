import assert from "node:assert/strict";
import { systemClock } from "$core/clock.ts";
import {
  FakeClient,
  MetadataBed,
} from "../../../tests/support/metadata_bed.ts";
import { createPassthrough } from "./passthrough.ts";

const PATH = "/latest/meta-data/placement/availability-zone-id";

const GOOD = [
  PATH,
  "/2021-07-15/meta-data/instance-id",
  "/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:11/subnet-id",
  "/latest/meta-data/network/interfaces/macs/",
];
for (const path of GOOD) {
  Deno.test(`createPassthrough() takes ${path}`, () => {
    const find = createPassthrough({
      paths: [path],
      env: {},
      clock: systemClock,
    });
    assert(find(path));
  });
}

const BAD = [
  "",
  "/",
  "/latest",
  "/latest/meta-data",
  "/latest/meta-data/",
  "/latest/meta-data/iam",
  "/latest/meta-data/iam/",
  "/latest/meta-data/iam/info",
  "/latest/meta-data/iam/security-credentials/App",
  "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
  "/latest/meta-data/public-keys/",
  "/latest/meta-data/managed-ssh-keys/signer-cert",
  "/latest/user-data",
  "/latest/dynamic/instance-identity/document",
  "/latest/api/token",
  "/zzz/meta-data/instance-id",
  "/1.1/meta-data/instance-id",
  "//latest/meta-data/instance-id",
  "/latest//meta-data/instance-id",
  "/latest/meta-data//iam/info",
  "/latest/meta-data/./iam/info",
  "/latest/meta-data/placement/../iam/info",
  "/latest/meta-data/%69am/info",
  "/latest/meta-data/placement/*",
  "/latest/meta-data/instance-id?x",
  "/latest/meta-data/instance-id#x",
  "/latest/meta-data/instance-id\r\nX: y",
  "latest/meta-data/instance-id",
  "http://169.254.169.254/latest/meta-data/instance-id",
  "/latest/Meta-Data/instance-id",
];
for (const path of BAD) {
  Deno.test(`createPassthrough() refuses ${JSON.stringify(path)}`, () => {
    assert.throws(
      () => createPassthrough({ paths: [path], env: {}, clock: systemClock }),
      { code: "usage" },
    );
  });
}

for (
  const [url, address] of [
    [undefined, "169.254.169.254:80"],
    ["http://127.0.0.1:99", "127.0.0.1:99"],
    ["http://[::1]/", "[::1]:80"],
    ["http://[::1]:99/", "[0:0:0:0:0:0:0:1]:99"],
  ] as const
) {
  Deno.test(`createPassthrough() refuses moat itself at ${address}`, () => {
    const env = url ? { AWS_EC2_METADATA_SERVICE_ENDPOINT: url } : {};
    const common = { paths: [PATH], env, clock: systemClock };
    createPassthrough({ ...common, ownUrls: ["http://127.0.0.1:80"] });
    assert.throws(
      () => createPassthrough({ ...common, ownUrls: [`http://${address}`] }),
      { code: "usage", message: /moat itself/, hint: /--to 169.254.170.2/ },
    );
  });
}

for (
  const url of ["https://127.0.0.1:1", "http://127.0.0.1:1/path", "no-url"]
) {
  Deno.test(`createPassthrough() refuses the service ${url}`, () => {
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: url };
    assert.throws(
      () => createPassthrough({ paths: [PATH], env, clock: systemClock }),
      { code: "usage" },
    );
  });
}

Deno.test("createPassthrough() finds only what was named", () => {
  const find = createPassthrough({
    paths: [PATH],
    env: {},
    clock: systemClock,
  });
  assert.equal(find(`${PATH}/`), undefined);
});

/** The host's real service. */
class RealService implements AsyncDisposable {
  readonly seen: string[] = [];
  answer: (path: string) => Response | Promise<Response> = () =>
    new Response("euc1-az2");
  token = () => new Response("TOKEN==");
  readonly #server;

  constructor() {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        const shown = request.headers.get("x-aws-ec2-metadata-token");
        const ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds");
        this.seen.push(`${request.method} ${pathname} ${shown ?? ttl}`);
        return request.method === "PUT"
          ? this.token()
          : await this.answer(pathname);
      },
    );
  }

  get env() {
    const { port } = this.#server.addr as Deno.NetAddr;
    return {
      AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${port}`,
      HTTP_PROXY: "http://127.0.0.1:1",
    };
  }

  /** What fetches the path. */
  fetcher() {
    const { env } = this;
    const fetch = createPassthrough({ paths: [PATH], env, clock: systemClock })(
      PATH,
    );
    assert(fetch);
    return fetch;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const time = () => ({ connect: 0, total: 0 });

Deno.test("a path is fetched with a token of our own", async () => {
  await using real = new RealService();
  const { body } = await real.fetcher()(time());
  assert.deepEqual([body, ...real.seen], [
    "euc1-az2",
    "PUT /latest/api/token 300",
    `GET ${PATH} TOKEN==`,
  ]);
});

Deno.test("the token is used again", async () => {
  await using real = new RealService();
  const fetch = real.fetcher();
  await fetch(time());
  await fetch(time());
  assert.equal(real.seen.length, 3);
});

Deno.test("a token that ended is fetched anew", async () => {
  await using real = new RealService();
  const fetch = real.fetcher();
  await fetch(time());
  real.answer = () => {
    real.answer = () => new Response("again");
    return new Response("", { status: 401 });
  };
  assert.equal((await fetch(time())).body, "again");
});

Deno.test("clients that ask at the same time share a request", async () => {
  await using real = new RealService();
  const fetch = real.fetcher();
  await Promise.all([fetch(time()), fetch(time()), fetch(time())]);
  assert.equal(real.seen.length, 2);
});

Deno.test("how long the service took is told", async () => {
  await using real = new RealService();
  let at = 0;
  const clock = { ...systemClock, now: () => at++ };
  const took = time();
  await createPassthrough({ paths: [PATH], env: real.env, clock })(PATH)!(took);
  assert(took.total > took.connect && took.connect > 0);
});

const ANSWERS: { name: string; answer: () => Response; status: number }[] = [
  {
    name: "nothing there",
    answer: () => new Response("", { status: 404 }),
    status: 404,
  },
  {
    name: "a refusal",
    answer: () => new Response("", { status: 403 }),
    status: 502,
  },
  {
    name: "a redirect",
    answer: () =>
      new Response("", {
        status: 302,
        headers: { location: "http://127.0.0.1:1/latest/user-data" },
      }),
    status: 502,
  },
  {
    name: "more than 64 KiB",
    answer: () => new Response("x".repeat(64 * 1024 + 1)),
    status: 502,
  },
  {
    name: "a body that is cut short",
    answer: () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode("x"));
            controller.error(new Error("cut"));
          },
        }),
      ),
    status: 502,
  },
];
for (const { name, answer, status } of ANSWERS) {
  Deno.test(`a service that answers ${name} is told as ${status}`, async () => {
    await using real = new RealService();
    real.answer = answer;
    await assert.rejects(real.fetcher()(time()), { status });
  });
}

Deno.test("64 KiB are passed through", async () => {
  await using real = new RealService();
  real.answer = () => new Response("x".repeat(64 * 1024));
  assert.equal((await real.fetcher()(time())).body.length, 64 * 1024);
});

Deno.test("a service without tokens is not asked by version 1", async () => {
  await using real = new RealService();
  real.token = () => new Response("", { status: 403 });
  await assert.rejects(real.fetcher()(time()), { status: 502 });
  assert.equal(real.seen.length, 1);
});

Deno.test("a token that would break a request is not used", async () => {
  await using real = new RealService();
  real.token = () => new Response("a\r\nx: y");
  await assert.rejects(real.fetcher()(time()), { status: 502 });
});

Deno.test("a service that is not there is told as 502", async () => {
  const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1" };
  const fetch = createPassthrough({ paths: [PATH], env, clock: systemClock })(
    PATH,
  );
  await assert.rejects(fetch!(time()), { status: 502 });
});

Deno.test("a service that does not answer is given up after 900 ms", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const env = {
    AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${listener.addr.port}`,
  };
  let late = () => {};
  const clock = {
    now: systemClock.now,
    after(ms: number, tell: () => void) {
      assert.equal(ms, 900);
      late = tell;
      return () => {};
    },
  };
  const fetch = createPassthrough({ paths: [PATH], env, clock })(PATH);
  const failed = assert.rejects(fetch!(time()), { status: 502 });
  const connection = await listener.accept();
  late();
  await failed;
  connection.close();
});

/** A metadata service that lets {@link PATH} through. */
function openBed(real: RealService, path = PATH) {
  return new MetadataBed({
    env: real.env,
    settings: { v1: true, passthrough: [path] },
  });
}

Deno.test("a service answers with what passes through", async () => {
  await using real = new RealService();
  const { status, contentType, body } = await openBed(real)
    .ask(new FakeClient(), PATH);
  assert.deepEqual([status, contentType, body], [
    200,
    "text/plain",
    "euc1-az2",
  ]);
});

Deno.test("a service says for each answer how long the real one took", async () => {
  await using real = new RealService();
  const bed = openBed(real);
  await bed.ask(new FakeClient(), PATH);
  assert.deepEqual(bed.events.map((e) => [e.resource, e.passthroughMs]), [
    ["other", { connect: 0, total: 0 }],
  ]);
});

Deno.test("a path that passes through is preferred to moat's own", async () => {
  await using real = new RealService();
  const zone = "/latest/meta-data/placement/availability-zone";
  const { body } = await openBed(real, zone).ask(new FakeClient(), zone);
  assert.equal(body, "euc1-az2");
});

const NOT_PASSED = [
  { name: "a stranger", client: "stranger" as const, status: 403 },
  { name: "another method", method: "POST", status: 405 },
  { name: "a body", hasBody: true, status: 400 },
  { name: "a wrong token", token: "x", status: 401 },
  { name: "a query", target: `${PATH}?x`, status: 404 },
  { name: "a whole URL", target: `http://127.0.0.1${PATH}`, status: 404 },
];
for (const { name, client, target = PATH, status, ...ask } of NOT_PASSED) {
  Deno.test(`nothing passes through for ${name}`, async () => {
    await using real = new RealService();
    const stranger = { status: 403, code: "unknown-client", message: "No" };
    const asking = client === "stranger" ? stranger : new FakeClient();
    const answer = await openBed(real).ask(asking, target, ask);
    assert.deepEqual([answer.status, real.seen], [status, []]);
  });
}
