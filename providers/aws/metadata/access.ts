/**
 * From a client to its role and its sessions: what was bound to it, or what
 * its container names. What is found is kept as long as the client is current.
 *
 * @module
 */

import type { Binding, Subject } from "$core/binding.ts";
import { type ContainerFacts, shortId } from "$core/container.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { MetadataClient } from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import { shellWord } from "$core/text.ts";
import { parseRoleArn } from "../arn.ts";
import type { SessionEngine } from "../engine.ts";
import { clientSentence, stsTimeout } from "../errors.ts";
import { partitionOf } from "../region.ts";
import type { Session } from "../session.ts";
import {
  type AwsSettings,
  readBindingSettings,
  readSettings,
} from "../settings.ts";
import { inTime } from "../sources/call.ts";
import type { VendRecorder, VendRecorders } from "../vend.ts";
import type { RoleIdentity } from "./answers.ts";
import { type ContainerRoles, containerSessionName } from "./container_role.ts";
import { NO_GRANT, Refusal } from "./refusal.ts";

/** JavaScript gives up after 1 s. */
const HOLD_MS = 900;

/** For how long a container may come back as another client before its sessions are dropped. */
const RETURN_MS = 60_000;

/** What a grant without a role is called, whose own session is handed out. */
const DIRECT_NAME = "moat";

/** No account has it. */
const NO_ACCOUNT = "000000000000";

/** What a client may have. */
export interface Access {
  /** Its role. */
  readonly role: RoleIdentity;
  /** Gives its session, at once if there is one. */
  readonly session: () => Session | Promise<Session>;
  /** Told of what is handed out. */
  readonly recorder: VendRecorder;
}

/** What {@link Accesses} needs. */
export interface AccessesOptions {
  /** Clock and log. */
  readonly platform: Pick<Platform, "clock" | "log">;
  /** Makes sessions. */
  readonly engine: Pick<SessionEngine, "sessions" | "end">;
  /** Keeps account of them. */
  readonly vends: Pick<VendRecorders, "recorder" | "end" | "endContainer">;
  /** Finds the roles that containers name. */
  readonly roles: Pick<ContainerRoles, "find">;
  /** How much life a session has left at least, in ms. Default: what the session cache makes of it. */
  readonly offsetMs?: number;
}

/** The clients of a service, with what each may have. */
export class Accesses {
  readonly #options: AccessesOptions;
  /** Bindings of containers whose client ended, with what drops their sessions for good. */
  readonly #leaving = new Map<string, () => void>();
  /** Those whose refusal somebody was told of. */
  readonly #told = new WeakSet<MetadataClient>();

  /** Begins without any. */
  constructor(options: AccessesOptions) {
    this.#options = options;
  }

  /**
   * Finds what a client may have.
   *
   * @param client A container.
   * @returns It; to be kept by the caller.
   * @throws {Refusal} If it may have nothing, or that cannot be found out now.
   */
  async find(client: MetadataClient): Promise<Access> {
    const { binding, grant } = client;
    if (!grant) throw this.#notServed(client);
    try {
      return binding
        ? this.#bound(client, binding, grant)
        : await this.#named(client, grant);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw this.#refuse(client, grant, toMoatError(error));
    }
  }

  /** A binding is cleaned up by whoever ends it; by a label it has many containers. */
  #bound(client: MetadataClient, bound: Binding, grant: Grant): Access {
    const { engine, vends, offsetMs } = this.#options;
    const settings = readSettings(grant);
    const binding = inContainer(bound, settings, client.container);
    client.onEnd(() => vends.endContainer(grant, binding));
    const last = settings.roles.at(-1);
    return {
      role: last === undefined
        ? {
          partition: partitionOf(settings.region),
          account: NO_ACCOUNT,
          name: DIRECT_NAME,
        }
        : identityOf(last),
      session: engine.sessions(grant, binding, HOLD_MS, undefined, offsetMs),
      recorder: vends.recorder(grant, binding),
    };
  }

  async #named(client: MetadataClient, grant: Grant): Promise<Access> {
    const { platform, engine, vends, roles, offsetMs } = this.#options;
    const { container } = client;
    const late = stsTimeout();
    const role = await inTime(
      platform.clock,
      HOLD_MS,
      late,
      async () => await roles.find(container, grant),
    );
    if (!client.isCurrent) throw CLIENT_ENDED;
    const binding = bindingOf(container, grant);
    this.#leaving.get(binding.name)?.();
    this.#leaving.delete(binding.name);
    const session = engine.sessions(grant, binding, HOLD_MS, role, offsetMs);
    client.onEnd(() => this.#end(binding));
    return {
      role: identityOf(role.role),
      session,
      recorder: vends.recorder(grant, binding),
    };
  }

  /**
   * Any change of bindings or grants ends all clients, and most come back:
   * their sessions stay for a while, since nobody else can ask for them.
   */
  #end(binding: Binding): void {
    const { platform: { clock }, engine, vends } = this.#options;
    vends.end(binding);
    this.#leaving.get(binding.name)?.();
    const cancel = clock.after(RETURN_MS, () => {
      this.#leaving.delete(binding.name);
      engine.end(binding);
    });
    this.#leaving.set(binding.name, cancel);
  }

  #refuse(client: MetadataClient, grant: Grant, error: MoatError): Refusal {
    const { vends } = this.#options;
    const binding = client.binding ?? bindingOf(client.container, grant);
    if (!client.binding && !this.#told.has(client)) {
      this.#told.add(client);
      client.onEnd(() => vends.end(binding));
    }
    vends.recorder(grant, binding).refused(error);
    const [status, message] = REFUSED[error.code] ??
      [502, clientSentence(error)];
    return new Refusal(status, error.code, message, "could_not_find_container");
  }

  #notServed(client: MetadataClient): Refusal {
    if (!this.#told.has(client)) {
      this.#told.add(client);
      this.#options.platform.log.warn("container-not-served", {
        container: client.container.name,
        hint:
          `name a grant in [metadata] of moat.toml, or moat bind NAME --grant GRANT --mode imds --container ${
            shellWord(client.container.name)
          }`,
      });
    }
    return NO_GRANT;
  }
}

/** What is no failure of AWS's; clients must not learn what the configuration says. */
const REFUSED: Readonly<Record<string, readonly [number, string]>> = {
  "no-role": [404, "This container names no role, and there is no default"],
  "role-not-allowed": [
    403,
    "The role that this container names is not allowed",
  ],
  "bad-role": [403, "What this container says of its role cannot be used"],
};

const CLIENT_ENDED = new Refusal(
  403,
  "unknown-client",
  "This container has stopped, or what it may have has changed",
  "could_not_find_container",
);

function identityOf(arn: string): RoleIdentity {
  const { partition, account, roleName } = parseRoleArn(arn);
  return { partition, account, name: roleName };
}

/** Names the container wherever STS and the audit log show who acted. */
function bindingOf(container: ContainerFacts, grant: Grant): Binding {
  return {
    name: `container-${shortId(container)}`,
    grants: [grant.name],
    mode: "imds",
    subject: subjectOf(container),
  };
}

function subjectOf({ id, name, image, labels }: ContainerFacts): Subject {
  return {
    container: name,
    labels: {
      ...labels,
      "container-id": id,
      "container-name": name,
      "container-image": image,
    },
  };
}

/**
 * A binding by a label has many containers: its sessions are each one's own.
 * A run's name shows what acted already, and profiles of Roles Anywhere often
 * take no name at all.
 */
function inContainer(
  binding: Binding,
  grant: AwsSettings,
  container: ContainerFacts,
): Binding {
  const own = readBindingSettings(binding.settings?.["aws"]);
  const isNamed = own.sessionName !== undefined ||
    grant.sessionName !== undefined || grant.anywhere !== undefined ||
    binding.subject?.run !== undefined;
  const named = isNamed
    ? own
    : { ...own, sessionName: containerSessionName(container) };
  return {
    ...binding,
    settings: { ...binding.settings, aws: { ...named } },
    subject: { ...binding.subject, ...subjectOf(container) },
  };
}
