/**
 * The programs that are measured side by side, each started anew: moat, other
 * proxies that intercept, a reverse proxy, and the upstream itself.
 *
 * @module
 */

import { join } from "node:path";
import { freePort, Program, untilAnswers } from "../bench_program.ts";
import { exists, must, ROOT, ScriptError } from "../process.ts";

const HERE = join(ROOT, "scripts/bench_intercept");

/** One of those that are measured. */
export interface Contender {
  /** Such as `squid`. */
  readonly name: string;
  /** What is asked for paths: the upstream, or what is in front of it. */
  readonly base: string;
  /** Proxies with user and password; none where `base` is asked at once. */
  readonly proxies?: Proxies;
  /** A file with the root that its client trusts. */
  readonly roots: string;
  /** Absent for the upstream. */
  readonly program?: Program;
}

/** The proxies of a contender, by what they do. */
export interface Proxies {
  /** Reads requests to the upstream; moat puts a credential on them. */
  readonly intercept: string;
  /** Reads requests to any of the upstream's addresses. */
  readonly hosts: string;
  /** Relays. */
  readonly tunnel: string;
}

/** The upstream and the load client, compiled. */
export interface Field {
  /** Where certificates, configurations and homes are. */
  readonly directory: string;
  /** The load client. */
  readonly load: string;
  /** The upstream, such as `https://localhost:4433`. */
  readonly upstream: string;
  /** The upstream's addresses besides, each with a certificate of its own. */
  readonly addresses: readonly string[];
}

/** A process that is running. */
export type Started<T> = T & AsyncDisposable;

const ADDRESSES = 120;

/**
 * Compiles the upstream and the load client, and starts the upstream.
 *
 * @param directory Where all is put.
 * @throws {ScriptError} If Go is not there.
 */
export async function startField(directory: string): Promise<Started<Field>> {
  const go = ["go", "build", "-o", `${directory}/`, "./load", "./upstream"];
  await must(go, { cwd: HERE });
  const upstream = new Program([
    ...[join(directory, "upstream"), "-directory", directory],
    ...["-addresses", `${ADDRESSES}`],
  ]);
  const url = await upstream.url;
  const { port } = new URL(url);
  return {
    directory,
    load: join(directory, "load"),
    upstream: url,
    addresses: Array.from(
      { length: ADDRESSES },
      (_, i) => `https://127.0.1.${i + 1}:${port}/`,
    ),
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

/** The upstream without anything in front. */
export function direct({ directory, upstream }: Field): Contender {
  return {
    name: "direct",
    base: upstream,
    roots: join(directory, "root.pem"),
  };
}

/**
 * Starts moat with three bindings: one whose grant is for the upstream, one
 * whose rule has requests to any of its addresses read, and one that reads
 * nothing.
 *
 * @param field Where and for whom.
 * @param moat The executable.
 * @param name What it is called. Default: `moat`.
 */
export async function startMoat(
  field: Field,
  moat: string,
  name = "moat",
): Promise<Started<Contender> & { readonly program: Program }> {
  const home = join(field.directory, `home-${name}`);
  await Deno.mkdir(home);
  const env = {
    PATH: "/usr/bin:/bin",
    HOME: home,
    MOAT_HOME: join(home, "moat"),
    MOAT_KEYRING: "file",
    SSL_CERT_FILE: join(field.directory, "root.pem"),
  };
  const run: Run = (...args) => must([moat, ...args], { env });
  const files = await writeMoatFiles(field, home);
  const grant = ["grant", "github", "--token-file", files.token];
  const { host } = new URL(field.upstream);
  await run(...grant, "--no-validate", "--host", host);
  await run(...grant, "--no-validate", "--name", "elsewhere");
  // A binding's URL is that of the running proxy.
  const program = new Program([moat, "proxy", "--listen", "127.0.0.1:0"], env);
  await program.url;
  const proxies = await bindMoat(run, host, files);
  await Deno.writeTextFile(files.root, await run("ca", "export"));
  return {
    name,
    base: field.upstream,
    proxies,
    roots: files.root,
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** Runs moat with these arguments, and gives what it prints. */
type Run = (...args: readonly string[]) => Promise<string>;

async function bindMoat(
  run: Run,
  host: string,
  { policy, empty }: MoatFiles,
): Promise<Proxies> {
  const bind = async (binding: string, ...args: readonly string[]) => {
    const text = await run("bind", binding, ...args, "--format", "json");
    return String(JSON.parse(text).environment.HTTPS_PROXY);
  };
  const opened = ["--allow-private", host];
  const elsewhere = ["--grant", "github:elsewhere"];
  const tunnel = [...opened, "--allow", host, "--config", empty];
  return {
    intercept: await bind("one", "--grant", "github", ...opened),
    hosts: await bind("hosts", ...elsewhere, "--config", policy),
    tunnel: await bind("tunnel", ...elsewhere, ...tunnel),
  };
}

/** Files of a home of moat, by what they hold. */
interface MoatFiles {
  /** A GitHub token. */
  readonly token: string;
  /** Rules for which requests to all addresses of the upstream are read. */
  readonly policy: string;
  /** No rules. */
  readonly empty: string;
  /** The root, once it is there. */
  readonly root: string;
}

async function writeMoatFiles(
  { addresses }: Field,
  home: string,
): Promise<MoatFiles> {
  const opened = addresses.map((url) => new URL(url).host);
  const files = {
    token: join(home, "token"),
    policy: join(home, "hosts.toml"),
    empty: join(home, "empty.toml"),
    root: join(home, "root.pem"),
  };
  await Deno.writeTextFile(files.token, `ghp_${"0".repeat(36)}\n`);
  // The path makes it a rule about requests, which must be read then.
  const policy = `[policy]
allow_hosts = ${JSON.stringify(opened)}

[[policy.rules]]
action = "allow"
host = "*:${opened[0]?.split(":")[1]}"
path = "/**"
`;
  await Deno.writeTextFile(files.policy, policy);
  await Deno.writeTextFile(files.empty, "");
  return files;
}

const CERTGEN = "/usr/lib/squid/security_file_certgen";

/**
 * Starts squid with ssl-bump.
 *
 * @param field Where and for whom.
 * @throws {ScriptError} If it, or its certificate generator, is not there.
 */
export async function startSquid(field: Field): Promise<Started<Contender>> {
  const { directory, upstream } = field;
  await makeSquidCertificates(join(directory, "squid_certificates"));
  const [port, tunnel] = [freePort(), freePort()];
  const config = await fillIn(directory, "squid.conf", {
    directory,
    port,
    tunnel,
    certgen: CERTGEN,
  });
  const program = new Program(["squid", "-N", "-f", config], SYSTEM);
  await untilAnswers("squid", port);
  const intercept = `http://127.0.0.1:${port}`;
  return {
    name: "squid",
    base: upstream,
    proxies: {
      intercept,
      hosts: intercept,
      tunnel: `http://127.0.0.1:${tunnel}`,
    },
    roots: join(directory, "root.pem"),
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function makeSquidCertificates(directory: string): Promise<void> {
  if (!await exists(CERTGEN)) {
    throw new ScriptError(
      `Cannot measure squid: wanted ${CERTGEN}, found nothing`,
      "apt-get install squid-openssl",
    );
  }
  await must([CERTGEN, "-c", "-s", directory, "-M", "16MB"]);
  // As root, it becomes this user.
  if (Deno.uid() === 0) await must(["chown", "-R", "proxy", directory]);
}

/** Starts nginx as a reverse proxy, which ends TLS without making certificates. */
export async function startNginx(field: Field): Promise<Started<Contender>> {
  const { directory, upstream } = field;
  const port = freePort();
  const config = await fillIn(directory, "nginx.conf", {
    directory,
    port,
    upstream: new URL(upstream).port,
  });
  const argv = ["nginx", "-c", config, "-p", directory, "-e", "/dev/null"];
  const program = new Program(argv, SYSTEM);
  await untilAnswers("nginx", port);
  return {
    name: "nginx",
    base: `https://localhost:${port}`,
    roots: join(directory, "root.pem"),
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

const SYSTEM = { PATH: "/usr/sbin:/usr/bin:/bin" };

const MITMPROXY = "mitmproxy==11.0.2";

/**
 * Starts mitmproxy, from a virtual environment that is made once.
 *
 * @param field Where and for whom.
 * @throws {ScriptError} If it cannot be installed.
 */
export async function startMitmproxy(
  field: Field,
): Promise<Started<Contender>> {
  const { directory, upstream } = field;
  const mitmdump = await installMitmproxy();
  const home = join(directory, "mitmproxy");
  await Deno.mkdir(home);
  await Deno.copyFile(
    join(directory, "signer.pem"),
    join(home, "mitmproxy-ca.pem"),
  );
  const port = freePort();
  const root = join(directory, "root.pem");
  const program = new Program([
    ...[mitmdump, "--quiet", "--listen-host", "127.0.0.1"],
    ...["--listen-port", `${port}`, "--set", `confdir=${home}`],
    ...["--set", `ssl_verify_upstream_trusted_ca=${root}`],
  ], { ...SYSTEM, HOME: home });
  await untilAnswers("mitmproxy", port);
  const proxy = `http://127.0.0.1:${port}`;
  return {
    name: "mitmproxy",
    base: upstream,
    proxies: { intercept: proxy, hosts: proxy, tunnel: proxy },
    roots: root,
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** Gives the path of `mitmdump`. */
async function installMitmproxy(): Promise<string> {
  const venv = join(ROOT, ".cache/mitmproxy");
  const mitmdump = join(venv, "bin/mitmdump");
  if (!await exists(mitmdump)) {
    await must(["python3", "-m", "venv", "--clear", venv]);
    await must([join(venv, "bin/pip"), "install", "--quiet", MITMPROXY]);
  }
  return mitmdump;
}

async function fillIn(
  directory: string,
  name: string,
  values: Record<string, string | number>,
): Promise<string> {
  const template = await Deno.readTextFile(join(HERE, name));
  const path = join(directory, `intercept_${name}`);
  await Deno.writeTextFile(
    path,
    template.replace(/\{(\w+)\}/g, (all, key) => `${values[key] ?? all}`),
  );
  return path;
}
