/**
 * The one call of IAM: where a role is that was named without an account.
 *
 * @module
 */

import { hideSecrets } from "../errors.ts";
import { SDK_ATTEMPTS, SDK_LOGGER } from "../sdk_client.ts";
import type { Credentials } from "../session.ts";
import type { StsAddress } from "../settings.ts";
import type { Environment } from "../source.ts";
import type { StsContext } from "../sts.ts";
import { openTransport } from "../transport.ts";
import { iamEndpoint } from "./iam_endpoint.ts";

/** What clocks are told apart by, where IAM is AWS's own. */
const PLACE = "iam";

/**
 * Asks for the ARN of a role.
 *
 * @param name The role's name, without a path.
 * @param credentials Who asks; the role is looked for in their account.
 * @param at The grant's region, whose partition's IAM is asked, and CA bundle.
 * @param env This process's environment: AWS_ENDPOINT_URL_IAM, AWS_ENDPOINT_URL.
 * @param context Clock and bound.
 * @returns What IAM says; not checked.
 * @throws {MoatError} as {@link iamEndpoint}, or what the SDK throws: see `mapAwsError`.
 * @see {@link https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html | GetRole}
 */
export async function getRole(
  name: string,
  credentials: Credentials,
  at: Pick<StsAddress, "region" | "caBundle">,
  env: Environment,
  { clock, skew, metrics, signal }: StsContext,
): Promise<string> {
  const { GetRoleCommand, IAMClient } = await import("./get_role_sdk.ts");
  const endpoint = iamEndpoint(env);
  const place = endpoint ?? PLACE;
  using transport = await openTransport(
    at,
    (date) => skew.learn(place, date, clock.now()),
    { signal },
  );
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const client = new IAMClient({
    region: at.region,
    credentials: {
      accessKeyId,
      secretAccessKey: secretAccessKey.reveal(),
      ...(sessionToken && { sessionToken: sessionToken.reveal() }),
    },
    requestHandler: transport.requestHandler,
    logger: SDK_LOGGER,
    maxAttempts: SDK_ATTEMPTS,
    systemClockOffset: skew.offset(place),
    ignoreConfiguredEndpointUrls: true,
    defaultsMode: "legacy",
    authSchemePreference: ["sigv4"],
    ...(endpoint !== undefined && { endpoint }),
  });
  metrics.count("iam_calls_total", { action: "GetRole" });
  try {
    const command = new GetRoleCommand({ RoleName: name });
    const answer = await client.send(command, { abortSignal: signal });
    return answer.Role?.Arn ?? "";
  } catch (error) {
    throw hideSecrets(error, [
      secretAccessKey.reveal(),
      sessionToken?.reveal(),
    ]);
  } finally {
    client.destroy();
  }
}
