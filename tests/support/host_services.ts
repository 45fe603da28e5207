/**
 * Services beside moat, in a network namespace of the test's: the host's real
 * metadata service, and collectors of measurements.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { Talk } from "../../scripts/conformance/talk.ts";
import { SYSTEM_PATH } from "./run.ts";

/** A request that the host's real metadata service got. */
export interface RealRequest {
  /** Such as `PUT`. */
  readonly method: string;
  /** Without a query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** What the services heard, oldest first. */
export interface HeardByServices {
  /** Of the real metadata service. */
  readonly requests: RealRequest[];
  /** Lines of datagrams. */
  readonly statsd: string[];
  /** Lines of connections. */
  readonly statsite: string[];
  /** Lines of datagrams. */
  readonly datadog: string[];
}

/** Running services; `await using` ends them. */
export class HostServices implements AsyncDisposable {
  readonly #child: Talk;
  /** Environment that leads moat to them. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(child: Talk, ports: Readonly<Record<string, number>>) {
    const at = (name: string) => `127.0.0.1:${ports[name]}`;
    this.#child = child;
    this.env = {
      AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${at("real")}`,
      STATSD_ADDR: at("statsd"),
      STATSITE_ADDR: at("statsite"),
      DATADOG_ADDR: at("datadog"),
    };
  }

  /**
   * Starts them.
   *
   * @param prefix Puts a command into the network namespace.
   */
  static async open(prefix: readonly string[]): Promise<HostServices> {
    const path = new URL("host_services_child.ts", import.meta.url);
    const deno = [Deno.execPath(), "run", "-A", "--no-check"];
    const child = new Talk("host_services_child", {
      argv: [...prefix, ...deno, fileURLToPath(path)],
      env: { PATH: SYSTEM_PATH },
      cwd: "/",
    });
    try {
      return new HostServices(child, JSON.parse(await child.hear()));
    } catch (error) {
      await child.end();
      throw error;
    }
  }

  /** What they heard so far. */
  async heard(): Promise<HeardByServices> {
    return JSON.parse(await this.#child.ask());
  }

  /** Ends them; may be called twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.end();
  }
}
