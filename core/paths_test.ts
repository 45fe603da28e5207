import assert from "node:assert/strict";
import {
  bindingPaths,
  checkSocketPath,
  findPaths,
  type Paths,
} from "./paths.ts";

const HOME = { HOME: "/home/ana" };

/** All paths, those of bindings too. */
function flatten(
  { bindings, ...paths }: Omit<Paths, "roots" | "configuration">,
): string[] {
  return [...Object.values(paths), ...Object.values(bindings)];
}

Deno.test("findPaths() puts everything below MOAT_HOME", () => {
  const { roots, configuration, ...paths } = findPaths({
    ...HOME,
    MOAT_HOME: "/m",
    XDG_DATA_HOME: "/x",
  });
  const outside = flatten(paths).filter((path) => !path.startsWith("/m/"));
  assert.deepEqual([roots, configuration, outside], [["/m", "/m"], "/m", []]);
});

Deno.test("findPaths() gives every file a path of its own", () => {
  const { roots: _, ...paths } = findPaths({ MOAT_HOME: "/m" });
  const all = flatten(paths);
  assert.equal(new Set(all).size, all.length);
});

const CASES: {
  name: string;
  env: Record<string, string>;
  grants?: string;
  audit?: string;
  controlSocket?: string;
  configuration?: string;
}[] = [
  {
    name: "uses the defaults of XDG",
    env: HOME,
    grants: "/home/ana/.local/share/moat/grants",
    audit: "/home/ana/.local/state/moat/audit.jsonl",
    controlSocket: "/home/ana/.local/state/moat/control.sock",
  },
  {
    name: "has the configuration's default of XDG",
    env: HOME,
    configuration: "/home/ana/.config/moat",
  },
  {
    name: "follows XDG_CONFIG_HOME",
    env: { ...HOME, XDG_CONFIG_HOME: "/config" },
    configuration: "/config/moat",
  },
  {
    name: "ignores a relative XDG_CONFIG_HOME",
    env: { ...HOME, XDG_CONFIG_HOME: "config" },
    configuration: "/home/ana/.config/moat",
  },
  {
    name: "prefers MOAT_HOME to XDG_CONFIG_HOME",
    env: { MOAT_HOME: "/m", XDG_CONFIG_HOME: "/config" },
    configuration: "/m",
  },
  {
    name: "has a service's configuration beside its state",
    env: { RUNTIME_DIRECTORY: "/run/moat" },
    configuration: `/run/moat/moat-${Deno.uid()}`,
  },
  {
    name: "needs no HOME when XDG names the other two",
    env: { XDG_DATA_HOME: "/data", XDG_STATE_HOME: "/state" },
    configuration: "/data/moat",
  },
  {
    name: "needs no HOME when XDG names all three",
    env: {
      XDG_DATA_HOME: "/data",
      XDG_STATE_HOME: "/state",
      XDG_CONFIG_HOME: "/config",
    },
    configuration: "/config/moat",
  },
  {
    name: "follows XDG_DATA_HOME",
    env: { ...HOME, XDG_DATA_HOME: "/data" },
    grants: "/data/moat/grants",
  },
  {
    name: "follows XDG_STATE_HOME",
    env: { ...HOME, XDG_STATE_HOME: "/state" },
    audit: "/state/moat/audit.jsonl",
  },
  {
    name: "has one control socket for all sessions of a user",
    env: { ...HOME, XDG_RUNTIME_DIR: "/run/user/1000" },
    controlSocket: "/home/ana/.local/state/moat/control.sock",
  },
  {
    name: "ignores a relative XDG_DATA_HOME",
    env: { ...HOME, XDG_DATA_HOME: "data" },
    grants: "/home/ana/.local/share/moat/grants",
  },
  {
    name: "ignores an empty MOAT_HOME",
    env: { ...HOME, MOAT_HOME: "" },
    grants: "/home/ana/.local/share/moat/grants",
  },
  {
    name: "needs no HOME when MOAT_HOME is set",
    env: { MOAT_HOME: "/m" },
    grants: "/m/grants",
  },
  {
    name: "takes RUNTIME_DIRECTORY for a service without a home",
    env: { RUNTIME_DIRECTORY: "/run/moat" },
    grants: `/run/moat/moat-${Deno.uid()}/grants`,
    audit: `/run/moat/moat-${Deno.uid()}/audit.jsonl`,
  },
  {
    name: "takes the first of several in RUNTIME_DIRECTORY",
    env: { HOME: "/", RUNTIME_DIRECTORY: "/run/one:/run/two" },
    grants: `/run/one/moat-${Deno.uid()}/grants`,
  },
  {
    name: "prefers MOAT_HOME to RUNTIME_DIRECTORY",
    env: { MOAT_HOME: "/m", RUNTIME_DIRECTORY: "/run/moat" },
    grants: "/m/grants",
  },
  {
    name: "prefers a home to RUNTIME_DIRECTORY",
    env: { ...HOME, RUNTIME_DIRECTORY: "/run/moat" },
    grants: "/home/ana/.local/share/moat/grants",
  },
];
for (const { name, env, ...wanted } of CASES) {
  Deno.test(`findPaths() ${name}`, () => {
    const paths = findPaths(env);
    const found = Object.fromEntries(
      Object.entries(paths).filter(([key]) => key in wanted),
    );
    assert.deepEqual(found, wanted);
  });
}

const REFUSED: [name: string, env: Record<string, string>, message: RegExp][] =
  [
    ["no home at all", {}, /neither MOAT_HOME nor HOME is set/],
    ["a relative MOAT_HOME", { ...HOME, MOAT_HOME: "m" }, /MOAT_HOME="m"/],
    ["a relative HOME", { HOME: "ana" }, /HOME="ana"/],
    [
      "a relative RUNTIME_DIRECTORY",
      { RUNTIME_DIRECTORY: "run" },
      /neither MOAT_HOME nor HOME is set/,
    ],
  ];
for (const [name, env, message] of REFUSED) {
  Deno.test(`findPaths() refuses ${name}`, () => {
    assert.throws(() => findPaths(env), { code: "no-home", message });
  });
}

Deno.test("bindingPaths() lays a directory out as needroleshere does", () => {
  const { bindings, environments } = bindingPaths("/d");
  assert.deepEqual([bindings, environments], ["/d/bindings", "/d/env"]);
});

Deno.test("checkSocketPath() accepts 107 bytes", () => {
  checkSocketPath("/" + "a".repeat(106));
});

Deno.test("checkSocketPath() refuses 108 bytes", () => {
  assert.throws(() => checkSocketPath("/" + "a".repeat(107)), {
    code: "path-too-long",
    message: /wanted at most 107 bytes, found 108$/,
  });
});

Deno.test("checkSocketPath() counts bytes, not characters", () => {
  assert.throws(() => checkSocketPath("/" + "é".repeat(54)), {
    code: "path-too-long",
  });
});
