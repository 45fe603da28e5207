/**
 * The connection of `moat run` to the proxy: it keeps the run alive, finds or
 * starts a proxy, and resumes the run when the proxy restarts.
 *
 * @module
 */

import { digestToken, holdsToken, mintToken } from "$core/binding.ts";
import type { CommandContext } from "$core/cli/command.ts";
import { sleep } from "$core/clock.ts";
import {
  ControlClient,
  type RunOpened,
  type RunRequest,
} from "$core/control.ts";
import { MoatError, toMoatError } from "$core/errors.ts";
import type { Secret } from "$core/secret.ts";
import { portOf } from "../addresses.ts";
import { metadataCommand } from "../bindings/container_match.ts";
import { startProxy } from "./start_proxy.ts";

/** While the proxy is away, how often to look for it. */
const RETRY_MS = 100;

/** For how long: a proxy that ends lets answers finish for 10 s. */
const PATIENCE_MS = 15_000;

/** What passes: two proxies were started at once, or one is about to end. */
const PASSING = ["control-lost", "proxy-running", "proxy-stopping"];

/** Then a proxy that a `moat run` had started is started again. */
const RETRIES_BEFORE_START = 5;

/** After 2 s the person should know. */
const RETRIES_BEFORE_WARNING = 20;

/** Gives a client another token. */
type ReplaceToken = (token: Secret) => Promise<void>;

/** An open run. */
export class RunConnection {
  readonly #context: CommandContext;
  #request: RunRequest;
  #client: ControlClient;
  readonly #replaceToken: ReplaceToken | undefined;
  #isClosed = false;
  /** What the proxy gave at first. */
  readonly opened: RunOpened;

  private constructor(
    context: CommandContext,
    request: RunRequest,
    client: ControlClient,
    opened: RunOpened,
    replaceToken: ReplaceToken | undefined,
  ) {
    // An environment cannot be changed any more.
    const isFixed = Object.values(opened.env).some(holdsToken);
    this.#replaceToken = isFixed ? undefined : replaceToken;
    this.#context = context;
    this.#client = client;
    this.opened = opened;
    this.#request = resumeRequest(request, opened);
    void this.#watch();
  }

  /**
   * Opens a run, starting a proxy when none is running.
   *
   * @param context The command's context.
   * @param request What the run asks for.
   * @param replaceToken Gives the client another token: while the proxy was
   * away, somebody else may have listened where it sent the one before. Not
   * called when its environment holds the token; undefined without any token.
   * @returns The open run.
   * @throws {MoatError} The proxy's own error, or `proxy-not-started`.
   */
  static async open(
    context: CommandContext,
    request: RunRequest,
    replaceToken: ReplaceToken | undefined,
  ): Promise<RunConnection> {
    const { clock } = context.platform;
    const deadline = clock.now() + PATIENCE_MS;
    for (;;) {
      try {
        const client = await connectOrStart(context);
        client.onNotice = (error) => warn(context, error);
        const opened = await openOn(client, request);
        return new RunConnection(
          context,
          request,
          client,
          opened,
          replaceToken,
        );
      } catch (thrown) {
        const error = toMoatError(thrown);
        if (!PASSING.includes(error.code)) throw error;
        if (clock.now() >= deadline) throw notReached(error);
      }
      await sleep(clock, RETRY_MS);
    }
  }

  /** Ends the run: its token stops at once. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#client.call("run-close", { run: this.#request.run })
      .catch(() => {/* a proxy that is gone has forgotten the run */});
    this.#client.close();
    await this.#client.closed;
  }

  /** Resumes the run for as long as the command lives. */
  async #watch(): Promise<void> {
    for (;;) {
      await this.#client.closed;
      if (this.#isClosed) return;
      for (let retry = 1; !this.#isClosed; retry++) {
        const mayStart = retry >= RETRIES_BEFORE_START &&
          this.opened.endsWhenIdle && !this.#request.container;
        if (await this.#resume(mayStart)) break;
        if (retry === RETRIES_BEFORE_WARNING) {
          warn(this.#context, gone(this.#request, this.opened));
        }
        await sleep(this.#context.platform.clock, RETRY_MS);
      }
    }
  }

  async #resume(mayStart: boolean): Promise<boolean> {
    try {
      const client = mayStart
        ? await connectOrStart(this.#context, portOf(this.opened.endpointUrl))
        : await connect(this.#context);
      if (!client) return false;
      await this.#openAgain(client);
      this.#client = client;
      return true;
    } catch (error) {
      this.#context.log.debug("resume-failed", {
        code: toMoatError(error).code,
      });
      return false;
    }
  }

  /** With a new token, unless it is still the proxy that knows the old one. */
  async #openAgain(client: ControlClient): Promise<void> {
    const replaceToken = this.#replaceToken;
    if (!replaceToken) return void await openOn(client, this.#request);
    const token = mintToken(`run-${this.#request.run}`);
    const tokenDigest = digestToken(token.reveal());
    try {
      const { endpointUrl } = await client.call("run-open", {
        ...this.#request,
        tokenDigest,
      });
      await replaceToken(token);
      if (endpointUrl !== this.opened.endpointUrl) {
        warn(this.#context, moved(this.opened));
      }
      this.#request = { ...this.#request, tokenDigest };
    } catch (error) {
      if (toMoatError(error).code !== "run-exists") {
        client.close();
        throw error;
      }
      await openOn(client, this.#request);
    }
  }
}

/** A resumed run must be reachable where the client already looks for it. */
function resumeRequest(request: RunRequest, opened: RunOpened): RunRequest {
  if (request.reach.by !== "gateway") return request;
  return {
    ...request,
    reach: { ...request.reach, port: portOf(opened.endpointUrl) },
  };
}

function connect({ platform }: CommandContext) {
  return ControlClient.connect(platform.paths.controlSocket, platform.clock);
}

async function connectOrStart(
  context: CommandContext,
  port?: number,
): Promise<ControlClient> {
  const running = await connect(context);
  if (running) return running;
  const failure = await startProxy(context, port);
  if (failure) throw failure;
  const started = await connect(context);
  if (started) return started;
  throw new MoatError("control-lost", "The proxy ended as soon as it started");
}

/** Opens a run, or closes the connection, which then serves nothing. */
async function openOn(
  client: ControlClient,
  request: RunRequest,
): Promise<RunOpened> {
  try {
    return await client.call("run-open", request);
  } catch (error) {
    client.close();
    throw error;
  }
}

/** The command is running already: its own error comes later, and knows less. */
function warn({ output }: CommandContext, { message, hint }: MoatError): void {
  output.warn(hint ? `${message}; ${hint}` : message);
}

function gone(
  { container }: RunRequest,
  { endpointUrl }: RunOpened,
): MoatError {
  return new MoatError(
    "proxy-gone",
    "The proxy has ended: the command gets no credentials for now",
    {
      hint: container
        ? metadataCommand()
        : `moat proxy --listen ${new URL(endpointUrl).host}`,
    },
  );
}

/** The client's environment cannot be changed any more. */
function moved({ endpointUrl }: RunOpened): MoatError {
  return new MoatError(
    "proxy-moved",
    `The proxy is not at ${endpointUrl} any more, where the command looks for it`,
    { hint: `moat proxy --listen ${new URL(endpointUrl).host}` },
  );
}

function notReached(cause: MoatError): MoatError {
  return new MoatError(
    "proxy-not-started",
    "Cannot reach a proxy: one seems to be running but does not answer",
    { hint: "start moat proxy in another terminal to see why", cause },
  );
}
