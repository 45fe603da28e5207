/**
 * What a metadata service tells of its requests.
 *
 * @module
 */

import fc from "fast-check";
import type { ContainerFacts } from "$core/container.ts";
import type { MetadataEvent } from "$core/metadata.ts";
import { CANARY } from "./canary.ts";
import { containerFacts } from "./fake_containers.ts";

/** What of a container becomes labels. */
export const COPY = {
  labels: ["PROJECT_VERSION"],
  env: ["STAGE"],
  separator: "_",
};

/** A container with what is copied, and what must not be. */
export function facts(more: Partial<ContainerFacts> = {}): ContainerFacts {
  return containerFacts({
    env: { STAGE: "Prod", DB_PASSWORD: CANARY, IAM_EXTERNAL_ID: CANARY },
    labels: { PROJECT_VERSION: "1.2", note: CANARY },
    ...more,
  });
}

/** A session that was given. */
export const SERVED: MetadataEvent = {
  resource: "credentials",
  version: "latest",
  status: 200,
  role: "App",
  container: facts(),
};

/** Of nobody. */
export const REFUSED: MetadataEvent = {
  resource: "role-name",
  version: "2018-09-24",
  status: 404,
  error: "could_not_find_container",
};

/** Answered by the host's own service. */
export const PASSED: MetadataEvent = {
  resource: "other",
  version: "latest",
  status: 200,
  container: facts({ labels: {}, env: {} }),
  passthroughMs: { connect: 2, total: 5.5 },
};

/** Events that clients and containers could cause. */
export const EVENTS = fc.record({
  resource: fc.constantFrom(
    "token" as const,
    "info" as const,
    "role-name" as const,
    "credentials" as const,
    "other" as const,
  ),
  version: fc.string(),
  status: fc.integer({ min: 200, max: 599 }),
  error: fc.string(),
  role: fc.string({ unit: "binary", maxLength: 300 }),
  container: fc.record({ STAGE: fc.string({ unit: "binary" }) })
    .map((env) => facts({ env, labels: { PROJECT_VERSION: env.STAGE } })),
});
