import assert from "node:assert/strict";
import { digestToken } from "$core/binding.ts";
import type { ContainerMatch } from "$core/container.ts";
import { Answer, type EndpointHandler } from "$core/provider.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import {
  CONTAINER_ADDRESS,
  FakeContainers,
  FakeKnown,
} from "../../tests/support/fake_containers.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { toBytes } from "../../tests/support/raw_http.ts";
import { NOT_FOUND } from "../answers.ts";
import { BindingTable, LiveBinding } from "./binding_table.ts";
import { CLOSED_GATE, ContainerGate, type Gate } from "./container_gate.ts";
import { parseRequestHead } from "../http1/head.ts";
import type { Peer, Reply } from "../http1/server.ts";
import { Outbound } from "../intercept/outbound.ts";
import { createService } from "../service.ts";

const TOKEN = `moat.web.${CANARY}_-A`;
const SECRET = new Answer(200, '{"secret":true}');
const WRONG = TOKEN.replace("_-A", "AAA");

function live(
  container: ContainerMatch | "any" = { name: "web" },
  handler: EndpointHandler = () => SECRET,
): LiveBinding {
  return new LiveBinding({
    binding: {
      name: "web",
      grants: ["x"],
      ...(container !== "any" && { container }),
    },
    tokenDigest: digestToken(TOKEN),
    access: "header",
    admits: () => true,
  }, {
    routes: new Map([["/creds", handler]]),
    otherwise: NOT_FOUND,
    outbound: new Outbound(DEFAULT_POLICY, []),
    grants: [],
  });
}

function peer(more: Partial<Peer> = {}): Peer {
  return {
    localHostname: "10.79.0.1",
    localPort: 19080,
    remoteHostname: CONTAINER_ADDRESS,
    ...more,
  };
}

/** A binding of the container `web`, with a service that serves it. */
class Scene {
  readonly platform = fakePlatform();
  readonly containers = new FakeContainers();
  readonly table = new BindingTable();
  /** How often the engine was looked for. */
  opened = 0;
  readonly gate: Gate = new ContainerGate({
    platform: this.platform,
    containers: () => {
      this.opened++;
      return Promise.resolve(this.containers);
    },
  });
  readonly #service = createService(this.table, undefined, this.gate);

  constructor(binding: LiveBinding = live()) {
    this.table.set("web", [binding]);
  }

  async ask(at: Peer = peer(), token = TOKEN): Promise<Reply> {
    const head = parseRequestHead(toBytes(
      `GET /creds HTTP/1.1\r\nHost: moat-proxy:19080\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    ));
    const reply = await this.#service(head, at);
    assertNoCanary(JSON.stringify([reply.answer, this.platform.lines]));
    return reply;
  }

  async status(at?: Peer, token?: string): Promise<number> {
    return (await this.ask(at, token)).answer.status;
  }

  /** The fields of the refusals that were told. */
  get told() {
    return this.platform.lines
      .filter(({ event }) => event === "container-mismatch")
      .map(({ fields }) => fields);
  }
}

Deno.test("ContainerGate lets the container with the token through", async () => {
  assert.equal(await new Scene().status(), 200);
});

Deno.test("ContainerGate looks for no engine for other bindings", async () => {
  const scene = new Scene(live("any"));
  assert.deepEqual([await scene.status(), scene.opened], [200, 0]);
});

Deno.test("ContainerGate looks for no engine for a wrong token", async () => {
  const scene = new Scene();
  assert.deepEqual([await scene.status(peer(), WRONG), scene.opened], [401, 0]);
});

Deno.test("ContainerGate knows a container by its label", async () => {
  const scene = new Scene(live({ label: { key: "app", value: "web" } }));
  scene.containers.found = new FakeKnown({ labels: { app: "web" } });
  assert.equal(await scene.status(), 200);
});

Deno.test("ContainerGate asks by the client's address in plain spelling", async () => {
  const scene = new Scene();
  await scene.ask(peer({ remoteHostname: `::ffff:${CONTAINER_ADDRESS}` }));
  assert.deepEqual(scene.containers.asked, [CONTAINER_ADDRESS]);
});

Deno.test("ContainerGate refuses another container, and says which", async () => {
  const scene = new Scene();
  scene.containers.found = new FakeKnown({ name: "db" });
  assert.equal(await scene.status(), 401);
  assert.deepEqual(scene.told, [{
    binding: "web",
    code: "other-container",
    reason: "This is not the container that the binding names",
    address: CONTAINER_ADDRESS,
    container: "db",
  }]);
});

Deno.test("ContainerGate answers another container as a wrong token", async () => {
  const scene = new Scene();
  const wrong = await scene.ask(peer(), WRONG);
  scene.containers.found = new FakeKnown({ name: "db" });
  assert.deepEqual(await scene.ask(), wrong);
});

for (
  const problem of ["unknown", "shared", "host", "engine-unavailable"] as const
) {
  Deno.test(`ContainerGate refuses a client that is ${problem}`, async () => {
    const scene = new Scene();
    scene.containers.found = { problem, message: "why" };
    assert.deepEqual([await scene.status(), scene.told[0]?.["code"]], [
      401,
      problem,
    ]);
  });
}

Deno.test("ContainerGate refuses everybody while no engine can be opened", async () => {
  const scene = new Scene();
  scene.containers.before = () => {
    throw new Error("no engine");
  };
  assert.deepEqual([await scene.status(), scene.told[0]?.["code"]], [
    401,
    "engine-unavailable",
  ]);
});

Deno.test("ContainerGate refuses a client without an address, unasked", async () => {
  const scene = new Scene();
  const gate = scene.gate.admits(live(), { remoteHostname: "" });
  assert.deepEqual([await gate, scene.opened, scene.told[0]?.["code"]], [
    ...[false, 0],
    "no-address",
  ]);
});

Deno.test("ContainerGate counts refusals by their reason", async () => {
  const scene = new Scene();
  scene.containers.found = new FakeKnown({ name: "db" });
  await scene.ask();
  await scene.ask();
  assert.deepEqual(
    scene.platform.measured.map(({ name, labels }) => [name, labels]),
    Array(2).fill(["client_refused_total", { reason: "other-container" }]),
  );
});

Deno.test("ContainerGate tells of the same refusal once a minute", async () => {
  const scene = new Scene();
  scene.containers.found = new FakeKnown({ name: "db" });
  await scene.ask();
  await scene.platform.clock.advance(59_999);
  await scene.ask();
  assert.equal(scene.told.length, 1);
  await scene.platform.clock.advance(1);
  await scene.ask();
  assert.equal(scene.told.length, 2);
});

Deno.test("ContainerGate asks once for each connection", async () => {
  const scene = new Scene();
  const at = peer();
  await scene.ask(at);
  await scene.ask(at);
  assert.equal(scene.containers.asked.length, 1);
  await scene.ask();
  assert.equal(scene.containers.asked.length, 2);
});

Deno.test("ContainerGate asks again on a connection that was refused", async () => {
  const scene = new Scene();
  const at = peer();
  const container = scene.containers.found;
  scene.containers.found = { problem: "unknown", message: "why" };
  await scene.ask(at);
  scene.containers.found = container;
  assert.equal(await scene.status(at), 200);
});

Deno.test("ContainerGate refuses on a connection whose container ended", async () => {
  const scene = new Scene();
  const at = peer();
  await scene.ask(at);
  (scene.containers.found as FakeKnown).end();
  scene.containers.found = { problem: "unknown", message: "why" };
  assert.equal(await scene.status(at), 401);
});

Deno.test("ContainerGate takes no connection for a later start's", async () => {
  const scene = new Scene();
  const at = peer();
  await scene.ask(at);
  (scene.containers.found as FakeKnown).end();
  scene.containers.found = new FakeKnown({ startedAt: "later" });
  assert.deepEqual([await scene.status(at), await scene.status()], [401, 200]);
});

Deno.test("ContainerGate follows a container whose name changed", async () => {
  const scene = new Scene(live({ label: { key: "app", value: "web" } }));
  const labels = { app: "web" };
  scene.containers.found = new FakeKnown({ labels });
  const at = peer();
  await scene.ask(at);
  (scene.containers.found as FakeKnown).end();
  scene.containers.found = new FakeKnown({ labels, name: "renamed" });
  assert.equal(await scene.status(at), 200);
});

Deno.test("ContainerGate refuses a container that was renamed away", async () => {
  const scene = new Scene();
  const at = peer();
  await scene.ask(at);
  (scene.containers.found as FakeKnown).end();
  scene.containers.found = new FakeKnown({ name: "renamed" });
  assert.equal(await scene.status(at), 401);
});

Deno.test("createService() repeats nothing for a container that ended", async () => {
  const scene = new Scene();
  const { repeat } = await scene.ask();
  assert.equal(repeat?.(), SECRET);
  (scene.containers.found as FakeKnown).end();
  assert.equal(repeat?.(), undefined);
});

Deno.test("createService() repeats nothing once the binding is for another container", async () => {
  const scene = new Scene();
  const at = peer();
  await scene.ask(at);
  scene.table.set("web", [live({ name: "db" })]);
  assert.equal(await scene.status(at), 401);
});

Deno.test("createService() gives nothing that was made for a container that ended meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const scene = new Scene(live({ name: "web" }, () => made.promise));
  const reply = scene.ask();
  await Promise.resolve();
  await scene.platform.clock.advance(0);
  (scene.containers.found as FakeKnown).end();
  scene.containers.found = { problem: "unknown", message: "why" };
  made.resolve(SECRET);
  assert.equal((await reply).answer.status, 401);
});

Deno.test("createService() serves what took the binding's place while its client was identified", async () => {
  const other = new Answer(200, "{}");
  const scene = new Scene();
  scene.containers.before = () => {
    scene.containers.before = () => {};
    scene.table.set("web", [live({ name: "web" }, () => other)]);
  };
  assert.equal((await scene.ask()).answer, other);
});

Deno.test("createService() gives nothing of a binding that ended while its client was identified", async () => {
  const scene = new Scene();
  scene.containers.before = () => void scene.table.remove("web");
  assert.equal(await scene.status(), 401);
});

Deno.test("CLOSED_GATE lets nobody use a container's binding", () => {
  const ours = live();
  assert.deepEqual(
    [CLOSED_GATE.admits(ours, peer()), CLOSED_GATE.holds(ours, peer())],
    [false, false],
  );
});

Deno.test("onEnd() keeps nothing of connections that are over", async () => {
  const scene = new Scene();
  const at = peer();
  await scene.ask(at);
  let told = 0;
  const stop = scene.gate.onEnd(live(), at, () => void told++);
  scene.gate.onEnd(live(), at, () => void (told += 10));
  stop();
  (scene.containers.found as FakeKnown).end();
  assert.equal(told, 10);
});
