/**
 * Instance metadata services: what the proxy gives to a provider that serves
 * one, and what it gets back. The proxy listens, finds out which container
 * asks, and sends the answer; everything that a metadata service says is the
 * provider's.
 *
 * @module
 */

import type { Binding } from "./binding.ts";
import type { ContainerFacts } from "./container.ts";
import type { Grant } from "./grant.ts";
import type { Answer } from "./answer.ts";

/** What a person allows containers that have no binding of their own. */
export interface MetadataSettings {
  /** The grant whose session assumes the containers' roles; absent: none does. */
  readonly grant?: string;
  /** Patterns of what a container may name; `any` for whatever it names. */
  readonly roles: readonly string[] | "any";
  /** Of containers that name none. */
  readonly defaultRole?: string;
  /** Of roles that are named without an account. */
  readonly defaultAccount?: string;
  /** Whether requests without a session token (version 1) are answered. */
  readonly v1: boolean;
  /** Paths that are fetched from the host's real service. */
  readonly passthrough: readonly string[];
}

/** Where moat serves it beside the host's real service, or to a user without rights. */
export const OTHER_ADDRESS = "169.254.170.2:8169";

/** Nothing is allowed. */
export const NO_METADATA: MetadataSettings = {
  roles: [],
  v1: false,
  passthrough: [],
};

/** A container that asks, proven by its address. */
export interface MetadataClient {
  /** What its engine says of it. */
  readonly container: ContainerFacts;
  /** Where it asks from. */
  readonly address: string;
  /** What was bound to it; absent: it names a role itself. */
  readonly binding?: Binding;
  /** The grant that serves it; absent: there is none. */
  readonly grant?: Grant;
  /**
   * False once the container stopped, or its address, binding or grant
   * changed: what was prepared for it counts no more.
   */
  readonly isCurrent: boolean;
  /** Tells, once, when it is not current any more. */
  onEnd(tell: () => void): void;
}

/** Somebody who asks and gets nothing. */
export interface MetadataStranger {
  /** HTTP status code that says so. */
  readonly status: number;
  /** A kebab-case word, such as `unknown-client`. */
  readonly code: string;
  /** One sentence, also for the client; no secret. */
  readonly message: string;
}

/** One request. */
export interface MetadataRequest {
  /** As sent. */
  readonly method: string;
  /** Begins with a slash; may have a query. */
  readonly target: string;
  /** Whether it has a body, or announces one. */
  readonly hasBody: boolean;
  /** The values of a field, by its name in lower case. */
  values(name: string): readonly string[];
  /** Who asks. */
  readonly client: MetadataClient | MetadataStranger;
}

/** Answers a request that was prepared, and each repetition of it. */
export type MetadataHandler = () => Answer | Promise<Answer>;

/** A running instance metadata service. */
export interface MetadataService {
  /**
   * Prepares the answer of a request. The handler is called at once, and
   * again for each request of the same client that is byte for byte the same
   * as long as the client is current; so it checks what else may have changed,
   * such as the life of a session token.
   */
  prepare(request: MetadataRequest): MetadataHandler;
}

/** What came of a request, for telemetry; few and known values only. */
export interface MetadataEvent {
  /** What was asked for. */
  readonly resource:
    | "token"
    | "info"
    | "role-name"
    | "credentials"
    | "other";
  /** The version in the path, if it is a known one; else `other`. */
  readonly version: string;
  /** HTTP status code. */
  readonly status: number;
  /** Why there were no credentials. */
  readonly error?: string;
  /** The name of the client's role, once it is known. */
  readonly role?: string;
  /** Who asked, if it is known. */
  readonly container?: ContainerFacts;
  /** How long the host's real service took, in ms, if it was asked. */
  readonly passthroughMs?: { readonly connect: number; readonly total: number };
}

/** What a provider needs to serve one. */
export interface MetadataOptions {
  /** What containers may have. */
  readonly settings: MetadataSettings;
  /**
   * Whether it answers as go-metadataproxy does: 404 for every failure, its
   * paths and its JSON. Default: false, as the real service does.
   */
  readonly isCompatible?: boolean;
  /** Where it is served, such as `http://169.254.169.254:80`. Default: unknown. */
  readonly ownUrls?: readonly string[];
  /** Told of each request. */
  readonly observe?: (event: MetadataEvent) => void;
}
