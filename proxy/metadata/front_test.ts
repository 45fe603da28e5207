import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { MetadataRequest, MetadataService } from "$core/metadata.ts";
import { Answer } from "$core/provider.ts";
import type { LiveBinding } from "../bindings/binding_table.ts";
import type { Peer, Reply } from "../http1/server.ts";
import {
  FakeContainers,
  FakeKnown,
} from "../../tests/support/fake_containers.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { parseRequestHead } from "../http1/head.ts";
import { MetadataFront } from "./front.ts";

const GRANT: Grant = {
  name: "aws",
  provider: "aws",
  settings: {},
  createdAt: 0,
} as unknown as Grant;

/** Answers with who asks. */
class FakeService implements MetadataService {
  readonly requests: MetadataRequest[] = [];
  answers = 0;
  /** Called before each answer. */
  before = () => {};

  prepare(request: MetadataRequest): () => Promise<Answer> {
    this.requests.push(request);
    const { client } = request;
    return async () => {
      this.answers++;
      await Promise.resolve();
      this.before();
      return "isCurrent" in client
        ? new Answer(200, `${client.container.name} ${client.grant?.name}`)
        : new Answer(client.status, client.code);
    };
  }
}

interface Scene {
  readonly front: MetadataFront;
  readonly service: FakeService;
  readonly containers: FakeContainers;
  /** Undefined: nobody knows. */
  bound: LiveBinding[] | undefined;
  grant: Grant | undefined;
}

function scene(): Scene {
  const service = new FakeService();
  const containers = new FakeContainers();
  const made: Omit<Scene, "front"> & { front?: MetadataFront } = {
    service,
    containers,
    bound: [],
    grant: GRANT,
  };
  made.front = new MetadataFront({
    platform: fakePlatform(),
    containers,
    service,
    bindings: {
      ofContainer() {
        if (made.bound) return made.bound;
        throw new MoatError("binding-unusable", "why");
      },
    },
    serves: ({ provider }) => provider === "aws",
    grant: () => Promise.resolve(made.grant),
  });
  return made as Scene;
}

function peer(): Peer {
  return {
    localHostname: "169.254.169.254",
    localPort: 80,
    remoteHostname: "::ffff:10.0.0.2",
  };
}

function head(target: string, more = "", host = "169.254.169.254") {
  const text = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
  return parseRequestHead(new TextEncoder().encode(text));
}

async function ask(
  { front }: Scene,
  at: Peer = peer(),
  target = "/latest",
): Promise<Reply> {
  return await front.handle(head(target), at);
}

async function bodyOf(reply: Reply | Promise<Reply>): Promise<string> {
  const { answer } = await reply;
  return `${answer.status} ${answer.body}`;
}

Deno.test("MetadataFront serves a container by its address", async () => {
  assert.equal(await bodyOf(ask(scene())), "200 web aws");
});

const REFUSED: readonly [name: string, head: ReturnType<typeof head>][] = [
  ["a whole URL", head("http://10.0.0.5/x")],
  ["a host name", head("/latest", "", "rebound.example")],
  ["a forwarded request", head("/latest", "X-Forwarded-For: 10.0.0.9\r\n")],
  ["a browser's request", head("/latest", "Origin: http://a.example\r\n")],
];

for (const [name, request] of REFUSED) {
  Deno.test(`MetadataFront looks for no container for ${name}`, async () => {
    const made = scene();
    const { answer } = await made.front.handle(request, peer());
    assert(answer.status >= 400);
    assert.equal(made.containers.asked.length, 0);
  });
}

const PROBLEMS = [
  ["unknown", "403 unknown-client"],
  ["shared", "403 shared-address"],
  ["host", "403 host-client"],
  ["engine-unavailable", "503 engine-unavailable"],
] as const;

for (const [problem, expected] of PROBLEMS) {
  Deno.test(`MetadataFront answers ${expected}`, async () => {
    const made = scene();
    made.containers.found = { problem, message: "why" };
    assert.equal(await bodyOf(ask(made)), expected);
  });
}

Deno.test("MetadataFront looks once for each connection", async () => {
  const made = scene();
  const at = peer();
  await ask(made, at);
  await ask(made, at, "/other");
  assert.equal(made.containers.asked.length, 1);
  await ask(made);
  assert.equal(made.containers.asked.length, 2);
});

Deno.test("MetadataFront looks again for a problem on the same connection", async () => {
  const made = scene();
  const at = peer();
  const container = made.containers.found;
  made.containers.found = { problem: "unknown", message: "why" };
  await ask(made, at);
  made.containers.found = container;
  assert.equal(await bodyOf(ask(made, at)), "200 web aws");
});

Deno.test("MetadataFront repeats nothing of a container that stopped", async () => {
  const made = scene();
  const reply = await ask(made);
  assert(reply.repeat?.());
  (made.containers.found as FakeKnown).end();
  assert.equal(reply.repeat?.(), undefined);
});

Deno.test("MetadataFront never takes a connection for another container's", async () => {
  const made = scene();
  const at = peer();
  await ask(made, at);
  (made.containers.found as FakeKnown).end();
  made.containers.found = new FakeKnown({ id: "b".repeat(64), name: "next" });
  assert.equal(await bodyOf(ask(made, at)), "403 unknown-client");
  assert.equal(await bodyOf(ask(made)), "200 next aws");
});

Deno.test("MetadataFront never takes a connection for a later start's", async () => {
  const made = scene();
  const at = peer();
  await ask(made, at);
  (made.containers.found as FakeKnown).end();
  made.containers.found = new FakeKnown({ startedAt: "later" });
  assert.equal(await bodyOf(ask(made, at)), "403 unknown-client");
});

Deno.test("MetadataFront follows a container that was renamed", async () => {
  const made = scene();
  const at = peer();
  await ask(made, at);
  (made.containers.found as FakeKnown).end();
  made.containers.found = new FakeKnown({ name: "renamed" });
  assert.equal(await bodyOf(ask(made, at)), "200 renamed aws");
});

Deno.test("MetadataFront hands nothing out that was made for a container that ended meanwhile", async () => {
  const made = scene();
  const container = made.containers.found as FakeKnown;
  made.service.before = () => {
    container.end();
    made.containers.found = { problem: "unknown", message: "why" };
  };
  assert.match(await bodyOf(ask(made)), /^503 .*client-changed/);
});

Deno.test("MetadataFront gives the grant anew once it changed", async () => {
  const made = scene();
  const at = peer();
  const reply = await ask(made, at);
  made.grant = { ...GRANT, name: "other" };
  made.front.changed();
  assert.equal(reply.repeat?.(), undefined);
  assert.equal(await bodyOf(ask(made, at)), "200 web other");
});

Deno.test("MetadataFront serves a container without any grant as one", async () => {
  const made = scene();
  made.grant = undefined;
  assert.equal(await bodyOf(ask(made)), "200 web undefined");
});

/** As far as the front looks at one. */
function live(name: string, grants: readonly Grant[]) {
  const tells = new Set<() => void>();
  return {
    binding: { name, grants: grants.map((grant) => grant.name) },
    served: { grants },
    isLive: true,
    tells,
    onEnd(tell: () => void) {
      tells.add(tell);
      return () => tells.delete(tell);
    },
  };
}

Deno.test("MetadataFront serves a binding's grant to its container", async () => {
  const made = scene();
  const own = live("web", [{ ...GRANT, name: "aws:web" }]);
  made.bound = [own as unknown as LiveBinding];
  assert.equal(await bodyOf(ask(made)), "200 web aws:web");
});

Deno.test("MetadataFront refuses a container with two bindings", async () => {
  const made = scene();
  made.bound = [
    live("a", [GRANT]),
    live("b", [GRANT]),
  ] as unknown[] as LiveBinding[];
  assert.equal(await bodyOf(ask(made)), "403 ambiguous-binding");
});

Deno.test("MetadataFront gives a container whose binding lost its grant no other", async () => {
  const made = scene();
  made.bound = [live("web", [])] as unknown[] as LiveBinding[];
  assert.equal(await bodyOf(ask(made)), "403 grant-gone");
});

Deno.test("MetadataFront keeps nothing at a binding for clients that ended", async () => {
  const made = scene();
  const own = live("web", [GRANT]);
  made.bound = [own as unknown as LiveBinding];
  await ask(made);
  assert.equal(own.tells.size, 1);
  (made.containers.found as FakeKnown).end();
  assert.equal(own.tells.size, 0);
});

Deno.test("MetadataFront repeats nothing of a binding that is out of date", async () => {
  const made = scene();
  const own = live("web", [GRANT]);
  made.bound = [own as unknown as LiveBinding];
  const reply = await ask(made);
  own.isLive = false;
  assert.equal(reply.repeat?.(), undefined);
});

Deno.test("MetadataFront keeps nothing at a container for clients that ended", async () => {
  const made = scene();
  for (let i = 0; i < 3; i++) {
    await ask(made);
    made.front.changed();
  }
  assert.equal((made.containers.found as FakeKnown).waiting, 0);
});

Deno.test("MetadataFront gives a container whose run has ended no other right", async () => {
  const made = scene();
  made.containers.found = new FakeKnown({ labels: { "moat.run": "gone" } });
  assert.equal(await bodyOf(ask(made)), "403 run-ended");
});

Deno.test("MetadataFront answers 503 while it is not known who is bound", async () => {
  const made = scene();
  made.bound = undefined;
  assert.equal(await bodyOf(ask(made)), "503 binding-unusable");
});
