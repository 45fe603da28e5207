/**
 * Containers that are asked about only if somebody needs it.
 *
 * @module
 */

import { loadConfig } from "$core/config.ts";
import type { Platform } from "$core/platform.ts";
import type { Containers } from "./containers.ts";
import { engineSockets } from "./engine_sockets.ts";
import { watchContainers } from "./watch.ts";

/** Opens the engines' sockets when somebody needs to know a container, and not before. */
export class LazyContainers {
  readonly #platform: Platform;
  #opened: Promise<Containers> | undefined;

  /** Containers of the engines that `moat.toml` or the environment names. */
  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Opens them, once. */
  open(): Promise<Containers> {
    const opened = this.#opened ??= this.#watch();
    // Whoever mends moat.toml need not start moat anew.
    opened.catch(() => this.#opened = undefined);
    return opened;
  }

  /** Closes what was opened. */
  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.close();
  }

  async #watch(): Promise<Containers> {
    const { engines } = await loadConfig(this.#platform);
    const sockets = engineSockets(engines, this.#platform.env);
    return watchContainers({ platform: this.#platform, sockets });
  }
}
