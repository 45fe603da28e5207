/**
 * Files and servers from which source credentials come, all of a test's own,
 * in a process whose environment misleads.
 *
 * @module
 */

import { createHash, generateKeyPairSync } from "node:crypto";
import { systemClock } from "$core/clock.ts";
import type { SourceHop } from "$providers/aws/hops.ts";
import type { Source } from "$providers/aws/settings.ts";
import type { SourcePlatform } from "$providers/aws/source.ts";
import { CANARY } from "./canary.ts";
import { type MockSources, startMockSources } from "./mock_sources.ts";
import { Workspace } from "./workspace.ts";

/** The person of `aws login` in tests. */
export const LOGIN_SESSION = "arn:aws:iam::123456789012:user/ana";

/** Where SSO begins in tests. */
export const START_URL = "https://example.awsapps.com/start";

const HOUR_MS = 3_600_000;

/** What a proxy's environment may hold, none of which may count. */
const MISLEADING: Readonly<Record<string, string>> = {
  AWS_CONFIG_FILE: "/proc/nonexistent/config",
  AWS_SHARED_CREDENTIALS_FILE: "/proc/nonexistent/credentials",
  AWS_PROFILE: "misleading",
  AWS_REGION: "us-gov-west-1",
  AWS_ACCESS_KEY_ID: "AKIAMISLEADING",
  AWS_SECRET_ACCESS_KEY: "misleading",
  AWS_ENDPOINT_URL: "http://127.0.0.1:1",
  AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1",
  AWS_ENDPOINT_URL_SSO: "http://127.0.0.1:1",
  AWS_ENDPOINT_URL_SSO_OIDC: "http://127.0.0.1:1",
  AWS_ENDPOINT_URL_SIGNIN: "http://127.0.0.1:1",
  AWS_WEB_IDENTITY_TOKEN_FILE: "/proc/nonexistent/token",
  AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/Misleading",
  AWS_ROLE_SESSION_NAME: "misleading",
  AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/misleading",
  AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/misleading",
  AWS_CONTAINER_AUTHORIZATION_TOKEN: "misleading",
  AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/proc/nonexistent/token",
  AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1",
  AWS_EC2_METADATA_DISABLED: "true",
};

/** A home directory with shared files, and a mock of all servers. */
export class SourceBed implements AsyncDisposable {
  /** The home directory; HOME of this process names it meanwhile. */
  readonly workspace: Workspace;
  /** All servers. Their secrets hold the canary. */
  readonly mock: MockSources;
  readonly #before: ReadonlyMap<string, string | undefined>;

  private constructor(workspace: Workspace, mock: MockSources) {
    this.workspace = workspace;
    this.mock = mock;
    // The SDK finds the caches of logins by HOME alone.
    const variables = { ...MISLEADING, HOME: workspace.directory };
    this.#before = new Map(
      Object.keys(variables).map((name) => [name, Deno.env.get(name)]),
    );
    for (const [name, value] of Object.entries(variables)) {
      Deno.env.set(name, value);
    }
  }

  /** Makes one without shared files. */
  static async open(): Promise<SourceBed> {
    const secrets = {
      secretAccessKey: CANARY,
      sessionToken: `token-${CANARY}`,
    };
    return new SourceBed(await Workspace.open(), startMockSources(secrets));
  }

  /**
   * A source with the bed's files.
   *
   * @param more What else it has; its order is `profile` alone unless given.
   */
  source(more: Partial<Source> = {}): Source {
    return {
      order: ["profile"],
      configFile: this.workspace.path(".aws/config"),
      credentialsFile: this.workspace.path(".aws/credentials"),
      ...more,
    };
  }

  /** A hop with such a source, whose STS is the mock. */
  hop(more: Partial<Source> = {}, mfaCommand?: string): SourceHop {
    return {
      kind: "source",
      at: {
        region: "eu-central-1",
        stsEndpoint: this.mock.url,
        caBundle: undefined,
      },
      source: this.source(more),
      mfaCommand,
    };
  }

  /**
   * Writes the shared config file. In it, `[services mock]` names the mock,
   * `KEYS` a pair of keys, and `HOME` the workspace.
   */
  async config(text: string): Promise<void> {
    const services = ["sso", "sso_oidc", "signin", "sts"].map((service) =>
      `${service} =\n  endpoint_url = ${this.mock.url}\n`
    ).join("");
    await this.workspace.write(
      ".aws/config",
      `${text}\n[services mock]\n${services}`
        .replaceAll("KEYS", keys("AKIAPROFILE"))
        .replaceAll("HOME", this.workspace.directory),
    );
  }

  /**
   * Writes the token that `aws sso login` leaves.
   *
   * @param id The name of the `sso-session`, or the start URL without one.
   * @param lifeMs How long it lasts.
   */
  async ssoToken(id: string, lifeMs = HOUR_MS): Promise<string> {
    const name = createHash("sha1").update(id).digest("hex");
    return await this.workspace.write(
      `.aws/sso/cache/${name}.json`,
      JSON.stringify({
        accessToken: `sso-${CANARY}`,
        expiresAt: new Date(Date.now() + lifeMs).toISOString(),
        clientId: "client",
        clientSecret: CANARY,
        refreshToken: `refresh-${CANARY}`,
      }),
    );
  }

  /** Writes the token that `aws login` leaves. */
  async loginToken(lifeMs = HOUR_MS): Promise<string> {
    const name = createHash("sha256").update(LOGIN_SESSION).digest("hex");
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return await this.workspace.write(
      `.aws/login/cache/${name}.json`,
      JSON.stringify({
        accessToken: {
          accessKeyId: "ASIALOGINLOGINLOGINL",
          secretAccessKey: CANARY,
          sessionToken: CANARY,
          accountId: "123456789012",
          expiresAt: new Date(Date.now() + lifeMs).toISOString(),
        },
        clientId: "client",
        refreshToken: CANARY,
        dpopKey: privateKey.export({ type: "sec1", format: "pem" }),
      }),
    );
  }

  /** Stops the servers and removes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, value] of this.#before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
    await this.mock[Symbol.asyncDispose]();
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** Two lines of a section. */
export function keys(id: string): string {
  return `aws_access_key_id = ${id}\naws_secret_access_key = ${CANARY}`;
}

/** The machine, with another environment. */
export function sourcePlatform(
  env: Readonly<Record<string, string>> = {},
): SourcePlatform {
  return {
    clock: systemClock,
    env,
    setVariable: (name, value) => Deno.env.set(name, value),
  };
}

/** What `credential_process` prints. */
export function printed(parts: Record<string, unknown> = {}): string {
  return JSON.stringify({
    Version: 1,
    AccessKeyId: "AKIAPROGRAM",
    SecretAccessKey: CANARY,
    ...parts,
  });
}
