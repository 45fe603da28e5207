/**
 * The roles that containers name, against an IAM and an STS that are not ours:
 * looked up, allowed, assumed, tagged and named.
 */

import assert from "node:assert/strict";
import type { Binding } from "$core/binding.ts";
import type { MetadataSettings } from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import { SessionEngine } from "$providers/aws/engine.ts";
import { ContainerRoles } from "$providers/aws/metadata/container_role.ts";
import type { Session } from "$providers/aws/session.ts";
import type { AwsSettings } from "$providers/aws/settings.ts";
import { awsGrant, awsSource } from "./support/aws_grant.ts";
import { testUnless } from "./support/conditional.ts";
import { containerFacts } from "./support/fake_containers.ts";
import { fakePlatform } from "./support/fake_platform.ts";
import {
  type Moto,
  motoReason,
  type MotoRole,
  startMoto,
} from "./support/moto.ts";
import { type Recorder, startRecorder } from "./support/recorder.ts";
import { Workspace } from "./support/workspace.ts";

const ACCOUNT = "123456789012";
const PLAIN = `arn:aws:iam::${ACCOUNT}:role/plain`;
const TEAM = `arn:aws:iam::${ACCOUNT}:role/team/app`;
const POLICY = '{"Version":"2012-10-17","Statement":[]}';

const ROLES: readonly MotoRole[] = [
  { name: "plain" },
  { name: "app", path: "/team/" },
];

/** A host whose AWS is moto, and what reaches that. */
class Host implements AsyncDisposable {
  readonly platform: Platform;
  readonly engine: SessionEngine;
  readonly moto: Moto;
  readonly #recorder: Recorder;
  readonly #workspace: Workspace;

  private constructor(moto: Moto, workspace: Workspace) {
    this.moto = moto;
    this.#recorder = startRecorder(moto.url);
    this.#workspace = workspace;
    this.platform = fakePlatform({
      now: Date.now(),
      env: { AWS_ENDPOINT_URL: this.#recorder.url },
    });
    this.engine = new SessionEngine(this.platform);
  }

  static async open(): Promise<Host> {
    const workspace = await Workspace.open();
    const moto = await startMoto({ roles: ROLES });
    await workspace.write(
      "credentials",
      `[default]
aws_access_key_id = ${moto.accessKeyId}
aws_secret_access_key = ${moto.secretAccessKey}
`,
    );
    return new Host(moto, workspace);
  }

  grant(more: Partial<AwsSettings> = {}) {
    const credentialsFile = this.#workspace.path("credentials");
    return awsGrant({
      region: "us-east-1",
      roles: [],
      direct: true,
      stsEndpoint: this.#recorder.url,
      source: awsSource({ credentialsFile }),
      ...more,
    });
  }

  roles(settings: Partial<MetadataSettings> = {}): ContainerRoles {
    const { platform, engine } = this;
    return new ContainerRoles({
      platform,
      engine,
      settings: { roles: "any", ...settings },
    });
  }

  /** The session of a container with these variables. */
  async session(
    env: Record<string, string>,
    { roles = this.roles(), more = {}, labels = {} }: {
      roles?: ContainerRoles;
      more?: Partial<AwsSettings>;
      labels?: Record<string, string>;
    } = {},
  ): Promise<Session> {
    const { engine } = this;
    const grant = this.grant(more);
    const id = "0123456789abcdef".repeat(4);
    const container = containerFacts({ id, env, labels });
    const role = await roles.find(container, grant);
    const by: Binding = {
      name: "container-0123456789ab",
      grants: [grant.name],
      subject: { container: container.name, labels },
    };
    return await engine.sessions(grant, by, 0, role)();
  }

  /** The last form of an action. */
  form(action: string): Record<string, string> {
    const form = this.forms(action).at(-1);
    return Object.fromEntries(form ?? []);
  }

  forms(action: string): URLSearchParams[] {
    return this.#recorder.forms.filter((form) => form.get("Action") === action);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#recorder[Symbol.asyncDispose]();
    await this.moto.close();
    await this.#workspace[Symbol.asyncDispose]();
  }
}

function motoTest(name: string, use: (host: Host) => Promise<void>): void {
  testUnless(motoReason(), name, async () => {
    await using host = await Host.open();
    await use(host);
  });
}

motoTest(
  "a role that is named without an account is looked up once",
  async (host) => {
    const roles = host.roles();
    await host.session({ IAM_ROLE: "app" }, { roles });
    const named = { IAM_ROLE: "app", IAM_SESSION_NAME: "job" };
    await host.session(named, { roles });
    const calls = ["GetRole", "AssumeRole"].map((action) =>
      host.forms(action).length
    );
    const arn = host.form("AssumeRole")["RoleArn"];
    assert.deepEqual([calls, arn], [[1, 2], TEAM]);
  },
);

motoTest(
  "a role that is looked up must be allowed with its path",
  async (host) => {
    const roles = host.roles({ roles: [`app@${ACCOUNT}`] });
    await assert.rejects(host.session({ IAM_ROLE: "app" }, { roles }), {
      code: "role-not-allowed",
      hint:
        `add "${TEAM}" to roles in [metadata] of moat.toml, then start moat again`,
    });
  },
);

motoTest("a role that the grant may not look up is told so", async (host) => {
  const more = { direct: undefined, roles: [host.moto.roleArn] };
  await assert.rejects(host.session({ IAM_ROLE: "plain" }, { more }), {
    code: "access-denied",
    hint: /^allow iam:GetRole on the role/,
  });
});

motoTest(
  "what a container says of its session reaches STS, and its labels as far as the grant allows",
  async (host) => {
    await host.session({
      IAM_ROLE: PLAIN,
      IAM_EXTERNAL_ID: "id-1",
      IAM_POLICY: POLICY,
      IAM_SESSION_NAME: "job/7",
    }, {
      labels: { team: "pay", secret: "no", "container-id": "0123456789ab" },
      more: { labelTags: ["team", "container-id", "absent"] },
    });
    assert.deepEqual(host.form("AssumeRole"), {
      Action: "AssumeRole",
      Version: "2011-06-15",
      RoleArn: PLAIN,
      ExternalId: "id-1",
      Policy: POLICY,
      RoleSessionName: "job-7-0123456789ab",
      "Tags.member.1.Key": "container-id",
      "Tags.member.1.Value": "0123456789ab",
      "Tags.member.2.Key": "team",
      "Tags.member.2.Value": "pay",
    });
  },
);
