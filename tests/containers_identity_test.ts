/**
 * Container identity with real engines: what each of them tells of its
 * containers, and that no address leads to one that had it before.
 */

import assert from "node:assert/strict";
import { systemClock } from "$core/clock.ts";
import { silentLog } from "$core/log.ts";
import { noMetrics } from "$core/metrics.ts";
import type { Containers } from "$proxy/containers/containers.ts";
import { watchContainers } from "$proxy/containers/watch.ts";
import { testUnless } from "./support/conditional.ts";
import {
  type Bed,
  bedReason,
  type Engine,
  openBed,
  servePodman,
} from "./support/containers.ts";
import { eventually } from "./support/eventually.ts";
import { run } from "./support/run.ts";

/** How often an address may be reused; podman takes the next one each time. */
const ROUNDS: Readonly<Record<Engine, number>> = { docker: 8, podman: 2 };

/** How often somebody joins a network. */
const JOINS = 10;

/** An engine, what watches it, and its containers. */
class IdentityBed implements AsyncDisposable {
  readonly socket: string;
  readonly #bed: Bed;
  readonly #isPodman: boolean;
  #service: AsyncDisposable | undefined;
  #containers: Containers | undefined;

  private constructor(bed: Bed, engine: Engine) {
    this.#bed = bed;
    this.#isPodman = engine === "podman";
    this.socket = `${bed.directory}/${engine}.sock`;
  }

  static async open(engine: Engine): Promise<IdentityBed> {
    const bed = new IdentityBed(await openBed(engine), engine);
    await bed.startService();
    bed.#containers = watchContainers({
      platform: { clock: systemClock, log: silentLog, metrics: noMetrics },
      sockets: [bed.socket],
    });
    return bed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containers?.close();
    await this.stopService();
    await this.#bed.close();
  }

  async startService(): Promise<void> {
    if (!this.#isPodman) return;
    this.#service = await servePodman(this.#bed, this.socket);
  }

  async stopService(): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    this.#service = undefined;
  }

  /** Runs a command of the engine; gives what it prints. */
  async ask(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run([this.#bed.engine, ...args]);
    assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  /** Starts a container that sleeps; gives its id. */
  async start(...options: string[]): Promise<string> {
    return await this.ask("run", "--detach", ...this.command(options));
  }

  /** What follows `run` or `create`. */
  command(
    options: readonly string[],
    argv: readonly string[] = ["sleep", "600"],
  ): string[] {
    const { mounts, image } = this.#bed;
    return [...mounts, ...options, image, ...argv];
  }

  /** What follows `run` or `create` for one that says so when it begins. */
  async telling(options: readonly string[]): Promise<string[]> {
    const folder = `${this.#bed.directory}/begun`;
    await Deno.mkdir(folder, { recursive: true });
    await run(["mkfifo", `${folder}/fifo`]);
    const argv = ["sh", "-c", "echo begun > /opt/fifo; sleep 5"];
    return this.command([...options, "--volume", `${folder}:/opt`], argv);
  }

  /** Who has an address at the moment when a {@link telling} container begins. */
  async identifyFirst(address: string, ...start: string[]): Promise<string> {
    // To open it here would block all.
    const begun = run(["cat", `${this.#bed.directory}/begun/fifo`]);
    const found = begun.then(() => this.identify(address));
    await this.ask(...start);
    return await found;
  }

  async remove(...ids: string[]): Promise<void> {
    const now = this.#isPodman ? ["--time", "0"] : [];
    await this.ask("rm", "--force", ...now, ...ids);
  }

  /** All addresses of a container, as the engine's own command tells them. */
  async addresses(id: string): Promise<string[]> {
    const template =
      "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}";
    const text = await this.ask("inspect", "--format", template, id);
    return text.split(/\s+/).filter(Boolean);
  }

  async address(id: string): Promise<string> {
    const [address] = await this.addresses(id);
    assert.ok(address, `${id} has no address`);
    return address;
  }

  /** A container's id, or why there is none. */
  async identify(address: string): Promise<string> {
    const found = await this.#containers?.identify(address);
    assert.ok(found);
    return "problem" in found ? found.problem : found.facts.id;
  }

  /** What is known of a container. */
  async facts(address: string) {
    const found = await this.#containers?.identify(address);
    assert.ok(found && "facts" in found);
    return found;
  }
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  testUnless(bedReason(engine), `containers of ${engine}`, async (t) => {
    await using bed = await IdentityBed.open(engine);
    const ask = (...args: string[]) => bed.ask(...args);
    const rounds = ROUNDS[engine];
    await ask("network", "create", "two");
    await ask(
      ...["network", "create", "--ipv6", "--subnet", "fd00:77::/64"],
      ...["--subnet", "10.77.0.0/24", "one"],
    );

    await t.step("on the default bridge", async () => {
      const id = await bed.start("--name", "first", "--env", "IAM_ROLE=x");
      const { facts } = await bed.facts(await bed.address(id));
      assert.equal(facts.id, id);
      assert.equal(facts.name, "first");
      assert.equal(facts.env["IAM_ROLE"], "x");
      assert.equal(facts.image, "localhost/moat:1");
    });

    await t.step("on a network of the user, by IPv4 and IPv6", async () => {
      const id = await bed.start("--network", "one", "--label", "a=b");
      const addresses = await bed.addresses(id);
      assert.equal(addresses.length, 2);
      for (const address of addresses) {
        const { facts } = await bed.facts(address);
        assert.deepEqual([facts.id, facts.labels["a"]], [id, "b"]);
      }
      await bed.remove(id);
    });

    await t.step("on two networks, and on one of them again", async () => {
      const id = await bed.start("--network", "one");
      await ask("network", "connect", "two", id);
      const both = (await bed.addresses(id)).filter((a) => !a.includes(":"));
      assert.equal(both.length, 2);
      for (const address of both) {
        assert.equal(await bed.identify(address), id);
      }
      await ask("network", "disconnect", "two", id);
      const left = await bed.address(id);
      const lost = both.find((address) => address !== left) ?? "";
      // Podman does not tell which network was left, and tells it late: a
      // connection from before it told is refused, the next one is not.
      await eventually(
        "what is left",
        async () => await bed.identify(left) === id,
      );
      assert.equal(await bed.identify(lost), "unknown");
      await bed.remove(id);
    });

    await t.step("paused, resumed and renamed", async () => {
      const id = await bed.start("--name", "before");
      const address = await bed.address(id);
      await ask("pause", id);
      assert.equal(await bed.identify(address), id);
      await ask("unpause", id);
      const found = await bed.facts(address);
      assert.equal(found.facts.id, id);
      await ask("rename", id, "after");
      assert.equal((await bed.facts(address)).facts.name, "after");
      assert.equal(found.isCurrent, false);
      await bed.remove(id);
    });

    await t.step("stopped, and started again", async () => {
      const id = await bed.start();
      const address = await bed.address(id);
      const before = await bed.facts(address);
      await ask("stop", "--time", "0", id);
      await eventually("its end", () => !before.isCurrent);
      assert.equal(await bed.identify(address), "unknown");
      await ask("start", id);
      const { facts } = await bed.facts(await bed.address(id));
      assert.equal(facts.id, id);
      assert.notEqual(facts.startedAt, before.facts.startedAt);
      await bed.remove(id);
    });

    await t.step("in another one's network", async () => {
      const id = await bed.start();
      const address = await bed.address(id);
      const joined = ["--network", `container:${id}`];
      const found = await bed.facts(address);
      const other = await ask("create", ...bed.command(joined));
      assert.equal(await bed.identify(address), id);
      await ask("start", other);
      await eventually("their sharing", () => !found.isCurrent);
      assert.equal(await bed.identify(address), "shared");
      await bed.remove(other);
      assert.equal(await bed.identify(address), id);
      await bed.remove(id);
    });

    await t.step(`${JOINS} times one that joined before starts`, async () => {
      const id = await bed.start();
      const address = await bed.address(id);
      const options = ["--network", `container:${id}`];
      const other = await ask("create", ...await bed.telling(options));
      for (let round = 0; round < JOINS; round++) {
        const found = await bed.identifyFirst(address, "start", other);
        assert.equal(found, "shared", `round ${round}`);
        await ask("kill", other);
        await ask("wait", other);
        assert.equal(await bed.identify(address), id);
      }
      await bed.remove(other);
      await bed.remove(id);
    });

    await t.step(`${JOINS} times a new one joins`, async () => {
      const id = await bed.start();
      const address = await bed.address(id);
      const options = ["--detach", "--network", `container:${id}`];
      const command = await bed.telling(options);
      for (let round = 0; round < JOINS; round++) {
        const name = `joiner${round}`;
        const found = await bed.identifyFirst(
          ...[address, "run", "--name", name] as const,
          ...command,
        );
        assert.equal(found, "shared", `round ${round}`);
        await bed.remove(name);
      }
      assert.equal(await bed.identify(address), id);
      await bed.remove(id);
    });

    engine === "podman" &&
      await t.step("by the path of its network", async () => {
        const id = await bed.start("--network", "two");
        const address = await bed.address(id);
        assert.equal(await bed.identify(address), id);
        const pid = await ask("inspect", "--format", "{{.State.Pid}}", id);
        const options = ["--network", `ns:/proc/${pid}/ns/net`];
        const command = await bed.telling(["--detach", ...options]);
        const found = await bed.identifyFirst(address, "run", ...command);
        assert.equal(found, "shared");
        await ask("network", "connect", "one", id);
        for (const each of await bed.addresses(id)) {
          await eventually(
            `${each} is shared`,
            async () => await bed.identify(each) === "shared",
          );
        }
        await bed.remove(await ask("ps", "--latest", "--quiet"));
        assert.equal(await bed.identify(address), id);
        await bed.remove(id);
      });

    await t.step("after others were pruned", async () => {
      const id = await bed.start();
      const found = await bed.facts(await bed.address(id));
      await ask("container", "prune", "--force");
      await ask("network", "prune", "--force");
      const next = await bed.start();
      assert.equal(await bed.identify(await bed.address(next)), next);
      assert.equal(found.isCurrent, true);
      await bed.remove(id, next);
    });

    await t.step("in its network through one that ended", async () => {
      const id = await bed.start();
      const address = await bed.address(id);
      const between = await bed.start("--network", `container:${id}`);
      const far = await bed.start("--network", `container:${between}`);
      await ask("kill", between);
      await ask("wait", between);
      // Podman removes none whose network others share.
      if (engine === "docker") await bed.remove(between);
      assert.equal(await bed.identify(address), "shared");
      await bed.remove(far);
      assert.equal(await bed.identify(address), id);
      if (engine === "podman") await bed.remove(between);
      await bed.remove(id);
    });

    await t.step(`${rounds} times one after the other`, async () => {
      const seen = new Set<string>();
      let last = "";
      for (let round = 0; round < rounds; round++) {
        const id = await bed.start();
        const address = await bed.address(id);
        assert.equal(await bed.identify(address), id);
        if (last) {
          assert.equal(seen.has(address), engine === "docker", "reused");
        }
        seen.add(address);
        last = id;
        await bed.remove(id);
      }
    });

    await t.step(`${rounds} times asked before it is there`, async () => {
      for (let round = 0; round < rounds; round++) {
        const old = await bed.start();
        const address = await bed.address(old);
        assert.equal(await bed.identify(address), old);
        const removed = bed.remove(old);
        const asked: Promise<string>[] = [];
        const isGone = removed.then(() => asked.length);
        const next = isGone.then(() => bed.start());
        const timer = setInterval(
          () => asked.push(bed.identify(address)),
          20,
        );
        const [gone, id] = await Promise.all([isGone, next]);
        clearInterval(timer);
        // Whoever asks after its end is told of the next one, or of none.
        const allowed = engine === "docker" ? [id, "unknown"] : ["unknown"];
        for (const found of (await Promise.all(asked)).slice(gone)) {
          assert.ok(allowed.includes(found), `${found} is not ${id}`);
        }
        const last = await bed.identify(address);
        assert.equal(last, engine === "docker" ? id : "unknown");
        await bed.remove(id);
      }
    });

    // Without its daemon Docker has no containers.
    engine === "podman" &&
      await t.step("while the engine's API restarts", async () => {
        const id = await bed.start();
        const address = await bed.address(id);
        const found = await bed.facts(address);
        await bed.stopService();
        await eventually("the loss", () => !found.isCurrent);
        await bed.startService();
        assert.equal(await bed.identify(address), id);
        await bed.remove(id);
      });

    engine === "docker" && await t.step("on a network of swarm", async () => {
      await ask("swarm", "init", "--advertise-addr", "127.0.0.1");
      await ask(
        ...[
          "network",
          "create",
          "--driver",
          "overlay",
          "--attachable",
          "three",
        ],
      );
      const id = await bed.start("--network", "three");
      const members = JSON.parse(
        await ask(
          ...["network", "inspect", "docker_gwbridge"],
          ...["--format", "{{json .Containers}}"],
        ),
      );
      const address = members[id].IPv4Address.replace(/\/.*/, "");
      assert.equal(await bed.identify(address), id);
      await bed.remove(id);
      assert.equal(await bed.identify(address), "unknown");
    });
  });
}
