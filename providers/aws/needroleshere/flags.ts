/**
 * The flags of needroleshere that the commands of its name take, apart from
 * their reading, so that help need not load that. `--url` and `--mode` are
 * flags of `moat bind` itself; `--session-duration` and `--session-name` are
 * among those with which any binding narrows its grant.
 *
 * @module
 */

import type { Flag } from "$core/provider.ts";
import { ANYWHERE_FLAGS } from "../options/anywhere_flags.ts";

const DIRECTORY: Flag = {
  name: "configuration-directory",
  value: "DIRECTORY",
  summary:
    "needroleshere: where bindings and environment files are (default: $RUNTIME_DIRECTORY)",
};

/** There is no place for them in needroleshere's files. */
const NOT_KEPT: readonly string[] = ["fips", "dual-stack"];

/** Flags of `moat bind` for a binding in needroleshere's form. */
export const BIND_FLAGS: readonly Flag[] = [
  {
    name: "role-arn",
    value: "ARN",
    summary: "Roles Anywhere: role of the sessions",
  },
  ...ANYWHERE_FLAGS.filter(({ name }) => !NOT_KEPT.includes(name)),
  {
    name: "region",
    value: "REGION",
    summary:
      "Roles Anywhere: region in which it is tried (default: the trust anchor's)",
  },
  { name: "no-validate", summary: "Roles Anywhere: bind without trying it" },
  DIRECTORY,
];

/** Flags of `moat serve`. */
export const SERVE_FLAGS: readonly Flag[] = [
  {
    name: "region",
    value: "REGION",
    summary:
      "Region of Roles Anywhere for a trust anchor whose ARN names none (default: AWS_REGION, AWS_DEFAULT_REGION)",
  },
  {
    name: "endpoint",
    value: "URL",
    summary: "Where Roles Anywhere is, if not at AWS",
  },
  DIRECTORY,
];
