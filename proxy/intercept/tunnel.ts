/**
 * Relays bytes that are not read: tunnels, and what follows an upgrade.
 *
 * @module
 */

import type { Wire } from "../http1/wire.ts";

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
 * its own direction may go on receiving. Closing one of them ends it at once.
 *
 * @param client The connection of the client.
 * @param upstream The connection of the upstream.
 * @returns How much went through; never rejects.
 */
export async function relay(
  client: Wire,
  upstream: Wire,
): Promise<Relayed> {
  const sent: Count = { bytes: 0 };
  const received: Count = { bytes: 0 };
  try {
    await Promise.all([
      pump(client, upstream, sent),
      pump(upstream, client, received),
    ]);
  } catch {
    // One side has failed: there is nobody left to tell.
  } finally {
    client.close();
    upstream.close();
  }
  return { sent: sent.bytes, received: received.bytes };
}

/** One direction, to its end. One read is under way, or one write: that is the backpressure. */
async function pump(from: Wire, to: Wire, count: Count): Promise<void> {
  while (from.available > 0 || await from.fill()) {
    const chunk = from.received;
    // Nearly every write is whole: an async call less for each chunk.
    const written = await to.conn.write(chunk);
    if (written < chunk.length) await to.write(chunk.subarray(written));
    count.bytes += chunk.length;
    from.consume(chunk.length);
  }
  await to.conn.closeWrite();
}
