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
import { assertNoCanary, assertNoCanaryBelow, CANARY } from "./canary.ts";
import { eventually } from "./eventually.ts";
import { makeRepository } from "./git_server.ts";
import { makeUpstreamCa, type UpstreamCa } from "./intercept_bed.ts";
import { runMoat, startMoat } from "./moat.ts";
import { makePackages } from "./packages.ts";
import { type RunResult, type Server, startServer } from "./run.ts";
import { basicAuth } from "./vendor.ts";
import { openVendorNet, type VendorNet } from "./vendor_net.ts";
import {
  credentialFor,
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

/** What moat is granted: each has the canary in it. */
const SECRETS = {
  github: `ghp_${CANARY}`,
  anthropic: `sk-ant-api03-${CANARY}AA`,
  npm: `npm_${CANARY}`,
  testapi: CANARY,
} as const;

const GIT = {
  header: "authorization",
  value: basicAuth("x-access-token", SECRETS.github),
};

const GITHUB_API = {
  header: "authorization",
  value: `Bearer ${SECRETS.github}`,
};

/** The header that each vendor must see. */
const CREDENTIALS: VendorConfig["credentials"] = {
  "github.com": GIT,
  "git.acme.test": GIT,
  "api.github.com": GITHUB_API,
  "git.acme.test/api/v3": GITHUB_API,
  "npm.acme.test": { header: "authorization", value: `Bearer ${SECRETS.npm}` },
  "api.anthropic.com": { header: "x-api-key", value: SECRETS.anthropic },
  "api.acme.test": {
    header: "authorization",
    value: `Bearer ${SECRETS.testapi}`,
  },
  "pypi.acme.test": {
    header: "authorization",
    value: basicAuth("acme", SECRETS.testapi),
  },
  "crates.acme.test": { header: "authorization", value: SECRETS.testapi },
};

/** A provider of a user's own. */
const TESTAPI = `name = "testapi"
description = "Hosts of the tests"
hosts = ["api.acme.test", "pypi.acme.test", "crates.acme.test"]
env = ["TESTAPI_TOKEN", "CARGO_REGISTRIES_ACME_TOKEN"]

[[inject]]
header = "Authorization"
prefix = "Bearer "
hosts = ["api.acme.test"]

[[inject]]
header = "Authorization"
basic_user = "acme"
hosts = ["pypi.acme.test"]

[[inject]]
header = "Authorization"
hosts = ["crates.acme.test"]
`;

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

/**
 * Fails unless every one of some requests had its host's credential exactly
 * once, in the right header and nowhere else, and was taken.
 *
 * @param requests What vendors received; at least one.
 */
export function assertInjectedOnce(
  requests: readonly VendorRequest[],
): void {
  assert.notEqual(requests.length, 0, "no request arrived");
  for (const { headers, status, ...request } of requests) {
    const what = `${request.method} ${request.host}${request.path}`;
    assert.notEqual(status, 401, what);
    const credential = credentialFor(CREDENTIALS, request.host + request.path);
    if (!credential) continue;
    const { [credential.header]: value, ...rest } = headers;
    assert.ok(value === credential.value, `${what}: not the credential`);
    assertNoCanary(JSON.stringify({ ...request, rest }));
    // Nothing of the way to the proxy goes on to the upstream.
    const own = Object.keys(rest).filter((name) => name.startsWith("proxy-"));
    assert.deepEqual(own, [], what);
  }
}
