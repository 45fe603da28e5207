/**
 * Gets what the tests need and a machine may lack: an independent AWS
 * simulator with its clients in a virtual environment, clients of AWS and of
 * proxies in other languages, and, on CI machines only, system packages.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join, relative, resolve } from "node:path";
import {
  exists,
  must,
  readIfThere,
  ROOT,
  run,
  ScriptError,
} from "./process.ts";
import {
  installProxyClients,
  PROXY_CLIENT_LANGUAGES,
} from "./proxy_clients.ts";
import { INSTALLED_LANGUAGES, installSdkClients } from "./sdk_clients.ts";

/** Where the virtual environment is; `tests/support/moto.ts` looks there. */
export const VENV: string = join(ROOT, ".cache/venv");

/** One release of each, tried together: they share botocore. */
const PYTHON_PACKAGES = [
  "moto[server]==5.2.1",
  "boto3==1.43.11",
  "awscli==1.45.11",
];

/** Debian packages: container engines, AWS helper back ends, keyring, load, AWS clients, C compiler, service manager. */
const SYSTEM_PACKAGES = [
  ..."podman runc netavark aardvark-dns iptables nftables conmon".split(" "),
  ..."docker.io iproute2 util-linux procps ca-certificates git".split(" "),
  ..."busybox-static bash socat curl wget netcat-openbsd strace".split(" "),
  ..."python3 python3-venv dbus gnome-keyring libsecret-tools".split(" "),
  ..."nginx-light wrk openssl".split(" "),
  ..."faketime ruby-aws-sdk-core default-jdk-headless maven".split(" "),
  ..."gcc libc6-dev musl-tools systemd s3cmd php-cli php-async-aws-core"
    .split(" "),
];

/** Makes a package's daemon stay off: only what a test starts may run. */
const POLICY_FILE = "/usr/sbin/policy-rc.d";

/**
 * Tells whether tests may need more than the sources: those of `tests/` do.
 *
 * @param paths Files and directories of tests, relative to the project's root
 * or absolute; none means all tests.
 * @returns Whether {@link prepare} is to run before them.
 */
export function needsPreparing(paths: readonly string[]): boolean {
  const tests = join(ROOT, "tests");
  return paths.length === 0 || paths.some((path) => {
    const full = resolve(ROOT, path);
    return contains(full, tests) || contains(tests, full);
  });
}

function contains(directory: string, path: string): boolean {
  return !relative(directory, path).startsWith("..");
}

/**
 * Prepares this machine for the tests. What cannot be had is reported; the
 * tests that need it then skip, or fail with `CI=true`.
 */
export async function prepare(): Promise<void> {
  if (Deno.env.get("CI") === "true") {
    await attempt("install system packages", installSystemPackages);
  }
  await Promise.all([
    attempt("prepare .cache/venv", makeVenv),
    ...INSTALLED_LANGUAGES.map((language) =>
      attempt(
        `prepare .cache/sdk_clients/${language}`,
        () => installSdkClients(language),
      )
    ),
    ...PROXY_CLIENT_LANGUAGES.map((language) =>
      attempt(
        `prepare .cache/proxy_clients/${language}`,
        () => installProxyClients(language),
      )
    ),
  ]);
}

async function attempt(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(`warning: Cannot ${what}; tests that need it will say so`);
    console.error(`  ${error.message}\n  ${error.hint ?? ""}`.trimEnd());
  }
}

async function installSystemPackages(): Promise<void> {
  const missing = await missingPackages();
  if (missing.length === 0) return;
  if (Deno.uid() !== 0) {
    throw new ScriptError(
      `Cannot install ${
        missing.join(" ")
      }: wanted root, found uid ${Deno.uid()}`,
    );
  }
  console.error(`installing ${missing.join(" ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
  const install = [...apt, "install", "-y", "--no-install-recommends"];
  await withoutServices(async () => {
    await must([...apt, "update"], { env });
    await must([...install, ...missing], { env, timeoutMs: 1_200_000 });
  });
}

async function missingPackages(): Promise<string[]> {
  const FORMAT = "-f=${Package} ${db:Status-Status}\n";
  const listed = await run(["dpkg-query", "-W", FORMAT, ...SYSTEM_PACKAGES]);
  const lines = listed.stdout.split("\n");
  return SYSTEM_PACKAGES.filter((name) => !lines.includes(`${name} installed`));
}

async function withoutServices(work: () => Promise<void>): Promise<void> {
  if (await exists(POLICY_FILE)) return await work();
  await Deno.writeTextFile(POLICY_FILE, "#!/bin/sh\nexit 101\n", {
    mode: 0o755,
  });
  try {
    await work();
  } finally {
    await Deno.remove(POLICY_FILE);
  }
}

/** Once, and again when the pinned packages change. */
async function makeVenv(): Promise<void> {
  const marker = join(VENV, "moat-packages");
  const wanted = PYTHON_PACKAGES.join("\n");
  if (new TextDecoder().decode(await readIfThere(marker)) === wanted) return;
  console.error(`installing ${PYTHON_PACKAGES.join(" ")} in .cache/venv`);
  // Debian's own Python first: containers of the tests mount /usr.
  const debian = "/usr/bin/python3";
  const python = await exists(debian) ? debian : "python3";
  await must([python, "-m", "venv", "--clear", VENV]);
  const pip = [join(VENV, "bin/pip"), "install", "--quiet", "--retries=2"];
  await must([...pip, ...PYTHON_PACKAGES], { timeoutMs: 1_200_000 });
  await Deno.writeTextFile(marker, wanted);
}
