/**
 * `moat proxy`: serves credentials to bound clients until it is stopped.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { untilStopped } from "$core/cli/commands/signals.ts";
import {
  createLog,
  fileStreams,
  LOG_LEVELS,
  type LogLevel,
  type Streams,
} from "$core/cli/output.ts";
import { toMoatError, usageError } from "$core/errors.ts";
import type { Log } from "$core/log.ts";
import type { FlagValues } from "$core/provider.ts";
import { COMMIT, VERSION } from "$core/version.ts";
import { isLoopback } from "../addresses.ts";
import { BindingTable } from "../bindings.ts";
import { serveControl } from "../control.ts";
import { ExpiryWatch } from "../expiries.ts";
import { type ListenAddress, Listeners, parseListen } from "../listeners.ts";
import { ProcessPermission } from "../permissions.ts";
import { prefetchGrants } from "../prefetch.ts";
import { ProviderMethods } from "../provider_methods.ts";
import { holdProxyLock } from "../proxy_lock.ts";
import { sweepRuns } from "../run_files.ts";
import { Runs } from "../runs.ts";
import { createService } from "../service.ts";

const DEFAULT_LISTEN = "127.0.0.1:19080";

/** How long answers under way may take when the proxy stops. */
const DRAIN_MS = 10_000;

/** A proxy that a `moat run` started waits this long for its first run. */
const FIRST_RUN_MS = 10_000;

/** Runs the proxy in the foreground. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { platform, registry, store, log, audit, output } = context;
  const { paths, clock } = platform;
  const listen = args.flags["listen"] as readonly string[] | undefined;
  const addresses = (listen ?? [DEFAULT_LISTEN]).map(parseListen);
  const metricsAddress = metricsFrom(args.flags);
  using _lock = await holdProxyLock(paths);
  log.use(await logFrom(context, args.flags));
  await sweepRuns(paths);
  const bindings = new BindingTable();
  const listeners = new Listeners(platform, createService(bindings));
  const idle = Promise.withResolvers<void>();
  const endsWhenIdle = args.flags["end-when-idle"] === true;
  const endIfIdle = () => {
    if (!endsWhenIdle || runs.names.length + control.connections > 0) return;
    // At once: a run that is opened from here on would lose its proxy.
    runs.stop();
    idle.resolve();
  };
  const runs = new Runs({
    platform,
    registry,
    store,
    bindings,
    listeners,
    endsWhenIdle,
    onIdle: endIfIdle,
    onOpened: (grants, owner) => expiries.tell(grants, owner),
  });
  const permission = new ProcessPermission(registry, store, log);
  const expiries = new ExpiryWatch({
    platform,
    registry,
    store,
    notify: (grant, notice) => runs.notify(grant, notice),
  });
  const prefetch = async (grant?: string) => {
    if (!args.flags["prefetch"]) return;
    await prefetchGrants({ registry, store, log }, grant);
  };
  const grantChanged = async (name: string) => {
    await runs.grantChanged(name);
    const warnings = await permission.review();
    await expiries.review(name);
    void prefetch(name);
    return warnings;
  };
  const methods = new ProviderMethods({
    registry,
    store,
    binding: (name) => runs.binding(name),
    grantChanged,
  });
  const urls = addresses.map((address) => listeners.listen(address));
  const metricsUrl = metricsAddress &&
    await serveMetrics(context, listeners, metricsAddress);
  warnOfReach(addresses, "a token is still asked for", log);
  const control = await serveControl(paths.controlSocket, {
    runs,
    onDisconnect: endIfIdle,
    status: () => ({
      pid: Deno.pid,
      version: `${VERSION} ${COMMIT}`,
      listeners: urls,
      runs: runs.names,
      expiries: expiries.statuses,
    }),
    grantChanged,
    callProvider: (...call) => methods.call(...call),
  });
  // Before anyone knows that we are ready, and so may stop us.
  const stopped = untilStopped(idle.promise);
  for (const url of urls) output.text(`ready ${url}\n`);
  if (metricsUrl) output.text(`metrics ${metricsUrl}\n`);
  output.text(`control ${paths.controlSocket}\n`);
  log.info("started", { version: VERSION, commit: COMMIT, pid: Deno.pid });
  const reviewed = permission.review().catch((error) =>
    log.error("review-failed", { code: toMoatError(error).code })
  );
  void expiries.start(reviewed).then(() => prefetch());
  if (endsWhenIdle) clock.after(FIRST_RUN_MS, endIfIdle);

  await stopped;
  runs.stop();
  expiries.stop();
  log.info("stopping", { drainMs: DRAIN_MS });
  await listeners.drain(DRAIN_MS);
  await control.close();
  await audit.flush();
  log.info("stopped");
  return 0;
}

function metricsFrom(flags: FlagValues): ListenAddress | undefined {
  const { metrics } = flags;
  return typeof metrics === "string" ? parseListen(metrics) : undefined;
}

/** Keeps measurements from now on; without the flag nobody loads the library. */
async function serveMetrics(
  { metrics, log }: CommandContext,
  listeners: Listeners,
  address: ListenAddress,
): Promise<string> {
  const { createMetrics, createMetricsService } = await import("../metrics.ts");
  const kept = await createMetrics(log);
  metrics.use(kept);
  metrics.gauge("runs", 0);
  metrics.gauge("build_info", 1, { version: VERSION, commit: COMMIT });
  warnOfReach([address], "metrics are served without a token", log);
  const service = createMetricsService(() => kept.read());
  return listeners.listenApart(address, service, "--metrics");
}

function warnOfReach(
  addresses: readonly ListenAddress[],
  remark: string,
  log: Log,
): void {
  for (const { hostname } of addresses) {
    if (isLoopback(hostname)) continue;
    log.warn("not-loopback", {
      hostname,
      reason: `other machines may reach this listener; ${remark}`,
    });
  }
}

async function logFrom(
  { streams, platform: { paths } }: CommandContext,
  flags: FlagValues,
): Promise<Log> {
  const endsWhenIdle = flags["end-when-idle"] === true;
  const {
    "log-format": format = streams.isTerminal ? "text" : "json",
    "log-level": level = "info",
  } = flags;
  if (format !== "json" && format !== "text") {
    throw usageError(
      `Cannot use ${JSON.stringify(format)} as log format`,
      "write --log-format json or --log-format text",
    );
  }
  if (!LOG_LEVELS.includes(level as LogLevel)) {
    throw usageError(
      `Cannot use ${JSON.stringify(level)} as log level`,
      `write one of ${LOG_LEVELS.join(", ")}`,
    );
  }
  return createLog(
    endsWhenIdle ? await logFileStreams(paths.proxyLog) : streams,
    format,
    level as LogLevel,
  );
}

/** Nobody reads the stderr of a proxy that `moat run` started. */
async function logFileStreams(path: string): Promise<Streams> {
  return fileStreams(
    await Deno.open(path, {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    }),
  );
}
