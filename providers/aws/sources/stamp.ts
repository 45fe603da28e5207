/**
 * What tells that a source's files changed, so that a rotated key or an
 * `aws sso login` counts without a restart.
 *
 * @module
 */

import { stampFiles } from "../files.ts";
import type { Source } from "../settings.ts";
import type { Environment } from "./call.ts";
import { loginCacheFile } from "./login.ts";
import { loadProfiles, planProfile, profileName } from "./profile.ts";

/**
 * A text that is another one after a file behind a source changed: both shared
 * files, the cached token of the profile's login, and token files.
 *
 * @param source The source.
 * @param env The environment of this process, for the place of the caches.
 * Default: its home directory.
 * @returns As {@link stampFiles}.
 */
export async function sourceStamp(
  source: Source,
  env: Environment = {},
): Promise<string> {
  return await stampFiles(await sourceFiles(source, env));
}

async function sourceFiles(
  source: Source,
  env: Environment,
): Promise<readonly string[]> {
  const { order, webIdentity, container } = source;
  const files = new Set<string | undefined>();
  if (order.includes("web-identity")) files.add(webIdentity?.tokenFile);
  if (order.includes("container")) files.add(container?.tokenFile);
  if (order.includes("profile")) {
    files.add(source.configFile).add(source.credentialsFile);
    const profiles = await loadProfiles(source);
    const { kind, section } = planProfile(profiles, profileName(source)).base;
    if (kind === "web-identity") files.add(section["web_identity_token_file"]);
    if (kind === "container") files.add(container?.tokenFile);
    if (kind === "sso" || kind === "login") {
      files.add(loginCacheFile(section, env));
    }
  }
  return [...files].filter((file) => file !== undefined);
}
