/**
 * `moat proxy`: serves credentials to bound clients until it is stopped.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { untilStopped } from "$core/cli/commands/signals.ts";
import { fileStreams, type Streams } from "$core/cli/output.ts";
import { toMoatError } from "$core/errors.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import type { FlagValues } from "$core/provider.ts";
import { COMMIT, VERSION } from "$core/version.ts";
import { Binder } from "../bindings/binder.ts";
import { BindingTable } from "../bindings/binding_table.ts";
import { ContainerGate } from "../bindings/container_gate.ts";
import { LazyContainers } from "../containers/lazy.ts";
import { serveControl } from "../control.ts";
import { ExpiryWatch } from "../grants/expiries.ts";
import { DEFAULT_LISTEN } from "../addresses.ts";
import { type ListenAddress, Listeners, parseListen } from "../listeners.ts";
import { planMetadata, serveMetadata } from "../metadata/serve_metadata.ts";
import { ProcessPermission } from "../grants/permissions.ts";
import { prefetchGrants } from "../grants/prefetch.ts";
import { ProviderMethods } from "../grants/provider_methods.ts";
import { holdProxyLock } from "../proxy_lock.ts";
import { sweepRuns } from "../runs/run_files.ts";
import { Runs } from "../runs/runs.ts";
import { createIntercept } from "../intercept/mod.ts";
import { createService, withForward } from "../service.ts";
import { StoredBindings } from "../bindings/stored_bindings.ts";
import { logFrom, warnOfReach } from "./logging.ts";
import { takeSockets } from "./sockets.ts";

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
  const { paths, clock, env } = platform;
  const listen = args.flags["listen"] as readonly string[] | undefined;
  const metricsAddress = metricsFrom(args.flags);
  const metadataPlan = await planMetadata(platform, args.flags);
  using _lock = await holdProxyLock(paths);
  const endsWhenIdle = args.flags["end-when-idle"] === true;
  log.use(
    await logFrom(
      context,
      args.flags,
      endsWhenIdle ? await logFileStreams(paths.proxyLog) : context.streams,
    ),
  );
  // One client's mishap must not end the service of all.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    const { name, stack } = toError(event.reason);
    log.error("unhandled", {
      name,
      ...(env["MOAT_DEBUG"] === "1" && { stack }),
    });
  });
  await sweepRuns(paths);
  const bindings = new BindingTable();
  const containers = new LazyContainers(platform);
  const gate = new ContainerGate({
    platform,
    containers: () => containers.open(),
  });
  const intercept = createIntercept({
    platform,
    table: bindings,
    gate,
    listeners: () => listeners,
    notify: (binding, notice) => runs.notifyBinding(binding, notice),
  });
  const { forward } = intercept;
  const listeners = new Listeners(
    platform,
    withForward(
      createService(bindings, undefined, gate),
      (...asked) => forward.handle(...asked),
    ),
  );
  const idle = Promise.withResolvers<void>();
  let status = 0;
  const sockets = await takeSockets(platform, () => {
    status = 1;
    idle.resolve();
  });
  const byDefault = sockets.count > 0 ? [] : [DEFAULT_LISTEN];
  const addresses = (listen ?? byDefault).map((text) => parseListen(text));
  const endIfIdle = () => {
    if (!endsWhenIdle || runs.names.length + control.connections > 0) return;
    // At once: a run that is opened from here on would lose its proxy.
    runs.stop();
    idle.resolve();
  };
  const binder = new Binder(registry, platform);
  const stored = new StoredBindings({
    platform,
    binder,
    store,
    bindings: openOwnBindings(platform),
    table: bindings,
    listeners,
  });
  const runs = new Runs({
    platform,
    registry,
    binder,
    store,
    bindings,
    listeners,
    endsWhenIdle,
    servesMetadata: () => metadata !== undefined,
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
    stored.grantChanged(name);
    metadata?.changed();
    await runs.grantChanged(name);
    const warnings = await permission.review();
    await expiries.review(name);
    void prefetch(name);
    return warnings;
  };
  const methods = new ProviderMethods({
    registry,
    store,
    binding: (name) => stored.find(name),
    grantChanged,
  });
  const urls = [
    ...sockets.serveOn(listeners),
    ...addresses.map((address) => listeners.listen(address)),
  ];
  const metricsUrl = metricsAddress &&
    await serveMetrics(context, listeners, metricsAddress);
  warnOfReach(addresses, "a token is still asked for", log);
  await stored.start();
  // Not before: a container whose binding is not known yet would count as one without.
  const metadata = metadataPlan && serveMetadata({
    ...{ platform, registry, store, listeners, ...metadataPlan },
    table: bindings,
    containers: await containers.open(),
  });
  bindings.onTokenless = () => metadata?.changed();
  const control = await serveControl(paths.controlSocket, {
    runs,
    onDisconnect: endIfIdle,
    status: () => ({
      pid: Deno.pid,
      version: `${VERSION} ${COMMIT}`,
      listeners: urls,
      imds: metadata?.urls ?? [],
      runs: runs.names,
      bindings: stored.names,
      expiries: expiries.statuses,
    }),
    grantChanged,
    bindingChanged: (name) => stored.changed(name),
    callProvider: (...call) => methods.call(...call),
  });
  // Before anyone knows that we are ready, and so may stop us.
  const stopped = untilStopped(idle.promise);
  for (const url of urls) output.text(`ready ${url}\n`);
  for (const url of metadata?.urls ?? []) output.text(`imds ${url}\n`);
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
  await intercept.close();
  await containers.close();
  await sockets.close();
  await control.close();
  await audit.flush();
  log.info("stopped");
  return status;
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error("no error");
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
