/**
 * Which role a container's session is made of: the one that its label
 * `IAM_ROLE` names, else its variable of that name, else the default one. What
 * a container names must be allowed; the default role was chosen by the host.
 *
 * @module
 */

import { type ContainerFacts, shortId } from "$core/container.ts";
import { MoatError, toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { MetadataSettings } from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import { parseRoleArn, readRoleArn, type RoleArn } from "../arn.ts";
import type { SessionEngine } from "../engine.ts";
import { failure } from "../errors.ts";
import type { FurtherRole } from "../hops.ts";
import { checkExternalId, checkPolicy } from "../options/values.ts";
import { type Partition, partitionOf } from "../region.ts";
import { fillSessionName, MAX_SESSION_NAME } from "../session_name.ts";
import { readSettings } from "../settings.ts";
import { RoleLookups } from "./container_role_lookup.ts";
import {
  parseRoleName,
  quoted,
  roleArnOf,
  type RoleName,
} from "./container_role_name.ts";
import { RolePatterns } from "./role_pattern.ts";

/** What a container's session is made of; cleaned and checked. */
export interface ContainerRole extends FurtherRole {
  /** The role's name, without its path. */
  readonly roleName: string;
}

/** What {@link ContainerRoles} needs. */
export interface ContainerRolesOptions {
  /** The clock. */
  readonly platform: Pick<Platform, "clock">;
  /** Looks up roles that are named without an account. */
  readonly engine: Pick<SessionEngine, "findRole">;
  /** What containers may name, and defaults. */
  readonly settings: Pick<
    MetadataSettings,
    "roles" | "defaultRole" | "defaultAccount"
  >;
  /**
   * Whether as go-metadataproxy: its session name, sessions of an hour, and
   * what is set to nothing is not set. Default: false.
   */
  readonly isCompatible?: boolean;
}

/** What a container may say of itself, by label or variable. */
type Name = "IAM_ROLE" | "IAM_EXTERNAL_ID" | "IAM_POLICY" | "IAM_SESSION_NAME";

/** Of go-metadataproxy, for every container. */
const GO_SESSION_NAME = "go-metadataproxy";
const GO_SECONDS = 3600;

/** More than any policy has with its white space; bounds what is read. */
const MAX_POLICY_CHARACTERS = 65_536;

/** Finds the roles of containers. */
export class ContainerRoles {
  readonly #options: ContainerRolesOptions;
  readonly #allowed: RolePatterns | undefined;
  readonly #lookups: RoleLookups;

  /**
   * Reads the settings.
   *
   * @param options What containers may name, and what finds it.
   * @throws {MoatError} `bad-config` for a pattern, a default role or a default
   * account that is none.
   */
  constructor(options: ContainerRolesOptions) {
    const { platform, engine, settings } = options;
    const { roles, defaultRole, defaultAccount } = settings;
    checkDefaults(defaultRole, defaultAccount);
    this.#options = options;
    this.#allowed = roles === "any"
      ? undefined
      : new RolePatterns(roles, defaultAccount);
    this.#lookups = new RoleLookups(
      platform.clock,
      (grant, name) => engine.findRole(grant, name),
    );
  }

  /**
   * Finds the role of a container.
   *
   * @param container What its engine says of it.
   * @param grant Whose session assumes the role.
   * @returns The role; at once if nothing has to be asked.
   * @throws {MoatError} `no-role`; `bad-role` if what the container says cannot
   * be read; `role-not-allowed`, with the line to add as its hint;
   * `role-unknown` and the codes of `errors.ts` if IAM does not tell. The hint
   * is for the host only: it has the ARN where the container named less.
   */
  find(
    container: ContainerFacts,
    grant: Grant,
  ): ContainerRole | Promise<ContainerRole> {
    const { isCompatible = false } = this.#options;
    const named = this.#read(container, "IAM_ROLE");
    const text = named ?? this.#options.settings.defaultRole;
    if (text === undefined) throw noRole(container, isCompatible);
    const more = this.#more(container);
    const home = partitionOf(readSettings(grant).region);
    const finish = (role: RoleArn): ContainerRole => {
      if (named !== undefined) this.#check(role, named, home);
      return { role: role.arn, roleName: role.roleName, ...more };
    };
    // go-metadataproxy took names with a slash before them.
    const name = isCompatible ? text.replace(/^\/+/, "") : text;
    const role = this.#resolve(parseRoleName(name), grant, home);
    return role instanceof Promise ? role.then(finish) : finish(role);
  }

  /**
   * What a container says, by a label or a variable. An image may set either,
   * and whoever starts it the other: two that differ say nothing.
   * go-metadataproxy knew variables alone: there one that is set decides, also
   * one that is set to nothing.
   */
  #read(
    { labels, env, name: container }: ContainerFacts,
    name: Name,
  ): string | undefined {
    const { isCompatible = false } = this.#options;
    const [first, second] = [env, labels]
      .filter((values) => Object.hasOwn(values, name))
      .map((values) => values[name]);
    if (isCompatible) return first || undefined;
    if (second === undefined || first === second) return first;
    throw new MoatError(
      "bad-role",
      `Cannot use ${name} of container ${
        quoted(container)
      }: wanted one value, found one as a label and another as a variable`,
      { hint: "set the label or the variable, and see what the image sets" },
    );
  }

  /** All but the role. */
  #more(container: ContainerFacts): Omit<FurtherRole, "role"> {
    const { isCompatible = false } = this.#options;
    const externalId = this.#read(container, "IAM_EXTERNAL_ID");
    const policy = this.#read(container, "IAM_POLICY");
    const sessionName = this.#read(container, "IAM_SESSION_NAME");
    const ownName = isCompatible
      ? GO_SESSION_NAME
      : containerSessionName(container);
    return {
      ...(externalId !== undefined &&
        { externalId: readExternalId(externalId) }),
      ...(policy !== undefined && { policy: readPolicy(policy) }),
      sessionName: sessionName ? ownedName(sessionName, container) : ownName,
      ...(isCompatible && { durationSeconds: GO_SECONDS }),
    };
  }

  #resolve(
    name: RoleName,
    grant: Grant,
    home: Partition,
  ): RoleArn | Promise<RoleArn> {
    if (name.arn) return name.arn;
    const { resource, roleName } = name;
    const account = name.account ?? this.#options.settings.defaultAccount;
    if (account !== undefined) {
      return parseRoleArn(roleArnOf(home, { account, resource }));
    }
    const found = this.#lookups.find(grant, roleName);
    const read = (arn: string) => readFound(arn, resource);
    return found instanceof Promise ? found.then(read) : read(found);
  }

  #check(role: RoleArn, named: string, home: Partition): void {
    if (!this.#allowed || this.#allowed.allow(role, home)) return;
    throw new MoatError(
      "role-not-allowed",
      `Cannot use ${
        quoted(named)
      } as a container's role: it is none of those that containers may name`,
      {
        hint: `add ${
          JSON.stringify(role.arn)
        } to roles in [metadata] of moat.toml, then start moat again`,
      },
    );
  }
}

function checkDefaults(
  role: string | undefined,
  account: string | undefined,
): void {
  if (account !== undefined && !/^\d{12}$/.test(account)) {
    throw badDefault("account", account, "an account of 12 digits");
  }
  if (role === undefined) return;
  try {
    parseRoleName(role);
  } catch (error) {
    throw badDefault("role", role, toMoatError(error).hint ?? "");
  }
}

function badDefault(what: "role" | "account", text: string, wanted: string) {
  const variable = what === "role" ? "DEFAULT_ROLE" : "DEFAULT_ACCOUNT_ID";
  return new MoatError(
    "bad-config",
    `Cannot use ${quoted(text)} as the default ${what} of containers`,
    {
      hint:
        `${wanted}: correct default_${what} in [metadata] of moat.toml, or ${variable}`,
    },
  );
}

/** A name without a path may be that of a role with one; a path must be right. */
function readFound(arn: string, resource: string): RoleArn {
  const garbage = (found: string) =>
    failure(
      "sts-garbage",
      `Cannot look up the role ${quoted(resource)}: IAM answered ${found}`,
      { hint: "check that AWS_ENDPOINT_URL_IAM names IAM" },
    );
  const role = readRoleArn(
    arn,
    () => garbage("something that is no ARN of a role"),
  );
  // IAM knows names in any case.
  const asked = resource.slice(resource.lastIndexOf("/") + 1).toLowerCase();
  if (role.roleName.toLowerCase() !== asked) throw garbage("another role");
  if (!resource.includes("/") || arn.endsWith(`:role/${resource}`)) return role;
  throw failure(
    "role-unknown",
    `Cannot find the role ${
      quoted(resource)
    }: there is one of that name, but with another path`,
    { hint: `name it as ${JSON.stringify(arn)}` },
  );
}

function noRole({ name }: ContainerFacts, isCompatible: boolean): MoatError {
  return new MoatError(
    "no-role",
    `Cannot find a role for container ${
      quoted(name)
    }: it has neither a label nor a variable IAM_ROLE, and there is no default`,
    {
      hint: isCompatible
        ? "set IAM_ROLE for the container, or DEFAULT_ROLE for moat"
        : "set IAM_ROLE for the container, or default_role in [metadata] of moat.toml",
    },
  );
}

function readExternalId(text: string): string {
  try {
    return checkExternalId(text);
  } catch {
    throw badValue(
      "IAM_EXTERNAL_ID",
      "2 to 1224 letters, digits or _+=,.@:/-",
      "copy the external ID from the role's trust policy",
    );
  }
}

function readPolicy(text: string): string {
  try {
    if (text.length <= MAX_POLICY_CHARACTERS) return checkPolicy(text);
  } catch {
    // It says --policy, which nobody gave.
  }
  throw badValue(
    "IAM_POLICY",
    'a JSON object with a "Statement", of at most 2048 characters without white space',
    'give the policy itself, such as {"Version":"2012-10-17","Statement":[…]}',
  );
}

/** The value is not shown: nobody knows what it is. */
function badValue(name: Name, wanted: string, hint: string): MoatError {
  return new MoatError(
    "bad-role",
    `Cannot use the container's ${name}: wanted ${wanted}`,
    { hint },
  );
}

/** An image may choose the name; the id tells which container it was all the same. */
function ownedName(text: string, container: ContainerFacts): string {
  const subject = { container: text };
  const binding = { name: "", grants: [], subject };
  const name = fillSessionName("{container}", binding);
  const end = `-${shortId(container)}`;
  return name.slice(0, MAX_SESSION_NAME - end.length) + end;
}

/**
 * The session name that shows which container acted.
 *
 * @param container Its id is in it as well, for names are given anew.
 * @returns A template, as in `session_name.ts`.
 */
export function containerSessionName(container: ContainerFacts): string {
  return `{container}-${shortId(container)}`;
}
