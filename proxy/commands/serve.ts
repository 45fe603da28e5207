/**
 * `moat serve`: serves a directory of bindings in another program's form, with
 * the status codes of that program.
 *
 * @module
 */

import { BindingStore } from "$core/binding_store.ts";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { untilStopped } from "$core/cli/commands/signals.ts";
import { usageError } from "$core/errors.ts";
import { missingOk } from "$core/files.ts";
import { bindingPaths } from "$core/paths.ts";
import { Answer, errorAnswer } from "$core/provider.ts";
import { COMMIT, VERSION } from "$core/version.ts";
import { Binder } from "../bindings/binder.ts";
import { BindingTable } from "../bindings/binding_table.ts";
import {
  foreignDirectory,
  foreignProvider,
  noDirectory,
} from "../bindings/foreign.ts";
import { Listeners, parseListen } from "../listeners.ts";
import { UNAUTHORIZED } from "../answers.ts";
import { createService, type Dialect } from "../service.ts";
import { StoredBindings } from "../bindings/stored_bindings.ts";
import { logFrom } from "./logging.ts";
import { takeSockets } from "./sockets.ts";

/** Where it listens if no socket was given to it. */
const DEFAULT_LISTEN = "127.0.0.1:3000";

/** How long answers under way may take when it stops. */
const DRAIN_MS = 10_000;

/** Runs in the foreground. */
export async function run(
  context: CommandContext,
  { flags }: Arguments,
): Promise<number> {
  const { platform, registry, store, log, audit, output } = context;
  log.use(
    await logFrom(context, flags),
  );
  const foreign = foreignProvider(registry)?.foreignBindings;
  const directory = foreignDirectory(flags, platform.env);
  if (!foreign) throw usageError("Cannot serve: no provider has such bindings");
  if (directory === undefined) throw noDirectory();
  const format = foreign.format(flags);
  if (!await missingOk(Deno.stat(directory))) {
    log.warn("directory-missing", { directory });
  }
  const table = new BindingTable(format.tokenPrefix);
  const service = createService(table, dialect(foreign.paths));
  const listeners = new Listeners(platform, service);
  const stopped = Promise.withResolvers<void>();
  let status = 0;
  const sockets = await takeSockets(platform, () => {
    status = 1;
    stopped.resolve();
  });
  new StoredBindings({
    platform,
    binder: new Binder(registry, platform),
    store,
    bindings: new BindingStore(
      bindingPaths(directory),
      format,
      platform.clock,
    ),
    table,
    listeners,
  });
  const urls = sockets.serveOn(listeners);
  if (urls.length === 0) {
    log.warn("no-inherited-socket", {
      reason:
        `no service manager gave a socket; listening on ${DEFAULT_LISTEN}`,
    });
    urls.push(listeners.listen(parseListen(DEFAULT_LISTEN)));
  }
  const ended = untilStopped(stopped.promise);
  for (const url of urls) output.text(`ready ${url}\n`);
  log.info("started", { version: VERSION, commit: COMMIT, directory });

  await ended;
  log.info("stopping", { drainMs: DRAIN_MS });
  await listeners.drain(DRAIN_MS);
  await sockets.close();
  await audit.flush();
  return status;
}

/** needroleshere's status codes, which its users' checks may rely on. */
function dialect(paths: readonly string[]): Dialect {
  return {
    paths,
    methods: ["GET", "HEAD"],
    notAllowed: errorAnswer(
      405,
      "method-not-allowed",
      "Only GET and HEAD are served here",
      [["Allow", "GET, HEAD"]],
    ),
    authorization: /^Bearer (\S+)$/,
    noToken: errorAnswer(
      400,
      "no-token",
      "Wanted a bearer token in the Authorization header, or access_token in the query",
    ),
    unauthorized: UNAUTHORIZED,
    failed: (answer) =>
      answer.status === 502
        ? new Answer(500, answer.body, answer.contentType, answer.headers)
        : answer,
  };
}
