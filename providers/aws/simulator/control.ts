/**
 * The paths through which a running simulator is watched and disturbed:
 * `/_simulator/calls` and `/_simulator/faults`.
 *
 * **Security:** served on loopback only, and faults neither for what a page
 * of a browser may send to another site, nor for an `Origin`, which a page
 * sends whose own name leads to loopback (DNS rebinding).
 *
 * @module
 */

import { parseJson } from "$core/json.ts";
import { type Faults, readPlan } from "./faults.ts";
import { isJson, type RawRequest } from "./wire.ts";

const PREFIX = "/_simulator/";

/**
 * Answers a request to the simulator itself.
 *
 * @param request The request.
 * @param faults What is watched and changed.
 * @returns JSON; undefined if the request is for a simulated service.
 */
export function answerControl(
  request: RawRequest,
  faults: Faults,
): Response | undefined {
  const { method, path } = request;
  if (!path.startsWith(PREFIX)) return undefined;
  switch (`${method} ${path.slice(PREFIX.length)}`) {
    case "GET calls":
      return json(200, faults.calls);
    case "GET faults":
      return json(200, faults.plan);
    case "POST faults":
      return changePlan(request, faults);
    default:
      return json(404, {
        message:
          "There are GET /_simulator/calls, GET and POST /_simulator/faults",
      });
  }
}

function changePlan(request: RawRequest, faults: Faults): Response {
  if (request.headers.some(([name]) => name.toLowerCase() === "origin")) {
    return json(403, { message: "Pages of browsers may not change faults" });
  }
  if (!isJson(request)) {
    return json(415, { message: "The content type must be application/json" });
  }
  const plan = readPlan(parseJson(request.body));
  if (typeof plan === "string") return json(400, { message: plan });
  faults.plan = plan;
  return json(200, plan);
}

function json(status: number, content: unknown): Response {
  return new Response(`${JSON.stringify(content)}\n`, {
    status,
    headers: { "content-type": "application/json" },
  });
}
