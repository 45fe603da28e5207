/**
 * A host that serves instance metadata: a simulated AWS, grants, and a proxy.
 *
 * @module
 */

import { join } from "node:path";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { Program } from "../bench_program.ts";
import { must, ScriptError } from "../process.ts";
import type { Inside } from "./networks.ts";

const ACCOUNT = "123456789012";
const ROLE = `arn:aws:iam::${ACCOUNT}:role/Plain`;

/** Where it is, and what it serves. */
export interface HostOptions {
  /** The executable. */
  readonly moat: string;
  /** A directory that is not there yet. */
  readonly directory: string;
  /** Puts it into a network. Default: this host's. */
  readonly inside?: Inside;
  /** The socket of the engine. */
  readonly socket: string;
  /** `ADDR:PORT` of the plain endpoint. */
  readonly listen: string;
  /** `ADDR:PORT` of the metadata service. */
  readonly imds: string;
}

/** A running host; `await using` ends it. */
export interface MetadataHost extends AsyncDisposable {
  readonly proxy: Program;
  /** Of a binding at the plain endpoint: its path and its token. */
  bind(): Promise<{ readonly url: string; readonly token: string }>;
}

/** Starts a host. */
export async function startHost(options: HostOptions): Promise<MetadataHost> {
  const { moat, directory, listen, imds, inside = (argv) => [...argv] } =
    options;
  const stack = new AsyncDisposableStack();
  await Deno.mkdir(directory);
  const config = join(directory, "moat.toml");
  await Deno.writeTextFile(
    config,
    `[metadata]\ngrant = "aws"\ndefault_account = "${ACCOUNT}"\nroles = ["**"]\n`,
  );
  const home = {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: directory,
    MOAT_HOME: join(directory, "moat"),
    MOAT_CONFIG: config,
    MOAT_KEYRING: "file",
  };
  try {
    const aws = stack.use(new Program(inside([moat, "simulate", "aws"]), home));
    const env = {
      ...home,
      AWS_ENDPOINT_URL_STS: await aws.url,
      AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
      AWS_EC2_METADATA_DISABLED: "true",
      DOCKER_HOST: `unix://${options.socket}`,
    };
    const run = (...args: string[]) => must(inside([moat, ...args]), { env });
    const grant = ["grant", "aws", "--no-validate"];
    await run(...grant, "--source", "direct");
    await run(...grant, "--name", "plain", "--role", ROLE);
    const argv = [moat, "proxy", "--listen", listen, "--imds", imds];
    const proxy = stack.use(new Program(inside(argv), env));
    if (!await proxy.url) throw new ScriptError("Cannot start the proxy");
    return {
      proxy,
      bind: () => bind(run, `http://${listen}`),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function bind(
  run: (...args: string[]) => Promise<string>,
  base: string,
): Promise<{ readonly url: string; readonly token: string }> {
  const text = await run(
    ...["bind", "plain", "--grant", "aws:plain", "--mode", "ecs-full"],
    ...["--url", base, "--format", "json"],
  );
  const { environment } = JSON.parse(text);
  const header: string = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "";
  return {
    url: environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "",
    token: header.replace("Bearer ", ""),
  };
}
