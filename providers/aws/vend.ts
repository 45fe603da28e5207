/**
 * Handing sessions out, and keeping account of it.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import {
  type Answer,
  type EndpointHandler,
  errorAnswer,
} from "$core/provider.ts";
import { clientSentence } from "./errors.ts";
import type { Session } from "./session.ts";

const MINUTE_MS = 60_000;

/** Keeps account of what one grant hands out to one binding. */
export interface VendRecorder {
  /** Told of each session that is handed out. */
  vended(session: Session): void;
  /** Told of each request that got none. */
  refused(error: MoatError): void;
}

/**
 * Makes the handler of an endpoint: it answers with the session, or with the
 * error in the shape that SDKs read.
 *
 * @param session Gives the session, at once if there is one.
 * @param format Makes the answer; called once per session.
 * @param recorder Told of what is handed out and what is not.
 * @returns The handler.
 */
export function vend(
  session: () => Session | Promise<Session>,
  format: (session: Session) => Answer,
  recorder: VendRecorder,
): EndpointHandler {
  let last: { session: Session; answer: Answer } | undefined;
  const answer = (current: Session) => {
    recorder.vended(current);
    if (last?.session !== current) {
      last = { session: current, answer: format(current) };
    }
    return last.answer;
  };
  const refuse = (error: MoatError) => {
    recorder.refused(error);
    return errorAnswer(502, error.code, clientSentence(error));
  };
  return () => {
    const current = session();
    if (!(current instanceof Promise)) return answer(current);
    return current.then(answer, (error) => refuse(toMoatError(error)));
  };
}

/**
 * Audits the first vend of each session to a binding, and counts the repeats
 * once a minute (design decision 10); of refusals likewise the first of a code,
 * in the log as well, which a client that keeps asking must not fill.
 */
export class VendRecorders {
  readonly #platform: Platform;
  readonly #recorders = new Map<string, Map<string, Recorder>>();

  /** Writes to the platform's audit log. */
  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /**
   * Gives the recorder of a grant in one binding.
   *
   * @param grant What is handed out.
   * @param binding To whom.
   * @returns The same one each time until the binding ends.
   */
  recorder({ name }: Grant, binding: Binding): VendRecorder {
    let ofBinding = this.#recorders.get(binding.name);
    if (!ofBinding) {
      this.#recorders.set(binding.name, ofBinding = new Map());
    }
    const key = keyOf(name, binding);
    let recorder = ofBinding.get(key);
    if (!recorder) {
      recorder = new Recorder(this.#platform, name, binding);
      ofBinding.set(key, recorder);
    }
    return recorder;
  }

  /** Writes what is left to count when a container of a binding ends. */
  endContainer({ name }: Grant, binding: Binding): void {
    const ofBinding = this.#recorders.get(binding.name);
    const key = keyOf(name, binding);
    ofBinding?.get(key)?.flush();
    ofBinding?.delete(key);
  }

  /** Writes what is left to count when a binding ends. */
  end({ name }: Binding): void {
    this.#recorders.get(name)?.forEach((recorder) => recorder.flush());
    this.#recorders.delete(name);
  }
}

/** A binding in mode imds may have several containers, each with its session. */
function keyOf(grant: string, { subject }: Binding): string {
  return JSON.stringify([grant, subject?.container]);
}

class Recorder implements VendRecorder {
  readonly #platform: Platform;
  readonly #fields: { grant: string; binding: string };
  /** Its name, which people know better than its id. */
  readonly #container: string | undefined;
  #last: Session | undefined;
  #repeats = 0;
  #cancelFlush = () => {};
  #lastCode = "";
  #lastRefusal = -Infinity;

  constructor(platform: Platform, grant: string, binding: Binding) {
    this.#platform = platform;
    this.#fields = { grant, binding: binding.name };
    this.#container = binding.subject?.container;
  }

  vended(session: Session): void {
    const { clock } = this.#platform;
    if (session !== this.#last) {
      this.flush();
      this.#last = session;
      this.#lastCode = "";
      this.#record("vended", session);
    } else if (this.#repeats++ === 0) {
      this.#cancelFlush = clock.after(MINUTE_MS, () => this.flush());
    }
  }

  refused({ code, message, hint }: MoatError): void {
    const { clock, log, metrics, audit } = this.#platform;
    metrics.count("credentials_refused_total", { code });
    const now = clock.now();
    const isRepeat = code === this.#lastCode &&
      now < this.#lastRefusal + MINUTE_MS;
    if (isRepeat) return;
    this.#lastCode = code;
    this.#lastRefusal = now;
    log.warn("credentials-refused", {
      ...this.#fields,
      ...(this.#container !== undefined && { container: this.#container }),
      code,
      message,
      ...(hint !== undefined && { hint }),
    });
    audit.recordSoon("refused", { ...this.#fields, code });
  }

  flush(): void {
    this.#cancelFlush();
    const count = this.#repeats;
    this.#repeats = 0;
    if (!this.#last || count === 0) return;
    this.#record("vended-again", this.#last, { count });
    this.#platform.metrics.count("credentials_vended_total", {}, count);
  }

  #record(event: string, session: Session, more = {}): void {
    if (event === "vended") {
      this.#platform.metrics.count("credentials_vended_total");
    }
    this.#platform.audit.recordSoon(event, {
      ...this.#fields,
      accessKeyId: session.accessKeyId,
      assumedRole: session.assumedRoleArn,
      expiresAt: new Date(session.expiresAt).toISOString(),
      ...more,
    });
  }
}
