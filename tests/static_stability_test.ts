/**
 * A session outlives STS: real AWS clients, each under a `moat run` of its
 * own, poll while STS is gone. A session's fifteen minutes take half a minute,
 * by a clock that moat, STS and most clients share.
 */

import assert from "node:assert/strict";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { testUnless } from "./support/conditional.ts";
import { FastClock, fastClockReason } from "./support/fast_clock.ts";
import {
  moatEnv,
  moatReason,
  type MoatServer,
  runMoat,
  startMoat,
} from "./support/moat.ts";
import {
  SDK_CLIENT_KINDS,
  type SdkClient,
  sdkClientsReason,
  startEchoS3,
  startSdkClient,
} from "./support/sdk_clients.ts";
import { Workspace } from "./support/workspace.ts";

const SPEED = 30;
const MINUTE_MS = 60_000;

/** How long before a session's end STS goes away. */
const OUTAGE_MS = 10 * MINUTE_MS;

/** moat hands out no session in its last minute. */
const LAST_MINUTE_MS = MINUTE_MS;

/** Between two polls of a client: half a second of the machine's clock. */
const PAUSE_MS = 500 * SPEED;

/** How many polls of each client must fall into the outage. */
const MIN_POLLS = 5;

const ROLE = "arn:aws:iam::123456789012:role/Deploy";

/** Nothing listens there: a client that loses its way finds no metadata. */
const NOWHERE = "http://127.0.0.1:9";

const SOURCE = {
  AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
  AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
  AWS_EC2_METADATA_DISABLED: "true",
};

/** What the audit log says of a session that was handed out. */
interface AuditEvent {
  readonly event: string;
  readonly fields: Readonly<{
    binding: string;
    accessKeyId: string;
    expiresAt: string;
    /** Absent the first time. */
    count?: number;
  }>;
}

/** A host with a grant, a proxy and a simulated STS. */
class Stage implements AsyncDisposable {
  readonly clock = new FastClock(SPEED);
  readonly #prefix = this.clock.wrap([]);
  readonly #stack: AsyncDisposableStack;
  readonly #workspace: Workspace;
  #sts: MoatServer | undefined;
  #stsUrl = "http://127.0.0.1:0";

  private constructor(stack: AsyncDisposableStack, workspace: Workspace) {
    this.#stack = stack;
    this.#workspace = workspace;
    stack.defer(async () => void await this.#sts?.stop());
  }

  static async open(): Promise<Stage> {
    const stack = new AsyncDisposableStack();
    return new Stage(stack, stack.use(await Workspace.open()));
  }

  /** Starts STS; later ones take the first one's address. */
  async startSts(): Promise<void> {
    const { hostname, port } = new URL(this.#stsUrl);
    const args = ["simulate", "aws", "--listen", `${hostname}:${port || 0}`];
    this.#sts = await startMoat(args, {
      workspace: this.#workspace,
      prefix: this.#prefix,
    });
    this.#stsUrl = this.#sts.urls[0] ?? "";
  }

  async killSts(): Promise<void> {
    await this.#sts?.stop("SIGKILL");
  }

  async startProxy(): Promise<MoatServer> {
    const env = { ...SOURCE, AWS_ENDPOINT_URL_STS: this.#stsUrl };
    const options = { workspace: this.#workspace, env };
    // One session name makes one session of all clients.
    const flags = ["--session-name", "polled", "--no-validate"];
    const grant = ["grant", "aws", "--role", ROLE, ...flags];
    const { code, stderr } = await runMoat(grant, options);
    assert.equal(code, 0, stderr);
    const listen = ["proxy", "--listen", "127.0.0.1:0"];
    const prefix = this.#prefix;
    return this.#stack.use(await startMoat(listen, { ...options, prefix }));
  }

  async startClients(): Promise<SdkClient[]> {
    const s3 = this.#stack.use(startEchoS3());
    const env = moatEnv(this.#workspace, {
      env: {
        S3_AUTHORITY: s3.authority,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: NOWHERE,
        AWS_METADATA_ENDPOINT: NOWHERE,
      },
    });
    const options = { env, cwd: this.#workspace.directory, clock: this.clock };
    const started = await Promise.allSettled(
      SDK_CLIENT_KINDS.map(async (kind) =>
        this.#stack.use(await startSdkClient(kind, options))
      ),
    );
    return started.map((result) => {
      if (result.status === "fulfilled") return result.value;
      throw result.reason;
    });
  }

  async readAudit(): Promise<readonly AuditEvent[]> {
    const { stdout } = await runMoat(["audit", "--json"], {
      workspace: this.#workspace,
    });
    return stdout.trim().split("\n").map((line) => JSON.parse(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

interface Session {
  readonly accessKeyId: string;
  readonly expiresAt: number;
}

/** What the clients had while STS was gone, and since when it was. */
interface Outage extends Session {
  readonly goneAt: number;
}

/**
 * Lets the clients poll while STS goes away, until the session's last minute,
 * and once more when the session has ended and STS is back.
 */
async function playOutage(
  stage: Stage,
  clients: readonly SdkClient[],
): Promise<Outage> {
  const { clock } = stage;
  const session = await findYoungSession(clients, clock);
  const lastServedAt = session.expiresAt - LAST_MINUTE_MS;
  const [goneAt] = await Promise.all([
    clock.until(session.expiresAt - OUTAGE_MS)
      .then(() => stage.killSts())
      .then(() => clock.now()),
    ...clients.map((client) => pollUntil(lastServedAt, client, clock)),
  ]);
  await clock.until(session.expiresAt);
  await stage.startSts();
  await Promise.all(clients.map((client) => client.poll()));
  return { ...session, goneAt };
}

/** Polls until there is a session with more life than the outage will take. */
async function findYoungSession(
  clients: readonly SdkClient[],
  clock: FastClock,
): Promise<Session> {
  for (let round = 0; round < 50; round++) {
    const polls = await Promise.all(clients.map((client) => client.poll()));
    const atLeast = clock.now() + OUTAGE_MS;
    for (const { accessKeyId, expiresAt } of polls) {
      if (accessKeyId === undefined || expiresAt === undefined) continue;
      if (expiresAt > atLeast) return { accessKeyId, expiresAt };
    }
  }
  throw new Error(`no session: ${clients.map((c) => c.polls.at(-1)?.line)}`);
}

/** Starts no poll that might end too late, judged by the slowest so far. */
async function pollUntil(
  instant: number,
  client: SdkClient,
  clock: FastClock,
): Promise<void> {
  let slowest = PAUSE_MS;
  while (clock.now() + 2 * slowest < instant) {
    const { startedAt, endedAt } = await client.poll();
    slowest = Math.max(slowest, endedAt - startedAt);
    await clock.until(endedAt + PAUSE_MS);
  }
}

/** Every poll got a session, and in the outage the one that was there. */
function assertUndisturbed({ polls }: SdkClient, outage: Outage): void {
  const failed = polls.filter((poll) => poll.accessKeyId === undefined);
  const lines = new Set(failed.map(({ line }) => line));
  assert.deepEqual([...lines], [], `${failed.length} polls failed`);

  const during = polls.filter(({ startedAt, endedAt }) =>
    startedAt > outage.goneAt && endedAt < outage.expiresAt
  );
  assert.ok(during.length >= MIN_POLLS, `${during.length} polls in the outage`);
  for (const { accessKeyId, line } of during) {
    assert.equal(accessKeyId, outage.accessKeyId, line);
  }
  const last = polls.at(-1);
  assert.ok(last && last.startedAt > outage.expiresAt, "no poll afterwards");
}

/** Each poll asked moat, and what it got had not ended yet. */
function assertAudited(
  { run, polls }: SdkClient,
  audit: readonly AuditEvent[],
): void {
  const vended = audit.map(({ fields }) => fields)
    .filter(({ binding }) => binding === `run-${run}`);
  const times = vended.reduce((sum, { count = 1 }) => sum + count, 0);
  assert.ok(times >= polls.length, `${times} answers, ${polls.length} polls`);
  const ends = new Map(
    vended.map((fields) => [fields.accessKeyId, Date.parse(fields.expiresAt)]),
  );
  for (const { accessKeyId = "", expiresAt, endedAt, line } of polls) {
    const end = ends.get(accessKeyId) ?? -Infinity;
    assert.ok(end > endedAt, `ended before ${new Date(endedAt)}: ${line}`);
    assert.equal(expiresAt ?? end, end, line);
  }
}

const reason = moatReason() ?? fastClockReason() ?? await sdkClientsReason();

testUnless(
  reason,
  `killing STS for the last 10 minutes of a session's life is invisible to ${SDK_CLIENT_KINDS.length} polling SDK clients`,
  async (t) => {
    await using stage = await Stage.open();
    await stage.startSts();
    const proxy = await stage.startProxy();
    const clients = await stage.startClients();
    const outage = await playOutage(stage, clients);
    // Ended runs have recorded everything.
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
    const audit = await stage.readAudit();
    for (const client of clients) {
      const { name, by } = client.kind;
      await t.step(`${name} by ${by}`, () => {
        assertUndisturbed(client, outage);
        assertAudited(
          client,
          audit.filter(({ event }) => /^vended/.test(event)),
        );
      });
    }
    await t.step("moat asks STS in vain meanwhile", () => {
      assert.match(
        proxy.stderr(),
        /"session-refresh-failed".*"stillServing":true/,
      );
    });
  },
);
