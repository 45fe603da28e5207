/**
 * Handing sessions out, and keeping account of it.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Log } from "$core/log.ts";
import type { Platform } from "$core/platform.ts";
import {
  type Answer,
  type EndpointHandler,
  errorAnswer,
} from "$core/provider.ts";
import { clientSentence } from "./errors.ts";
import type { Session } from "./session.ts";

const MINUTE_MS = 60_000;

/**
 * Makes the handler of an endpoint: it answers with the session, or with the
 * error in the shape that SDKs read.
 *
 * @param session Gives the session, at once if there is one.
 * @param format Makes the answer; called once per session.
 * @param vended Told of each session that is handed out.
 * @param log Told of each refusal.
 * @returns The handler.
 */
export function vend(
  session: () => Session | Promise<Session>,
  format: (session: Session) => Answer,
  vended: (session: Session) => void,
  log: Log,
): EndpointHandler {
  let last: { session: Session; answer: Answer } | undefined;
  const answer = (current: Session) => {
    vended(current);
    if (last?.session !== current) {
      last = { session: current, answer: format(current) };
    }
    return last.answer;
  };
  const refuse = (error: MoatError) => {
    log.warn("credentials-refused", { code: error.code });
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
 * once a minute (design decision 10).
 */
export class VendRecorders {
  readonly #platform: Platform;
  /** What writes the count of each binding's recorders. */
  readonly #flushes = new Map<string, (() => void)[]>();

  /** Writes to the platform's audit log. */
  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /**
   * Makes the recorder of a grant's endpoints in one binding.
   *
   * @param grant What is handed out.
   * @param binding To whom.
   * @returns What is told of each session that is handed out.
   */
  recorder(grant: Grant, binding: Binding): (session: Session) => void {
    const { clock, audit } = this.#platform;
    let last: Session | undefined;
    let repeats = 0;
    let cancel = () => {};
    const record = (event: string, session: Session, more = {}) =>
      audit.recordSoon(event, {
        grant: grant.name,
        binding: binding.name,
        accessKeyId: session.accessKeyId,
        assumedRole: session.assumedRoleArn,
        expiresAt: new Date(session.expiresAt).toISOString(),
        ...more,
      });
    const flush = () => {
      cancel();
      if (last && repeats > 0) record("vended-again", last, { count: repeats });
      repeats = 0;
    };
    const { name } = binding;
    this.#flushes.set(name, [...this.#flushes.get(name) ?? [], flush]);
    return (session) => {
      if (session !== last) {
        flush();
        last = session;
        record("vended", session);
      } else if (repeats++ === 0) {
        cancel = clock.after(MINUTE_MS, flush);
      }
    };
  }

  /** Writes what is left to count when a binding ends. */
  end(binding: Binding): void {
    this.#flushes.get(binding.name)?.forEach((flush) => flush());
    this.#flushes.delete(binding.name);
  }
}
