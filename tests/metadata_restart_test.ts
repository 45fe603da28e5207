/**
 * An engine that restarts while moat runs: nobody is told apart in the gap, and
 * afterwards each container gets its own role, whoever had its address before.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { bedReason, servePodman } from "./support/containers.ts";
import { eventually } from "./support/eventually.ts";
import { ImdsBed } from "./support/imds_bed.ts";
import { ImdsClient } from "./support/imds_client.ts";
import { moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";
import {
  RestartableDocker,
  restartableDockerReason,
} from "./support/restartable_docker.ts";
import { run } from "./support/run.ts";

const TOKEN = {
  method: "PUT",
  path: "/latest/api/token",
  headers: { "X-aws-ec2-metadata-token-ttl-seconds": "60" },
};

/** Who asks, and what it may get. */
interface Asker {
  readonly client: ImdsClient;
  readonly role: string;
}

/** A container of docker that may outlive the daemon. */
interface Lasting extends Asker, AsyncDisposable {
  readonly address: string;
}

/** Starts one. The daemon would remove one with `--rm` when it comes again. */
async function startLasting(bed: ImdsBed, role: string): Promise<Lasting> {
  const { engine } = bed.bed;
  const argv = bed.runArgv({ env: { IAM_ROLE: role } }, "--detach");
  const id = (await bed.must([...argv, "sleep", "300"])).trim();
  const format = "{{.State.Pid}} {{.NetworkSettings.IPAddress}}";
  const inspect = [engine, "inspect", "--format", format, id];
  const [pid, address = ""] = (await bed.must(inspect)).trim().split(" ");
  // Without the daemon there is no `docker exec`.
  const enter = ["nsenter", `--net=/proc/${pid}/ns/net`];
  return {
    ...{ role, address },
    client: new ImdsClient((argv) => run([...enter, ...argv])),
    async [Symbol.asyncDispose]() {
      await run([engine, "rm", "--force", id]);
    },
  };
}

/** Fails unless all are told that the engine cannot be asked. */
async function assertHeldInVain(askers: readonly Asker[]): Promise<void> {
  const answers = await Promise.all(askers.map(async ({ client }) => {
    const [answer] = await client.ask(TOKEN);
    return `${answer?.status} ${
      /"code":"([a-z-]+)"/.exec(answer?.body ?? "")?.[1]
    }`;
  }));
  assert.deepEqual(answers, askers.map(() => "503 engine-unavailable"));
}

/** Asks until all have their role; fails if one ever gets another. */
async function assertOwnRoles(askers: readonly Asker[]): Promise<void> {
  const wrong: string[] = [];
  await Promise.all(
    askers.map(({ client, role }) =>
      eventually(`the role ${role}`, async () => {
        const [list, session] = await client.walk();
        if (list?.status === 200 && list.body !== role) wrong.push(list.body);
        return session?.status === 200;
      }, 20_000)
    ),
  );
  assert.deepEqual(wrong, []);
}

/** Asks as long as it lives, and says which role it got. */
const ASKING = `
trap 'exit 0' TERM
url=http://169.254.169.254/latest
while :; do
  token=$(curl -qsf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $url/api/token) &&
  role=$(curl -qsf -H "X-aws-ec2-metadata-token: $token" $url/meta-data/iam/security-credentials/) &&
  echo "$role"
  sleep 0.1 & wait $!
done`;

const COMMON = moatReason() ?? motoReason();

testUnless(
  COMMON ?? restartableDockerReason(),
  "docker: a daemon that restarts under a running moat",
  async (t) => {
    const docker = await RestartableDocker.open();
    await using bed = await ImdsBed.open("docker", Promise.resolve(docker.bed));
    await using moat = await bed.startProxy();

    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const name =
        `containers that outlive it by ${signal} get 503, then their roles`;
      await t.step(name, async () => {
        await using app = await startLasting(bed, "App");
        await using other = await startLasting(bed, "Other");
        await assertOwnRoles([app, other]);
        await docker.stop(signal);
        await assertHeldInVain([app, other]);
        await docker.start();
        await assertOwnRoles([app, other]);
      });
    }

    await t.step(
      "an address that moved meanwhile brings no role along",
      async () => {
        const before = await startLasting(bed, "App");
        await assertOwnRoles([before]);
        await docker.stop();
        await docker.start({ isPublic: false });
        await before[Symbol.asyncDispose]();
        await using now = await startLasting(bed, "Other");
        assert.equal(now.address, before.address);
        await assertHeldInVain([now]);
        await docker.stop();
        await docker.start();
        await assertOwnRoles([now]);
      },
    );

    await t.step(
      "containers that restart with it get their own roles only",
      async () => {
        await docker.stop();
        await docker.start({ isLiveRestore: false });
        const started = await Promise.all(
          ["App", "Other", "App", "Other"].map(async (role) => {
            const argv = bed.runArgv(
              { env: { IAM_ROLE: role } },
              ...["--detach", "--restart", "always"],
            );
            const id = await bed.must([...argv, "sh", "-c", ASKING]);
            return { id: id.trim(), role };
          }),
        );
        for (let round = 0; round < 3; round++) {
          await linesOf(bed, started, () => true);
          await docker.stop();
          await docker.start({ isLiveRestore: false });
          const before = await linesOf(bed, started, () => true);
          await linesOf(bed, started, (count, n) => count > (before[n] ?? 0));
        }
        const { engine } = bed.bed;
        await bed.must([
          engine,
          "rm",
          "--force",
          ...started.map(({ id }) => id),
        ]);
      },
    );

    await t.step("each loss of the engine is logged, and its return", () => {
      assert.ok(moat.logged("engine-lost").length >= 6);
      assert.ok(moat.logged("engine-connected").length >= 7);
    });

    await t.step("no secret is in what moat printed", async () => {
      const { stdout, stderr } = await moat.stop();
      bed.assertNoSecret(stdout, stderr);
    });
  },
);

/** Waits until all containers that ask have got enough; fails if one got another's role. */
async function linesOf(
  bed: ImdsBed,
  containers: readonly { readonly id: string; readonly role: string }[],
  isEnough: (count: number, index: number) => boolean,
): Promise<number[]> {
  return await Promise.all(containers.map(async ({ id, role }, index) => {
    const lines = await eventually(`roles of ${role}`, async () => {
      const logs = await bed.must([bed.bed.engine, "logs", id]);
      const lines = logs.split("\n").filter(Boolean);
      if (lines.length === 0 || !isEnough(lines.length, index)) return;
      return lines;
    }, 20_000);
    assert.deepEqual([...new Set(lines)], [role]);
    return lines.length;
  }));
}

/**
 * Gives podman's bridge a MAC address to keep. Otherwise it has the lowest one
 * of its ports, and who stays looks for the host at the one that is gone.
 */
async function pinBridge(bed: ImdsBed, network: string): Promise<void> {
  const format = ["--format", "{{.NetworkInterface}}", network];
  const inspect = [bed.bed.engine, "network", "inspect", ...format];
  const bridge = (await bed.must(inspect)).trim();
  const set = ["ip", "link", "set", bridge, "address", "02:00:00:00:00:01"];
  await bed.must([...bed.bed.prefix, ...set]);
}

testUnless(
  COMMON ?? bedReason("podman"),
  "podman: an API service that restarts while containers come and go",
  async (t) => {
    await using bed = await ImdsBed.open("podman");
    const path = `${bed.bed.directory}/own.sock`;
    let api: AsyncDisposable | undefined;
    const stop = async () => {
      await api?.[Symbol.asyncDispose]();
      api = undefined;
      await Deno.remove(path).catch(() => {});
    };
    await using stack = new AsyncDisposableStack();
    stack.defer(stop);
    api = await servePodman(bed.bed, path);
    await using moat = await bed.startProxy({
      env: { DOCKER_HOST: `unix://${path}` },
    });
    // Podman remembers who has an address by the network's name, for all beds.
    const network = bed.bed.directory.split("/").at(-1) ?? "";
    const create = ["network", "create", "--subnet", "10.97.0.0/24", network];
    await bed.must([bed.bed.engine, ...create]);
    const start = (role: string, address: string) =>
      bed.start({
        env: { IAM_ROLE: role },
        options: ["--network", network, "--ip", address],
      });
    await using stays = await start("App", "10.97.0.60");
    await pinBridge(bed, network);
    const staying = { client: stays.client, role: "App" };

    let before = await start("Other", "10.97.0.61");
    for (let round = 1; round <= 3; round++) {
      await t.step(`round ${round}`, async () => {
        await stop();
        await before.remove();
        const role = round % 2 === 1 ? "App" : "Other";
        before = await start(role, "10.97.0.61");
        const asker = { client: before.client, role };
        await assertHeldInVain([staying, asker]);
        api = await servePodman(bed.bed, path);
        await assertOwnRoles([staying, asker]);
      });
    }
    await before.remove();

    await t.step("no secret is in what moat printed", async () => {
      const { stdout, stderr } = await moat.stop();
      bed.assertNoSecret(stdout, stderr);
    });
  },
);
