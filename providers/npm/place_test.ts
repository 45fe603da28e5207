import assert from "node:assert/strict";
import {
  covers,
  keyOf,
  parseKey,
  parseRegistry,
  type Place,
  registryUrl,
} from "./place.ts";

const https = (host: string, path = "/"): Place => ({
  scheme: "https",
  host,
  path,
});

const URLS: { text: string; place: Place | undefined }[] = [
  { text: "https://r.test", place: https("r.test") },
  { text: "https://R.Test.:443/", place: https("r.test") },
  { text: "https://r.test:8443/npm", place: https("r.test:8443", "/npm/") },
  {
    text: "https://r.test/a/api/npm/all/",
    place: https("r.test", "/a/api/npm/all/"),
  },
  { text: "https://r.test/a/../b/%41/", place: https("r.test", "/b/A/") },
  {
    text: "https://r.test/My%20Feed/npm",
    place: https("r.test", "/My%20Feed/npm/"),
  },
  { text: "https://[::1]:4873/", place: https("[::1]:4873") },
  {
    text: "http://localhost:4873/",
    place: { scheme: "http", host: "localhost:4873", path: "/" },
  },
  {
    text: "http://r.test/",
    place: { scheme: "http", host: "r.test:80", path: "/" },
  },
  { text: "https://user@r.test/", place: undefined },
  { text: "https://user:pass@r.test/", place: undefined },
  { text: "https://r.test/?token=x", place: undefined },
  { text: "https://r.test/#x", place: undefined },
  { text: "ftp://r.test/", place: undefined },
  { text: "r.test", place: undefined },
  { text: "", place: undefined },
];

for (const { text, place } of URLS) {
  Deno.test(`parseRegistry() reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseRegistry(text), place);
  });
}

for (
  const url of [
    "https://r.test/",
    "https://r.test:8443/npm/",
    "http://r.test/",
    "http://r.test:443/",
    "http://localhost:4873/a/",
    "https://[::1]:4873/",
  ]
) {
  Deno.test(`registryUrl() writes ${url} as it was read`, () => {
    const place = parseRegistry(url);
    assert.equal(place && registryUrl(place), url);
  });
}

const HTTP = parseRegistry("http://localhost:4873/private/");
const REGISTRIES = HTTP ? [HTTP, https("r.test", "/npm/")] : [];

const KEYS: { text: string; place: Place | undefined }[] = [
  { text: "//r.test/", place: https("r.test") },
  { text: "//r.test", place: https("r.test") },
  { text: "//r.test/npm", place: https("r.test", "/npm/") },
  { text: "//r.test:8443/npm/", place: https("r.test:8443", "/npm/") },
  { text: "//r.test:443/", place: https("r.test") },
  { text: "//localhost:4873/private/", place: HTTP },
  {
    text: "//localhost:4873/",
    place: { scheme: "http", host: "localhost:4873", path: "/" },
  },
  { text: "//localhost:4874/", place: https("localhost:4874") },
  { text: "//u:p@r.test/", place: undefined },
  { text: "//r.test/?x", place: undefined },
  { text: "//r .test/", place: undefined },
  { text: "///", place: undefined },
  { text: "r.test/", place: undefined },
];

for (const { text, place } of KEYS) {
  Deno.test(`parseKey() reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseKey(text, REGISTRIES), place);
  });
}

for (const text of ["//r.test/", "//r.test:8443/a/b/", "//localhost:4873/"]) {
  Deno.test(`keyOf() writes ${text} as it was read`, () => {
    const place = parseKey(text, REGISTRIES);
    assert.equal(place && keyOf(place), text);
  });
}

const COVERS: { place: Place; registry: Place; covers: boolean }[] = [
  { place: https("r.test"), registry: https("r.test", "/a/"), covers: true },
  {
    place: https("r.test", "/a/"),
    registry: https("r.test", "/a/"),
    covers: true,
  },
  {
    place: https("r.test", "/a/"),
    registry: https("r.test", "/ab/"),
    covers: false,
  },
  { place: https("r.test", "/a/"), registry: https("r.test"), covers: false },
  { place: https("r.test"), registry: https("r.test:8443"), covers: false },
  {
    place: https("r.test:80"),
    registry: { scheme: "http", host: "r.test:80", path: "/" },
    covers: false,
  },
];

for (const { place, registry, covers: expected } of COVERS) {
  const name = `${registryUrl(place)} ${expected ? "covers" : "is not for"} ${
    registryUrl(registry)
  }`;
  Deno.test(`covers(): ${name}`, () => {
    assert.equal(covers(place, registry), expected);
  });
}
