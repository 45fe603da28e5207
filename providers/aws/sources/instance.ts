/**
 * Credentials of this machine from the instance metadata service.
 *
 * The SDK takes the service's address from a variable, or from files that it
 * finds by variables, and has no option for it. So the variable is set while
 * it is asked, and calls take turns.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-imds-credentials.html | IMDS credential provider}
 */

import { SDK_LOGGER } from "../sdk_client.ts";
import type { SdkCredentials, SourceCall } from "./call.ts";
import { readProfile } from "./profile.ts";

const ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/** Settles when the call before has had its turn. */
let turn: Promise<void> = Promise.resolve();

/**
 * Gets the credentials of this machine: version 2 of the service, and version
 * 1 where there is no other, unless that is disabled.
 *
 * @param call Where to look. The recorded address counts, then that of the
 * profile; never that of this process's environment.
 * @returns The credentials. Where the service has only expired ones, the SDK
 * says that they may be used a little longer.
 * @throws What the SDK throws.
 */
export async function instanceCredentials(
  call: SourceCall,
): Promise<SdkCredentials> {
  const { source, signal, instanceTimeoutMs } = call;
  const endpoint = source.instanceEndpoint ??
    (await readProfile(source)).instanceEndpoint ?? "";
  const { fromInstanceMetadata } = await import("../sdk_sources.ts");
  const end = await takeTurn(endpoint, call);
  signal.addEventListener("abort", end);
  try {
    return await fromInstanceMetadata({
      ...(instanceTimeoutMs && { timeout: instanceTimeoutMs }),
      logger: SDK_LOGGER,
    })();
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

/** An empty endpoint means AWS's own, whatever files may say. */
async function takeTurn(
  endpoint: string,
  { platform: { env, setVariable } }: SourceCall,
): Promise<() => void> {
  const before = turn;
  const done = Promise.withResolvers<void>();
  turn = done.promise;
  await before;
  setVariable(ENDPOINT, endpoint);
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    setVariable(ENDPOINT, env[ENDPOINT] ?? "");
    done.resolve();
  };
}
