/**
 * Settings and grants of AWS for tests.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import {
  type AwsSettings,
  type Source,
  SOURCE_KINDS,
  writeSettings,
} from "$providers/aws/settings.ts";

/** The role of {@link awsSettings}. */
export const ROLE = "arn:aws:iam::123456789012:role/Deploy";

/** A source that finds nothing but what `more` and the environment name. */
export function awsSource(more: Partial<Source> = {}): Source {
  return {
    order: SOURCE_KINDS,
    configFile: "/proc/nonexistent/config",
    credentialsFile: "/proc/nonexistent/credentials",
    // No test may ask the real service.
    instanceDisabled: true,
    ...more,
  };
}

/** Settings of one role for an hour. */
export function awsSettings(more: Partial<AwsSettings> = {}): AwsSettings {
  return {
    roles: [ROLE],
    region: "eu-central-1",
    durationSeconds: 3600,
    source: awsSource(),
    ...more,
  };
}

/** A grant of {@link awsSettings}. */
export function awsGrant(
  more: Partial<AwsSettings> = {},
  name = "aws",
): Grant {
  return {
    provider: "aws",
    name,
    createdAt: 0,
    settings: writeSettings(awsSettings(more)),
  };
}
