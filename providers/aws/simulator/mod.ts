/**
 * `moat simulate aws`: a simulated STS and Roles Anywhere on sockets.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { SimulateRequest, Simulator } from "$core/provider.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_MFA_CODE,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./flags.ts";
import {
  createHandler,
  type Handler,
  type SimulatorOptions,
} from "./handler.ts";
import { readOptions } from "./options.ts";

/** Where it listens unless told. */
const DEFAULT_LISTEN = "127.0.0.1:0";

interface Address {
  readonly text: string;
  /** An IPv6 address has no brackets. */
  readonly hostname: string;
  readonly port: number;
}

/**
 * Starts the simulated services. All listeners share their sessions.
 *
 * The one long-lived access key is in `flags.ts`. Loopback listeners also
 * serve `/_simulator/calls` and `/_simulator/faults`, see `control.ts`.
 *
 * **Security:** the caller deletes the environment variable
 * `DENO_SERVE_ADDRESS` first: it would move or add a listener.
 *
 * @param request Values of `SIMULATE_FLAGS`; `listen` defaults to `127.0.0.1:0`.
 * @param clock What dates sessions and judges the clients' clocks.
 * @returns URLs such as `http://127.0.0.1:40123`, how to use them, and what stops it.
 * @throws {MoatError} `usage` for a bad flag or address, `certificate-unreadable` for a bad trust anchor, `listen-failed` if an address cannot be bound; then nothing is left running.
 */
export async function simulateAws(
  request: SimulateRequest,
  clock: Clock,
): Promise<Simulator> {
  const options = await readOptions(request.flags, clock);
  const listen = request.listen.length > 0 ? request.listen : [DEFAULT_LISTEN];
  const addresses = listen.map(parseAddress);
  const stop = new AbortController();
  const handler = createHandler({ ...options, stop: stop.signal });
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
  const local = servers.find(({ addr }) => isLoopback(addr));
  const notes = [
    ...describe(urls[0] ?? "", options),
    ...local ? [describeControl(url(local.addr))] : [],
  ];
  return { urls, notes, close };
}

/** How to use it; the key pair opens nothing anywhere else. */
function describe(
  url: string,
  { mfaCode = SIMULATOR_MFA_CODE, anchors = [] }: SimulatorOptions,
): string[] {
  const env = {
    AWS_ENDPOINT_URL_STS: url,
    AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
  };
  return [
    "simulated STS; its sessions open nothing at AWS. To use it:",
    ...Object.entries(env).map(([name, value]) => `export ${name}=${value}`),
    `MFA code of every device: ${mfaCode}`,
    `Roles Anywhere: --endpoint ${url}, ${
      anchors.length > 0
        ? `${anchors.length} trust anchor(s)`
        : "no trust anchor: any CA is trusted, --trust-anchor FILE changes that"
    }`,
  ];
}

function describeControl(url: string): string {
  return `call counts and faults: ${url}/_simulator/calls, ${url}/_simulator/faults`;
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
    const server: Deno.HttpServer<Deno.NetAddr> = Deno.serve(
      { hostname, port, signal, onListen() {} },
      (request) => handler(request, isLoopback(server.addr)),
    );
    return server;
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

function isLoopback({ hostname }: Deno.NetAddr): boolean {
  return hostname === "::1" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function url({ hostname, port }: Deno.NetAddr): string {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return `http://${host}:${port}`;
}
