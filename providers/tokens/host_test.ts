import assert from "node:assert/strict";
import { readHost } from "./host.ts";

const ACCEPTED: { text: string; host: string }[] = [
  { text: "github.example.com", host: "github.example.com" },
  { text: "GitHub.Example.COM", host: "github.example.com" },
  { text: "github.example.com.", host: "github.example.com" },
  { text: "github.example.com:443", host: "github.example.com" },
  { text: "github.example.com:8443", host: "github.example.com:8443" },
  { text: "github.example.com.:8443", host: "github.example.com:8443" },
  { text: "bücher.example", host: "xn--bcher-kva.example" },
  { text: "10.1.2.3:8443", host: "10.1.2.3:8443" },
  { text: "0x7f.1", host: "127.0.0.1" },
  { text: "localhost", host: "localhost" },
  { text: "[0:0::1]:8443", host: "[::1]:8443" },
];

for (const { text, host } of ACCEPTED) {
  Deno.test(`readHost() reads ${text} as ${host}`, () => {
    assert.equal(readHost({ host: text }, "fallback"), host);
  });
}

const REFUSED = [
  "",
  "https://github.example.com",
  "github.example.com/api",
  "user@github.example.com",
  "github.example.com?x",
  "github.example.com#x",
  "*.example.com",
  "::1",
  "[::1",
  "a b",
  "github.example.com:99999",
  "github.example.com:",
  ".",
];

for (const text of REFUSED) {
  Deno.test(`readHost() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => readHost({ host: text }, "fallback"), {
      code: "usage",
    });
  });
}

Deno.test("readHost() falls back to the vendor's own host", () => {
  assert.equal(readHost({}, "api.example.com"), "api.example.com");
});

Deno.test("readHost() suggests the host of a URL", () => {
  assert.throws(() => readHost({ host: "https://gh.example.com:8443/x" }, ""), {
    hint: "write --host gh.example.com:8443",
  });
});
