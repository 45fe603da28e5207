import assert from "node:assert/strict";
import type { Source } from "../settings.ts";
import { sourceCredentials, sourceStamp } from "../source.ts";
import {
  keys,
  LOGIN_SESSION,
  SourceBed,
  sourcePlatform,
  START_URL,
} from "../../../tests/support/source_bed.ts";

const SSO = `[default]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin
[sso-session corp]
sso_region = us-east-1
sso_start_url = ${START_URL}
`;
const LEGACY = `[default]\nsso_start_url = ${START_URL}\n`;
const LOGIN = `[default]\nlogin_session = ${LOGIN_SESSION}\n`;
const TOKEN =
  "[default]\nrole_arn = arn\nweb_identity_token_file = HOME/token\n";
const THROUGH =
  "[profile sso]\nsso_session = corp\n[default]\nrole_arn = arn\nsource_profile = sso\n";

const withToken = (bed: SourceBed): Partial<Source> => ({
  order: ["web-identity", "container"],
  webIdentity: { tokenFile: bed.workspace.path("token"), role: "arn" },
  container: {
    url: "http://127.0.0.1:1",
    tokenFile: bed.workspace.path("container-token"),
  },
});

/** What happens to a file, and whether the source is another one then. */
interface Change {
  readonly config?: string;
  readonly source?: (bed: SourceBed) => Partial<Source>;
  readonly change: (bed: SourceBed) => Promise<unknown>;
  /** Default: true. */
  readonly counts?: boolean;
}

const CHANGES: Readonly<Record<string, Change>> = {
  "a config file that changes": {
    config: "[default]\nregion = a\n",
    change: (bed) => bed.config("[default]\nregion = bb\n"),
  },
  "a config file that appears": {
    change: (bed) => bed.config("[default]\n"),
  },
  "a config file that goes": {
    config: "[default]\n",
    change: (bed) => Deno.remove(bed.workspace.path(".aws/config")),
  },
  "a file of the same size and time, put in its place": {
    config: "[default]\nregion = a\n",
    change: async (bed) => {
      const file = bed.workspace.path(".aws/config");
      const { mtime } = await Deno.stat(file);
      await Deno.copyFile(file, `${file}.new`);
      await Deno.utime(`${file}.new`, mtime ?? 0, mtime ?? 0);
      await Deno.rename(`${file}.new`, file);
    },
  },
  "a credentials file that appears": {
    change: (bed) => bed.workspace.write(".aws/credentials", "[default]\n"),
  },
  "an SSO login": {
    config: SSO,
    change: (bed) => bed.ssoToken("corp"),
  },
  "an SSO login without a session": {
    config: LEGACY,
    change: (bed) => bed.ssoToken(START_URL),
  },
  "an SSO login of a source_profile": {
    config: THROUGH,
    change: (bed) => bed.ssoToken("corp"),
  },
  "an SSO login of somebody else": {
    config: SSO,
    change: (bed) => bed.ssoToken("other"),
    counts: false,
  },
  "an aws login": {
    config: LOGIN,
    change: (bed) => bed.loginToken(),
  },
  "a web identity token of a profile": {
    config: TOKEN,
    change: (bed) => bed.workspace.write("token", "x"),
  },
  "a web identity token": {
    source: withToken,
    change: (bed) => bed.workspace.write("token", "x"),
  },
  "a container's token": {
    source: withToken,
    change: (bed) => bed.workspace.write("container-token", "x"),
  },
  "a token behind a link that is moved": {
    source: withToken,
    change: async (bed) => {
      const target = await bed.workspace.write("data", "x");
      await Deno.symlink(target, bed.workspace.path("token"));
    },
  },
  "a shared file where no profile is asked": {
    source: withToken,
    change: (bed) => bed.config("[default]\n"),
    counts: false,
  },
  "a token where only profiles are asked": {
    change: (bed) => bed.workspace.write("token", "x"),
    counts: false,
  },
  "nothing": { config: SSO, change: async () => {}, counts: false },
};

for (
  const [name, { config, source, change, counts = true }] of Object.entries(
    CHANGES,
  )
) {
  Deno.test(`sourceStamp() ${counts ? "tells of" : "is the same after"} ${name}`, async () => {
    await using bed = await SourceBed.open();
    if (config !== undefined) await bed.config(config);
    const { source: it } = bed.hop(source?.(bed));
    const before = await sourceStamp(it);
    await change(bed);
    assert.equal(await sourceStamp(it) !== before, counts);
  });
}

Deno.test("sourceStamp() finds the cache of aws login where a variable says", async () => {
  await using bed = await SourceBed.open();
  await bed.config(LOGIN);
  const file = await bed.loginToken();
  const directory = bed.workspace.path(".aws/login/cache");
  const env = {
    HOME: "/proc/nonexistent",
    AWS_LOGIN_CACHE_DIRECTORY: directory,
  };
  const stamp = await sourceStamp(bed.source(), env);
  assert.match(stamp, new RegExp(`${file}:\\d+:`));
});

Deno.test("a rotated key counts at once, and changes the stamp", async () => {
  await using bed = await SourceBed.open();
  const hop = bed.hop();
  const write = (id: string) =>
    bed.workspace.write(".aws/credentials", `[default]\n${keys(id)}\n`);
  await write("AKIAOLD");
  const before = await sourceStamp(hop.source);
  await sourceCredentials(hop, sourcePlatform());
  await write("AKIAROTATED");
  const { accessKeyId } = await sourceCredentials(hop, sourcePlatform());
  const hasChanged = await sourceStamp(hop.source) !== before;
  assert.deepEqual([accessKeyId, hasChanged], ["AKIAROTATED", true]);
});

Deno.test("an aws sso login counts at once", async () => {
  await using bed = await SourceBed.open();
  await bed.config(SSO.replace("[sso-s", "services = mock\n[sso-s"));
  const hop = bed.hop();
  await assert.rejects(sourceCredentials(hop, sourcePlatform()));
  await bed.ssoToken("corp");
  await sourceCredentials(hop, sourcePlatform());
});
