/**
 * `moat simulate aws`: a simulated STS on sockets.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { SimulateRequest, Simulator } from "$core/provider.ts";
import { parseRoleArn } from "../arn.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./flags.ts";
import { createStsHandler, type Handler, type StsOptions } from "./sts.ts";

/** Where it listens unless told. */
const DEFAULT_LISTEN = "127.0.0.1:0";

interface Address {
  readonly text: string;
  /** An IPv6 address has no brackets. */
  readonly hostname: string;
  readonly port: number;
}

/**
 * Starts the simulated STS. All listeners share its sessions.
 *
 * Its one long-lived access key is in `flags.ts`.
 *
 * **Security:** the caller deletes the environment variable
 * `DENO_SERVE_ADDRESS` first: it would move or add a listener.
 *
 * @param request `flags.role` and `flags.external-id`; `listen` defaults to `127.0.0.1:0`.
 * @param clock What dates sessions and judges the clients' clocks.
 * @returns URLs such as `http://127.0.0.1:40123`, how to use them, and what stops it.
 * @throws {MoatError} `usage` for a bad role or address, `listen-failed` if an address cannot be bound; then nothing is left running.
 */
export async function simulateAws(
  request: SimulateRequest,
  clock: Clock,
): Promise<Simulator> {
  const handler = createStsHandler(readOptions(request, clock));
  const listen = request.listen.length > 0 ? request.listen : [DEFAULT_LISTEN];
  const addresses = listen.map(parseAddress);
  const stop = new AbortController();
  const servers: Deno.HttpServer<Deno.NetAddr>[] = [];
  const close = async () => {
    stop.abort();
    await Promise.all(servers.map((server) => server.finished));
  };
  try {
    for (const address of addresses) {
      servers.push(serve(address, handler, stop.signal));
    }
  } catch (error) {
    await close();
    throw error;
  }
  const urls = servers.map(({ addr }) => url(addr));
  return { urls, notes: describe(urls[0] ?? ""), close };
}

/** How to sign for it; the pair opens nothing anywhere else. */
function describe(url: string): string[] {
  const env = {
    AWS_ENDPOINT_URL_STS: url,
    AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
  };
  return [
    "simulated STS; its sessions open nothing at AWS. To use it:",
    ...Object.entries(env).map(([name, value]) => `export ${name}=${value}`),
  ];
}

function readOptions({ flags }: SimulateRequest, clock: Clock): StsOptions {
  const roles = [flags["role"] ?? []].flat().filter((r) =>
    typeof r === "string"
  );
  const externalId = flags["external-id"];
  return {
    clock,
    roles: roles.map((role) => parseRoleArn(role).arn),
    ...typeof externalId === "string" ? { externalId } : {},
  };
}

function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(text);
  const [, ipv6, name, port] = match ?? [];
  const hostname = ipv6 ?? name;
  if (hostname === undefined || Number(port) > 65535) {
    throw usageError(
      `Cannot listen on ${JSON.stringify(text)}: wanted ADDR:PORT`,
      "such as 127.0.0.1:0 or [::1]:8080; port 0 takes any",
    );
  }
  return { text, hostname, port: Number(port) };
}

function serve(
  { text, hostname, port }: Address,
  handler: Handler,
  signal: AbortSignal,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname, port, signal, onListen() {} }, handler);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.AddrInUse
      ? "in use"
      : "not available";
    throw new MoatError(
      "listen-failed",
      `Cannot listen on ${JSON.stringify(text)}: the address is ${reason}`,
      { hint: "choose another address, or port 0 for any", cause },
    );
  }
}

function url({ hostname, port }: Deno.NetAddr): string {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return `http://${host}:${port}`;
}
