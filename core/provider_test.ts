import assert from "node:assert/strict";
import { headerProvider } from "../tests/support/header_provider.ts";
import {
  Answer,
  createRegistry,
  errorAnswer,
  type Injection,
  type Provider,
} from "./provider.ts";

const ONE = headerProvider({ name: "one", aliases: ["uno"] });
const TWO = headerProvider({ name: "two", host: "api.two.test" });

Deno.test("createRegistry() keeps the order of registration", () => {
  const registry = createRegistry([TWO, ONE]);
  assert.deepEqual(registry.all.map(({ name }) => name), ["two", "one"]);
});

for (const name of ["one", "uno"]) {
  Deno.test(`get() finds a provider by "${name}"`, () => {
    assert.equal(createRegistry([ONE, TWO]).get(name), ONE);
  });
}

Deno.test("get() names the providers there are", () => {
  assert.throws(() => createRegistry([ONE, TWO]).get("three"), {
    code: "usage",
    message: 'Cannot find provider "three"',
    hint: /one, two/,
  });
});

for (const name of ["constructor", "__proto__", "toString", ""]) {
  Deno.test(`get() finds nothing called "${name}"`, () => {
    assert.throws(() => createRegistry([ONE]).get(name), { code: "usage" });
  });
}

const CLASHES: Record<string, Provider[]> = {
  "a name twice": [ONE, headerProvider({ name: "one" })],
  "an alias twice": [ONE, headerProvider({ name: "x", aliases: ["uno"] })],
  "an alias that is a name": [ONE, headerProvider({ aliases: ["one"] })],
  "a name that is an alias": [ONE, headerProvider({ name: "uno" })],
  "an alias that is its own name": [
    headerProvider({ name: "x", aliases: ["x"] }),
  ],
};
for (const [name, providers] of Object.entries(CLASHES)) {
  Deno.test(`createRegistry() refuses ${name}`, () => {
    assert.throws(() => createRegistry(providers), {
      code: "bad-provider",
      message: /is taken by/,
    });
  });
}

const MEMBERS = [
  "grant",
  "configureProxy",
  "containerEnv",
  "containerMounts",
  "registerEndpoints",
  "impliedDependencies",
  "cleanup",
];
for (const member of MEMBERS) {
  Deno.test(`createRegistry() refuses a provider without ${member}()`, () => {
    const provider = { ...ONE, [member]: undefined } as unknown as Provider;
    assert.throws(() => createRegistry([provider]), {
      code: "bad-provider",
      message: `Cannot register provider "one": it lacks ${member}()`,
    });
  });
}

Deno.test("createRegistry() is not changed by its list", () => {
  const list = [ONE];
  const registry = createRegistry(list);
  list.push(TWO);
  assert.equal(registry.all.length, 1);
});

Deno.test("a header-injecting provider declares its header through the interface", async () => {
  const provider = createRegistry([ONE, TWO]).get("two");
  const flags = { token: "canary" };
  const grant = await provider.grant({ name: "two", flags, validate: false });
  const injections: Injection[] = [];
  provider.configureProxy({
    inject: (one) => injections.push(one),
    substitute() {},
    allow() {},
  }, grant);
  const seen = injections.map(({ host, header, value, strip }) => [
    host,
    header,
    value.reveal(),
    strip,
  ]);
  assert.deepEqual(seen, [
    ["api.two.test", "authorization", "Bearer canary", ["cookie"]],
  ]);
});

Deno.test("a header-injecting provider shows a container no credential", async () => {
  const provider = createRegistry([ONE, TWO]).get("two");
  const flags = { token: "canary" };
  const grant = await provider.grant({ name: "two", flags, validate: false });
  const container = {
    mode: "",
    endpointUrl: "http://moat-proxy:19080",
    directory: "/moat",
    tokenFile: "/moat/token",
  };
  const shown = JSON.stringify([
    provider.containerEnv(grant, container),
    provider.containerMounts(grant, container),
  ]);
  assert.ok(!shown.includes("canary"), shown);
});

Deno.test("Answer is JSON by default", () => {
  assert.equal(new Answer(200, "{}").contentType, "application/json");
});

Deno.test("errorAnswer() has a body that SDKs can read", () => {
  const { status, body } = errorAnswer(404, "no-grant", "Cannot find it");
  assert.deepEqual([status, JSON.parse(body)], [404, {
    code: "no-grant",
    message: "Cannot find it",
  }]);
});

Deno.test("get() knows a grant name from a provider's name", () => {
  const registry = createRegistry([headerProvider({ name: "alpha" })]);
  assert.throws(() => registry.get("alpha:prod"), {
    hint: "write alpha --name prod",
  });
});
