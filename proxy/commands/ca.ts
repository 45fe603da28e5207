/**
 * `moat ca show`, `path`, `export` and `rotate`: the root certificate. The
 * first three make it at first use; none ever shows the key.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import { formatTime } from "$core/clock.ts";
import { usageError } from "$core/errors.ts";
import { storageError } from "$core/files.ts";
import { endingSoon, type Root, RootStore } from "../intercept/root.ts";
import { bundle, javaTrustStore, systemRoots } from "../intercept/trust.ts";

/** What `moat ca export` can write, and whether a terminal could show it. */
const FORMATS = new Map([
  ["pem", { isText: true }],
  ["der", { isText: false }],
  ["bundle", { isText: true }],
  ["jks", { isText: false }],
]);

/**
 * Shows the root. The JSON has `subject`, `fingerprint` (SHA-256), `notBefore`,
 * `expiresAt` and `path`.
 */
export async function show(context: CommandContext): Promise<number> {
  const store = openStore(context);
  const { subject, fingerprint, notBefore, expiresAt } = await load(
    context,
    store,
  );
  const times = {
    notBefore: formatTime(notBefore),
    expiresAt: formatTime(expiresAt),
  };
  context.output.data(
    { subject, fingerprint, ...times, path: store.path },
    columns([
      ["subject", subject],
      ["SHA-256", fingerprint],
      ["valid from", times.notBefore],
      ["valid until", times.expiresAt],
      ["path", store.path],
    ]),
  );
  return 0;
}

/** Prints where the root is. */
export async function path(context: CommandContext): Promise<number> {
  const store = openStore(context);
  await load(context, store);
  context.output.text(store.path + "\n");
  return 0;
}

/** Prints or writes the root in a format. */
export async function exportRoot(
  context: CommandContext,
  { flags }: Arguments,
): Promise<number> {
  const format = String(flags["format"] ?? "pem");
  const file = flags["output"] === undefined
    ? undefined
    : String(flags["output"]);
  checkFormat(format, file);
  const root = await load(context, openStore(context));
  const content = await encode(context, root, format);
  if (file !== undefined) {
    await write(file, content);
    const password = format === "jks" ? "; its password is changeit" : "";
    context.output.note(`wrote ${file}${password}`);
  } else if (typeof content === "string") {
    context.output.text(content);
  }
  return 0;
}

/**
 * Makes a new root. The JSON has `before`, the old fingerprint or null,
 * `after`, the new one, and `path`.
 */
export async function rotate(context: CommandContext): Promise<number> {
  const { output, audit } = context;
  const store = openStore(context);
  const { before = null, root } = await store.rotate();
  const after = root.fingerprint;
  await audit.record("ca-rotated", { before, after });
  output.data(
    { before, after, path: store.path },
    columns([
      ["old SHA-256", before ?? "none that could be read"],
      ["new SHA-256", after],
      ["path", store.path],
    ]),
  );
  output.note(
    "clients that run trust the old root until they are started anew; where " +
      "you imported it, remove it and import the new one: moat ca export",
  );
  return 0;
}

function openStore({ platform }: CommandContext): RootStore {
  return new RootStore(platform.paths, platform.clock);
}

async function load(
  { output, platform }: CommandContext,
  store: RootStore,
): Promise<Root> {
  const root = await store.loadOrCreate();
  const warning = endingSoon(root, platform.clock.now());
  if (warning) output.warn(warning);
  return root;
}

function checkFormat(format: string, file: string | undefined): void {
  const known = FORMATS.get(format);
  if (!known) {
    throw usageError(
      `Cannot use ${JSON.stringify(format)} as format`,
      `write one of ${[...FORMATS.keys()].join(", ")}`,
    );
  }
  if (known.isText || file !== undefined) return;
  throw usageError(
    `Cannot print ${format}: it is binary`,
    `moat ca export --format ${format} --output FILE`,
  );
}

async function encode(
  { output, platform }: CommandContext,
  { certificate }: Root,
  format: string,
): Promise<string | Uint8Array> {
  if (format === "pem") return certificate;
  if (format === "der") return new X509Certificate(certificate).raw;
  const system = await systemRoots(platform.env);
  if (system.note) output.warn(system.note);
  const all = bundle(system, certificate);
  return format === "jks" ? javaTrustStore(all) : all.join("");
}

/** Not by a rename, since FILE may be a pipe or a link. Anybody may read it. */
async function write(
  file: string,
  content: string | Uint8Array,
): Promise<void> {
  const bytes = typeof content === "string"
    ? new TextEncoder().encode(content)
    : content;
  await Deno.writeFile(file, bytes, { mode: 0o644 }).catch((error) => {
    throw storageError("write", file, error);
  });
}
