/**
 * A user's host with grants of several vendors, a proxy, and these vendors
 * under their own names, in a network of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { assertNoCanary, assertNoCanaryBelow } from "./canary.ts";
import { eventually } from "./eventually.ts";
import { makeRepository } from "./git_server.ts";
import { makeUpstreamCa, type UpstreamCa } from "./intercept_bed.ts";
import { runMoat, startMoat } from "./moat.ts";
import { makePackages } from "./packages.ts";
import { type RunResult, type Server, startServer } from "./run.ts";
import { CREDENTIALS, SECRETS, TESTAPI } from "./vendor_credentials.ts";
import { openVendorNet, type VendorNet } from "./vendor_net.ts";
import {
  NPM_URL,
  REQUEST,
  type VendorConfig,
  type VendorRequest,
} from "./vendor_server.ts";
import { Workspace } from "./workspace.ts";

/** All vendors' names. */
const NAMES: readonly string[] = [
  "github.com",
  "api.github.com",
  "git.acme.test",
  "npm.acme.test",
  "pypi.acme.test",
  "crates.acme.test",
  "api.anthropic.com",
  "api.acme.test",
  "sts.amazonaws.com",
  "sts.us-east-1.amazonaws.com",
];

/** The host; `await using` ends all, and looks for secrets in what is left. */
export class VendorBed implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  #vendors: Server | undefined;
  #proxy: Server | undefined;

  private constructor(
    /** The user's home: moat's state, and what clients write. */
    readonly workspace: Workspace,
    /** Of the vendors; no client can look there. */
    readonly vault: Workspace,
    readonly net: VendorNet,
    readonly ca: UpstreamCa,
  ) {}

  /**
   * Opens a host; nothing is granted.
   *
   * @param network As of {@link openVendorNet}.
   * @param hasAws Whether there is an STS, and `aws` is granted.
   */
  static async open(
    { network, hasAws = false }: {
      readonly network?: readonly string[];
      readonly hasAws?: boolean;
    } = {},
  ): Promise<VendorBed> {
    await using stack = new AsyncDisposableStack();
    const workspace = stack.use(await Workspace.open());
    const vault = stack.use(await Workspace.open());
    const net = stack.use(await openVendorNet(NAMES, network));
    const ca = await makeUpstreamCa(vault);
    const bed = new VendorBed(workspace, vault, net, ca);
    bed.#stack.use(stack.move());
    try {
      const sts = hasAws ? await bed.#startSts() : undefined;
      await Promise.all([bed.#startVendors(sts), bed.#startProxy(sts)]);
      if (hasAws) await bed.#do("grant", "aws", "--role", ROLE);
      return bed;
    } catch (error) {
      await bed.#stack.disposeAsync();
      throw error;
    }
  }

  /** Grants tokens, which their vendors are asked about where they can be. */
  async grant(
    name: keyof typeof SECRETS,
    ...flags: readonly string[]
  ): Promise<void> {
    const file = await this.vault.write("token", SECRETS[name]);
    await this.#do("grant", name, "--token-file", file, ...flags);
  }

  /** Grants what npm is configured with, as it is. */
  async grantNpm(): Promise<void> {
    const { host, pathname } = new URL(NPM_URL);
    const path = await this.workspace.write(
      ".npmrc",
      `@acme:registry=${NPM_URL}\n//${host}${pathname}:_authToken=${SECRETS.npm}\n`,
    );
    await this.#do("grant", "npm");
    await Deno.remove(path);
  }

  /** Grants {@link TESTAPI}. */
  async grantTestapi(): Promise<void> {
    await this.workspace.write("moat/providers/testapi.toml", TESTAPI);
    await Deno.chmod(this.workspace.moatHome, 0o700);
    await this.grant("testapi");
  }

  /** Runs moat among the clients, where no vendor's name is known. */
  moat(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    cwd?: string,
  ): Promise<RunResult> {
    return runMoat(args, {
      workspace: this.workspace,
      prefix: this.net.prefix,
      env: { ...this.#env, ...env },
      cwd,
      timeoutMs: 60_000,
    });
  }

  /** Flags of `moat run` and `moat bind` that open all vendors. */
  get flags(): string[] {
    return NAMES.flatMap((name) => ["--allow-private", `${name}:443`]);
  }

  /** What vendors received since a number of requests. */
  requests(since = 0): VendorRequest[] {
    const lines = (this.#vendors?.stdout() ?? "").split("\n").slice(0, -1);
    return lines.filter((line) => line.startsWith(REQUEST)).slice(since)
      .map((line) => JSON.parse(line.slice(REQUEST.length)));
  }

  /** Ends all; neither moat's output nor what is left of the home may hold a secret. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#proxy?.stop();
      assertNoCanary(
        this.#proxy?.stdout() ?? "",
        this.#proxy?.stderr() ?? "",
      );
      await assertNoCanaryBelow(this.workspace.directory);
    } finally {
      await this.#stack.disposeAsync();
    }
  }

  get #env() {
    return {
      SSL_CERT_FILE: this.ca.path,
      AWS_EC2_METADATA_DISABLED: "true",
    };
  }

  async #startSts(): Promise<string> {
    const server = await startMoat(
      ["simulate", "aws", "--listen", "127.0.0.1:0"],
      { workspace: this.vault, prefix: this.net.prefix },
    );
    this.#stack.use(server);
    return server.urls[0] ?? "";
  }

  async #startVendors(sts: string | undefined): Promise<void> {
    const { directory } = this.vault;
    await Deno.mkdir(this.vault.path("packages"));
    const [{ cert, key }] = await Promise.all([
      this.ca.issue(NAMES),
      makePackages(this.vault.path("packages")),
      makeRepository(this.vault.path("repositories/acme/private.git"), {
        "README.md": "private\n",
      }),
    ]);
    const config: VendorConfig = {
      cert,
      key,
      directory,
      credentials: CREDENTIALS,
      sts,
    };
    const script = fileURLToPath(
      new URL("vendor_server.ts", import.meta.url),
    );
    const deno = [Deno.execPath(), "run", "--allow-all", "--no-check"];
    this.#vendors = await startServer(
      [...this.net.prefix, ...deno, script],
      { ready: /^ready$/gm, stdin: JSON.stringify(config) },
    );
    this.#stack.use(this.#vendors);
  }

  async #startProxy(sts: string | undefined): Promise<void> {
    this.#proxyEnv = {
      ...this.#env,
      ...sts && {
        AWS_ENDPOINT_URL_STS: sts,
        AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
      },
    };
    const proxy = await startMoat(["proxy"], {
      workspace: this.workspace,
      prefix: this.net.withNames,
      env: this.#proxyEnv,
    });
    this.#proxy = proxy;
    this.#stack.use(proxy);
    await eventually("control line", () => /^control /m.test(proxy.stdout()));
  }

  #proxyEnv: Readonly<Record<string, string>> = {};

  /** Runs moat as its proxy runs, which must succeed. */
  async #do(...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await runMoat(args, {
      workspace: this.workspace,
      prefix: this.net.withNames,
      env: this.#proxyEnv,
    });
    assert.equal(code, 0, `moat ${args.join(" ")}: ${stderr}`);
    assertNoCanary(stdout, stderr);
  }
}

/** The role of the grant `aws`. */
export const ROLE = "arn:aws:iam::123456789012:role/Deploy";
