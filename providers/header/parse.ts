/**
 * Definitions of providers in TOML: read strictly, so that a slip of the pen
 * is an error with its line and column and never a host without a credential.
 *
 * @module
 */

import type { Shape } from "$core/shape.ts";
import { parseToml } from "$core/toml.ts";
import {
  MIN_PLACEHOLDER,
  type PlaceholderShape,
} from "../tokens/placeholder.ts";
import {
  type HeaderDefinition,
  type HeaderRule,
  TOKEN_IN_URL,
  type ValidationRule,
} from "./definition.ts";
import { isAt, isBelow, placedHeaders } from "./placement.ts";
import {
  readBody,
  readHeader,
  readHosts,
  readLine,
  readName,
  readNames,
  readOwnHost,
  readPath,
  readPlaceholderPart,
  readPrefix,
  readUser,
  readVariables,
} from "./values.ts";

/** The code of errors about a file. */
export const BAD_FILE = "bad-provider-file";

const MAX_PLACEHOLDER = 200;

/**
 * Parses a definition.
 *
 * @param text The file's text.
 * @param file Its path, for errors.
 * @param name What it must be called: the file's name without `.toml`.
 * @returns The definition, its hosts canonical and its headers in lower case.
 * @throws {MoatError} `bad-provider-file` with line and column.
 */
export function parseDefinition(
  text: string,
  file: string,
  name: string,
): HeaderDefinition {
  return parseToml(text, {
    file,
    code: BAD_FILE,
    read: (top) => readDefinition(top, name),
  });
}

function readDefinition(top: Shape, fileName: string): HeaderDefinition {
  const table = top.table(
    "name",
    "aliases",
    "description",
    "hosts",
    "allow",
    "inject",
    "substitute",
    "env",
    "source_env",
    "prompt",
    "help",
    "placeholder",
    "validate",
  );
  const name = readName(table.get("name"));
  if (name !== fileName) {
    table.get("name").fail(
      `wanted the file's own name, found another: a provider's file is NAME.toml`,
    );
  }
  const hosts = readHosts(table.get("hosts"));
  const substitute = table.find("substitute");
  const rules = table.find("inject");
  if (!substitute === !rules) {
    (substitute ?? top).fail('wanted either [inject] or substitute = "path"');
  }
  const inject = substitute?.oneOf("path") ??
    readOneOrMore(rules, (rule) => readRule(rule, hosts));
  return {
    name,
    description: readLine(table.get("description")),
    hosts,
    inject,
    ...optional("aliases", table.find("aliases"), readNames),
    ...optional("allow", table.find("allow"), readHosts),
    ...optional("env", table.find("env"), readVariables),
    ...optional("sourceEnv", table.find("source_env"), readVariables),
    ...optional("prompt", table.find("prompt"), readLine),
    ...optional("help", table.find("help"), readLine),
    ...optional("placeholder", table.find("placeholder"), readPlaceholder),
    ...optional(
      "validate",
      table.find("validate"),
      (shape) =>
        readOneOrMore(shape, (rule) => readValidation(rule, hosts, inject)),
    ),
  };
}

/** A member that is only there if it was given. */
function optional<K extends string, T>(
  key: K,
  shape: Shape | undefined,
  read: (shape: Shape) => T,
): { readonly [key in K]?: T } {
  return shape ? { [key]: read(shape) } as { [key in K]: T } : {};
}

/** `[key]`, or several of `[[key]]`. */
function readOneOrMore<T>(
  shape: Shape | undefined,
  read: (shape: Shape) => T,
): readonly T[] {
  if (!shape) return [];
  if (!shape.isList) return [read(shape)];
  const all = shape.list();
  return all.length > 0 ? all.map(read) : shape.fail("wanted one at least");
}

function readRule(shape: Shape, hosts: readonly string[]): HeaderRule {
  const table = shape.table(
    "header",
    "prefix",
    "basic_user",
    "hosts",
    "path",
    "strip",
  );
  const prefix = table.find("prefix");
  const user = table.find("basic_user");
  if (prefix && user) prefix.fail("wanted either prefix or basic_user");
  return {
    header: readHeader(table.get("header")),
    ...optional("prefix", prefix, readPrefix),
    ...optional("basicUser", user, readUser),
    ...optional(
      "hosts",
      table.find("hosts"),
      (list) => list.list().map((item) => readOwnHost(item, hosts)),
    ),
    ...optional("path", table.find("path"), readPath),
    ...optional(
      "strip",
      table.find("strip"),
      (list) => list.list().map(readHeader),
    ),
  };
}

function readPlaceholder(shape: Shape): PlaceholderShape {
  const table = shape.table("prefix", "length", "suffix");
  return {
    length: table.get("length").integer(MIN_PLACEHOLDER, MAX_PLACEHOLDER),
    ...optional("prefix", table.find("prefix"), readPlaceholderPart),
    ...optional("suffix", table.find("suffix"), readPlaceholderPart),
  };
}

function readValidation(
  shape: Shape,
  hosts: readonly string[],
  inject: HeaderDefinition["inject"],
): ValidationRule {
  const table = shape.table(
    "url",
    "method",
    "body",
    "rejected",
    "forbidden_is_fine",
  );
  return {
    url: readUrl(table.get("url"), hosts, inject),
    ...optional(
      "method",
      table.find("method"),
      (method) => method.oneOf("GET", "HEAD", "POST"),
    ),
    ...optional("body", table.find("body"), readBody),
    ...optional(
      "rejected",
      table.find("rejected"),
      (list) => list.list().map((status) => status.integer(400, 499)),
    ),
    ...optional(
      "forbiddenIsFine",
      table.find("forbidden_is_fine"),
      (flag) => flag.boolean(),
    ),
  };
}

/** The credential goes nowhere but to the hosts, and into no log by its URL. */
function readUrl(
  shape: Shape,
  hosts: readonly string[],
  inject: HeaderDefinition["inject"],
): string {
  const text = shape.textAs(
    "a URL",
    (text) => URL.parse(text) ? text : undefined,
  );
  const url = new URL(text);
  if (url.protocol !== "https:" || url.username || url.password || url.hash) {
    shape.fail("wanted https://, and neither user nor fragment");
  }
  const taking = inject === "path" ? hosts : placedHeaders({ hosts, inject })
    .filter(({ path }) => isBelow(url.pathname, path))
    .map(({ host }) => host);
  if (!taking.some((host) => isAt(url, host))) {
    shape.fail("wanted a URL that takes the credential by the rules above");
  }
  if (text.includes(TOKEN_IN_URL) !== (inject === "path")) {
    shape.fail(
      inject === "path"
        ? `wanted ${TOKEN_IN_URL} where the path has the credential`
        : `wanted a URL without ${TOKEN_IN_URL}: headers take the credential`,
    );
  }
  if (inject === "path" && !isInPath(text)) {
    shape.fail(`wanted ${TOKEN_IN_URL} in the path alone`);
  }
  return text;
}

function isInPath(url: string): boolean {
  const [, path = ""] = /^https:\/\/[^/?#]*(\/[^?#]*)/.exec(url) ?? [];
  return path.split(TOKEN_IN_URL).length === url.split(TOKEN_IN_URL).length;
}
