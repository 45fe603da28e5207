/**
 * Environment and files of a bound client: the SDK finds a config file whose
 * `credential_process` is our helper, which asks the proxy.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { Container, MountedFile } from "$core/provider.ts";
import { CREDENTIAL_HELPER } from "./helper.ts";
import type { AwsSettings } from "./settings.ts";

/** The endpoint in the format of `credential_process`. */
export const PROCESS_PATH = "/aws/process-credentials";

/** The endpoint in the format of container credentials. */
export const CONTAINER_PATH = "/ecs/credentials";

/** Variables that an SDK would prefer to what we set. */
export const CONFLICTING_ENV: readonly string[] = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_SECURITY_TOKEN",
  "AWS_CREDENTIAL_EXPIRATION",
  "AWS_PROFILE",
  "AWS_DEFAULT_PROFILE",
  "AWS_CONFIG_FILE",
  "AWS_SHARED_CREDENTIALS_FILE",
  "AWS_CREDENTIAL_PROFILES_FILE",
  "AWS_ROLE_ARN",
  "AWS_ROLE_SESSION_NAME",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
  "AWS_BEARER_TOKEN_BEDROCK",
  "MOAT_AWS_CREDENTIAL_URL",
  "MOAT_AWS_CREDENTIAL_TOKEN_FILE",
];

/**
 * The environment of a bound client.
 *
 * @param settings The grant's settings.
 * @param container Where the client finds us.
 * @returns Variables; no secret among them.
 */
export function containerEnv(
  settings: AwsSettings,
  container: Container,
): Record<string, string> {
  return {
    AWS_CONFIG_FILE: `${container.directory}/aws/config`,
    // A key in the image's own file would win over credential_process.
    AWS_SHARED_CREDENTIALS_FILE: `${container.directory}/aws/no-credentials`,
    // Older SDKs (Go v1, JavaScript v2) read the config file only with this.
    AWS_SDK_LOAD_CONFIG: "1",
    AWS_REGION: settings.region,
    // botocore reads only this one.
    AWS_DEFAULT_REGION: settings.region,
    // No container has `less`; the AWS CLI would fail on long output.
    AWS_PAGER: "",
    MOAT_AWS_CREDENTIAL_URL: container.endpointUrl + PROCESS_PATH,
    MOAT_AWS_CREDENTIAL_TOKEN_FILE: container.tokenFile,
  };
}

/**
 * The files of a bound client.
 *
 * @param settings The grant's settings.
 * @param container Where the client finds them.
 * @returns Config, helper, and an empty credentials file.
 * @throws {MoatError} `bad-home` for a directory that no config file can name.
 */
export function containerMounts(
  settings: AwsSettings,
  container: Container,
): readonly MountedFile[] {
  const helper = `${container.directory}/aws/credentials`;
  const config = [
    "[default]",
    `credential_process = ${quotePath(helper)}`,
    `region = ${settings.region}`,
    "",
  ].join("\n");
  return [
    { path: "aws/config", mode: 0o444, content: config },
    { path: "aws/credentials", mode: 0o555, content: CREDENTIAL_HELPER },
    { path: "aws/no-credentials", mode: 0o444, content: "" },
  ];
}

/** SDKs give the command line to a shell, or split it as a shell does. */
function quotePath(path: string): string {
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]|\s[#;]/.test(path)) {
    throw new MoatError(
      "bad-home",
      `Cannot name ${JSON.stringify(path)} in a config file of an AWS SDK`,
      { hint: "set MOAT_HOME to a path without control characters, # and ;" },
    );
  }
  if (/^[\w./+@:-]+$/.test(path)) return path;
  return `'${path.replaceAll("'", "'\\''")}'`;
}
