/**
 * The kinds of source: whether each is set up, and how it is asked.
 *
 * @module
 */

import type { SourceKind } from "../settings.ts";
import {
  type Environment,
  ProviderFailure,
  type SdkCredentials,
  type SourceCall,
  type SourceLook,
} from "./call.ts";
import { loginCredentials, ssoCredentials } from "./login.ts";
import {
  loadProfiles,
  planProfile,
  profileName,
  type ProfilePlan,
  type Profiles,
  type Section,
} from "./profile.ts";
import { processCredentials } from "./program.ts";
import { hasKeys } from "./identity.ts";
import { containerCredentials } from "./container_endpoint.ts";
import { instanceCredentials } from "./instance.ts";
import { checkMfa, roleCredentials, webIdentityCredentials } from "./roles.ts";

/** One kind of source. */
export interface Kind {
  /** Why it is not set up; undefined if it is. */
  missing(look: SourceLook): string | undefined | Promise<string | undefined>;
  /** Asks it. */
  ask(call: SourceCall): Promise<SdkCredentials>;
}

/** How each kind is asked. */
export const KINDS: Readonly<Record<SourceKind, Kind>> = {
  environment: {
    missing({ platform: { env } }) {
      const absent = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        .find((name) => !env[name]);
      return absent && `${absent} is not set here`;
    },
    ask: ({ platform }) => environmentCredentials(platform.env),
  },
  profile: {
    missing: missingProfile,
    ask: profileCredentials,
  },
  "web-identity": {
    missing: ({ source }) =>
      source.webIdentity
        ? undefined
        : notRecorded("AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN"),
    async ask(call) {
      const { webIdentity } = call.source;
      if (!webIdentity) throw new ProviderFailure("Not set up.");
      return await webIdentityCredentials(call, webIdentity);
    },
  },
  container: {
    missing: ({ source }) =>
      source.container ? undefined : notRecorded(
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI",
      ),
    ask: containerCredentials,
  },
  instance: {
    missing: ({ source }) =>
      source.instanceDisabled
        ? "AWS_EC2_METADATA_DISABLED was set when it was granted"
        : undefined,
    ask: instanceCredentials,
  },
};

function notRecorded(variables: string): string {
  return `${variables} not set when it was granted`;
}

/** What the SDK's `fromEnv` does; here it spares loading all providers. */
function environmentCredentials(env: Environment): Promise<SdkCredentials> {
  if (!hasKeys(env)) {
    return Promise.reject(
      new ProviderFailure("Unable to find environment variable credentials."),
    );
  }
  const sessionToken = env["AWS_SESSION_TOKEN"];
  const end = Date.parse(env["AWS_CREDENTIAL_EXPIRATION"] ?? "");
  return Promise.resolve({
    accessKeyId: env["AWS_ACCESS_KEY_ID"] ?? "",
    secretAccessKey: env["AWS_SECRET_ACCESS_KEY"] ?? "",
    ...(sessionToken && { sessionToken }),
    ...(!Number.isNaN(end) && { expiration: new Date(end) }),
  });
}

async function missingProfile(
  { source }: SourceLook,
): Promise<string | undefined> {
  const { configFile, credentialsFile } = source;
  const name = profileName(source);
  const profiles = await loadProfiles(source);
  if (!Object.hasOwn(profiles, name)) {
    return `profile "${name}" is in neither ${configFile} nor ${credentialsFile}`;
  }
  const { base, roles } = planProfile(profiles, name);
  if (base.kind !== "nothing" || roles.length > 0) return undefined;
  return `profile "${name}" has nothing that gives credentials`;
}

async function profileCredentials(call: SourceCall): Promise<SdkCredentials> {
  const profiles = await loadProfiles(call.source);
  const { base, roles } = planProfile(profiles, profileName(call.source));
  checkMfa(call, roles);
  let credentials = await baseCredentials(call, base, profiles);
  for (const role of roles) {
    credentials = await roleCredentials(call, role, credentials);
  }
  return credentials;
}

async function baseCredentials(
  call: SourceCall,
  { kind, name, section, fault }: ProfilePlan["base"],
  profiles: Profiles,
): Promise<SdkCredentials> {
  switch (kind) {
    case "keys":
      return staticKeys(section);
    case "web-identity":
      return await webIdentityCredentials(call, {
        tokenFile: section["web_identity_token_file"] ?? "",
        role: section["role_arn"] ?? "",
        sessionName: section["role_session_name"],
      });
    case "process": {
      const command = section["credential_process"] ?? "";
      return await processCredentials(name, command, call);
    }
    case "sso":
      return await ssoCredentials(call, { name, section, profiles });
    case "login":
      return await loginCredentials(call, { name, section, profiles });
    case "nothing":
      throw new ProviderFailure(fault ?? "");
    default:
      return await KINDS[kind].ask(call);
  }
}

function staticKeys(section: Section): SdkCredentials {
  const sessionToken = section["aws_session_token"];
  return {
    accessKeyId: section["aws_access_key_id"] ?? "",
    secretAccessKey: section["aws_secret_access_key"] ?? "",
    ...(sessionToken && { sessionToken }),
  };
}
