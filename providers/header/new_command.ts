/**
 * `moat provider new NAME`.
 *
 * @module
 */

import { basename, dirname, resolve } from "node:path";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { MoatError, usageError } from "$core/errors.ts";
import { storageError } from "$core/files.ts";
import type { ProviderRegistry } from "$core/provider.ts";
import { definitionsDirectory, EXTENSION } from "./files.ts";
import { isProviderName } from "./values.ts";
import { template } from "./template.ts";

/** Writes a file to start from. */
export async function run(
  { output, platform, registry }: CommandContext,
  args: Arguments,
): Promise<number> {
  const [name = ""] = args.operands;
  checkName(name, registry);
  const given = args.flags["output"];
  if (given === "-") {
    output.text(template(name));
    return 0;
  }
  const path = resolve(
    typeof given === "string" ? given : definitionsDirectory(platform),
    ...typeof given === "string" ? [] : [name + EXTENSION],
  );
  checkFileName(path, name);
  await write(path, template(name));
  output.data(
    { name, file: path },
    `wrote ${path}; next: edit it, then moat provider check ${path}\n`,
  );
  return 0;
}

function checkName(name: string, { builtIn }: ProviderRegistry): void {
  if (!isProviderName(name)) {
    throw usageError(
      `Cannot use ${
        JSON.stringify(name.slice(0, 80))
      } as a provider's name: wanted lower-case letters, digits, '.', '_' and '-', 63 at most, and no word that is a command`,
      "choose another name, such as acme",
    );
  }
  const owner = builtIn.find((p) => [p.name, ...p.aliases].includes(name));
  if (!owner) return;
  throw usageError(
    `Cannot use "${name}" as a provider's name: moat has a provider "${owner.name}" with it`,
    `moat grant ${owner.name}, or choose another name`,
  );
}

function checkFileName(path: string, name: string): void {
  if (basename(path) === name + EXTENSION) return;
  throw usageError(
    `Cannot write the provider "${name}" to "${path}": a provider's file is NAME${EXTENSION}`,
    `write --output ${dirname(path)}/${name}${EXTENSION}`,
  );
}

async function write(path: string, text: string): Promise<void> {
  try {
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await Deno.writeTextFile(path, text, { createNew: true, mode: 0o600 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) {
      throw storageError("write", path, error);
    }
    throw new MoatError(
      "file-exists",
      `Cannot write "${path}": there is such a file already`,
      { hint: `moat provider check ${path} tells whether it is right` },
    );
  }
}
