/**
 * Who gets which role from instance metadata: real containers of both engines
 * ask moat at the real address, and an STS that is not ours says whose session
 * it is.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine } from "./support/containers.ts";
import { assertGoldenAnswers } from "./support/golden_answers.ts";
import {
  ACCOUNT,
  ALLOWED,
  ImdsBed,
  type ImdsContainer,
  roleArn,
} from "./support/imds_bed.ts";
import { askContained, BOTO3 } from "./support/imds_sdks.ts";
import type { ServeOptions, Serving } from "./support/imds_serve.ts";
import type { Served } from "./support/imds_client.ts";
import { moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";

/** Where a step acts. */
interface Stage {
  readonly bed: ImdsBed;
  readonly moat: Serving;
  /** Starts a container of the role `App` for all steps that change nothing of it. */
  app(): Promise<ImdsContainer>;
}

type Step = (stage: Stage) => Promise<void>;

/** Steps that share a running moat. */
interface Group extends ServeOptions {
  readonly steps: Readonly<Record<string, Step>>;
  /** Engines that it is for. Default: both. */
  readonly engines?: readonly Engine[];
}

/** A session's ARN, without its name. */
const sessionOf = (role: string) =>
  `arn:aws:sts::${ACCOUNT}:assumed-role/${role}/`;

/** Fails unless STS takes a session for this container's, in this role. */
async function assertRole(
  { bed }: Stage,
  served: Served,
  role: string,
  container: Pick<ImdsContainer, "id" | "name">,
): Promise<void> {
  assert.equal(served.role, role);
  const arn = await bed.whoIs(served.credentials);
  const wanted = `${container.name}-${container.id.slice(0, 12)}`;
  assert.equal(arn, sessionOf(role) + wanted);
}

/** The form of the only AssumeRole that a step causes. */
async function assumed(
  { bed }: Stage,
  cause: () => Promise<unknown>,
): Promise<Record<string, string>> {
  const before = (await bed.asked("AssumeRole")).length;
  await cause();
  const forms = (await bed.asked("AssumeRole")).slice(before);
  assert.equal(forms.length, 1, JSON.stringify(forms));
  return forms[0] ?? {};
}

const GROUPS: Record<string, Group> = {
  "with an allow-list": {
    steps: {
      "a container gets the role that it names": async (stage) => {
        const app = await stage.app();
        await assertRole(stage, await app.client.credentials(), "App", app);
      },
      "a role may be named with its path and account, or by its ARN": async (
        stage,
      ) => {
        for (const name of [`team/Deep@${ACCOUNT}`, roleArn("team/Deep")]) {
          await using web = await stage.bed.start({ env: { IAM_ROLE: name } });
          await assertRole(stage, await web.client.credentials(), "Deep", web);
        }
      },
      "a label names a role as well": async (stage) => {
        await using web = await stage.bed.start({
          labels: { IAM_ROLE: "Other" },
        });
        await assertRole(stage, await web.client.credentials(), "Other", web);
      },
      "a label and a variable that differ are refused": async ({ bed }) => {
        await using web = await bed.start({
          env: { IAM_ROLE: "App" },
          labels: { IAM_ROLE: "Other" },
        });
        assert.equal((await web.client.refusal()).status, 403);
      },
      "two containers at once get their own roles": async (stage) => {
        const one = await stage.app();
        await using two = await stage.bed.start({ env: { IAM_ROLE: "Other" } });
        await Promise.all(
          [one, two, one, two, one, two].map(async (container) => {
            const role = container === one ? "App" : "Other";
            const served = await container.client.credentials();
            await assertRole(stage, served, role, container);
          }),
        );
      },
      "a renamed container keeps its role": async (stage) => {
        await using web = await stage.bed.start({ env: { IAM_ROLE: "App" } });
        await web.client.credentials();
        await stage.bed.must([stage.bed.bed.engine, "rename", web.id, "later"]);
        assert.equal((await web.client.credentials()).role, "App");
      },
      "a container on a network of its own gets its role": async (stage) => {
        const { engine } = stage.bed.bed;
        await stage.bed.must([engine, "network", "create", "own"]);
        await using web = await stage.bed.start({
          env: { IAM_ROLE: "App" },
          options: ["--network", "own"],
        });
        await assertRole(stage, await web.client.credentials(), "App", web);
        await web.remove();
        await stage.bed.must([engine, "network", "rm", "own"]);
      },
      "a container without a role gets 404": async ({ bed }) => {
        await using web = await bed.start();
        assert.equal((await web.client.refusal()).status, 404);
      },
      "boto3 in a container without a role finds no credentials": async (
        { bed },
      ) => {
        const line = await askContained(bed, BOTO3, {});
        assert.match(line, /^error .*no credentials/);
      },
      "a role outside the allow-list is refused": async ({ bed }) => {
        await using web = await bed.start({ env: { IAM_ROLE: "Admin" } });
        assert.equal((await web.client.refusal()).status, 403);
      },
      "the log says which line to add for a refused role": async (
        { bed, moat },
      ) => {
        await using web = await bed.start({
          name: "wisher",
          env: { IAM_ROLE: "Wished" },
        });
        await web.client.refusal();
        const line = moat.log().split("\n").find((line) =>
          line.includes("role/Wished")
        );
        assert.ok(line?.includes(web.id.slice(0, 12)), line);
        assert.match(
          line ?? "",
          /add \\"arn:aws:iam::\d+:role\/Wished\\" to roles/,
        );
      },
      "a role that nobody can parse is refused": async ({ bed }) => {
        await using web = await bed.start({ env: { IAM_ROLE: "a b@12" } });
        assert.equal((await web.client.refusal()).status, 403);
      },
      "two containers that share one address are refused": async ({ bed }) => {
        await using web = await bed.start({ env: { IAM_ROLE: "App" } });
        await using beside = await bed.start({
          env: { IAM_ROLE: "Other" },
          options: ["--network", `container:${web.id}`],
        });
        for (const { client } of [web, beside]) {
          const { status, body } = await client.refusal();
          assert.deepEqual([status, codeOf(body)], [403, "shared-address"]);
        }
      },
      "a container in the host's network is refused": async ({ bed }) => {
        await using web = await bed.start({
          env: { IAM_ROLE: "App" },
          options: ["--network", "host"],
        });
        const { status, body } = await web.client.refusal();
        assert.deepEqual([status, codeOf(body)], [403, "host-client"]);
      },
      "with NET_ADMIN a container can take another's address": async (
        stage,
      ) => {
        // What start-up warns of: address alone is no proof.
        await using web = await stage.bed.start({
          name: "victim",
          env: { IAM_ROLE: "App" },
        });
        await using thief = await startThief(stage.bed, web);
        assert.equal((await thief.client.credentials()).role, "App");
      },
      "the start warns that an address is no proof": ({ moat }) => {
        const [line] = moat.logged("identity-by-address");
        assert.match(String(line?.["reason"]), /NET_ADMIN/);
        return Promise.resolve();
      },
      "an external ID goes to STS": async (stage) => {
        await using web = await stage.bed.start({
          env: { IAM_ROLE: "Secured", IAM_EXTERNAL_ID: "right" },
        });
        const form = await assumed(stage, () => web.client.credentials());
        assert.equal(form["ExternalId"], "right");
      },
      "another external ID does not get that session": async ({ bed }) => {
        const start = (id: string) =>
          bed.start({ env: { IAM_ROLE: "Secured", IAM_EXTERNAL_ID: id } });
        await using right = await start("right");
        await using wrong = await start("wrong");
        await right.client.credentials();
        assert.equal((await wrong.client.refusal()).status, 502);
        await right.client.credentials();
      },
      "a policy narrows the session": async (stage) => {
        const policy =
          '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}';
        await using web = await stage.bed.start({
          env: { IAM_ROLE: "App", IAM_POLICY: policy },
        });
        const form = await assumed(stage, () => web.client.credentials());
        assert.equal(form["Policy"], policy);
      },
      "a session name goes to STS": async (stage) => {
        await using web = await stage.bed.start({
          env: { IAM_ROLE: "App", IAM_SESSION_NAME: "nightly" },
        });
        const { credentials } = await web.client.credentials();
        assert.equal(
          await stage.bed.whoIs(credentials),
          `${sessionOf("App")}nightly-${web.id.slice(0, 12)}`,
        );
      },
      "version 1 is refused": async ({ app }) => {
        assert.equal((await (await app()).client.refusal("v1")).status, 403);
      },
      "a token of another container is refused": async ({ bed, app }) => {
        const one = await app();
        await using two = await bed.start({ env: { IAM_ROLE: "App" } });
        const token = await one.client.token();
        const { status } = await two.client.get(
          "/latest/meta-data/iam/security-credentials/App",
          { "X-aws-ec2-metadata-token": token },
        );
        assert.equal(status, 401);
      },
      "nothing about one container is in another's answers": async (
        { bed, app },
      ) => {
        const one = await app();
        await using two = await bed.start({
          name: "second-tenant",
          env: { IAM_ROLE: "App" },
        });
        const { credentials } = await one.client.credentials();
        const text = JSON.stringify(await two.client.walk());
        const { AccessKeyId, SecretAccessKey, Token } = credentials;
        for (
          const secret of [
            one.name,
            one.id,
            AccessKeyId,
            SecretAccessKey,
            Token,
          ]
        ) assert.ok(!text.includes(secret), secret);
      },
      "every path has its golden answer": async ({ app }) => {
        await assertGoldenAnswers("imds", (await app()).client);
      },
    },
  },

  "an address that goes to the next container": {
    // podman gives the next one.
    engines: ["docker"],
    steps: {
      "never brings the role of the one before": async ({ bed }) => {
        let reused = 0;
        let before = "";
        for (let round = 0; round < 4; round++) {
          const role = round % 2 === 0 ? "App" : "Other";
          await using web = await bed.start({ env: { IAM_ROLE: role } });
          assert.equal((await web.client.credentials()).role, role);
          if (web.address === before) reused++;
          before = web.address;
        }
        assert.ok(reused >= 2, `the address came again ${reused} times only`);
      },
      "never brings its role to one that asks as it starts": async (
        { bed },
      ) => {
        for (let round = 0; round < 6; round++) {
          const role = round % 2 === 0 ? "App" : "Other";
          const container = { env: { IAM_ROLE: role } };
          const ask = ["sh", "-c", FIRST_WORDS];
          const { stdout } = await bed.runOnce(container, ask);
          assert.equal(stdout, role);
        }
      },
      "does not let a session token pass on": async ({ bed }) => {
        const one = await bed.start({ env: { IAM_ROLE: "App" } });
        const token = await one.client.token();
        await one.remove();
        await using two = await bed.start({ env: { IAM_ROLE: "App" } });
        assert.equal(two.address, one.address);
        const { status } = await two.client.get(
          "/latest/meta-data/iam/info",
          { "X-aws-ec2-metadata-token": token },
        );
        assert.equal(status, 401);
      },
    },
  },

  "with version 1 and a default role": {
    config: `${ALLOWED}v1 = true\ndefault_role = "Other"\n`,
    steps: {
      "a container gets its role by version 1": async (stage) => {
        await using web = await stage.bed.start({ env: { IAM_ROLE: "App" } });
        const served = await web.client.credentials("v1");
        await assertRole(stage, served, "App", web);
      },
      "a container that names none gets the default role": async (stage) => {
        await using web = await stage.bed.start();
        await assertRole(stage, await web.client.credentials(), "Other", web);
      },
    },
  },

  "without an account": {
    config: `[metadata]\ngrant = "aws"\nroles = ["App@${ACCOUNT}"]\n`,
    steps: {
      "a role's ARN is looked up at IAM": async (stage) => {
        await using web = await stage.bed.start({ env: { IAM_ROLE: "App" } });
        const form = await assumed(stage, () => web.client.credentials());
        assert.equal(form["RoleArn"], roleArn("App"));
        const [asked] = await stage.bed.asked("GetRole");
        assert.equal(asked?.["RoleName"], "App");
      },
    },
  },

  "with a grant that allows tags": {
    grant: [
      ...["--source", "direct", "--label-tag", "team"],
      ...["--label-tag", "container-name"],
    ],
    steps: {
      "a container's labels of those keys are tags, and no others": async (
        stage,
      ) => {
        await using web = await stage.bed.start({
          labels: { IAM_ROLE: "App", "container-name": "forged", team: "a" },
        });
        const form = await assumed(stage, () => web.client.credentials());
        const tags = Object.entries(form)
          .filter(([name]) => name.startsWith("Tags."));
        assert.deepEqual(Object.fromEntries(tags), {
          "Tags.member.1.Key": "container-name",
          "Tags.member.1.Value": web.name,
          "Tags.member.2.Key": "team",
          "Tags.member.2.Value": "a",
        });
      },
    },
  },

  "with bindings": {
    config: "[metadata]\n",
    grant: ["--role", roleArn("App")],
    steps: {
      "a container without a binding gets 404": async ({ bed }) => {
        await using web = await bed.start({ env: { IAM_ROLE: "App" } });
        assert.equal((await web.client.refusal()).status, 404);
      },
      "a binding of mode imds serves the container of its name": async (
        { bed, moat },
      ) => {
        await moat.do(
          ..."bind bound --grant aws --mode imds --container named".split(" "),
        );
        await using web = await bed.start({ name: "named" });
        const { role, credentials } = await web.client.credentials();
        assert.equal(role, "App");
        assert.match(await bed.whoIs(credentials), /:assumed-role\/App\//);
        await moat.do("unbind", "bound");
        assert.equal((await web.client.refusal()).status, 404);
      },
      "a binding of mode imds serves the container of its label": async (
        { bed, moat },
      ) => {
        await moat.do(
          ..."bind labelled --grant aws --mode imds --container label:tier=web"
            .split(" "),
        );
        await using web = await bed.start({ labels: { tier: "web" } });
        await using other = await bed.start({ labels: { tier: "db" } });
        assert.equal((await web.client.credentials()).role, "App");
        assert.equal((await other.client.refusal()).status, 404);
      },
      "a run of mode imds serves its container": async ({ bed, moat }) => {
        const argv = [
          ...bed.runArgv({}, "--rm"),
          ...["sh", "-c", FIRST_WORDS],
        ];
        const stdout = await moat.do(
          ...["run", "--grant", "aws", "--mode", "imds", "--", ...argv],
        );
        assert.equal(stdout, "App");
      },
    },
  },

  "with a token that only one container may use": {
    grant: ["--role", roleArn("App")],
    flags: ["--listen", "169.254.170.2:80"],
    steps: {
      "that container gets a session with the token": async (stage) => {
        const { web, ask } = await openTokenAndContainer(stage, "holder");
        await using _web = web;
        const { status } = await ask(web, "right");
        assert.equal(status, 200);
      },
      "another container gets none with it": async (stage) => {
        const { web, ask } = await openTokenAndContainer(stage, "owner");
        await using _web = web;
        await using other = await stage.bed.start();
        assert.notEqual((await ask(other, "right")).status, 200);
      },
      "one that takes its address gets none without it": async (stage) => {
        const { web, ask } = await openTokenAndContainer(stage, "robbed");
        await using _web = web;
        await using thief = await startThief(stage.bed, web);
        assert.equal((await ask(thief, "guessed")).status, 401);
      },
    },
  },
};

/** Prints the name of its role, as the first thing that it does. */
const FIRST_WORDS = `
token=$(curl -sSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
curl -sSf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/iam/security-credentials/`;

/** A container that has taken the address of another on the same network. */
async function startThief(
  bed: ImdsBed,
  victim: ImdsContainer,
): Promise<ImdsContainer> {
  const read = (what: string) => victim.exec(["cat", what]);
  const mac = (await read("/sys/class/net/eth0/address")).stdout.trim();
  const thief = await bed.start({ options: ["--cap-add", "NET_ADMIN"] });
  const take = `
    ip address show dev eth0 | sed -n 's/.* inet \\([^ ]*\\) .*/\\1/p' >/tmp/own
    size=$(sed 's/.*\\///' /tmp/own); gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
    ip link set eth0 down; ip link set eth0 address ${mac}; ip link set eth0 up
    ip address flush dev eth0
    ip address add ${victim.address}/$size dev eth0
    ip route add default via $gateway`;
  const { code, stderr } = await thief.exec(["sh", "-euc", take]);
  assert.equal(code, 0, stderr);
  return thief;
}

/** A binding with a token for one container. */
async function openTokenAndContainer({ bed, moat }: Stage, name: string) {
  await moat.do(
    ...["bind", name, "--grant", "aws", "--mode", "ecs-relative"],
    ...["--container", name],
  );
  const { environment } = JSON.parse(
    await moat.do("env", name, "--format", "json"),
  );
  const path = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
  const right = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
  const web = await bed.start({ name });
  const ask = async (from: ImdsContainer, token: "right" | "guessed") => {
    const guessed = right.slice(0, -4) + "AAAA";
    const value = token === "right" ? right : guessed;
    const { stdout, stderr } = await from.exec([
      ...["curl", "-qsS", "-o", "/dev/null", "-w", "%{http_code}"],
      ...["-H", `Authorization: ${value}`, `http://169.254.170.2${path}`],
    ]);
    assert.match(stdout, /^\d{3}$/, stderr);
    return { status: Number(stdout) };
  };
  return { web, ask };
}

function codeOf(body: string): string | undefined {
  return /"code":"([a-z0-9-]+)"/.exec(body)?.[1];
}

/** All steps of a group, with a moat of its own. */
async function runGroup(
  t: Deno.TestContext,
  bed: ImdsBed,
  group: Group,
): Promise<void> {
  await using moat = await bed.startProxy(group);
  await using stack = new AsyncDisposableStack();
  let started: Promise<ImdsContainer> | undefined;
  const app = () =>
    started ??= bed.start({ env: { IAM_ROLE: "App" } })
      .then((container) => stack.use(container));
  for (const [step, fn] of Object.entries(group.steps)) {
    await t.step(step, () => fn({ bed, moat, app }));
  }
  await t.step("no secret is in what moat printed", async () => {
    const { stdout, stderr } = await moat.stop();
    bed.assertNoSecret(stdout, stderr);
  });
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? bedReason(engine);

  testUnless(reason, `${engine}: roles by container`, async (t) => {
    await using bed = await ImdsBed.open(engine);
    for (const [name, group] of Object.entries(GROUPS)) {
      if (group.engines && !group.engines.includes(engine)) continue;
      await t.step(name, (t) => runGroup(t, bed, group));
    }
  });
}
