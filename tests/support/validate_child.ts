/**
 * Tries a token in a process of its own, whose environment names proxies:
 * `validate_child.ts URL`. Prints the result, or the error's code.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- prints to the test

import { systemClock } from "$core/clock.ts";
import { toMoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { validateToken } from "$providers/tokens/validate.ts";

const answer = await validateToken({
  vendor: "Example",
  url: Deno.args[0] ?? "",
  headers: { authorization: new Secret("Bearer token") },
  hint: "none",
}, { clock: systemClock, env: Deno.env.toObject() }).catch(toMoatError);
console.log("result" in answer ? answer.result : answer.code);
