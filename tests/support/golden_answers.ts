/**
 * Golden answers of a metadata service: files of `tests/testdata/metadata`
 * that hold requests, and what came of each.
 *
 * A block begins with `> METHOD PATH` and lines `> name: value`; the answer
 * follows as `< status`, `< name: value` and the body. Blocks are apart by an
 * empty line; lines of `#` are comments. In a request `<token>` is a token
 * that was fetched before. `UPDATE_GOLDEN=1` writes the answers anew; the
 * change is then reviewed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Asked, ImdsClient } from "./imds_client.ts";
import type { RawAnswer } from "./raw_http.ts";

const FOLDER = fileURLToPath(new URL("../testdata/metadata", import.meta.url));

/** Whether to write the files anew. */
const isUpdate = Deno.env.get("UPDATE_GOLDEN") === "1";

/** What differs from run to run, or holds a secret. */
const MASKS: readonly [RegExp, string][] = [
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "<time>"],
  [/\bASIA[A-Z0-9]{16}\b/g, "<key>"],
  [/("SecretAccessKey"\s*:\s*)"[^"]{20,}"/g, '$1"<secret>"'],
  [/("Token"\s*:\s*)"[^"]{20,}"/g, '$1"<session>"'],
  [/(token-ttl-seconds: )(2159\d|21600)\b/g, "$1<21600>"],
  [/\b(10\.88|172\.17)\.\d+\.\d+\b/g, "<address>"],
  [/\bi-[0-9a-f]{17}\b/g, "<instance>"],
  [/\bAIPA[A-Z0-9]{16,17}\b/g, "<profile>"],
  [/[\w.-]+-[0-9a-f]{12}\b/g, "<session-name>"],
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "<uuid>"],
];

/** Differ with the connection, not with the answer. */
const IGNORED = ["date", "connection", "keep-alive"];

/**
 * Asks what a file asks, and compares the answers.
 *
 * @param name Of the file, without its extension.
 * @param client Who asks.
 */
export async function assertGoldenAnswers(
  name: string,
  client: ImdsClient,
): Promise<void> {
  const path = `${FOLDER}/${name}.http`;
  const wanted = await Deno.readTextFile(path);
  const blocks = wanted.trimEnd().split(/\n\n(?=[>#])/);
  const requests = blocks.map(readRequest);
  const needsToken = wanted.includes("> x-aws-ec2-metadata-token: <token>");
  const token = needsToken ? await client.token() : "";
  const answers = await client.ask(
    ...requests.map((request) => withToken(request, token)),
  );
  const found = blocks.map((block, index) => {
    const head = block.split("\n").filter((line) => /^[>#]/.test(line));
    return [...head, ...describe(answers[index])].join("\n");
  }).join("\n\n") + "\n";
  if (isUpdate) return await Deno.writeTextFile(path, found);
  assert.equal(found, wanted, `UPDATE_GOLDEN=1 writes ${name}.http anew`);
}

function readRequest(block: string): Asked {
  const [first = "", ...fields] = block.split("\n")
    .filter((line) => line.startsWith("> ")).map((line) => line.slice(2));
  const [method = "", path = ""] = first.split(" ");
  const headers = fields.map((field) => {
    const [, name = "", value = ""] = /^([^:]+): ?(.*)$/.exec(field) ?? [];
    return [name, value];
  });
  return path.startsWith("/")
    ? { method, path, headers: Object.fromEntries(headers) }
    : { method, path: "/", target: path, headers: Object.fromEntries(headers) };
}

function withToken(asked: Asked, token: string): Asked {
  const headers = Object.entries(asked.headers ?? {})
    .map(([name, value]) => [name, value.replace("<token>", token)]);
  return { ...asked, headers: Object.fromEntries(headers) };
}

function describe(answer: RawAnswer | undefined): string[] {
  if (!answer) return ["< nothing"];
  const fields = [...answer.headers].filter(([name]) => !IGNORED.includes(name))
    .filter(([name]) => name !== "content-length")
    .map(([name, value]) => `< ${name}: ${value}`).sort();
  // A token stands alone in its answer.
  const body = answer.headers.has("x-aws-ec2-metadata-token-ttl-seconds") &&
      /^[\w=+/.-]{40,}$/.test(answer.body)
    ? "<token>"
    : answer.body;
  let text = [`< ${answer.status}`, ...fields, ...body ? [body] : []].join(
    "\n",
  );
  for (const [pattern, mask] of MASKS) text = text.replace(pattern, mask);
  return [text.trimEnd()];
}
