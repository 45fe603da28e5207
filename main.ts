/**
 * moat: keeps long-lived credentials out of containers, agents and builds.
 * This file wires the parts and sets the exit status.
 *
 * @module
 */

import { runProgram } from "$core/cli/app.ts";
import { CORE_COMMANDS } from "$core/cli/commands/mod.ts";
import { processStreams } from "$core/cli/output.ts";
import { COMMIT, VERSION } from "$core/version.ts";
import { PROVIDER_COMMANDS } from "$providers/commands.ts";
import { PROXY_COMMANDS } from "$proxy/commands/mod.ts";

const { os, arch } = Deno.build;
const env = Deno.env.toObject();

// The runtime would let this variable move our listeners.
Deno.env.delete("DENO_SERVE_ADDRESS");
// Sockets that were given to us are not our children's (sd_listen_fds(3)).
for (const name of ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]) {
  Deno.env.delete(name);
}

// Not by Deno.exitCode: a timer or an idle connection must not keep us alive.
Deno.exit(
  await runProgram({
    commands: [...CORE_COMMANDS, ...PROXY_COMMANDS, ...PROVIDER_COMMANDS],
    examples: [
      "moat grant aws --role arn:aws:iam::123456789012:role/Deploy",
      "moat run --grant aws -- docker run --rm my-image aws sts get-caller-identity",
    ],
    version:
      `moat ${VERSION} (${COMMIT}, deno ${Deno.version.deno}, ${os} ${arch})`,
    env,
    setVariable: (name, value) => Deno.env.set(name, value),
    streams: processStreams(),
    loadProviders: async () => (await import("$providers/mod.ts")).PROVIDERS,
    loadDefinedProviders: async (platform, builtIn) =>
      (await import("$providers/mod.ts"))
        .loadDefinedProviders(platform, builtIn),
  }, Deno.args),
);
