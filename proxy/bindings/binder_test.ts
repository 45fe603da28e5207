import assert from "node:assert/strict";
import { type Binding, mintToken } from "$core/binding.ts";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import {
  Answer,
  type Container,
  createRegistry,
  type Provider,
} from "$core/provider.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { Binder } from "./binder.ts";

const OK = new Answer(200, "ok");

/** A provider that serves some paths, and misfits a grant that says so. */
function provider(
  name: string,
  paths: readonly string[],
  more: Partial<Provider> = {},
): Provider {
  return {
    ...headerProvider({ name }),
    conflictingEnv: [`${name}_KEY`],
    registerEndpoints(endpoints, { settings }) {
      const [first = "", ...others] = paths;
      endpoints.get(first, () => OK);
      if (settings["strict"]) throw new MoatError("misfit", "it is strict");
      for (const path of others) endpoints.get(path, () => OK);
    },
    containerEnv: (_grant, { endpointUrl, mode }) => ({
      [`${name}_URL`]: endpointUrl + mode,
    }),
    containerMounts: (_grant, { directory }) => [
      { path: `${name}/file`, mode: 0o444, content: directory ?? "" },
    ],
    ...more,
  };
}

function grant(name: string, settings: Grant["settings"] = {}): Grant {
  const [provider = ""] = name.split(":");
  return { provider, name, createdAt: 0, settings };
}

function setUp(...providers: Provider[]) {
  const platform = fakePlatform();
  const all = providers.length > 0
    ? providers
    : [provider("alpha", ["/a", "/a/b"]), provider("beta", ["/b"])];
  return { platform, binder: new Binder(createRegistry(all), platform) };
}

const BINDING: Binding = { name: "web", grants: ["alpha", "beta"] };
const BOTH = [grant("alpha"), grant("beta")];

Deno.test("rights() collects the endpoints of all grants", () => {
  const { routes, grants, otherwise } = setUp().binder.rights(BINDING, BOTH);
  assert.deepEqual([[...routes.keys()], grants, otherwise.status], [
    ["/a", "/a/b", "/b"],
    BOTH,
    404,
  ]);
});

Deno.test("rights() tells each provider the binding", () => {
  let seen: Binding | undefined;
  const { binder } = setUp(provider("alpha", [], {
    registerEndpoints: ({ binding }) => void (seen = binding),
  }));
  binder.rights(BINDING, [grant("alpha")]);
  assert.equal(seen, BINDING);
});

Deno.test("rights() says of a grant that is gone that it is, wherever nothing else is served", () => {
  const { routes, otherwise } = setUp().binder.rights(BINDING, [grant("beta")]);
  assert.deepEqual(
    [[...routes.keys()], otherwise.status, JSON.parse(otherwise.body).code],
    [["/b"], 403, "grant-gone"],
  );
});

Deno.test("rights() names no grant in what it says of one that is gone", () => {
  const { otherwise } = setUp().binder.rights(BINDING, []);
  assert(!/alpha|beta|web/.test(otherwise.body), otherwise.body);
});

Deno.test("rights() throws what a grant says that does not fit", () => {
  const grants = [grant("alpha", { strict: true }), grant("beta")];
  assert.throws(() => setUp().binder.rights(BINDING, grants), {
    code: "misfit",
  });
});

Deno.test("rights() leaves a grant that does not fit out whole, and tells of it", () => {
  const told: unknown[] = [];
  const grants = [grant("alpha", { strict: true }), grant("beta")];
  const rights = setUp().binder.rights(
    BINDING,
    grants,
    ({ name }, { code }) => told.push([name, code]),
  );
  assert.deepEqual(
    [[...rights.routes.keys()], rights.grants, rights.otherwise.status, told],
    [["/b"], [grants[1]], 403, [["alpha", "misfit"]]],
  );
});

const CLASHES: Record<string, [Provider[], Grant[]]> = {
  "two grants of one provider": [
    [provider("alpha", ["/a"])],
    [grant("alpha"), grant("alpha:x")],
  ],
  "two providers with one path": [
    [provider("alpha", ["/a"]), provider("beta", ["/a"])],
    BOTH,
  ],
  "one provider with a path twice": [
    [provider("alpha", ["/a", "/a"])],
    [grant("alpha")],
  ],
};
for (const [name, [providers, grants]] of Object.entries(CLASHES)) {
  Deno.test(`rights() refuses ${name}`, () => {
    assert.throws(() => setUp(...providers).binder.rights(BINDING, grants), {
      code: "endpoint-conflict",
      message:
        "Cannot bind alpha and beta together: wanted one grant of each provider",
    });
  });
}

const CONTAINER: Container = {
  mode: "?m",
  endpointUrl: "http://x:1",
  directory: "/moat",
  tokenFile: "/moat/token",
};

Deno.test("setup() joins environment, files and conflicts of all grants", () => {
  assert.deepEqual(setUp().binder.setup(BOTH, CONTAINER), {
    env: { alpha_URL: "http://x:1?m", beta_URL: "http://x:1?m" },
    files: [
      { path: "alpha/file", mode: 0o444, content: "/moat" },
      { path: "beta/file", mode: 0o444, content: "/moat" },
    ],
    conflictingEnv: ["alpha_KEY", "beta_KEY"],
  });
});

Deno.test("setup() lets the first grant that sets a variable win", () => {
  const shared = (name: string) =>
    provider(name, [], { containerEnv: () => ({ SHARED: name }) });
  const { binder } = setUp(shared("alpha"), shared("beta"));
  assert.deepEqual(binder.setup(BOTH, CONTAINER).env, { SHARED: "alpha" });
});

Deno.test("setup() numbers the settings that several grants give git", () => {
  const git = (name: string) =>
    provider(name, [], {
      containerEnv: () => ({
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: `${name}.key`,
        GIT_CONFIG_VALUE_0: name,
      }),
    });
  const { binder } = setUp(git("alpha"), git("beta"));
  assert.deepEqual(binder.setup(BOTH, CONTAINER).env, {
    GIT_CONFIG_COUNT: "2",
    GIT_CONFIG_KEY_0: "alpha.key",
    GIT_CONFIG_VALUE_0: "alpha",
    GIT_CONFIG_KEY_1: "beta.key",
    GIT_CONFIG_VALUE_1: "beta",
  });
});

const PROXY_TOKEN = mintToken("web");

Deno.test("setup() gives an intercepted client the proxy, with its token", () => {
  const { env } = setUp().binder.setup(BOTH, CONTAINER, PROXY_TOKEN);
  assert.equal(env["HTTPS_PROXY"], `http://moat:${PROXY_TOKEN.reveal()}@x:1`);
});

Deno.test("setup() lets no grant lead an intercepted client elsewhere", () => {
  const { binder } = setUp(
    provider("alpha", [], {
      containerEnv: () => ({ HTTPS_PROXY: "http://elsewhere" }),
    }),
  );
  const { env } = binder.setup([grant("alpha")], CONTAINER, PROXY_TOKEN);
  assert.match(env["HTTPS_PROXY"] ?? "", /@x:1$/);
});

Deno.test("setup() names what would lead an intercepted client elsewhere", () => {
  const { binder } = setUp();
  const { conflictingEnv } = binder.setup(BOTH, CONTAINER, PROXY_TOKEN);
  assert.deepEqual(conflictingEnv.slice(0, 3), [
    "alpha_KEY",
    "beta_KEY",
    "HTTPS_PROXY",
  ]);
});

Deno.test("setup() gives no files to a client without a directory", () => {
  const { directory: _, ...container } = CONTAINER;
  assert.deepEqual(setUp().binder.setup(BOTH, container).files, []);
});

Deno.test("release() goes on after a provider that cannot, and tells of it", async () => {
  const released: string[] = [];
  const { binder, platform } = setUp(
    provider("alpha", [], {
      cleanup: () => {
        throw new TypeError("x");
      },
    }),
    provider("beta", [], { cleanup: ({ name }) => void released.push(name) }),
  );
  await binder.release(BINDING);
  assert.deepEqual([released, platform.lines], [["web"], [{
    event: "cleanup-failed",
    fields: { provider: "alpha", code: "internal" },
  }]]);
});

Deno.test("forget() tells all providers that can", () => {
  const forgotten: string[] = [];
  const { binder } = setUp(
    provider("alpha", [], { forget: (name) => void forgotten.push(name) }),
    provider("beta", []),
  );
  binder.forget("alpha:x");
  assert.deepEqual(forgotten, ["alpha:x"]);
});
