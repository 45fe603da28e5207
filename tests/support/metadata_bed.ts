/**
 * An instance metadata service with a fake engine behind it, and containers
 * that ask.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import type { ContainerFacts } from "$core/container.ts";
import type { Grant } from "$core/grant.ts";
import {
  type MetadataClient,
  type MetadataEvent,
  type MetadataHandler,
  type MetadataSettings,
  type MetadataStranger,
  NO_METADATA,
} from "$core/metadata.ts";
import type { Answer } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { Known } from "$proxy/containers/known.ts";
import type { ContainerRole } from "$providers/aws/metadata/container_role.ts";
import type { FurtherRole } from "$providers/aws/hops.ts";
import { createMetadata } from "$providers/aws/metadata/service.ts";
import type { Session } from "$providers/aws/session.ts";
import { VendRecorders } from "$providers/aws/vend.ts";
import { awsGrant } from "./aws_grant.ts";
import { CANARY } from "./canary.ts";
import { containerFacts } from "./fake_containers.ts";
import { fakePlatform } from "./fake_platform.ts";

/** A container's id. */
export const ID = "0123456789abcdef".repeat(4);

/** A container that names a role. */
export function facts(more: Partial<ContainerFacts> = {}): ContainerFacts {
  return containerFacts({
    id: ID,
    image: "alpine:3.20",
    env: { IAM_ROLE: "App" },
    labels: { team: "blue" },
    startedAt: "2025-12-31T23:00:00.123456789Z",
    ...more,
  });
}

/** A client that ends when it is told to. */
export class FakeClient extends Known implements MetadataClient {
  readonly container: ContainerFacts;
  readonly binding?: Binding;
  readonly grant?: Grant;

  constructor(more: Partial<MetadataClient> & { hasGrant?: boolean } = {}) {
    const { container = facts(), address = "172.17.0.2" } = more;
    super(container, address);
    this.container = container;
    if (more.binding) this.binding = more.binding;
    if (more.hasGrant ?? true) this.grant = more.grant ?? awsGrant();
  }
}

/** What the engine was asked for. */
export interface Asked {
  readonly grant: string;
  readonly binding: Binding;
  readonly holdMs: number;
  readonly role: FurtherRole | undefined;
}

/** How the service is made. */
export interface MetadataBedOptions {
  readonly settings?: Partial<MetadataSettings>;
  readonly isCompatible?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** A request besides its client and path. */
export interface Ask {
  readonly method?: string;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  readonly hasBody?: boolean;
}

/** The role that each container of the bed names. */
export const APP: ContainerRole = {
  role: "arn:aws-cn:iam::123456789012:role/team/App",
  roleName: "App",
};

/** One service. */
export class MetadataBed {
  readonly platform;
  readonly events: MetadataEvent[] = [];
  readonly asked: Asked[] = [];
  /** Names of bindings whose sessions were dropped. */
  readonly dropped: string[] = [];
  /** Calls to find a role. */
  found = 0;
  /** Gives a role. */
  role: () => ContainerRole | Promise<ContainerRole> = () => APP;
  /** Gives a session. */
  session: () => Session | Promise<Session>;
  /** How often it was asked for one. */
  sessions = 0;
  readonly service;

  constructor(options: MetadataBedOptions = {}) {
    const { settings, isCompatible = false, env = {} } = options;
    this.platform = fakePlatform({ env });
    const current = this.newSession();
    this.session = () => current;
    this.service = createMetadata({
      platform: this.platform,
      arch: "x86_64",
      elapsed: () => this.platform.clock.now(),
      vends: new VendRecorders(this.platform),
      roles: {
        find: () => {
          this.found++;
          return this.role();
        },
      },
      engine: {
        sessions: (grant, binding, holdMs, role) => {
          this.asked.push({ grant: grant.name, binding, holdMs, role });
          return () => {
            this.sessions++;
            return this.session();
          };
        },
        end: ({ name }) => void this.dropped.push(name),
        findRole: () => Promise.reject(new Error("roles are found above")),
      },
    }, {
      settings: { ...NO_METADATA, ...settings },
      isCompatible,
      observe: (event) => void this.events.push(event),
    });
  }

  /** A session of an hour from now. */
  newSession(lifeMs = 3_600_000): Session {
    return {
      accessKeyId: "ASIAEXAMPLE",
      secretAccessKey: new Secret(CANARY),
      sessionToken: new Secret("token/+&="),
      expiresAt: this.platform.clock.now() + lifeMs,
      assumedRoleArn:
        "arn:aws-cn:sts::123456789012:assumed-role/App/web-0123456789ab",
    };
  }

  /** What a connection does with a request. */
  prepare(
    client: MetadataClient | MetadataStranger,
    target: string,
    { method = "GET", token, headers = {}, hasBody = false }: Ask = {},
  ): MetadataHandler {
    const all: Record<string, readonly string[]> = {
      ...headers,
      ...(token !== undefined && { "x-aws-ec2-metadata-token": [token] }),
    };
    const values = (name: string) => all[name] ?? [];
    return this.service.prepare({ method, target, hasBody, values, client });
  }

  /** Asks once. */
  async ask(
    client: MetadataClient | MetadataStranger,
    target: string,
    more: Ask = {},
  ): Promise<Answer> {
    return await this.prepare(client, target, more)();
  }

  /** Asks for a session token. */
  put(client: MetadataClient, ttl = "21600", more: Ask = {}): Promise<Answer> {
    return this.ask(client, "/latest/api/token", {
      method: "PUT",
      ...more,
      headers: {
        "x-aws-ec2-metadata-token-ttl-seconds": [ttl],
        ...more.headers,
      },
    });
  }

  /** As a client of version 2 does: a token, then the request. */
  async get(client: MetadataClient, target: string): Promise<Answer> {
    const { body: token } = await this.put(client);
    return await this.ask(client, target, { token });
  }
}
