import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { systemClock } from "$core/clock.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { which } from "../../tests/support/run.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { type Npm, readNpmConfig, systemNpm } from "./npm_config.ts";

/** Files of a user, of a project and of all users. */
const FILES = {
  user: "//u.test/:_authToken=user\n//all.test/:_authToken=user\n",
  project: "//p.test/:_authToken=project\n//all.test/:_authToken=project\n",
  global: "//g.test/:_authToken=global\n//all.test/:_authToken=global\n",
};

interface Scene extends TempHome {
  readonly npm: Npm;
}

async function scene(
  files: Partial<typeof FILES> = FILES,
  told: Readonly<Record<string, unknown>> = {},
): Promise<Scene> {
  const home = await tempHome();
  const at = (name: string) => join(home.directory, name);
  await Deno.mkdir(at("project"));
  const paths = {
    user: at(".npmrc"),
    project: at("project/.npmrc"),
    global: at("npmrc"),
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(paths[name as keyof typeof FILES], text);
  }
  const listed = JSON.stringify({
    registry: "https://default.test/",
    userconfig: paths.user,
    globalconfig: paths.global,
    ...told,
  });
  return {
    ...home,
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
    npm: {
      run: ([command]) =>
        Promise.resolve(command === "prefix" ? at("project") + "\n" : listed),
    },
  };
}

const NO_NPM: Npm = { run: () => Promise.resolve(undefined) };

async function valuesOf(
  { npm }: Scene,
  env: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  const { settings } = await readNpmConfig({ env }, npm);
  return Object.fromEntries(
    [...settings].map((
      [key, { value }],
    ) => [key.slice(2, -":_authToken".length), value]),
  );
}

Deno.test("readNpmConfig() asks npm for the default registry", async () => {
  await using made = await scene();
  const { registry } = await readNpmConfig({ env: {} }, made.npm);
  assert.equal(registry, "https://default.test/");
});

Deno.test("readNpmConfig() asks npm for the registries of scopes", async () => {
  await using made = await scene({}, {
    "@a:registry": "https://a.test/",
    "@a:other": "x",
    "init.registry": "x",
  });
  const { scopes } = await readNpmConfig({ env: {} }, made.npm);
  assert.deepEqual(scopes, { "@a": "https://a.test/" });
});

Deno.test("readNpmConfig() reads the project's file before the user's, and that before all users'", async () => {
  await using made = await scene();
  assert.deepEqual(await valuesOf(made), {
    "g.test/": "global",
    "u.test/": "user",
    "p.test/": "project",
    "all.test/": "project",
  });
});

Deno.test("readNpmConfig() prefers the environment to all files", async () => {
  await using made = await scene();
  const env = { "npm_config_//all.test/:_authToken": "variable" };
  assert.equal((await valuesOf(made, env))["all.test/"], "variable");
});

Deno.test("readNpmConfig() lets nothing be hidden by what needs a missing variable", async () => {
  await using made = await scene({
    user: "//r.test/:_authToken=user\n",
    project: "//r.test/:_authToken=${NPM_TOKEN}\n",
  });
  assert.equal((await valuesOf(made))["r.test/"], "user");
});

Deno.test("readNpmConfig() replaces no variable in a project's file", async () => {
  await using made = await scene({
    project: "//evil.test/:_authToken=${NPM_TOKEN}\n",
  });
  const values = await valuesOf(made, { NPM_TOKEN: "variable" });
  assert.equal(values["evil.test/"], "${NPM_TOKEN}");
});

Deno.test("readNpmConfig() takes a file for the user's that is the project's as well", async () => {
  await using made = await scene({ user: "//r.test/:_authToken=${T}\n" });
  const run: Npm["run"] = (args) =>
    args[0] === "prefix" ? Promise.resolve(made.directory) : made.npm.run(args);
  const { settings } = await readNpmConfig({ env: { T: "t" } }, { run });
  const { value, isProject } = settings.get("//r.test/:_authToken") ?? {};
  assert.deepEqual([value, isProject], ["t", false]);
});

Deno.test("readNpmConfig() replaces variables in the user's file", async () => {
  await using made = await scene({
    user: "//r.test/:_authToken=${NPM_TOKEN}\n",
  });
  const values = await valuesOf(made, { NPM_TOKEN: "variable" });
  assert.equal(values["r.test/"], "variable");
});

Deno.test("readNpmConfig() names file and line of each setting", async () => {
  await using made = await scene();
  const { settings } = await readNpmConfig({ env: {} }, made.npm);
  const { origin, line } = settings.get("//u.test/:_authToken") ?? {};
  assert.deepEqual([origin, line], [join(made.directory, ".npmrc"), 1]);
});

Deno.test("readNpmConfig() reads the user's own file without npm", async () => {
  await using made = await scene({
    user: "registry=https://mine.test/\n@a:registry=https://a.test/\n",
  });
  const env = { HOME: made.directory };
  const { registry, scopes } = await readNpmConfig({ env }, NO_NPM);
  assert.deepEqual([registry, scopes], ["https://mine.test/", {
    "@a": "https://a.test/",
  }]);
});

Deno.test("readNpmConfig() knows no registry without npm and file", async () => {
  const { registry, settings } = await readNpmConfig({ env: {} }, NO_NPM);
  assert.deepEqual([registry, settings.size], [undefined, 0]);
});

for (const listed of ["", "no JSON", "null", "[]", '{"registry":7}']) {
  Deno.test(`readNpmConfig() takes ${JSON.stringify(listed)} from npm for nothing`, async () => {
    const npm: Npm = { run: () => Promise.resolve(listed) };
    const { registry } = await readNpmConfig({ env: {} }, npm);
    assert.equal(registry, undefined);
  });
}

Deno.test("readNpmConfig() refuses a file that is not UTF-8", async () => {
  await using made = await scene({});
  const path = join(made.directory, ".npmrc");
  await Deno.writeFile(path, new Uint8Array([0xff, 0xfe]));
  await assert.rejects(readNpmConfig({ env: {} }, made.npm), {
    code: "bad-npmrc",
  });
});

const noNpm = which("npm") ? undefined : "needs npm";

testUnless(
  noNpm,
  "readNpmConfig() understands the npm that is installed",
  async () => {
    await using made = await scene({
      user:
        "registry=https://mine.test:8443/npm/\n@a:registry=http://a.test/\n//mine.test:8443/npm/:_authToken=t\n",
    });
    const platform = {
      clock: systemClock,
      env: { PATH: Deno.env.get("PATH") ?? "", HOME: made.directory },
    };
    const config = await readNpmConfig(platform, systemNpm(platform));
    assert.deepEqual(
      [config.registry, config.scopes, [...config.settings.keys()].at(-1)],
      [
        "https://mine.test:8443/npm/",
        { "@a": "http://a.test/" },
        "//mine.test:8443/npm/:_authToken",
      ],
    );
  },
);

Deno.test("systemNpm() tells nothing where there is no npm", async () => {
  const npm = systemNpm({ clock: systemClock, env: { PATH: "/nonexistent" } });
  assert.equal(await npm.run(["prefix"]), undefined);
});

testUnless(
  noNpm,
  "systemNpm() takes a relative path of the user from the working directory, wherever npm runs",
  async () => {
    const env = {
      PATH: Deno.env.get("PATH") ?? "",
      NPM_CONFIG_USERCONFIG: "ci/npmrc",
    };
    const npm = systemNpm({ clock: systemClock, env });
    const told = await npm.run(["config", "get", "userconfig"], "/");
    assert.equal(told?.trim(), resolve("ci/npmrc"));
  },
);
