/**
 * Relays bytes that are not read: tunnels, and what follows an upgrade.
 *
 * @module
 */

import type { Wire } from "../http1/wire.ts";

/** What a relay tells and obeys. */
export interface RelayHooks {
  /** Shown what the client sends, before it goes on; valid during the call. */
  readonly onClientBytes?: (chunk: Uint8Array) => void;
  /** Shown what the upstream sends, before it goes on; valid during the call. */
  readonly onUpstreamBytes?: (chunk: Uint8Array) => void;
  /** Ends the relay at once. */
  readonly signal?: AbortSignal;
}

/** How many bytes a relay has passed on. */
export interface Relayed {
  /** From the client to the upstream. */
  readonly sent: number;
  /** From the upstream to the client. */
  readonly received: number;
}

/** Counts what one direction has passed on. */
interface Count {
  bytes: number;
}

/**
 * Relays both ways until both sides have ended, or one has failed, and closes
 * both. What was received on either already goes first. A side that ends only
 * its own direction may go on receiving.
 *
 * @param client The connection of the client.
 * @param upstream The connection of the upstream.
 * @param hooks Default: none.
 * @returns How much went through; never rejects.
 */
export async function relay(
  client: Wire,
  upstream: Wire,
  hooks: RelayHooks = {},
): Promise<Relayed> {
  const { signal } = hooks;
  const close = () => {
    client.close();
    upstream.close();
  };
  if (signal?.aborted) close();
  signal?.addEventListener("abort", close);
  const sent: Count = { bytes: 0 };
  const received: Count = { bytes: 0 };
  try {
    await Promise.all([
      pump(client, upstream, sent, hooks.onClientBytes),
      pump(upstream, client, received, hooks.onUpstreamBytes),
    ]);
  } catch {
    // One side has failed: there is nobody left to tell.
  } finally {
    signal?.removeEventListener("abort", close);
    close();
  }
  return { sent: sent.bytes, received: received.bytes };
}

/** One direction, to its end. One read is under way, or one write: that is the backpressure. */
async function pump(
  from: Wire,
  to: Wire,
  count: Count,
  onBytes: ((chunk: Uint8Array) => void) | undefined,
): Promise<void> {
  while (from.available > 0 || await from.fill()) {
    const chunk = from.received;
    onBytes?.(chunk);
    // Nearly every write is whole: an async call less for each chunk.
    const written = await to.conn.write(chunk);
    if (written < chunk.length) await to.write(chunk.subarray(written));
    count.bytes += chunk.length;
    from.consume(chunk.length);
  }
  await to.conn.closeWrite();
}
