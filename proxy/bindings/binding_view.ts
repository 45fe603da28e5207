/**
 * What the client of a stored binding needs, for `moat bind` and `moat env`.
 *
 * @module
 */

import { join } from "node:path";
import { holdsToken } from "$core/binding.ts";
import type {
  BindingStore,
  NewBinding,
  StoredBinding,
} from "$core/binding_store.ts";
import {
  type EnvironmentView,
  type Format,
  formatEnvironment,
  parseEnvironment,
} from "$core/environment_format.ts";
import type { Output } from "$core/cli/output.ts";
import { MoatError, usageError } from "$core/errors.ts";
import { readFileIfAny } from "$core/files.ts";
import { CONTAINER_DIRECTORY, PROXY_NAME } from "../addresses.ts";
import { RELAY_PATH, RELAY_PORT, RELAY_SOCKET } from "../relay/relay.ts";

/**
 * Whether its client is a container.
 *
 * @param stored The binding.
 */
export function isOfContainer(
  { directory, binding }: Pick<StoredBinding, "directory" | "binding">,
): boolean {
  return directory === CONTAINER_DIRECTORY || binding.container !== undefined;
}

/**
 * Reads what the client needs.
 *
 * @param bindings Where the binding is.
 * @param stored The binding.
 * @returns Environment, files and names.
 * @throws {MoatError} `environment-missing`, `environment-damaged`.
 */
export async function readView(
  bindings: BindingStore,
  stored: NewBinding,
): Promise<EnvironmentView> {
  const { name } = stored.binding;
  const bytes = await readFileIfAny(join(bindings.paths.environments, name));
  if (!bytes) throw missing(name);
  const text = new TextDecoder().decode(bytes);
  return viewOf(bindings, stored, parseEnvironment(text));
}

/**
 * Puts together what the client needs.
 *
 * @param bindings Where the binding is.
 * @param stored The binding.
 * @param environment Its environment.
 * @returns Environment, files and names.
 */
export function viewOf(
  bindings: BindingStore,
  stored: NewBinding,
  environment: Readonly<Record<string, string>>,
): EnvironmentView {
  const { binding, reach, directory, tokenFile } = stored;
  const { name, container } = binding;
  const tokenPath = bindings.tokenPath(name, directory !== undefined);
  const isContainer = isOfContainer(stored);
  // A unit that names the file would name the variables, too.
  const holdsAny = Object.values(environment).some(holdsToken);
  return {
    name,
    environment,
    environmentFile: join(bindings.paths.environments, name),
    ...(tokenFile && !isContainer && !holdsAny && { tokenFile: tokenPath }),
    mounts: directory === CONTAINER_DIRECTORY
      ? [{
        source: bindings.filesPath(name),
        target: CONTAINER_DIRECTORY,
        readOnly: true,
      }]
      : [],
    hosts: reach?.by === "gateway"
      ? [{ name: PROXY_NAME, address: reach.address }]
      : [],
    ...(reach?.by === "socket" && {
      entrypoint: relayWords(reach.port),
    }),
    ...(container && { container }),
  };
}

/** The words before a container's command; one alone where the relay's defaults do. */
function relayWords(port: number): string[] {
  return port === RELAY_PORT
    ? [RELAY_PATH]
    : [RELAY_PATH, String(port), RELAY_SOCKET, "--"];
}

/**
 * Prints what a client needs.
 *
 * @param output Where to.
 * @param format In which form.
 * @param view What it needs.
 * @throws {MoatError} `usage` for a format of other clients, `bad-value` for
 * what the format cannot say.
 */
export function printView(
  output: Output,
  format: Format,
  view: EnvironmentView,
): void {
  const { entrypoint, mounts, name, container } = view;
  checkFormat(format, name, mounts.length > 0 || container !== undefined);
  if (format !== "docker" || !entrypoint) {
    return output.text(formatEnvironment(format, view));
  }
  // The engine takes one word there; the others come after the image.
  const [program = "", ...words] = entrypoint;
  output.text(formatEnvironment(format, { ...view, entrypoint: [program] }));
  output.note(
    `note: after the image write ${
      [...words, "COMMAND…"].join(" ")
    }, which begins with the image's own entrypoint: the relay starts it`,
  );
}

/**
 * Refuses a format of other clients: what a program of this host needs does not
 * work in a container, and the reverse.
 *
 * @param format The format; undefined for none.
 * @param name The binding's name.
 * @param isContainer Whether its client is a container.
 * @throws {MoatError} `usage`.
 */
export function checkFormat(
  format: Format | undefined,
  name: string,
  isContainer: boolean,
): void {
  const others = isContainer ? ["export", "systemd"] : ["docker", "compose"];
  if (!format || !others.includes(format)) return;
  throw isContainer
    ? usageError(
      `Cannot print binding "${name}" as ${format}: its client is a container`,
      "write --format docker or --format compose",
    )
    : usageError(
      `Cannot print binding "${name}" as ${format}: its client is a program of this host`,
      `moat bind ${name} --engine docker --network NETWORK … makes one for a container`,
    );
}

function missing(name: string): MoatError {
  return new MoatError(
    "environment-missing",
    `Cannot find the environment file of binding "${name}"`,
    { hint: "bind it again; moat bindings shows how it was" },
  );
}
