/**
 * What a metadata bed needs in its own network namespace besides moat: a
 * recorder before its STS, an S3 that tells who asked, and, where moat is not
 * at the real address, the host's own metadata service, which gives its secret
 * to everybody. A program of its own, because the test is in another namespace.
 *
 * Run as `imds_child.ts TARGET HOST [SECRET]`. Prints the recorder's URL and
 * the S3's authority; each line on stdin is answered with JSON of all forms
 * that the STS got so far, and of all paths that the host's service was asked
 * for.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

import { startEchoS3 } from "../../scripts/conformance/servers.ts";
import { startRecorder } from "./recorder.ts";

const [target = "", host = "", secret] = Deno.args;
const paths: string[] = [];
if (secret !== undefined) {
  const hostname = "169.254.169.254";
  Deno.serve({ hostname, port: 80, onListen() {} }, ({ method, url }) => {
    paths.push(`${method} ${new URL(url).pathname}`);
    return new Response(secret);
  });
}
const recorder = startRecorder(target);
console.log(`${recorder.url} ${startEchoS3(host).authority}`);
for await (const _chunk of Deno.stdin.readable) {
  const forms = recorder.forms.map((form) => Object.fromEntries(form));
  console.log(JSON.stringify({ forms, paths }));
}
Deno.exit();
