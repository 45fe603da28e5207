/**
 * Where `moat grant` takes a token from: a file, the environment, the vendor's
 * own program, or the person at the terminal. Never the command line, which
 * other users of the machine can read.
 *
 * @module
 */

import { MoatError, usageError } from "$core/errors.ts";
import { cannotRead } from "$core/files.ts";
import type { Flag, FlagValues, GrantRequest } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { parseToken } from "./token.ts";

/** The flag with which every provider takes a token. */
export const TOKEN_FILE_FLAG: Flag = {
  name: "token-file",
  value: "FILE",
  summary:
    "Read the token from FILE, or from stdin for - (default: environment, then a question)",
};

/** Where a token was found; goes into the grant's settings. */
export interface TokenOrigin {
  /** The kind of place. */
  readonly tokenSource: "file" | "env" | "cli" | "prompt";
  /** The variable, if it was in the environment. */
  readonly tokenVariable?: string;
}

/** A token, and where it was found. */
export interface FoundToken {
  /** As {@link parseToken} gives it. */
  readonly token: Secret;
  /** Where it was. */
  readonly origin: TokenOrigin;
}

/** A vendor's own program that prints a token. */
export interface TokenProgram {
  /** What is run, for people, such as `gh auth token`. */
  readonly command: string;
  /**
   * Runs it.
   *
   * @returns What it printed; undefined if it is missing or has no token.
   */
  run(): Promise<string | undefined>;
}

/** Where to look for a token. */
export interface TokenPlaces {
  /** What is asked for, such as `GitHub token`. */
  readonly what: string;
  /** The host's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables that may hold it; the first that is not empty counts. */
  readonly variables: readonly string[];
  /** The vendor's own program, if it has one. */
  readonly program?: TokenProgram | undefined;
  /** How to get one, for the error, such as `create one at https://…`. */
  readonly hint: string;
}

/** What is read for `--token-file -`: stdin, or a test's. */
export interface TokenInput {
  /** Whether a person types there. */
  isTerminal(): boolean;
  /** Its bytes. */
  readonly readable: ReadableStream<Uint8Array>;
}

/** A longer file is no token; {@link parseToken} refuses what has this length. */
const MAX_BYTES = 64 * 1024;

/**
 * Obtains a token: from `--token-file`, else the environment, else the
 * vendor's program, else by a question whose answer is not shown.
 *
 * @param request What was asked on the command line.
 * @param places Where to look.
 * @param input Where `-` reads. Default: stdin.
 * @returns The token.
 * @throws {MoatError} `no-token` if there is none anywhere; `bad-token`,
 * `cannot-read`, `usage`.
 */
export async function obtainToken(
  request: Pick<GrantRequest, "flags" | "ask">,
  places: TokenPlaces,
  input: TokenInput = Deno.stdin,
): Promise<FoundToken> {
  return await fromFile(request.flags, input) ?? fromEnvironment(places) ??
    await fromProgram(places) ?? await fromPerson(request, places);
}

async function fromFile(
  flags: FlagValues,
  input: TokenInput,
): Promise<FoundToken | undefined> {
  const path = flags[TOKEN_FILE_FLAG.name];
  if (typeof path !== "string") return undefined;
  const [text, origin] = path === "-"
    ? [await readInput(input), "stdin"]
    : [await readFile(path), JSON.stringify(path)];
  return {
    token: parseToken(text, origin),
    origin: { tokenSource: "file" },
  };
}

async function readInput(input: TokenInput): Promise<string> {
  if (input.isTerminal()) {
    throw usageError(
      "Cannot read a token from the terminal by --token-file -: it would be shown",
      "leave --token-file out to be asked for it, or pipe it in",
    );
  }
  return await readBounded(input.readable);
}

/** Pipes are allowed: `--token-file <(pass show token)`. */
async function readFile(path: string): Promise<string> {
  try {
    using file = await Deno.open(path);
    return await readBounded(file.readable);
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function readBounded(
  readable: ReadableStream<Uint8Array>,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  // Leaving the loop early closes the file behind it.
  for await (const chunk of readable) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BYTES) break;
  }
  return text + decoder.decode();
}

function fromEnvironment(
  { env, variables }: TokenPlaces,
): FoundToken | undefined {
  const tokenVariable = variables.find((name) => env[name]);
  if (tokenVariable === undefined) return undefined;
  return {
    token: parseToken(env[tokenVariable] ?? "", tokenVariable),
    origin: { tokenSource: "env", tokenVariable },
  };
}

async function fromProgram(
  { program }: TokenPlaces,
): Promise<FoundToken | undefined> {
  const text = await program?.run();
  if (!program || text === undefined) return undefined;
  return {
    token: parseToken(text, program.command),
    origin: { tokenSource: "cli" },
  };
}

async function fromPerson(
  { ask }: Pick<GrantRequest, "ask">,
  { what, variables, hint }: TokenPlaces,
): Promise<FoundToken> {
  if (!ask) {
    const places = variables.map((name) => `no ${name}`).join(", ");
    throw new MoatError(
      "no-token",
      `Cannot find any ${what}: no --token-file, ${
        places ? `${places}, ` : ""
      }and no terminal to ask at`,
      { hint: `${hint}; then give it with --token-file FILE` },
    );
  }
  const answer = await ask(`${what} (not shown): `, { joinsLines: true });
  return {
    token: parseToken(answer.reveal(), "the answer"),
    origin: { tokenSource: "prompt" },
  };
}
