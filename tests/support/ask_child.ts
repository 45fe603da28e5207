/**
 * Asks once on its terminal, and tells whether the answer is the wanted one,
 * without showing it. Its question holds its process id.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program of its own

import { processStreams } from "$core/cli/output.ts";
import { createAsk } from "$core/cli/prompt.ts";

const ask = createAsk(processStreams());
if (!ask) {
  console.log("no terminal");
} else {
  const answer = await ask(`[${Deno.pid}] secret? `);
  console.log(`wanted: ${answer.reveal() === Deno.env.get("WANTED")}`);
}
