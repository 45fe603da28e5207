/**
 * Real AWS SDKs get their role by every mode of a binding that they support:
 * the part of the conformance matrix (`deno task conformance`) that is quick.
 */

import assert from "node:assert/strict";
import { type Client, CLIENTS } from "../scripts/conformance/clients.ts";
import { COLUMNS } from "../scripts/conformance/columns.ts";
import type { Cell, Verdict } from "../scripts/conformance/matrix.ts";
import { inNamespace } from "../scripts/conformance/namespace.ts";
import { Talk } from "../scripts/conformance/talk.ts";
import { clientArgv } from "../scripts/sdk_clients.ts";
import { testUnless } from "./support/conditional.ts";
import { MOAT, moatEnv, moatReason } from "./support/moat.ts";
import { run, which } from "./support/run.ts";
import { sdkClientsReason } from "./support/sdk_clients.ts";
import { awsTest, type SimulatedAws } from "./support/simulated_aws.ts";

const SCRIPT = new URL("../scripts/conformance.ts", import.meta.url).pathname;

/** Why there can be no network namespace; undefined if there can. */
async function namespaceReason(): Promise<string | undefined> {
  if (!which("unshare") || !which("ip")) return "no unshare or no ip";
  const { code, stderr } = await run(inNamespace(["true"]));
  return code === 0 ? undefined : `no network namespace: ${stderr.trim()}`;
}

interface Judged extends Cell {
  readonly verdict: Verdict;
}

async function measureQuick(): Promise<Judged[]> {
  const argv = [Deno.execPath(), "run", "-A", "--no-check", SCRIPT];
  const { stdout, stderr } = await run([...argv, "--quick", "--json"], {
    env: { MOAT_EXECUTABLE: MOAT },
    timeoutMs: 300_000,
  });
  const lines = stdout.split("\n").filter(Boolean);
  assert.ok(lines.length > 0, stderr);
  return lines.map((line) => JSON.parse(line));
}

function assertConforms(
  cells: readonly Judged[],
  { name, unsupported }: Client,
  column: Cell["column"],
): void {
  const wanted: Verdict = unsupported[column] ? "unsupported" : "ok";
  for (const variant of ["plain", "proxied"]) {
    const cell = cells.find((found) =>
      found.client === name && found.column === column &&
      found.variant === variant
    );
    assert.equal(cell?.verdict, wanted, `${variant}: ${cell?.line}`);
    assert.equal(cell?.proxied, 0, `${variant}: asked through the proxy`);
  }
}

const reason = moatReason() ?? await sdkClientsReason();
const quick = CLIENTS.filter(({ isQuick }) => isQuick);

testUnless(
  reason ?? await namespaceReason(),
  `${quick.length} SDKs get the session that moat hands out, in each mode that they support, with and without an HTTP proxy`,
  async (t) => {
    const cells = await measureQuick();
    for (const client of quick) {
      for (const { name } of COLUMNS) {
        await t.step(
          `${client.name} by ${name}`,
          () => assertConforms(cells, client, name),
        );
      }
    }
  },
);

/** What moat answered. */
interface Seen {
  readonly status: number;
  readonly body: string;
}

/** A binding whose answers are kept on their way to an SDK. */
class Wire implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #env: Readonly<Record<string, string>>;
  readonly #aws: SimulatedAws;

  private constructor(aws: SimulatedAws, env: Record<string, string>) {
    const url = new URL(env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "");
    const authorization = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "";
    this.#aws = aws;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async () => {
        const answer = await fetch(url, { headers: { authorization } });
        const body = await answer.text();
        this.seen.push({ status: answer.status, body });
        return new Response(body, answer);
      },
    );
    const origin = `http://127.0.0.1:${this.#server.addr.port}`;
    this.#env = {
      ...env,
      AWS_CONTAINER_CREDENTIALS_FULL_URI: origin + url.pathname,
    };
  }

  /** Binds a grant whose source works. */
  static async open(aws: SimulatedAws): Promise<Wire> {
    await aws.do("moat grant aws --role $ROLE --no-validate");
    await aws.startProxy();
    await aws.do("moat bind web --grant aws --mode ecs-full");
    const { environment } = await aws.json("moat env web --format json");
    return new Wire(aws, environment);
  }

  /** Lets botocore resolve credentials once; gives what it says. */
  async askByBotocore(): Promise<string> {
    await using talk = new Talk("boto3", {
      argv: clientArgv("python", "boto3"),
      env: moatEnv(this.#aws.workspace, { env: this.#env }),
      cwd: this.#aws.workspace.directory,
    });
    await talk.hear();
    return await talk.ask();
  }

  /** Asks three times in a row, as an SDK without a pause does. */
  async askThrice(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      const url = this.#env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "";
      await (await fetch(url)).body?.cancel();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Fails unless there were three answers, all alike. */
function assertThrice(seen: readonly Seen[], status: number): void {
  const alike = new Set(seen.map(({ body }) => body));
  assert.deepEqual(seen.map((answer) => answer.status), Array(3).fill(status));
  assert.equal(alike.size, 1, [...alike].join("\n"));
}

awsTest(
  "an SDK that asks three times within a second gets the same session three times",
  async (aws) => {
    await using wire = await Wire.open(aws);
    const startedAt = performance.now();
    await wire.askThrice();
    assert.ok(performance.now() - startedAt < 1000);
    assertThrice(wire.seen, 200);
  },
);

awsTest(
  "botocore, which tries three times, gets the same error three times while STS is down",
  async (aws) => {
    await aws.fault({ kind: "503" });
    await using wire = await Wire.open(aws);
    const line = await wire.askByBotocore();
    assert.match(line, /^error .*AWS cannot answer right now/);
    assertThrice(wire.seen, 502);
  },
  { reason },
);
