/**
 * git over https: `git http-backend` behind a server of ours.
 *
 * @module
 * @see {@link https://git-scm.com/docs/git-http-backend | git-http-backend}
 */

import { run, SYSTEM_PATH } from "./run.ts";
import type { Vendor } from "./vendor.ts";

/**
 * Serves the repositories below a directory; pushes are allowed.
 *
 * @param root Has `OWNER/NAME.git`, asked for with or without `.git`.
 */
export function createGitServer(root: string): Vendor {
  return async (request) => {
    const url = new URL(request.url);
    const { headers } = request;
    const child = new Deno.Command("git", {
      args: ["http-backend"],
      clearEnv: true,
      env: {
        PATH: SYSTEM_PATH,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: "1",
        // The repositories may be another user's.
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: "safe.directory",
        GIT_CONFIG_VALUE_0: "*",
        REMOTE_USER: "somebody",
        REQUEST_METHOD: request.method,
        PATH_INFO: url.pathname.replace(/^(\/[^/]+\/[^/.]+)\//, "$1.git/"),
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: headers.get("content-type") ?? "",
        HTTP_CONTENT_ENCODING: headers.get("content-encoding") ?? "",
        GIT_PROTOCOL: headers.get("git-protocol") ?? "",
      },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const body = request.body ?? ReadableStream.from<Uint8Array>([]);
    const [output] = await Promise.all([
      child.output(),
      body.pipeTo(child.stdin).catch(() => {/* it has read enough */}),
    ]);
    return readCgi(output.stdout);
  };
}

/** @see {@link https://www.rfc-editor.org/rfc/rfc3875.html#section-6 | RFC 3875 section 6} */
function readCgi(bytes: Uint8Array<ArrayBuffer>): Response {
  const text = new TextDecoder("latin1").decode(bytes);
  const end = text.indexOf("\r\n\r\n");
  const lines = text.slice(0, end).split("\r\n");
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const headers = new Headers(fields);
  const status = Number(headers.get("status")?.slice(0, 3) ?? 200);
  headers.delete("status");
  return new Response(bytes.subarray(end + 4), { status, headers });
}

/**
 * Makes a repository with one commit.
 *
 * @param path Of the bare repository.
 * @param files Content by name.
 */
export async function makeRepository(
  path: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  const work = `${path}.work`;
  const git = async (...args: string[]) => {
    const { code, stderr } = await run(["git", ...args], { env: GIT_ENV });
    if (code !== 0) throw new Error(`git ${args.join(" ")}: ${stderr}`);
  };
  await git("init", "--quiet", "--initial-branch=main", work);
  for (const [name, content] of Object.entries(files)) {
    await Deno.writeTextFile(`${work}/${name}`, content);
  }
  await git("-C", work, "add", ".");
  await git("-C", work, "commit", "--quiet", "--message=First");
  await git("clone", "--quiet", "--bare", work, path);
  await Deno.remove(work, { recursive: true });
}

/** Who commits, and nothing of the developer's own. */
export const GIT_ENV: Readonly<Record<string, string>> = {
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "Test",
  GIT_AUTHOR_EMAIL: "test@example.test",
  GIT_COMMITTER_NAME: "Test",
  GIT_COMMITTER_EMAIL: "test@example.test",
};
