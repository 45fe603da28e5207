import assert from "node:assert/strict";
import { systemClock } from "$core/clock.ts";
import { settle } from "../../tests/support/fake_clock.ts";
import { eventually } from "../../tests/support/eventually.ts";
import {
  FakeEngine,
  type FakeEngineOptions,
} from "../../tests/support/fake_engine.ts";
import {
  type FakePlatform,
  fakePlatform,
} from "../../tests/support/fake_platform.ts";
import type { Containers } from "./containers.ts";
import { EngineApi, socketError } from "./engine_api.ts";
import { watchContainers, watchEngines } from "./watch.ts";

const IP = "10.9.0.2";
const CANARY = "canary-5d41402abc4b2a76";

/** An engine that pretends, and what watches it by a clock that the test turns. */
class Bed implements AsyncDisposable {
  readonly engine: FakeEngine;
  readonly platform: FakePlatform;
  readonly containers: Containers;

  private constructor(
    engine: FakeEngine,
    platform: FakePlatform,
    containers: Containers,
  ) {
    this.engine = engine;
    this.platform = platform;
    this.containers = containers;
  }

  static async open(
    options: FakeEngineOptions & {
      /** Makes what is there at first. */
      first?: (engine: FakeEngine) => void | Promise<void>;
      /** Further sockets. */
      sockets?: string[];
    } = {},
  ): Promise<Bed> {
    const platform = fakePlatform({ now: Date.now() });
    const engine = await FakeEngine.start({
      now: () => platform.clock.now(),
      ...options,
    });
    await options.first?.(engine);
    const containers = watchContainers({
      platform,
      sockets: [engine.socket, ...options.sockets ?? []],
    });
    return new Bed(engine, platform, containers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.containers.close();
    await this.engine[Symbol.asyncDispose]();
  }

  /** Waits until the engine was asked and nothing is on its way. */
  async synced(size: number): Promise<void> {
    await eventually("the list", () => this.containers.size === size);
  }

  /** A container's name, or why there is none; turns the clock until it is known. */
  async who(address = IP): Promise<string> {
    let found: string | undefined;
    this.containers.identify(address).then((known) => {
      found = "problem" in known ? known.problem : known.facts.name;
    });
    let polls = 0;
    return await eventually("an answer", async () => {
      // After what is on its way has come.
      if (++polls > 10) await this.platform.clock.advance(100);
      return found;
    });
  }

  async known(address = IP) {
    const found = await this.containers.identify(address);
    assert.ok("facts" in found);
    return found;
  }

  logged(event: string) {
    return this.platform.lines.filter((line) => line.event === event)
      .map(({ fields }) => fields);
  }
}

Deno.test("identify() finds a container that was there before", async () => {
  await using bed = await Bed.open({
    first: (engine) => void engine.addContainer({ name: "web", ip: IP }),
  });
  assert.equal(await bed.who(), "web");
});

Deno.test("identify() knows nobody whose labels are too long, but all others", async () => {
  await using bed = await Bed.open();
  await bed.synced(0);
  const labels = { long: "x".repeat(300 << 10) };
  bed.engine.addContainer({ name: "web", ip: IP });
  bed.engine.addContainer({ name: "long", ip: "10.9.0.3", labels });
  assert.equal(await bed.who("10.9.0.3"), "unknown");
  assert.equal(await bed.who(), "web");
  const [line, ...more] = bed.logged("container-unreadable");
  assert.match(String(line?.["reason"]), /more than 256 KiB/);
  assert.deepEqual([more, bed.logged("engine-lost")], [[], []]);
});

Deno.test("identify() names no container for a client that came before it", async () => {
  await using bed = await Bed.open();
  await bed.synced(0);
  const found = bed.who();
  await bed.platform.clock.advance(5);
  bed.engine.addContainer({ name: "web", ip: IP });
  assert.equal(await found, "unknown");
  assert.equal(await bed.who(), "web");
});

Deno.test("identify() finds a container whose events are late", async () => {
  await using bed = await Bed.open();
  await bed.synced(0);
  bed.engine.isSilent = true;
  bed.engine.addContainer({ name: "web", ip: IP });
  await bed.platform.clock.advance(10);
  const found = bed.who();
  bed.engine.release();
  assert.equal(await found, "web");
});

for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
  Deno.test(`identify() takes ${address} for the host`, async () => {
    await using bed = await Bed.open();
    assert.equal(await bed.who(address), "host");
  });
}

Deno.test("identify() finds an IPv4 address in IPv6 spelling", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ name: "web", ip: IP });
  assert.equal(await bed.who(`::ffff:${IP}`), "web");
});

Deno.test("identify() finds an IPv6 address", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ name: "web", ip6: "fd00:77::2" });
  assert.equal(await bed.who("fd00:77:0::2"), "web");
});

Deno.test("identify() gives nobody after a second", async () => {
  await using bed = await Bed.open();
  await bed.synced(0);
  let isDone = false;
  const found = bed.containers.identify(IP).finally(() => isDone = true);
  await bed.platform.clock.advance(999);
  assert.equal(isDone, false);
  await bed.platform.clock.advance(1);
  assert.equal("problem" in await found && isDone, true);
});

Deno.test("identify() gives the same object while nothing changes", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ name: "web", ip: IP });
  assert.equal(await bed.known(), await bed.known());
});

Deno.test("identify() asks about a container once for many clients", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  const before = bed.engine.asked.inspect;
  await Promise.all(Array.from({ length: 50 }, () => bed.known()));
  assert.ok(bed.engine.asked.inspect - before <= 2);
});

Deno.test("identify() lists no containers for one that is known", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ name: "web", ip: IP });
  for (let i = 0; i < 5; i++) await bed.known();
  await bed.platform.clock.advance(1000);
  for (let i = 0; i < 5; i++) await bed.known();
  assert.equal(bed.engine.asked.list, 1);
});

Deno.test("identify() lists containers for those unknown, four times a second", async () => {
  await using bed = await Bed.open();
  await bed.synced(0);
  const asked = Array.from(
    { length: 100 },
    (_, i) => bed.containers.identify(`10.9.1.${i}`),
  );
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await bed.platform.clock.advance(50);
  }
  await Promise.all(asked);
  await eventually("a second list", () => bed.engine.asked.list > 1);
  const { list } = bed.engine.asked;
  assert.ok(list <= 5, `${list} lists`);
});

Deno.test("identify() finds a container whose events never come", async () => {
  await using bed = await Bed.open();
  await bed.synced(0);
  bed.engine.isSilent = true;
  bed.engine.addContainer({ name: "web", ip: IP });
  assert.equal(await bed.who(), "web");
});

Deno.test("identify() gives the next one although the end of the last is not told", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const old = engine.addContainer({ name: "old", ip: IP });
  await bed.known();
  const before = engine.asked.inspect;
  engine.isSilent = true;
  engine.die(old.id);
  engine.addContainer({ name: "new", ip: IP });
  await bed.platform.clock.advance(10);
  const found = bed.who();
  await eventually("a question", () => engine.asked.inspect > before);
  engine.release();
  assert.equal(await found, "new");
});

Deno.test("identify() drops an answer that an end has overtaken", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const { id } = engine.addContainer({ name: "old", ip: IP });
  const known = await bed.known();
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  engine.delay = () => {
    asked.resolve();
    return gate.promise;
  };
  const found = bed.who();
  await asked.promise;
  engine.delay = undefined;
  engine.die(id);
  await eventually("the event", () => !known.isCurrent);
  gate.resolve();
  assert.equal(await found, "unknown");
});

for (const kind of ["docker", "podman"] as const) {
  /** A container of the usual address, and a bed of one engine. */
  const openShared = async () => {
    const bed = await Bed.open({ kind });
    const { id } = bed.engine.addContainer({ name: "web", ip: IP });
    return { bed, found: await bed.known(), networkMode: `container:${id}` };
  };

  Deno.test(`identify() refuses those who share a network of ${kind}`, async () => {
    const { bed, found, networkMode } = await openShared();
    await using _ = bed;
    const { id } = bed.engine.addContainer({ networkMode });
    await eventually("its end", () => !found.isCurrent);
    assert.equal(await bed.who(), "shared");
    bed.engine.die(id);
    assert.equal(await bed.who(), "web");
  });

  Deno.test(`identify() does not mind who never ran in a network of ${kind}`, async () => {
    const { bed, found, networkMode } = await openShared();
    await using _ = bed;
    bed.engine.addContainer({ networkMode, isStarted: false });
    await bed.synced(2);
    assert.equal(await bed.who(), "web");
    assert.equal(found.isCurrent, true);
  });

  Deno.test(`identify() refuses those who shared a network of ${kind} before`, async () => {
    await using bed = await Bed.open({
      kind,
      first: (engine) => {
        const { id } = engine.addContainer({ name: "web", ip: IP });
        engine.addContainer({ networkMode: `container:${id}` });
      },
    });
    await bed.synced(2);
    assert.equal(await bed.who(), "shared");
  });

  Deno.test(`identify() refuses who shares a network of ${kind} again, before it is told`, async () => {
    const { bed, networkMode } = await openShared();
    await using _ = bed;
    const { id } = bed.engine.addContainer({ networkMode });
    await bed.synced(2);
    bed.engine.die(id);
    await bed.synced(1);
    assert.equal(await bed.who(), "web");
    bed.engine.isSilent = true;
    bed.engine.start(id);
    assert.equal(await bed.who(), "shared");
  });

  Deno.test(`identify() refuses who had ended in a network of ${kind} before, and runs untold`, async () => {
    let id = "";
    await using bed = await Bed.open({
      kind,
      first: (engine) => {
        const web = engine.addContainer({ name: "web", ip: IP });
        const networkMode = `container:${web.id}`;
        ({ id } = engine.addContainer({ networkMode }));
        engine.die(id);
      },
    });
    assert.equal(await bed.who(), "web");
    bed.engine.isSilent = true;
    bed.engine.start(id);
    assert.equal(await bed.who(), "shared");
  });

  Deno.test(`identify() refuses who shares a network of ${kind} through one that is gone`, async () => {
    const { bed, networkMode } = await openShared();
    await using _ = bed;
    const { engine } = bed;
    const between = engine.addContainer({ networkMode });
    const far = engine.addContainer({
      networkMode: `container:${between.id}`,
    });
    await bed.synced(3);
    engine.die(between.id, { isRemoved: kind === "docker" });
    await bed.synced(2);
    assert.equal(await bed.who(), "shared");
    engine.die(far.id);
    assert.equal(await bed.who(), "web");
  });

  Deno.test(`identify() refuses who joins a network of ${kind} and cannot be read`, async () => {
    const { bed, networkMode } = await openShared();
    await using _ = bed;
    const { engine } = bed;
    engine.addContainer({ name: "other", ip: "10.9.0.3" });
    const id = "d".repeat(64);
    engine.unreadable.add(id);
    engine.addContainer({ id, networkMode });
    await eventually(
      "the failure",
      () => bed.logged("container-unreadable")[0],
    );
    for (let i = 0; i < 3; i++) {
      assert.equal(await bed.who(), "engine-unavailable");
    }
    assert.equal(await bed.who("10.9.0.3"), "other");
    assert.equal(bed.logged("engine-lost").length, 0);
    engine.die(id, { isRemoved: true });
    assert.equal(await bed.who(), "web");
  });

  Deno.test(`identify() refuses who shares a network of ${kind} and cannot be read any more`, async () => {
    const { bed, networkMode } = await openShared();
    await using _ = bed;
    const { id } = bed.engine.addContainer({ networkMode });
    assert.equal(await bed.who(), "shared");
    bed.engine.unreadable.add(id);
    bed.engine.rename(id, "unreadable");
    await eventually(
      "the failure",
      () => bed.logged("container-unreadable")[0],
    );
    for (let i = 0; i < 3; i++) {
      assert.equal(await bed.who(), "engine-unavailable");
    }
  });

  Deno.test(`an inspection of ${kind} that hangs is that container's problem`, async () => {
    await using bed = await Bed.open({ kind });
    const { engine, platform } = bed;
    engine.addContainer({ name: "web", ip: IP });
    const slow = engine.addContainer({ ip: "10.9.0.3" });
    const known = await bed.known();
    const ended = await bed.known("10.9.0.3");
    const gate = Promise.withResolvers<void>();
    engine.delay = (id) => id === slow.id ? gate.promise : undefined;
    const before = engine.asked.inspect;
    engine.rename(slow.id, "slow");
    await eventually("a question", () => engine.asked.inspect > before);
    await platform.clock.advance(5000);
    await eventually("its end", () => bed.logged("container-unreadable")[0]);
    assert.deepEqual([known.isCurrent, ended.isCurrent], [true, false]);
    assert.equal(await bed.who(), "web");
    assert.equal(bed.logged("engine-lost").length, 0);
    gate.resolve();
  });
}

Deno.test("identify() refuses a new one in a network of podman, before it is told", async () => {
  await using bed = await Bed.open({ kind: "podman" });
  const { id } = bed.engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  bed.engine.isSilent = true;
  bed.engine.addContainer({ networkMode: `container:${id}` });
  assert.equal(await bed.who(), "shared");
});

Deno.test("identify() refuses a new one in a network of docker, before it is described", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const web = engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  const gate = Promise.withResolvers<void>();
  engine.delay = (id) => id === web.id ? undefined : gate.promise;
  const before = engine.asked.inspect;
  const networkMode = `container:${web.id}`;
  engine.addContainer({ networkMode });
  await eventually("its inspection", () => engine.asked.inspect > before);
  const found = bed.who();
  await eventually("the pause", async () => {
    await bed.platform.clock.advance(50);
    return engine.asked.list > 1;
  });
  gate.resolve();
  assert.equal(await found, "shared");
});

Deno.test("a new container that cannot be described keeps nobody else waiting", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const web = engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  const gate = Promise.withResolvers<void>();
  engine.delay = (id) => id === web.id ? undefined : gate.promise;
  const before = engine.asked.inspect;
  engine.addContainer();
  await eventually("its inspection", () => engine.asked.inspect > before);
  const found = bed.known();
  await eventually("the list", async () => {
    await bed.platform.clock.advance(50);
    return engine.asked.list > 1;
  });
  assert.equal((await found).facts.name, "web");
  gate.resolve();
});

Deno.test("identify() takes it for shared when too many may share it", async () => {
  await using bed = await Bed.open({
    first: (engine) => {
      const { id } = engine.addContainer({ ip: IP });
      const networkMode = `container:${id}`;
      for (let i = 0; i < 64; i++) {
        engine.addContainer({ networkMode, isStarted: false });
      }
    },
  });
  await bed.synced(65);
  assert.equal(await bed.who(), "shared");
});

Deno.test("identify() lists containers of podman for each who is new, once for many", async () => {
  await using bed = await Bed.open({ kind: "podman" });
  bed.engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  const { asked } = bed.engine;
  let before = asked.list;
  await bed.known();
  assert.equal(asked.list, before + 1);
  before = asked.list;
  await Promise.all(Array.from({ length: 50 }, () => bed.known()));
  assert.ok(asked.list - before <= 2, `${asked.list - before} lists`);
});

Deno.test("identify() takes the events of an unknown engine for late", async () => {
  await using bed = await Bed.open({
    first: (engine) => void (engine.server = "nginx"),
  });
  bed.engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  const before = bed.engine.asked.list;
  await bed.known();
  assert.equal(bed.engine.asked.list, before + 1);
});

Deno.test("identify() refuses an address of two engines", async () => {
  await using other = await FakeEngine.start();
  other.addContainer({ name: "other", ip: IP });
  await using bed = await Bed.open({ sockets: [other.socket] });
  bed.engine.addContainer({ name: "web", ip: IP });
  await bed.synced(2);
  assert.equal(await bed.who(), "shared");
});

Deno.test("identify() finds a container although another engine is missing", async () => {
  await using bed = await Bed.open({ sockets: ["/nonexistent/moat.sock"] });
  bed.engine.addContainer({ name: "web", ip: IP });
  assert.equal(await bed.who(), "web");
  assert.equal(await bed.who("10.9.0.3"), "engine-unavailable");
});

Deno.test("identify() finds a container of swarm by its way to the host", async () => {
  await using bed = await Bed.open();
  const gatewayIp = "172.19.0.3";
  bed.engine.addContainer({ name: "web", ip: "10.0.1.2", gatewayIp });
  assert.equal(await bed.who(gatewayIp), "web");
});

const ENDS: Record<string, (engine: FakeEngine, id: string) => void> = {
  "it dies": (engine, id) => engine.die(id),
  "it is renamed": (engine, id) => engine.rename(id, "other"),
  "it starts anew": (engine, id) => {
    engine.die(id);
    engine.start(id);
  },
  "it is disconnected": (engine, id) =>
    engine.event("disconnect", { id, name: "" }),
  "the engine closes its events": (engine) => void engine.restartEngine(),
  "the engine sends garbage": (engine) => engine.sendGarbage(),
};

for (const [name, end] of Object.entries(ENDS)) {
  Deno.test(`a known container ends when ${name}`, async () => {
    await using bed = await Bed.open();
    const { id } = bed.engine.addContainer({ name: "web", ip: IP });
    const found = await bed.known();
    let told = 0;
    found.onEnd(() => told++);
    end(bed.engine, id);
    await eventually("its end", () => !found.isCurrent);
    assert.equal(told, 1);
    found.onEnd(() => told++);
    assert.equal(told, 2);
  });
}

for (const event of ["pause", "kill", "exec_start: sh", "cleanup"]) {
  Deno.test(`a known container goes on after ${event}`, async () => {
    await using bed = await Bed.open();
    const container = bed.engine.addContainer({ name: "web", ip: IP });
    const found = await bed.known();
    bed.engine.event(event, container);
    assert.equal(await bed.known(), found);
    assert.ok(found.isCurrent);
  });
}

Deno.test("a paused container keeps its address", async () => {
  await using bed = await Bed.open();
  const { id } = bed.engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  bed.engine.pause(id);
  assert.equal(await bed.who(), "web");
});

Deno.test("events out of order leave what is", async () => {
  await using bed = await Bed.open();
  const container = bed.engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  bed.engine.event("start", container);
  bed.engine.event("die", container);
  assert.equal(await bed.who(), "web");
});

for (const hours of [-1, 1]) {
  Deno.test(`a clock that jumps by ${hours} h changes nobody`, async () => {
    const engine = await FakeEngine.start();
    const platform = fakePlatform();
    let jump = 0;
    const clock = {
      now: () => systemClock.now() + jump,
      after: systemClock.after,
    };
    const containers = watchContainers({
      platform: { ...platform, clock },
      sockets: [engine.socket],
    });
    try {
      engine.addContainer({ name: "web", ip: IP });
      const found = await containers.identify(IP);
      jump = hours * 3_600_000;
      assert.equal(await containers.identify(IP), found);
    } finally {
      await containers.close();
      await engine[Symbol.asyncDispose]();
    }
  });
}

Deno.test("identify() waits while the engine restarts", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ name: "web", ip: IP });
  const before = await bed.known();
  await bed.engine.stopEngine();
  await eventually("the loss", () => !before.isCurrent);
  const found = bed.containers.identify(IP);
  await bed.engine.restartEngine();
  await eventually("the list", async () => {
    await bed.platform.clock.advance(50);
    return bed.containers.size === 1;
  });
  const known = await found;
  assert.equal("facts" in known && known.facts.name, "web");
});

Deno.test("identify() forgets who ended while the engine was away", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const { id } = engine.addContainer({ name: "web", ip: IP });
  const before = await bed.known();
  await engine.stopEngine();
  await eventually("the loss", () => !before.isCurrent);
  engine.die(id);
  await engine.restartEngine();
  await eventually("the list", async () => {
    await bed.platform.clock.advance(250);
    return engine.asked.list > 1;
  });
  assert.equal(await bed.who(), "unknown");
});

Deno.test("identify() gives up on an engine that does not answer", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  engine.addContainer({ name: "web", ip: IP });
  await bed.known();
  const gate = Promise.withResolvers<void>();
  engine.delay = () => gate.promise;
  assert.equal(await bed.who(), "engine-unavailable");
  gate.resolve();
});

Deno.test("one container that cannot be read takes no other away", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const { id } = engine.addContainer({ name: "web", ip: IP });
  engine.addContainer({ name: "other", ip: "10.9.0.3" });
  const other = await bed.known("10.9.0.3");
  engine.unreadable.add(id);
  assert.equal(await bed.who(), "engine-unavailable");
  engine.unreadable.clear();
  assert.equal(await bed.known("10.9.0.3"), other);
  assert.equal(await bed.who(), "web");
  assert.equal(bed.logged("engine-lost").length, 0);
});

const BROKEN: Record<string, { body: string; status?: number }> = {
  "no JSON": { body: `<html>${CANARY}` },
  "another shape": { body: `{"message":"${CANARY}"}` },
  "a list of others": { body: `[{"Id":"${CANARY}"}]` },
  "not found": { body: CANARY, status: 404 },
  "an error": { body: CANARY, status: 500 },
};

for (const [name, broken] of Object.entries(BROKEN)) {
  Deno.test(`an engine that answers ${name} is garbage, logged once`, async () => {
    await using bed = await Bed.open({
      first: (engine) => void (engine.broken = broken),
    });
    await eventually("several tries", async () => {
      await bed.platform.clock.advance(1000);
      return bed.engine.asked.list + bed.engine.asked.events > 4;
    });
    const codes = bed.logged("engine-lost").map(({ code }) => code);
    assert.deepEqual(codes, ["engine-garbage"]);
    assert.equal(JSON.stringify(bed.platform.lines).includes(CANARY), false);
    bed.engine.broken = undefined;
    bed.engine.addContainer({ name: "web", ip: IP });
    await eventually("its recovery", async () => {
      await bed.platform.clock.advance(1000);
      return bed.containers.size === 1;
    });
    assert.equal(await bed.who(), "web");
  });
}

Deno.test("an event that is too long is read from its beginning", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const { id } = engine.addContainer({ name: "web", ip: IP });
  engine.addContainer({ name: "other", ip: "10.9.0.3" });
  const [web, other] = [await bed.known(), await bed.known("10.9.0.3")];
  const head =
    `{"Type":"container","Action":"die","Actor":{"ID":"${id}","Attributes":{"a":"`;
  for (const piece of [head, ...Array(20).fill("x".repeat(1 << 18))]) {
    engine.sendGarbage(piece);
  }
  engine.sendGarbage(`"}},"timeNano":1}\n`);
  await eventually("its effect", () => !web.isCurrent);
  assert.equal(await bed.known("10.9.0.3"), other);
  assert.equal(bed.logged("engine-lost").length, 0);
});

Deno.test("an event that is too long and none from its beginning is garbage", async () => {
  await using bed = await Bed.open();
  await eventually("the list", () => bed.logged("engine-connected").length);
  for (let i = 0; i < 5; i++) bed.engine.sendGarbage("x".repeat(1 << 18));
  bed.engine.sendGarbage("\n");
  const line = await eventually("the loss", () => bed.logged("engine-lost")[0]);
  assert.equal(line["code"], "engine-garbage");
});

Deno.test("an engine that is missing is logged once, until it comes", async () => {
  const directory = await Deno.makeTempDir();
  const socket = `${directory}/engine.sock`;
  const platform = fakePlatform({ now: Date.now() });
  const containers = watchContainers({ platform, sockets: [socket] });
  try {
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await platform.clock.advance(5000);
    }
    const lost = platform.lines.filter(({ event }) => event === "engine-lost");
    assert.equal(lost.length, 1);
    assert.match(`${lost[0]?.fields["message"]}`, /there is no such socket/);
    await using engine = await FakeEngine.start({ socket });
    engine.addContainer({ ip: IP });
    await eventually("the engine", async () => {
      await platform.clock.advance(1000);
      return containers.size === 1;
    });
    const last = platform.lines.at(-1);
    assert.deepEqual(last, {
      event: "engine-connected",
      fields: { engine: socket, containers: 1 },
    });
  } finally {
    await containers.close();
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("an engine is tried again after 0.25 s, and at last every 5 s", async () => {
  const platform = fakePlatform();
  const tries: number[] = [];
  const containers = watchEngines({
    platform,
    host: { has: () => false },
    engines: [{
      socket: "/model",
      events: () => {
        tries.push(platform.clock.now());
        return Promise.reject(socketError("/model", new Error()));
      },
      list: () => Promise.resolve([]),
      inspect: () => Promise.resolve(undefined),
      close: () => {},
    }],
  });
  await settle();
  await platform.clock.advance(30_000);
  await containers.close();
  const delays = tries.slice(1).map((at, i) => at - (tries[i] ?? 0));
  assert.deepEqual(delays.slice(0, 7), [
    250,
    500,
    1000,
    2000,
    4000,
    5000,
    5000,
  ]);
});

const SOCKETS: { error: unknown; code: string; message: RegExp }[] = [
  {
    error: new Deno.errors.PermissionDenied(CANARY),
    code: "engine-denied",
    message: /permission denied/,
  },
  {
    error: new Deno.errors.NotFound(CANARY),
    code: "engine-unavailable",
    message: /there is no such socket/,
  },
  {
    error: new Deno.errors.ConnectionRefused(CANARY),
    code: "engine-unavailable",
    message: /nobody listens/,
  },
  {
    error: new TypeError(CANARY),
    code: "engine-unavailable",
    message: /did not answer/,
  },
];

for (const { error, code, message } of SOCKETS) {
  Deno.test(`socketError() says ${message.source}`, () => {
    const found = socketError("/engine.sock", error);
    assert.equal(found.code, code);
    assert.match(found.message, message);
    assert.ok(found.hint);
    assert.equal(found.message.includes(CANARY), false);
  });
}

Deno.test("inspect() takes the description of another container for garbage", async () => {
  await using engine = await FakeEngine.start();
  const { id } = engine.addContainer();
  const api = new EngineApi(engine.socket, systemClock);
  // Engines also know containers by the beginning of their id.
  const other = engine.addContainer({ id: "e".repeat(64) });
  engine.alias = { [other.id]: id };
  await assert.rejects(api.inspect(other.id), { code: "engine-garbage" });
  api.close();
});

Deno.test("an engine whose file is no socket is unavailable", async () => {
  const socket = await Deno.makeTempFile();
  const api = new EngineApi(socket, systemClock);
  await assert.rejects(
    api.list(new AbortController().signal),
    { code: "engine-unavailable" },
  );
  api.close();
  await Deno.remove(socket);
});

Deno.test("no engine at all is unavailable", async () => {
  const platform = fakePlatform();
  const containers = watchContainers({ platform, sockets: [] });
  const found = containers.identify(IP);
  await platform.clock.advance(1000);
  assert.equal("problem" in await found, true);
  assert.deepEqual(await found, {
    problem: "engine-unavailable",
    message: "The container engine cannot be asked right now",
  });
  await containers.close();
});

Deno.test("identify() finds one of ten thousand, which are listed once", async () => {
  await using bed = await Bed.open({
    first: (engine) => {
      for (let i = 0; i < 10_000; i++) {
        engine.addContainer({ ip: `10.${80 + (i >> 8)}.${i & 255}.2` });
      }
      engine.addContainer({ name: "web", ip: IP });
    },
  });
  await bed.synced(10_001);
  assert.equal(await bed.who(), "web");
  assert.deepEqual(bed.engine.asked, {
    list: 1,
    inspect: 1,
    events: 1,
    network: 0,
  });
});

Deno.test("the log has nothing of a container's environment", async () => {
  await using bed = await Bed.open();
  const { engine } = bed;
  const { id } = engine.addContainer({ ip: IP, env: { TOKEN: CANARY } });
  await bed.known();
  engine.rename(id, "other");
  engine.sendGarbage(`{"${CANARY}":1}\n`);
  await eventually("the loss", () => bed.logged("engine-lost").length > 0);
  assert.equal(JSON.stringify(bed.platform.lines).includes(CANARY), false);
});

Deno.test("metrics count containers and look-ups", async () => {
  await using bed = await Bed.open();
  bed.engine.addContainer({ ip: IP });
  await bed.known();
  await bed.who("10.9.0.99");
  await bed.who("127.0.0.1");
  const { measured } = bed.platform;
  const outcomes = measured.filter(({ name }) =>
    name === "container_look_ups_total"
  ).map(({ labels }) => labels["outcome"]);
  assert.deepEqual(outcomes, ["container", "unknown", "host"]);
  const known = measured.filter(({ name }) => name === "containers_known");
  assert.equal(known.at(-1)?.value, 1);
});
