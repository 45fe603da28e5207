/**
 * Records of the trace.
 *
 * @module
 */

import type { TraceRecord } from "$proxy/intercept/trace_record.ts";

/**
 * Makes the record of a request that was allowed and answered.
 *
 * @param more What differs from `GET https://api.test/x` by binding `web`.
 */
export function traceRecord(more: Partial<TraceRecord> = {}): TraceRecord {
  return {
    time: 0,
    binding: "web",
    kind: "https",
    method: "GET",
    host: "api.test",
    path: "/x",
    status: 200,
    decision: "allow",
    rule: "grant api",
    grants: ["api"],
    sent: 0,
    received: 0,
    totalMs: 250,
    ...more,
  };
}
