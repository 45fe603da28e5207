/**
 * Environment and files of a bound client. In mode `process` the SDK finds a
 * config file whose `credential_process` is our helper, which asks the proxy;
 * in the others it asks the proxy itself, as on ECS or EC2.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { Container, Mode, MountedFile } from "$core/provider.ts";
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

/** The address of container credentials on ECS, where SDKs send relative URIs. */
const LINK_LOCAL = { hostname: "169.254.170.2", port: 80 };

/** How clients can ask. */
export const MODES: readonly Mode[] = [
  {
    name: "process",
    summary: "credential_process: every SDK but the oldest, any network",
    access: "header",
    needsFiles: true,
    reach: "any",
  },
  {
    name: "ecs-full",
    summary: "container credentials by a full URI on loopback",
    access: "header",
    needsFiles: false,
    reach: "loopback",
  },
  {
    name: "ecs-full-query",
    summary: "the same with the token in the URI, for SDKs that send no header",
    access: "query",
    needsFiles: false,
    reach: "loopback",
  },
  {
    name: "ecs-relative",
    summary: "container credentials at 169.254.170.2",
    access: "header",
    needsFiles: false,
    reach: LINK_LOCAL,
  },
  {
    name: "ecs-relative-query",
    summary: "the same with the token in the URI, for SDKs that send no header",
    access: "query",
    needsFiles: false,
    reach: LINK_LOCAL,
  },
  {
    name: "imds",
    summary: "instance metadata: clients that know only the EC2 address",
    access: "container",
    needsFiles: false,
    reach: { hostname: "169.254.169.254", port: 80 },
  },
];

/**
 * The environment of a bound client.
 *
 * @param settings The grant's settings.
 * @param container Where the client finds us, and in which mode it asks.
 * @returns Variables; the token is among them only if the container names it.
 */
export function containerEnv(
  settings: AwsSettings,
  container: Container,
): Record<string, string> {
  const { mode } = container;
  return {
    ...(container.directory !== undefined &&
      filesEnv(settings, container.directory)),
    ...(mode === "imds"
      ? metadataEnv(settings)
      : mode.startsWith("ecs-")
      ? ecsEnv(container)
      : processEnv(container)),
  };
}

/** A client that reads our files is told the region, too. */
function filesEnv(
  { region }: AwsSettings,
  directory: string,
): Record<string, string> {
  return {
    AWS_CONFIG_FILE: `${directory}/aws/config`,
    // Where the SDK for Java v1 looks for credential_process.
    AWS_CREDENTIAL_PROFILES_FILE: `${directory}/aws/config`,
    // A key in the image's own file would win over what we give.
    AWS_SHARED_CREDENTIALS_FILE: `${directory}/aws/no-credentials`,
    // Older SDKs (Go v1, JavaScript v2) read the config file only with this.
    AWS_SDK_LOAD_CONFIG: "1",
    AWS_REGION: region,
    // botocore reads only this one.
    AWS_DEFAULT_REGION: region,
    // No container has `less`; the AWS CLI would fail on long output.
    AWS_PAGER: "",
  };
}

/** SDKs ask for metadata last: whatever else they were given would win. */
function metadataEnv({ region }: AwsSettings): Record<string, string> {
  return {
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_EC2_METADATA_DISABLED: "false",
  };
}

function processEnv(
  { endpointUrl, tokenFile = "" }: Container,
): Record<string, string> {
  return {
    MOAT_AWS_CREDENTIAL_URL: endpointUrl + PROCESS_PATH,
    MOAT_AWS_CREDENTIAL_TOKEN_FILE: tokenFile,
  };
}

/** Exactly the variables of one mode: an SDK that finds others may use them. */
function ecsEnv(
  { mode, endpointUrl, tokenFile, token }: Container,
): Record<string, string> {
  const isRelative = mode.startsWith("ecs-relative");
  const query = mode.endsWith("-query")
    ? `?access_token=${encodeURIComponent(token?.reveal() ?? "")}`
    : "";
  const header = tokenFile === undefined
    ? { AWS_CONTAINER_AUTHORIZATION_TOKEN: `Bearer ${token?.reveal() ?? ""}` }
    : { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile };
  return {
    ...(query === "" && header),
    ...(isRelative
      ? { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: CONTAINER_PATH + query }
      : {
        AWS_CONTAINER_CREDENTIALS_FULL_URI: endpointUrl + CONTAINER_PATH +
          query,
      }),
  };
}

/**
 * The files of a bound client.
 *
 * @param settings The grant's settings.
 * @param container Where the client finds them.
 * @returns Config, an empty credentials file and, in mode `process`, the helper.
 * @throws {MoatError} `bad-home` for a directory that no config file can name.
 */
export function containerMounts(
  settings: AwsSettings,
  container: Container,
): readonly MountedFile[] {
  const helper = `${container.directory}/aws/credentials`;
  const isProcess = container.mode !== "imds" &&
    !container.mode.startsWith("ecs-");
  const config = [
    "[default]",
    // Some clients refuse a command without an argument (MinIO for Go).
    ...(isProcess ? [`credential_process = ${quotePath(helper)} get`] : []),
    `region = ${settings.region}`,
    "",
  ].join("\n");
  const files: MountedFile[] = [
    { path: "aws/config", mode: 0o444, content: config },
    { path: "aws/no-credentials", mode: 0o444, content: "" },
  ];
  return isProcess
    ? [...files, {
      path: "aws/credentials",
      mode: 0o555,
      content: CREDENTIAL_HELPER,
    }]
    : files;
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
