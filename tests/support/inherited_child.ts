/**
 * A program that serves on the sockets that it inherits, for the tests of
 * `proxy/inherited.ts`. It answers each request with where it arrived.
 *
 * Its protocol on stdout: `ready http://ADDRESS` for each socket; then
 * `lost CODE`, or `error CODE MESSAGE`. SIGTERM ends it in good order.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

import { systemClock } from "$core/clock.ts";
import { toMoatError } from "$core/errors.ts";
import { Answer } from "$core/provider.ts";
import { serve } from "$proxy/http1/server.ts";
import { openInherited } from "$proxy/inherited.ts";

try {
  const inherited = await openInherited({
    env: Deno.env.toObject(),
    onLost: ({ code }) => console.log(`lost ${code}`),
  });
  const servers = inherited.map(({ listener }) =>
    serve(
      listener,
      (_head, peer) => ({
        answer: new Answer(200, JSON.stringify(peer), "application/json"),
      }),
      {
        clock: systemClock,
        onError: (error) => console.log(`failed ${error}`),
      },
    )
  );
  Deno.addSignalListener("SIGTERM", async () => {
    await Promise.all(servers.map((server) => server.drain(1_000)));
    await Promise.all(inherited.map((one) => one.close()));
    Deno.exit(0);
  });
  for (const { address: { hostname, port } } of inherited) {
    console.log(`ready ${hostname} ${port}`);
  }
} catch (error) {
  const { code, message } = toMoatError(error);
  console.log(`error ${code} ${message}`);
}
