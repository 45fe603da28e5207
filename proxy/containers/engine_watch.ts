/**
 * One engine, followed for as long as moat runs: its events first, then a list
 * of its containers, so that nothing happens unseen in between; all anew
 * whenever the events end.
 *
 * @module
 */

import { sleep } from "$core/clock.ts";
import { MoatError, toMoatError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import { ContainerIndex } from "./container_index.ts";
import type { ContainerState, Engine, EngineEvent } from "./engine.ts";
import { Questions } from "./questions.ts";
import { RepeatedLines } from "../repeated_lines.ts";

/** How soon a lost engine is tried again, at first and at last. */
const FIRST_DELAY_MS = 250;
const LAST_DELAY_MS = 5000;

/** An engine that does not open its events by then hangs. */
const OPEN_TIMEOUT_MS = 5000;

/**
 * Podman tells events up to a quarter of a second late: a list is sooner. It
 * takes a twentieth of the time at most, however many ask in vain.
 */
const LIST_PAUSE_MS = 250;
const LIST_SHARE = 20;

/**
 * How long is waited for the description of a new container: Docker gives none
 * while one starts, but lists it.
 */
const READ_MS = 50;

/** What an engine said of one container. */
export interface Inspected {
  /** Undefined if there is none. */
  readonly state: ContainerState | undefined;
  /** False if an event came in between: it may be so no more. */
  readonly isCurrent: boolean;
}

/** Who wants to know what an {@link EngineWatch} sees. */
export interface EngineListener {
  /** The containers of an address changed. */
  changed(address: string): void;
  /** A container was described. */
  described(watch: EngineWatch, state: ContainerState): void;
  /** A container could not be described: what is known of it counts no more. */
  unreadable(watch: EngineWatch, id: string): void;
  /** The engine can be asked now, or cannot any more. */
  turned(watch: EngineWatch): void;
}

/** Follows one engine. */
export class EngineWatch {
  /** Which container has which address; counts only while {@link isSynced}. */
  readonly index: ContainerIndex;
  readonly #platform: Pick<Platform, "clock" | "log">;
  readonly #engine: Engine;
  readonly #listener: EngineListener;
  readonly #inspections: Questions<Inspected>;
  readonly #lists: Questions<readonly ContainerState[]>;
  readonly #told: RepeatedLines;
  readonly #closing = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  /** Ends the events that are read now. */
  #session = new AbortController();
  #isSynced = false;
  /** Which question the last list answers: see {@link ContainerIndex.ask}. */
  #listed = 0;
  /** Whether a list is due, and why not yet: what ends the pause. */
  #isListWanted = false;
  #endPause: (() => void) | undefined;
  #delayMs = FIRST_DELAY_MS;
  /** What was logged last: a code, or nothing while all is well. */
  #trouble: string | undefined;

  /** Begins at once. */
  constructor(
    platform: Pick<Platform, "clock" | "log">,
    engine: Engine,
    listener: EngineListener,
  ) {
    this.#platform = platform;
    this.#engine = engine;
    this.#told = new RepeatedLines(platform.clock);
    this.#listener = listener;
    this.index = new ContainerIndex((address) => listener.changed(address));
    this.#inspections = new Questions((id) => this.#inspect(id));
    this.#lists = new Questions(() => this.#list());
    this.#ended = this.#run();
  }

  /** Whether the index holds all containers of the engine. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /**
   * Asks the engine about a container for a client that waits.
   *
   * @returns Its answer to a question that was asked after this call, or later.
   * @throws {MoatError} `engine-…`
   */
  confirm(id: string): Promise<Inspected> {
    return this.#inspections.ask(id, true);
  }

  /**
   * Tells whether the index lacks no container that may have sent something
   * before a moment.
   *
   * @param order The moment: see {@link ContainerIndex.order}.
   */
  isComplete(order: number): boolean {
    return this.index.unread.size === 0 &&
      (!this.#engine.hasLateEvents || this.#listed > order);
  }

  /**
   * Asks for what {@link isComplete} lacks. Of an engine that tells events at
   * once nothing, but while new containers are not described yet; else a list
   * that is asked for after the moment, once for all who wait.
   *
   * @param order As of {@link isComplete}.
   * @throws {MoatError} `engine-…`
   */
  async complete(order: number): Promise<void> {
    const unread = [...this.index.unread].map((id) => this.confirm(id));
    if (unread.length > 0) {
      const read = Promise.allSettled(unread).then(() => {});
      await sleep(this.#platform.clock, READ_MS, read);
    }
    if (!this.isComplete(order)) await this.#listNow();
    // Whose network it is may have got an address, and it with it.
    await Promise.all(
      [...this.index.foreign].map((id) => this.#confirmCurrent(id)),
    );
  }

  async #confirmCurrent(id: string): Promise<void> {
    while (!(await this.confirm(id)).isCurrent) {
      // An event came in between.
    }
  }

  /** Lists the containers anew, soon: some event may be late. */
  refresh(): void {
    if (!this.#isSynced) return;
    this.#isListWanted = true;
    if (!this.#endPause) this.#listNow().catch(() => {});
  }

  /** Stops following it. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#session.abort();
    this.#closed.resolve();
    this.#engine.close();
    await this.#ended;
    await Promise.all([this.#inspections.idle(), this.#lists.idle()]);
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      // It ends by an error only.
      await this.#follow().catch((error) => this.#lose(error));
      await sleep(this.#platform.clock, this.#delayMs, this.#closed.promise);
      this.#delayMs = Math.min(2 * this.#delayMs, LAST_DELAY_MS);
    }
  }

  /** Follows the engine until its events end. */
  async #follow(): Promise<void> {
    const session = this.#session = new AbortController();
    const { signal } = session;
    const cancel = this.#platform.clock.after(
      OPEN_TIMEOUT_MS,
      () => session.abort(),
    );
    try {
      const events = await this.#engine.events(signal);
      cancel();
      const work = [this.#read(events), this.#sync(signal)];
      try {
        await Promise.all(work);
      } finally {
        session.abort();
        await Promise.allSettled(work);
      }
    } finally {
      cancel();
    }
  }

  async #read(events: AsyncIterable<EngineEvent>): Promise<void> {
    for await (const event of events) {
      if (this.index.happened(event)) this.#inspectSoon(event.container);
    }
    throw new MoatError(
      "engine-unavailable",
      `Cannot follow the container engine at "${this.#engine.socket}": it closed its events`,
      { hint: "see that it runs" },
    );
  }

  /** Lists the containers; an engine that cannot is lost. */
  async #listNow(): Promise<void> {
    const session = this.#session;
    try {
      await this.#lists.ask("", true);
    } catch (error) {
      session.abort();
      throw error;
    }
  }

  async #list(): Promise<readonly ContainerState[]> {
    const { clock } = this.#platform;
    const { signal } = this.#session;
    const askedAt = clock.now();
    const ask = this.index.ask();
    this.#isListWanted = false;
    this.#endPause?.();
    this.#endPause = () => {};
    try {
      const states = await this.#engine.list(signal);
      if (signal.aborted) return [];
      this.index.replace(ask, states);
      this.#listed = ask;
      this.#pause(Math.abs(clock.now() - askedAt));
      return states;
    } finally {
      this.index.answered(ask);
    }
  }

  /** Lists nothing for a while. */
  #pause(tookMs: number): void {
    const pauseMs = Math.max(LIST_PAUSE_MS, LIST_SHARE * tookMs);
    this.#endPause = this.#platform.clock.after(pauseMs, () => {
      this.#endPause = undefined;
      if (this.#isListWanted) this.refresh();
    });
  }

  async #sync(signal: AbortSignal): Promise<void> {
    const states = await this.#lists.ask("", true);
    if (signal.aborted) return;
    // Of one that runs, its address tells whose network it shares, if it has one.
    for (const { id, isPartial, endpoints } of states) {
      if (isPartial && endpoints.length === 0) this.#inspectSoon(id);
    }
    this.#isSynced = true;
    this.#delayMs = FIRST_DELAY_MS;
    this.#trouble = undefined;
    this.#platform.log.info("engine-connected", {
      engine: this.#engine.socket,
      containers: this.index.size,
    });
    this.#listener.turned(this);
  }

  #lose(error: unknown): void {
    const wasSynced = this.#isSynced;
    this.#isSynced = false;
    const cause = toMoatError(error);
    this.index.lose();
    this.#endPause?.();
    this.#endPause = undefined;
    this.#inspections.clear(cause);
    this.#lists.clear(cause);
    if (wasSynced) this.#listener.turned(this);
    if (this.#closing.signal.aborted || this.#trouble === cause.code) return;
    this.#trouble = cause.code;
    const { code, message, hint } = cause;
    this.#platform.log.warn("engine-lost", {
      engine: this.#engine.socket,
      code,
      message,
      ...(hint !== undefined && { hint }),
    });
  }

  /** It is nobody then, and asks again and again. */
  #tellTooLong(id: string): void {
    if (this.#told.isRepeated(id)) return;
    this.#platform.log.warn("container-unreadable", {
      container: id,
      reason: "its labels or its variables have more than 256 KiB",
    });
  }

  /** Asks about a container for which no client waits. */
  #inspectSoon(id: string): void {
    this.#inspections.ask(id, false).catch(() => {});
  }

  async #inspect(id: string): Promise<Inspected> {
    const ask = this.index.ask();
    try {
      const state = await this.#engine.inspect(id);
      const isCurrent = this.index.apply(ask, id, state);
      if (isCurrent && state) this.#listener.described(this, state);
      if (state?.isRunning && !state.facts) this.#tellTooLong(id);
      return { state, isCurrent };
    } catch (error) {
      const { code, message } = toMoatError(error);
      this.#platform.log.debug("container-unreadable", {
        container: id,
        code,
        message,
      });
      // One that cannot be read must not take the others away. It stays where
      // it was, as a reason to refuse; a list tells whether it is there, and
      // whether the engine answers at all.
      this.#listener.unreadable(this, id);
      this.refresh();
      throw error;
    } finally {
      this.index.answered(ask);
    }
  }
}
