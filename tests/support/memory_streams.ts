/**
 * Output that stays in memory.
 *
 * @module
 */

import type { Streams } from "$core/cli/output.ts";

/** Streams whose text can be looked at. */
export interface MemoryStreams extends Streams {
  /** What was printed on stdout so far. */
  readonly out: string;
  /** What was printed on stderr so far. */
  readonly err: string;
}

/**
 * Makes empty streams.
 *
 * @param color Whether stderr wants colours. Default: false.
 */
export function memoryStreams(color = false): MemoryStreams {
  let out = "";
  let err = "";
  return {
    isTerminal: color,
    color,
    stdout: (text) => void (out += text),
    stderr: (text) => void (err += text),
    get out() {
      return out;
    },
    get err() {
      return err;
    },
  };
}
