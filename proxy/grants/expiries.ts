/**
 * What of the stored grants ends and must be renewed by a person: looked for
 * at start, when a grant changes and every hour; told ahead of time in the log
 * and to the runs that need it, and measured.
 *
 * @module
 */

import type { ExpiryStatus } from "$core/control.ts";
import { MoatError, toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { Expiry, ProviderRegistry } from "$core/provider.ts";
import type { Store } from "$core/store/store.ts";
import { readGrants } from "./read_grants.ts";
import type { RunOwner } from "../runs/runs.ts";

/** Files are renewed without anyone telling us. */
const PERIOD_MS = 60 * 60_000;

/** The clock may stand a little before a moment that it was to wait for. */
const MIN_PERIOD_MS = 1000;

const METRIC = "credential_expiry_timestamp_seconds";

/** What {@link ExpiryWatch} needs from outside. */
export interface ExpiryWatchOptions {
  /** Clock, log, metrics. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics">;
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** The stored grants. */
  readonly store: Store;
  /** Tells the runs that use a grant. */
  notify(grant: string, notice: MoatError): void;
}

/** An end, and how near it was when it was told of. */
interface Watched {
  readonly expiry: Expiry;
  /** The least `warnAhead` that was told of, in ms; Infinity for none. */
  told: number;
}

/** Watches what ends. */
export class ExpiryWatch {
  readonly #options: ExpiryWatchOptions;
  readonly #watched = new Map<string, readonly Watched[]>();
  /** One look after the other: an older reading never wins. */
  #looking: Promise<void> = Promise.resolve();
  #cancelTimer = () => {};
  #isStopped = false;

  /** Makes a watch that has not looked yet. */
  constructor(options: ExpiryWatchOptions) {
    this.#options = options;
  }

  /** What ends, the soonest first. */
  get statuses(): readonly ExpiryStatus[] {
    return [...this.#watched].flatMap(([grant, watched]) =>
      watched.map(({ expiry }) => ({ grant, expiry }))
    ).sort((a, b) => a.expiry.expiresAt - b.expiry.expiresAt)
      .map(({ grant, expiry }) => ({
        grant,
        what: expiry.what,
        expiresAt: new Date(expiry.expiresAt).toISOString(),
        hint: expiry.hint,
      }));
  }

  /**
   * Looks at all grants, and again every hour. What is found at first is
   * logged only: each run is told of it by {@link ExpiryWatch.tell}.
   *
   * @param ready What the first look waits for; it must not reject.
   * @returns Settles after the first look.
   */
  start(ready: Promise<unknown>): Promise<void> {
    return this.#queue(async () => {
      await ready;
      await this.#look(undefined, () => {});
    });
  }

  /**
   * Looks at a grant that changed.
   *
   * @param grant Its name.
   * @returns Settles when it was looked at.
   */
  review(grant: string): Promise<void> {
    return this.#queue(() => this.#look(grant));
  }

  /**
   * Tells a new run what has crossed its last threshold, in the background:
   * earlier ones are for those who watch the proxy, not for each command.
   *
   * @param grants What the run uses.
   * @param owner Who is told.
   */
  tell(grants: readonly string[], owner: RunOwner): void {
    void this.#queue(() => {
      for (const grant of grants) {
        for (const { expiry, told } of this.#watched.get(grant) ?? []) {
          const isLast = told <= Math.min(...expiry.warnAhead);
          // Once it has ended, what the run asks for says so itself.
          const hasEnded =
            expiry.expiresAt <= this.#options.platform.clock.now();
          if (isLast && !hasEnded) owner.notify?.(this.#notice(grant, expiry));
        }
      }
    });
  }

  /** Looks no more. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer();
  }

  #queue(work: () => void | Promise<void>): Promise<void> {
    return this.#looking = this.#looking.then(work);
  }

  async #look(
    name?: string,
    notify = this.#options.notify.bind(this.#options),
  ): Promise<void> {
    const { store, platform } = this.#options;
    try {
      const entries = await readGrants(store, name);
      for (const { name, grant, error } of entries) {
        if (grant) await this.#read(grant);
        if (error?.code === "grant-not-found") this.#watch(name, []);
      }
      const names = entries.map((entry) => entry.name);
      if (name === undefined) this.#forgetOthers(names);
    } catch (error) {
      platform.log.warn("expiries-failed", { code: toMoatError(error).code });
    }
    this.#tellCrossed(notify);
    this.#schedule();
  }

  /** A grant whose ends cannot be read keeps those that are known. */
  async #read(grant: Grant): Promise<void> {
    const { registry, platform } = this.#options;
    const { name } = grant;
    try {
      const provider = registry.get(grant.provider);
      this.#watch(name, await provider.expiries?.(grant) ?? []);
    } catch (error) {
      const { code } = toMoatError(error);
      platform.log.warn("expiries-failed", { grant: name, code });
    }
  }

  #watch(grant: string, expiries: readonly Expiry[]): void {
    const { metrics } = this.#options.platform;
    const before = this.#watched.get(grant) ?? [];
    for (const { expiry: { what } } of before) {
      if (expiries.some((expiry) => expiry.what === what)) continue;
      metrics.gauge(METRIC, undefined, { grant, what });
    }
    for (const { what, expiresAt } of expiries) {
      metrics.gauge(METRIC, expiresAt / 1000, { grant, what });
    }
    this.#watched.delete(grant);
    if (expiries.length === 0) return;
    const isSame = (a: Expiry, b: Expiry) =>
      a.what === b.what && a.expiresAt === b.expiresAt;
    this.#watched.set(
      grant,
      expiries.map((expiry) => ({
        expiry,
        told: before.find((old) => isSame(old.expiry, expiry))?.told ??
          Infinity,
      })),
    );
  }

  #forgetOthers(names: readonly string[]): void {
    for (const name of [...this.#watched.keys()]) {
      if (!names.includes(name)) this.#watch(name, []);
    }
  }

  /** Each threshold once; of several that were crossed at once, the nearest. */
  #tellCrossed(notify: ExpiryWatchOptions["notify"]): void {
    const { clock, log } = this.#options.platform;
    for (const [grant, watched] of this.#watched) {
      for (const item of watched) {
        const { what, expiresAt, hint } = item.expiry;
        const left = expiresAt - clock.now();
        const crossed = thresholds(item.expiry).filter((at) => left <= at);
        const nearest = Math.min(...crossed);
        if (nearest >= item.told) continue;
        item.told = nearest;
        const notice = this.#notice(grant, item.expiry);
        const at = new Date(expiresAt).toISOString();
        log.warn(notice.code, { grant, what, expiresAt: at, hint });
        notify(grant, notice);
      }
    }
  }

  #notice(grant: string, { what, expiresAt, hint }: Expiry): MoatError {
    const at = new Date(expiresAt).toISOString();
    return expiresAt <= this.#options.platform.clock.now()
      ? new MoatError(
        "credential-expired",
        `The ${what} of grant "${grant}" ended at ${at}`,
        { hint },
      )
      : new MoatError(
        "credential-expires-soon",
        `The ${what} of grant "${grant}" ends at ${at}`,
        { hint },
      );
  }

  /** In an hour, or when the next threshold is crossed. */
  #schedule(): void {
    this.#cancelTimer();
    if (this.#isStopped) return;
    const { clock } = this.#options.platform;
    const now = clock.now();
    const waits = [...this.#watched.values()].flat()
      .flatMap(({ expiry }) =>
        thresholds(expiry).map((ahead) => expiry.expiresAt - ahead - now)
      ).filter((wait) => wait > 0);
    this.#cancelTimer = clock.after(
      Math.max(MIN_PERIOD_MS, Math.min(PERIOD_MS, ...waits)),
      () => void this.#queue(() => this.#look()),
    );
  }
}

/** How long before its end an expiry is told of, and once more at the end. */
function thresholds({ warnAhead }: Expiry): readonly number[] {
  return [...warnAhead, 0];
}
