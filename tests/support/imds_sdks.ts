/**
 * Real AWS clients in containers, which are asked once.
 *
 * @module
 */

import { Talk } from "../../scripts/conformance/talk.ts";
import { clientArgv, type ClientLanguage } from "../../scripts/sdk_clients.ts";
import type { ImdsBed } from "./imds_bed.ts";
import { SYSTEM_PATH } from "./run.ts";

/** A real client in a container. */
export interface ContainedClient {
  /** For people. */
  readonly name: string;
  /** Who runs its program. */
  readonly language: ClientLanguage;
  /** The program's name for it. */
  readonly program: string;
  /** Why it cannot run here; undefined if it can. */
  readonly reason?: string | undefined;
}

/** The one that is everywhere. */
export const BOTO3: ContainedClient = {
  ...{ name: "boto3", language: "python", program: "boto3" },
};

/**
 * Starts a client in a container, and asks it for credentials.
 *
 * @param bed Where.
 * @param client Which.
 * @param env Environment of its container.
 * @param then Told the container's name and the answer while it still runs.
 * @returns The answer.
 */
export async function askContained(
  bed: ImdsBed,
  { name, language, program }: ContainedClient,
  env: Readonly<Record<string, string>>,
  then: (container: string, line: string) => Promise<void> = async () => {},
): Promise<string> {
  const id = `sdk-${crypto.randomUUID().slice(0, 8)}`;
  const container = {
    name: id,
    env: {
      AWS_REGION: "us-east-1",
      S3_AUTHORITY: bed.s3Authority,
      OPENDAL_NO_METADATA: "false",
      ...env,
    },
  };
  await using talk = new Talk(name, {
    argv: [
      ...bed.runArgv(container, "--rm", "--interactive"),
      ...clientArgv(language, program),
    ],
    env: { PATH: SYSTEM_PATH },
    cwd: bed.bed.directory,
    timeoutMs: 30_000,
  });
  await talk.hear();
  const line = await talk.ask();
  await then(id, line);
  return line;
}
