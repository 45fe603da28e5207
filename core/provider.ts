/**
 * The provider interface and its registry. A provider is a plugin: how to
 * obtain, refresh and deliver one kind of credential.
 *
 * @module
 */

import type { Answer } from "./answer.ts";
import type { Access, Binding } from "./binding.ts";
import type { BindingFormat, NewBinding } from "./binding_store.ts";
import { MoatError } from "./errors.ts";
import type { Grant, JsonObject } from "./grant.ts";
import type { MetadataOptions, MetadataService } from "./metadata.ts";
import type { Platform } from "./platform.ts";
import type { Secret } from "./secret.ts";

export { Answer, errorAnswer } from "./answer.ts";

/** One flag of a command, as data: parser, help and completions read it. */
export interface Flag {
  /** Without the dashes, such as `role`. */
  readonly name: string;
  /** The placeholder in help, such as `ARN`; absent for a switch. */
  readonly value?: string;
  /** Its value where none is given; absent: one must be. */
  readonly valueIfBare?: string;
  /** One line for help, without a final period. */
  readonly summary: string;
  /** Whether it may be given more than once. Default: false. */
  readonly repeatable?: boolean;
  /** A one-letter form, such as `h`. */
  readonly short?: string;
}

/** Parsed flags: text for one value, a list for a repeatable one, true for a switch. */
export type FlagValues = Readonly<
  Record<string, string | readonly string[] | boolean | undefined>
>;

/** What `moat grant` asks of a provider. */
export interface GrantRequest {
  /** The full grant name, such as `aws:prod`. */
  readonly name: string;
  /** The values of the provider's own {@link Provider.grantFlags}. */
  readonly flags: FlagValues;
  /** False with `--no-validate`: make no call. */
  readonly validate: boolean;
  /**
   * Asks the person at the terminal for one line that is not shown; absent
   * when there is no terminal.
   */
  readonly ask?: (question: string, options?: AskOptions) => Promise<Secret>;
}

/** How a person is asked. */
export interface AskOptions {
  /**
   * Whether lines that are pasted together are one answer, with their line
   * feeds. Default: false, the first line is.
   */
  readonly joinsLines?: boolean;
}

/** Where a bound client finds us, its token and its files. */
export interface Container {
  /** How it asks: the name of one of {@link Provider.modes}. */
  readonly mode: string;
  /** Our base URL as the client sees it, such as `http://moat-proxy:19080`. */
  readonly endpointUrl: string;
  /** Where the files are mounted, such as `/moat`; absent if there are none. */
  readonly directory?: string;
  /** The file that holds `Bearer TOKEN`, such as `/moat/token`; absent if the environment holds it. */
  readonly tokenFile?: string;
  /** The token, unless it is in {@link Container.tokenFile}. */
  readonly token?: Secret;
}

/** A way in which clients ask for a grant's credential. */
export interface Mode {
  /** Such as `process`. */
  readonly name: string;
  /** One line for help. */
  readonly summary: string;
  /** Where the client sends its token; `container` if it has none and is known by its address. */
  readonly access: Access;
  /** Whether the client reads its files, wherever they are. */
  readonly needsFiles: boolean;
  /**
   * Where clients of this mode accept us: anywhere, on their own loopback, or
   * at one address alone.
   */
  readonly reach: "any" | "loopback" | {
    /** The address. */
    readonly hostname: string;
    /** The port. */
    readonly port: number;
  };
}

/** A base URL that a person gave, checked. */
export interface CheckedUrl {
  /** Without a path, such as `http://127.0.0.1:7224`. */
  readonly url: string;
  /** Sentences about what its clients may not like. */
  readonly warnings: readonly string[];
}

/** Bindings in the form of another program, which moat reads and writes as that one does. */
export interface ForeignBindings {
  /** Flags of `moat bind` that make such a binding. */
  readonly bindFlags: readonly Flag[];
  /** Flags of `moat serve`. */
  readonly serveFlags: readonly Flag[];
  /** The paths that `moat serve` has. */
  readonly paths: readonly string[];
  /** Whether these flags ask for one. */
  asks(flags: FlagValues): boolean;
  /**
   * Reads the flags of `moat bind` and, unless `validate` is false, tries the
   * grant that they make.
   *
   * @throws {MoatError} `usage`, or the provider's own.
   */
  readBinding(
    name: string,
    flags: FlagValues,
    validate: boolean,
  ): Promise<NewBinding>;
  /** How its files are written, with the settings of `moat serve`. */
  format(flags: FlagValues): BindingFormat;
}

/** A file for a bound client; the caller writes it. */
export interface MountedFile {
  /** Relative to {@link Container.directory}, such as `aws/config`. */
  readonly path: string;
  /** 0o444, or 0o555 for a program. */
  readonly mode: 0o444 | 0o555;
  /** The whole file. */
  readonly content: string | Uint8Array;
}

/** A header that the intercepting proxy puts on requests to one host. */
export interface Injection {
  /** Canonical (see `core/host.ts`): `api.example.com`, `*.example.com`; `:PORT` unless 443. */
  readonly host: string;
  /** Only at this path and below, such as `/npm/private`, without final slash; default: everywhere. */
  readonly path?: string;
  /** The header's name, in lower case. */
  readonly header: string;
  /** Its whole value. */
  readonly value: Secret;
  /** Further headers of the client that are removed, in lower case. */
  readonly strip: readonly string[];
  /**
   * What the client has in place of the credential. Of several grants for one
   * host the one counts whose placeholder the client sent, also in Basic.
   */
  readonly placeholder?: string;
}

/** A part of the path that the intercepting proxy replaces. */
export interface Substitution {
  /** As {@link Injection.host}. */
  readonly host: string;
  /** What the client writes in the path; at least 16 characters that paths have, as it is written there. */
  readonly placeholder: string;
  /** What takes its place. */
  readonly value: Secret;
}

/** Collects what a provider declares for the intercepting proxy. */
export interface InjectionRegistrar {
  /** Declares a header for a host, which the grant thereby allows. */
  inject(injection: Injection): void;
  /** Declares a part of the path that is replaced on a host, which the grant thereby allows. */
  substitute(substitution: Substitution): void;
  /** Allows a host, spelled as {@link Injection.host}, without reading what goes there. */
  allow(host: string): void;
}

/** One authenticated request for an endpoint. */
export interface EndpointRequest {
  /** Who asks. */
  readonly binding: Binding;
}

/**
 * Answers a request. Called for each request, so an answer that does not
 * change should be the same object each time: the server keeps its bytes.
 */
export type EndpointHandler = (
  request: EndpointRequest,
) => Answer | Promise<Answer>;

/** Collects the endpoints that a provider serves for one grant of one binding. */
export interface EndpointRegistrar {
  /** The binding that the endpoints serve. */
  readonly binding: Binding;
  /**
   * Serves GET on an exact path.
   *
   * @param path Absolute, such as `/ecs/credentials`.
   * @param handler What answers.
   */
  get(path: string, handler: EndpointHandler): void;
}

/** A simulated upstream that runs until it is closed. */
export interface Simulator {
  /** Base URLs, one per listener. */
  readonly urls: readonly string[];
  /** Lines for the person who started it, such as how to point an SDK at it. */
  readonly notes: readonly string[];
  /** Stops it and frees its ports. */
  close(): Promise<void>;
}

/** What `moat simulate` asks of a provider. */
export interface SimulateRequest {
  /** The values of {@link Provider.simulateFlags}. */
  readonly flags: FlagValues;
  /** `ADDR:PORT` of each listener; port 0 for any. */
  readonly listen: readonly string[];
}

/** Something that ends and that a person has to renew. */
export interface Expiry {
  /** What ends, such as `certificate`; a label of the metric. */
  readonly what: string;
  /** In ms since the Unix epoch. */
  readonly expiresAt: number;
  /** How long before the end to warn, in ms, longest first. */
  readonly warnAhead: readonly number[];
  /** What to do. */
  readonly hint: string;
}

/** What a provider's control methods may use of the running proxy. */
export interface ProxyAccess {
  /**
   * Reads a grant of this provider.
   *
   * @throws {MoatError} `usage` for another provider's, or as `Store.get`.
   */
  grant(name: string): Promise<Grant>;
  /**
   * Stores a grant in place of the one that {@link ProxyAccess.grant} gave,
   * and makes it count at once.
   *
   * @throws {MoatError} `grant-not-found` if it was revoked meanwhile,
   * `grant-changed` if it was granted anew; then nothing is stored.
   */
  update(grant: Grant): Promise<void>;
  /** Finds a binding that counts by name, a run's or a stored one. */
  binding(name: string): Promise<Binding | undefined>;
}

/**
 * Answers a command of the same user over the control socket.
 *
 * @param params What the command sent; to be checked.
 * @param proxy What the running proxy gives.
 * @returns JSON for the command; may hold credentials, so it is never logged.
 */
export type ControlMethod = (
  params: JsonObject,
  proxy: ProxyAccess,
) => Promise<JsonObject>;

/**
 * A plugin for one kind of credential. The first seven methods are required;
 * {@link createRegistry} refuses a provider that lacks one.
 */
export interface Provider {
  /** Canonical name, such as `aws`. */
  readonly name: string;
  /** Other names that `moat grant` takes. */
  readonly aliases: readonly string[];
  /** One line for `moat grant providers`. */
  readonly description: string;
  /** Command lines of `moat grant` that show its flags. */
  readonly grantExamples: readonly string[];
  /** Flags that `moat grant NAME` takes for this provider. */
  readonly grantFlags: readonly Flag[];
  /** Environment variables that would override what a binding sets. */
  readonly conflictingEnv: readonly string[];
  /**
   * Variables by which its vendor's tools take a PEM file of all the
   * certificates that they trust; set for every intercepted client.
   */
  readonly trustVariables?: readonly string[];

  /** Obtains and validates a credential. The caller stores the result. */
  grant(request: GrantRequest): Promise<Grant>;
  /** Declares injections. Pure. */
  configureProxy(proxy: InjectionRegistrar, grant: Grant): void;
  /** The environment of a bound client, in the container's mode. Pure. */
  containerEnv(grant: Grant, container: Container): Record<string, string>;
  /** The files of a bound client. Pure. */
  containerMounts(grant: Grant, container: Container): readonly MountedFile[];
  /** Declares the endpoints that serve this grant. */
  registerEndpoints(endpoints: EndpointRegistrar, grant: Grant): void;
  /** Programs that a container needs to use the credential, such as `aws`. */
  impliedDependencies(): readonly string[];
  /** Releases what it holds for a binding that ended. */
  cleanup(binding: Binding): void | Promise<void>;

  /** Renews a credential that ends. */
  refresh?(grant: Grant): Promise<Grant>;
  /** Drops everything cached for a grant that was revoked or granted anew. */
  forget?(grantName: string): void;
  /** Prepares the first answer of a grant, so that no client waits for it; without a binding, what all bindings share. */
  prefetch?(grant: Grant, binding?: Binding): Promise<void>;
  /** How clients can ask; the first is the default. Absent: there is nothing to choose. */
  readonly modes?: readonly Mode[];
  /**
   * Checks a base URL that a person gave for clients of one mode.
   *
   * @throws {MoatError} `usage` for one that no client accepts.
   */
  checkUrl?(url: string, mode: Mode): CheckedUrl;
  /**
   * Serves an instance metadata service.
   *
   * @throws {MoatError} `usage` or `bad-config` for settings that it cannot use.
   */
  metadata?(options: MetadataOptions): MetadataService;
  /**
   * Makes the grant of containers that name their roles themselves, from this
   * process's environment; it is not stored.
   */
  environmentGrant?(): Promise<Grant>;
  /** Bindings of the program that this provider takes the place of. */
  readonly foreignBindings?: ForeignBindings;
  /** Flags with which a binding narrows a grant. */
  readonly bindingFlags?: readonly Flag[];
  /**
   * Reads them. Whether they fit a grant is checked by
   * {@link Provider.registerEndpoints}, each time.
   *
   * @param mode Name of the binding's mode; undefined without one.
   * @throws {MoatError} `usage`.
   */
  readBindingFlags?(flags: FlagValues, mode?: string): Promise<JsonObject>;
  /** What of a grant ends and must be renewed by a person. */
  expiries?(grant: Grant): Promise<readonly Expiry[]>;
  /** Lines for `moat grant show --explain`: each source, and why it is used or not. */
  explain?(
    grant: Grant,
  ): Promise<readonly (readonly [label: string, value: string])[]>;
  /**
   * Names the credentials that this process's environment gives to a grant,
   * such as an access key ID; undefined if it does not count for it. Without a
   * grant: those that it has for any for which it counts.
   */
  environmentIdentity?(grant?: Grant): string | undefined;
  /** Methods of the control socket, by name. */
  readonly controlMethods?: Readonly<Record<string, ControlMethod>>;
  /** Names the program that obtaining this grant's credential starts, if any. */
  sourceProcess?(grant: Grant): Promise<string | undefined>;
  /** Lines for `moat grant show`, such as `role` and its ARN. */
  describe?(grant: Grant): readonly (readonly [label: string, value: string])[];
  /** Sentences for the person who just granted it, such as a better setting. */
  advise?(grant: Grant): Promise<readonly string[]>;
  /** Flags of `moat simulate NAME`. */
  readonly simulateFlags?: readonly Flag[];
  /** Serves a stand-in for the provider's upstream on loopback. */
  simulate?(request: SimulateRequest): Promise<Simulator>;
  /** Asks the upstream who the credentials in this environment belong to. */
  whoami?(): Promise<Record<string, string>>;
}

/** Makes a provider for this machine. `providers/mod.ts` lists them all. */
export type ProviderFactory = (platform: Platform) => Provider;

const REQUIRED = [
  "grant",
  "configureProxy",
  "containerEnv",
  "containerMounts",
  "registerEndpoints",
  "impliedDependencies",
  "cleanup",
] as const;

/** Providers that a person defined, in files that may change at any time. */
export interface DefinedProviders {
  /** Those that could be read when the program started. */
  readonly all: readonly Provider[];
  /** Why others could not. */
  readonly problems: readonly MoatError[];
  /**
   * Finds one, as its file is now.
   *
   * @param name A name or an alias.
   * @returns Undefined if no file defines it.
   * @throws {MoatError} If its file has a fault.
   */
  find(name: string): Provider | undefined;
  /** Names the file that would define a provider. */
  fileOf(name: string): string;
}

/** The providers of this program, by name and alias. */
export interface ProviderRegistry {
  /** In the order of registration; those that a person defined last. */
  readonly all: readonly Provider[];
  /** Those that are compiled in, whose names nobody can take. */
  readonly builtIn: readonly Provider[];
  /** Why some that a person defined are missing. */
  readonly problems: readonly MoatError[];
  /**
   * Finds a provider by name or alias.
   *
   * @throws {MoatError} `usage` if there is none, naming those there are.
   */
  get(name: string): Provider;
}

/**
 * Makes the registry.
 *
 * @param providers All providers that are compiled in.
 * @param defined Those that a person defined. Default: none.
 * @returns A registry that is never changed.
 * @throws {MoatError} `bad-provider` for a duplicate name or alias, or a missing member.
 */
export function createRegistry(
  providers: readonly Provider[],
  defined?: DefinedProviders,
): ProviderRegistry {
  const byName = new Map<string, Provider>();
  for (const provider of providers) {
    checkMembers(provider);
    for (const name of [provider.name, ...provider.aliases]) {
      if (byName.has(name)) {
        throw new MoatError(
          "bad-provider",
          `Cannot register provider "${provider.name}": the name "${name}" is taken by "${
            byName.get(name)?.name
          }"`,
        );
      }
      byName.set(name, provider);
    }
  }
  const all = [...providers, ...defined?.all ?? []];
  return {
    all,
    builtIn: [...providers],
    problems: defined?.problems ?? [],
    get(name) {
      const found = byName.get(name) ?? defined?.find(name);
      if (found) return found;
      throw unknownProvider(name, all, defined);
    },
  };
}

function checkMembers(provider: Provider): void {
  for (const member of REQUIRED) {
    if (typeof provider[member] !== "function") {
      throw new MoatError(
        "bad-provider",
        `Cannot register provider "${provider.name}": it lacks ${member}()`,
      );
    }
  }
}

function unknownProvider(
  name: string,
  all: readonly Provider[],
  defined: DefinedProviders | undefined,
): MoatError {
  const [first = "", second] = name.split(":");
  const isKnown = all.some((p) => [p.name, ...p.aliases].includes(first));
  const available = `available providers: ${all.map((p) => p.name).join(", ")}`;
  return new MoatError(
    "usage",
    `Cannot find provider ${JSON.stringify(name)}`,
    {
      hint: isKnown && second
        ? `write ${first} --name ${second}`
        : defined
        ? `${available}; one of your own is defined in ${defined.fileOf(name)}`
        : available,
    },
  );
}
