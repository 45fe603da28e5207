/**
 * The place of needroleshere: its command lines, its files and its tokens.
 *
 * @module
 * @see {@link https://github.com/sorah/needroleshere | needroleshere}
 */

import { usageError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import type { FlagValues, ForeignBindings } from "$core/provider.ts";
import { CONTAINER_PATH } from "../container.ts";
import type { SessionEngine } from "../engine.ts";
import { valuesOf } from "../options/values.ts";
import { partitionOf, pickRegion } from "../region.ts";
import { isEndpoint } from "../sources/record.ts";
import { BIND_FLAGS, SERVE_FLAGS } from "./flags.ts";
import {
  needroleshereFormat,
  type NeedroleshereOptions,
  ownGrant,
} from "./format.ts";

/** Each of these is a word of needroleshere's `bind` alone. */
const ASKING: readonly string[] = [
  "certificate",
  "private-key",
  "trust-anchor-arn",
  "profile-arn",
  "role-arn",
];

/**
 * Makes what reads and writes bindings as needroleshere does.
 *
 * @param engine Tries a binding.
 * @param platform Clock and environment.
 * @returns For the AWS provider.
 */
export function createForeignBindings(
  engine: Pick<SessionEngine, "obtain">,
  { clock, env }: Pick<Platform, "clock" | "env">,
): ForeignBindings {
  return {
    bindFlags: BIND_FLAGS,
    serveFlags: SERVE_FLAGS,
    paths: [CONTAINER_PATH],
    asks: (flags) => ASKING.some((name) => valuesOf(flags, name).length > 0),
    async readBinding(name, flags, validate) {
      const { readBindFlags } = await import("./read_flags.ts");
      const { mode, settings } = await readBindFlags(flags, env, validate);
      const grant = ownGrant(settings);
      const binding = { name, grants: [grant.name], mode };
      if (validate) await engine.obtain(grant, binding);
      return {
        binding,
        createdAt: clock.now(),
        url: "",
        tokenFile: false,
        ownGrants: [grant],
      };
    },
    format: (flags) => needroleshereFormat(readServeFlags(flags, env)),
  };
}

function readServeFlags(
  flags: FlagValues,
  env: Readonly<Record<string, string>>,
): NeedroleshereOptions {
  const [endpoint] = valuesOf(flags, "endpoint");
  if (endpoint !== undefined && !isEndpoint(endpoint)) {
    throw usageError(
      "Cannot use this --endpoint: wanted an http or https URL without a user",
      "give a URL such as https://rolesanywhere.eu-central-1.amazonaws.com",
    );
  }
  const [given] = valuesOf(flags, "region");
  if (given !== undefined) {
    pickRegion(partitionOf(given), [{ region: given, from: "--region" }]);
  }
  const region = given || env["AWS_REGION"] || env["AWS_DEFAULT_REGION"];
  const caBundle = env["AWS_CA_BUNDLE"];
  return {
    ...(region && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(caBundle && { caBundle }),
  };
}
