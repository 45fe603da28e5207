import assert from "node:assert/strict";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { checkUrl } from "./check_url.ts";
import { MODES } from "./container.ts";

function modeOf(name: string) {
  return MODES.find((mode) => mode.name === name) ?? assert.fail(name);
}

const FULL = modeOf("ecs-full");

const ORIGINS: [text: string, origin: string][] = [
  ["http://127.0.0.1:7224", "http://127.0.0.1:7224"],
  ["http://127.0.0.1:80", "http://127.0.0.1"],
  ["http://127.0.0.1:7224/", "http://127.0.0.1:7224"],
  ["HTTP://LOCALHOST:7224", "http://localhost:7224"],
  ["http://127.1:7224", "http://127.0.0.1:7224"],
  ["http://127.255.0.9:7224", "http://127.255.0.9:7224"],
  ["http://[::1]:7224", "http://[::1]:7224"],
  ["http://[0:0:0:0:0:0:0:1]", "http://[::1]"],
  ["http://169.254.170.23", "http://169.254.170.23"],
  ["http://[fd00:ec2::23]", "http://[fd00:ec2::23]"],
];
for (const [text, url] of ORIGINS) {
  Deno.test(`checkUrl() takes ${text} for any mode on loopback, as ${url}`, () => {
    for (const mode of [FULL, modeOf("ecs-full-query")]) {
      assert.deepEqual(checkUrl(text, mode), { url, warnings: [] });
    }
  });
}

const NO_URLS = [
  "",
  "127.0.0.1:7224",
  "localhost:7224",
  "http://",
  "http:// :1",
  "//127.0.0.1",
  "/run/moat.sock",
  "unix:/run/moat.sock",
  "ftp://127.0.0.1",
  "file:///etc/passwd",
  "javascript:alert(1)",
  "http://127.0.0.1:99999",
  "http://127.0.0.256",
  "http://[::1",
];
for (const text of NO_URLS) {
  Deno.test(`checkUrl() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => checkUrl(text, FULL), {
      code: "usage",
      message: /wanted http:\/\/ADDR:PORT$/,
    });
  });
}

for (const user of [CANARY, `a:${CANARY}`, `:${CANARY}`]) {
  const kind = user.replace(CANARY, "SECRET");
  Deno.test(`checkUrl() refuses ${kind}@ and does not repeat it`, () => {
    const url = `http://${user}@127.0.0.1:7224`;
    assert.throws(() => checkUrl(url, FULL), (error: Error) => {
      assert.match(error.message, /SDKs do not send them$/);
      assertNoCanary(error.message, String(Object(error).hint));
      return Object(error).code === "usage";
    });
  });
}

/** What SDKs refuse over plain http, in a full URI. */
const ELSEWHERE = [
  "http://moat-proxy:19080",
  "http://host.docker.internal",
  "http://172.17.0.1:19080",
  "http://10.0.0.1",
  "http://0.0.0.0:19080",
  "http://[::]:19080",
  "http://[fd00:ec2::254]",
  "http://169.254.169.254",
  "http://169.254.170.22",
  "http://127.0.0.1.evil.example",
  "http://localhost.evil.example",
  "http://localhost.:19080",
  "http://128.0.0.1",
  "http://[::2]",
  "http://[::ffff:10.0.0.1]",
];
for (const text of ELSEWHERE) {
  Deno.test(`checkUrl() refuses ${text} in a full URI`, () => {
    assert.throws(() => checkUrl(text, FULL), {
      code: "usage",
      message: /in mode ecs-full: over plain http SDKs accept only loopback/,
    });
  });

  Deno.test(`checkUrl() takes ${text} in mode process`, () => {
    const { url, warnings } = checkUrl(text, modeOf("process"));
    assert.deepEqual([url, warnings], [new URL(text).origin, []]);
  });
}

const WARNED: [text: string, origin: string, warning: RegExp][] = [
  ["http://127.0.0.1:1/ecs/credentials", "http://127.0.0.1:1", /path/],
  ["http://127.0.0.1:1/?a=b", "http://127.0.0.1:1", /path/],
  ["http://127.0.0.1:1/#a", "http://127.0.0.1:1", /path/],
  ["https://moat.example", "https://moat.example", /ignore private CAs/],
  ["https://127.0.0.1:8443", "https://127.0.0.1:8443", /ignore private CAs/],
  ["http://169.254.170.2", "http://169.254.170.2", /use mode ecs-relative/],
];
for (const [text, url, warning] of WARNED) {
  Deno.test(`checkUrl() warns of ${text}`, () => {
    const checked = checkUrl(text, FULL);
    assert.deepEqual([checked.url, checked.warnings.length], [url, 1]);
    assert.match(checked.warnings[0] ?? "", warning);
  });
}
