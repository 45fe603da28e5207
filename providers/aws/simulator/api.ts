/**
 * What the simulator's two services, STS and Roles Anywhere, have in common.
 *
 * @module
 */

import type { Moment } from "./call.ts";
import type { Refusal } from "./refusal.ts";
import type { RawRequest } from "./wire.ts";

/** A simulated service. */
export interface Api {
  /**
   * Names what a request asks for, for counts and faults; signs and sense are
   * not looked at.
   *
   * @returns Such as `AssumeRole`; `other` for what the service does not have.
   */
  actionOf(request: RawRequest): string;
  /**
   * Does what a request asks for.
   *
   * @throws {Refusal} If it may not.
   */
  perform(
    request: RawRequest,
    moment: Moment,
    requestId: string,
  ): Promise<Response>;
  /** Writes a refusal as the service does. */
  refuse(refusal: Refusal, requestId: string): Response;
  /** The refusals of a service that does not work. */
  readonly troubles: Troubles;
}

/** The refusals of a service that does not work. */
export interface Troubles {
  /** Something went wrong inside. */
  readonly internal: Refusal;
  /** It is not there now. */
  readonly unavailable: Refusal;
  /** It was called too often. */
  readonly throttled: Refusal;
}
