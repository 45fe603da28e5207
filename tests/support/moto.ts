/**
 * An AWS simulator that is not ours (moto), with authentication on: it checks
 * signatures, policies and session tokens.
 *
 * Its gaps: a missing ExternalId, any DurationSeconds, a role that does not
 * exist and an unsigned web identity token are accepted.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { isThere, run, startServer } from "./run.ts";

/** The virtual environment that `task test` makes: moto, boto3, the AWS CLI. */
export const VENV: string = fileURLToPath(
  new URL("../../.cache/venv", import.meta.url),
);

/** The AWS CLI in {@link VENV}. */
export const AWS_CLI: string = `${VENV}/bin/aws`;

/** A Python that has boto3, in {@link VENV}. */
export const PYTHON: string = `${VENV}/bin/python3`;

/** Why moto and the AWS clients cannot run here; undefined if they can. */
export function motoReason(): string | undefined {
  return isThere(`${VENV}/moat-packages`)
    ? undefined
    : "no moto in .cache/venv, where `deno task test` puts it if it can";
}

/** How {@link startMoto} starts. */
export interface MotoOptions {
  /** Puts it into a network namespace, such as the prefix of a bed. */
  readonly prefix?: readonly string[];
  /** What the role's trust policy demands. Default: nothing. */
  readonly externalId?: string;
  /** Where it listens, such as an address that containers reach. Default: 127.0.0.1. */
  readonly host?: string;
  /** Further roles that the user may assume, and look up. Default: none. */
  readonly roles?: readonly MotoRole[];
}

/** A role of moto's account. */
export interface MotoRole {
  readonly name: string;
  /** Such as `/team/`. Default: `/`. */
  readonly path?: string;
  /** What its trust policy demands. Default: nothing. */
  readonly externalId?: string;
}

/** A running moto; `await using` closes it. */
export interface Moto extends AsyncDisposable {
  /** Endpoint of every service, such as `http://127.0.0.1:40009`. */
  readonly url: string;
  /** Long-lived key of a user who may assume {@link Moto.roleArn}, and nothing else. */
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** A role that trusts the user and may use S3. */
  readonly roleArn: string;
  readonly userArn: string;
  /** Stops it. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts moto with one user and one role. Takes about 1.5 s.
 *
 * @param options Where, and what the role demands.
 * @returns The running server; the caller closes it.
 */
export async function startMoto(options: MotoOptions = {}): Promise<Moto> {
  const prefix = options.prefix ?? [];
  const host = options.host ?? "127.0.0.1";
  const argv = [...prefix, `${VENV}/bin/moto_server`, "-H", host];
  const server = await startServer([...argv, "-p", "0"], {
    ready: /Running on (http:\S+)\n/g,
    on: "stderr",
  });
  const close = async () => void await server.stop();
  try {
    const url = server.ready[0]?.[1] ?? "";
    const setup = fileURLToPath(new URL("moto_setup.ts", import.meta.url));
    const script = ["run", `--allow-net=${host}`, "--no-check", setup, url];
    const { code, stdout, stderr } = await run([
      ...[...prefix, Deno.execPath(), ...script],
      ...[options.externalId ?? "", JSON.stringify(options.roles ?? [])],
    ]);
    if (code !== 0) throw new Error(`Cannot fill moto: ${stderr}`);
    return {
      url,
      ...JSON.parse(stdout),
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
