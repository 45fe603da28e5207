/**
 * Providers as data: which hosts take a credential, and where in a request.
 * The built-in ones and those of a user's files have the same form.
 *
 * @module
 */

import type { PlaceholderShape } from "../tokens/placeholder.ts";

/** A header that takes the credential. */
export interface HeaderRule {
  /** Its name, in lower case. */
  readonly header: string;
  /** What stands before the credential, such as `Bearer `. Default: nothing. */
  readonly prefix?: string;
  /**
   * The user of HTTP Basic, whose password the credential is; then there is
   * no prefix.
   *
   * @see {@link https://www.rfc-editor.org/rfc/rfc7617.html#section-2 | RFC 7617 section 2}
   */
  readonly basicUser?: string;
  /** Which of the definition's hosts. Default: all. */
  readonly hosts?: readonly string[];
  /** Only at this path and below, without final slash. Default: everywhere. */
  readonly path?: string;
  /** Further headers of the client that are removed, in lower case. */
  readonly strip?: readonly string[];
}

/** A request that tells whether a credential is good. */
export interface ValidationRule {
  /** With https, at one of the hosts; `{token}` in it only where the path takes the credential. */
  readonly url: string;
  /** Default: `GET`. */
  readonly method?: string;
  /** JSON to send. Default: nothing. */
  readonly body?: string;
  /** Statuses of a bad credential. Default: 401. */
  readonly rejected?: readonly number[];
  /** Whether 403 only means that a good credential may not ask this. Default: false. */
  readonly forbiddenIsFine?: boolean;
}

/** A provider of one token. */
export interface HeaderDefinition {
  /** As `Provider.name`; form and length of a grant's name. */
  readonly name: string;
  /** As `Provider.aliases`. Default: none. */
  readonly aliases?: readonly string[];
  /** As `Provider.description`. */
  readonly description: string;
  /** Canonical, see `core/host_pattern.ts`: `api.example.com`, `*.example.com`, `:PORT` unless 443. */
  readonly hosts: readonly string[];
  /** Further hosts that a client may reach, without the credential. Default: none. */
  readonly allow?: readonly string[];
  /** Where in a request the credential goes: in headers, or in the path. */
  readonly inject: readonly HeaderRule[] | "path";
  /** Variables of a client that hold the placeholder. Default: none. */
  readonly env?: readonly string[];
  /** Variables of this machine that may hold the credential; the first counts. Default: none. */
  readonly sourceEnv?: readonly string[];
  /** What a person is asked for, such as `GitLab token`. Default: the name and `token`. */
  readonly prompt?: string;
  /** How to get a credential, such as `create one at https://…`. */
  readonly help?: string;
  /** What the vendor's tools check of a credential. Default: {@link DEFAULT_PLACEHOLDER}. */
  readonly placeholder?: PlaceholderShape;
  /** Are tried in order until one takes the credential. Default: none, it is stored untested. */
  readonly validate?: readonly ValidationRule[];
}

/** Long enough for any check of a length that we know of. */
export const DEFAULT_PLACEHOLDER: PlaceholderShape = { length: 40 };

/** Where a {@link ValidationRule.url} holds the credential. */
export const TOKEN_IN_URL = "{token}";
