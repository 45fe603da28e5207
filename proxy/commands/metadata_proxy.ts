/**
 * `moat metadata-proxy`: takes the place of go-metadataproxy, with its
 * environment.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { untilStopped } from "$core/cli/commands/signals.ts";
import { createLog } from "$core/cli/output.ts";
import { loadConfig } from "$core/config.ts";
import { toMoatError } from "$core/errors.ts";
import { checkPrivateDir } from "$core/files.ts";
import type { Grant } from "$core/grant.ts";
import type { Log } from "$core/log.ts";
import type { MetadataSettings } from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import { Answer } from "$core/provider.ts";
import { COMMIT, VERSION } from "$core/version.ts";
import type { Containers } from "../containers/containers.ts";
import { engineSockets } from "../containers/engine_sockets.ts";
import { watchContainers } from "../containers/watch.ts";
import {
  type ListenAddress,
  Listeners,
  parseListen,
  urlOf,
} from "../listeners.ts";
import { compatibleSettings, warnAtStart } from "../metadata/compatible.ts";
import {
  type CompatibleEnv,
  readCompatibleEnv,
} from "../metadata/compatible_env.ts";
import { followGrant } from "../metadata/follow_grant.ts";
import { MetadataFront } from "../metadata/front.ts";
import {
  type MetadataProvider,
  metadataProvider,
} from "../metadata/serve_metadata.ts";
import { openTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import { warnOfReach } from "./logging.ts";

/** Where measurements are unless told otherwise: not where containers reach. */
const DEFAULT_METRICS = "127.0.0.1:19081";

/** How long answers under way may take when it stops. */
const DRAIN_MS = 10_000;

/** What flags, environment and `moat.toml` ask for. */
interface Plan {
  readonly env: CompatibleEnv;
  readonly isStrict: boolean;
  readonly settings: MetadataSettings;
  /** Sockets of the engines. */
  readonly sockets: readonly string[];
  /** Where to serve measurements. */
  readonly metrics: ListenAddress | undefined;
}

/** Runs in the foreground. */
export async function run(
  context: CommandContext,
  { flags }: Arguments,
): Promise<number> {
  const { platform, registry, output, log, audit } = context;
  const plan = await makePlan(platform, flags);
  const { address, logFormat, logLevel } = plan.env;
  log.use(
    withoutHome(await createLog(context.streams, logFormat, logLevel)),
  );
  await checkHome(platform);
  const provider = metadataProvider(registry);
  const telemetry = await openTelemetry({
    platform,
    settings: plan.env.telemetry,
    isReadable: plan.metrics !== undefined,
    service: provider.name,
  });
  const { front, containers, stop } = await openFront(context, {
    ...{ plan, provider, telemetry },
  });
  const listeners = new Listeners(
    platform,
    (head, peer) => front.handle(head, peer),
  );
  const url = listeners.listen(address, "PORT");
  const metricsUrl = plan.metrics &&
    await serveMetrics(context, listeners, plan.metrics, telemetry);
  warnAtStart(log, {
    env: platform.env,
    strict: plan.isStrict ? plan.settings : undefined,
  });
  warnOfReach([address], "only containers are answered", log);
  // Before anyone knows that we are ready, and so may stop us.
  const stopped = untilStopped();
  output.text(`ready ${url}\n`);
  if (metricsUrl) output.text(`metrics ${metricsUrl}\n`);
  log.info("started", { version: VERSION, commit: COMMIT, pid: Deno.pid });

  await stopped;
  stop();
  log.info("stopping", { drainMs: DRAIN_MS });
  await listeners.drain(DRAIN_MS);
  await containers.close();
  await telemetry.close();
  await audit.flush();
  log.info("stopped");
  return 0;
}

/** Everything that may be wrong with it is, before anything listens. */
async function makePlan(
  platform: Platform,
  flags: Arguments["flags"],
): Promise<Plan> {
  const env = readCompatibleEnv(platform.env);
  const isStrict = flags["strict"] === true;
  const config = isStrict ? await loadConfig(platform) : undefined;
  const { metrics = env.hasPrometheus ? DEFAULT_METRICS : undefined } = flags;
  return {
    env,
    isStrict,
    settings: compatibleSettings(env, config),
    sockets: engineSockets(config?.engines, platform.env),
    metrics: typeof metrics === "string" ? parseListen(metrics) : undefined,
  };
}

/** Who asks, and what answers. */
async function openFront(
  context: CommandContext,
  { plan, provider, telemetry }: {
    readonly plan: Plan;
    readonly provider: MetadataProvider;
    readonly telemetry: Telemetry;
  },
): Promise<{ front: MetadataFront; containers: Containers; stop: () => void }> {
  const { platform } = context;
  const { settings, sockets, isStrict, env: { address } } = plan;
  const service = provider.metadata({
    settings,
    isCompatible: !isStrict,
    ownUrls: [urlOf(address)],
    observe: (event) => telemetry.observe(event),
  });
  const { grant: name } = settings;
  // Without a home there is no store.
  const grant = name === undefined
    ? always(await provider.environmentGrant())
    : () => context.store.get(name);
  await grant();
  const containers = watchContainers({ platform, sockets });
  const serves = (grant: Grant) => grant.provider === provider.name;
  const front = new MetadataFront({
    ...{ platform, containers, service, serves, grant },
  });
  const stop = name === undefined ? () => {} : followGrant({
    clock: platform.clock,
    read: grant,
    changed() {
      front.changed();
      provider.forget?.(name);
    },
  });
  return { front, containers, stop };
}

function always<T>(value: T): () => Promise<T> {
  return () => Promise.resolve(value);
}

/** go-metadataproxy's measurements beside moat's own. */
async function serveMetrics(
  { metrics, log }: CommandContext,
  listeners: Listeners,
  address: ListenAddress,
  telemetry: Telemetry,
): Promise<string> {
  const { createMetrics, createMetricsService } = await import("../metrics.ts");
  const kept = await createMetrics(log);
  metrics.use(kept);
  metrics.gauge("build_info", 1, { version: VERSION, commit: COMMIT });
  warnOfReach([address], "metrics are served without a token", log);
  const service = createMetricsService(async () => {
    const { status, body, contentType } = await kept.read();
    return new Answer(status, body + await telemetry.read(), contentType);
  });
  return listeners.listenApart(address, service, "--metrics");
}

/** Only the audit log needs one. */
async function checkHome({ paths, log }: Platform): Promise<void> {
  try {
    for (const root of paths.roots) await checkPrivateDir(root);
  } catch (error) {
    if (!isHomeless(toMoatError(error).code)) throw error;
    log.warn("audit-off", {
      reason:
        "neither MOAT_HOME nor HOME says where the audit log is: it is not written",
    });
  }
}

/** It is said once that there is no audit log. */
function withoutHome(log: Log): Log {
  return {
    ...log,
    error(event, fields) {
      if (event === "audit-failed" && isHomeless(fields?.["code"])) return;
      log.error(event, fields);
    },
  };
}

function isHomeless(code: unknown): boolean {
  return code === "no-home";
}
