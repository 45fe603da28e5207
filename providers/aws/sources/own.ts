/**
 * No recursion: moat must not be its own source. What cannot be known from
 * files and variables is caught when it happens, by `MOAT_SOURCE=1`.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import { failure, NAME_PROFILE, SELF_SOURCE_MARK } from "../errors.ts";
import type { Source, SourceKind } from "../settings.ts";
import { readSmallFile } from "../files.ts";
import type { Environment } from "./call.ts";
import {
  type BaseKind,
  loadProfiles,
  planProfile,
  profileName,
} from "./profile.ts";
import { hasKeys } from "./identity.ts";

/** A token of moat's own. */
const OWN_TOKEN = /(?:moat|needroleshere)\.[\w.@-]+\.[\w-]{43}/i;

/** `moat credential-process`, wherever it is, with options or without. */
const OWN_COMMAND =
  /(?:^|[\s/'"\\;&|(])moat['"]?\s(?:[^;&|]*\s)?['"]?credential-process\b/;

/** Our helper is a tenth of this, our tokens are far less. */
const MAX_FILE_BYTES = 256 * 1024;

/** A profile with these either works or fails for good: nothing after it is asked. */
const FINAL: readonly BaseKind[] = ["keys", "web-identity", "sso", "login"];

/**
 * Fails if a source would use what moat itself hands out.
 *
 * @param source The source.
 * @param env The environment of this process.
 * @throws {MoatError} `source-is-moat`.
 */
export async function refuseOwnSource(
  source: Source,
  env: Environment,
): Promise<void> {
  for (const kind of source.order) {
    const own = await ownSource(kind, source, env);
    if (own) throw own;
    if (await isLast(kind, source, env)) return;
  }
}

/**
 * Tells whether one kind of a source is moat itself.
 *
 * @param kind The kind.
 * @param source The source.
 * @param env The environment of this process.
 * @returns The error to throw; undefined as far as can be known.
 */
export async function ownSource(
  kind: SourceKind,
  source: Source,
  env: Environment,
): Promise<MoatError | undefined> {
  switch (kind) {
    case "profile":
      return await ownProfile(source, env);
    case "container":
      return await ownContainer(source, env);
    case "instance":
      return ownInstance(source, env);
    default:
      return undefined;
  }
}

async function isLast(
  kind: SourceKind,
  source: Source,
  env: Environment,
): Promise<boolean> {
  if (kind === "environment") return hasKeys(env);
  if (kind === "web-identity") return source.webIdentity !== undefined;
  if (kind === "container") return source.container !== undefined;
  if (kind !== "profile") return false;
  const { base } = planProfile(await loadProfiles(source), profileName(source));
  return FINAL.includes(base.kind);
}

async function ownProfile(
  source: Source,
  env: Environment,
): Promise<MoatError | undefined> {
  const { base } = planProfile(await loadProfiles(source), profileName(source));
  if (base.kind === "container") return await ownContainer(source, env);
  if (base.kind === "instance") return ownInstance(source, env);
  const command = base.section["credential_process"];
  if (base.kind !== "process" || !command) return undefined;
  if (!OWN_COMMAND.test(command) && !await isOwnHelper(command)) {
    return undefined;
  }
  return refusal(
    `Cannot use profile "${base.name}": the source that its credential_process names is moat itself`,
    `name credentials that moat did not hand out, or ${NAME_PROFILE}`,
  );
}

/** Our script, under whatever name: it is the first word, or a shell's argument. */
async function isOwnHelper(command: string): Promise<boolean> {
  const words = command.match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? [];
  for (const word of words.slice(0, 3)) {
    const path = word.replace(/^(['"])(.*)\1$/, "$2");
    if (path.includes("/") && await mentionsMoat(path)) return true;
  }
  return false;
}

async function mentionsMoat(path: string): Promise<boolean> {
  const text = await readText(path);
  return text.includes(SELF_SOURCE_MARK);
}

/** What is wrong with a file shows when it is used. */
async function readText(path: string): Promise<string> {
  const bytes = await readSmallFile(path, MAX_FILE_BYTES)
    .catch(() => undefined);
  return new TextDecoder().decode(bytes);
}

async function ownContainer(
  { container }: Source,
  env: Environment,
): Promise<MoatError | undefined> {
  if (!container) return undefined;
  const { url, tokenFile } = container;
  const token = tokenFile
    ? await readText(tokenFile)
    : env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "";
  if (!OWN_TOKEN.test(token) && !isOwnUrl(url, env)) return undefined;
  return refusal(
    "Cannot use the container credentials of this environment: moat handed them out",
    `run this outside of the bound container, or ${NAME_PROFILE}`,
  );
}

function ownInstance(
  { instanceEndpoint }: Source,
  env: Environment,
): MoatError | undefined {
  if (!instanceEndpoint || !isOwnUrl(instanceEndpoint, env)) return undefined;
  return refusal(
    "Cannot use the instance metadata of this environment: moat serves it",
    `run this outside of the bound container, or ${NAME_PROFILE}`,
  );
}

/** A listener of ours, where this process itself is bound to one. */
function isOwnUrl(url: string, env: Environment): boolean {
  if (OWN_TOKEN.test(url)) return true;
  const ours = URL.parse(env["MOAT_AWS_CREDENTIAL_URL"] ?? "")?.origin;
  return ours !== undefined && URL.parse(url)?.origin === ours;
}

function refusal(message: string, hint: string): MoatError {
  return failure("source-is-moat", message, { hint });
}
