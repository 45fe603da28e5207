/**
 * The units in `scripts/systemd`: as systemd reads them, by socket activation
 * alone, and under a systemd of the test's own.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { MOAT, moatEnv, moatReason } from "./support/moat.ts";
import { childrenOf, descriptorsOf, isRunning } from "./support/processes.ts";
import { run, type RunResult, startServer, which } from "./support/run.ts";
import { bedReason, SystemdBed } from "./support/systemd_bed.ts";
import { Workspace } from "./support/workspace.ts";

const UNITS = fileURLToPath(new URL("../scripts/systemd", import.meta.url));

const isThere = (program: string) => which(program) !== undefined;
const noMoat = moatReason();
const noSystemd = isThere("systemd-analyze") ? undefined : "no systemd-analyze";

/** The units of a machine where moat is what the tests test, and web.service uses it. */
async function installUnits(workspace: Workspace): Promise<string> {
  for (const { name, isFile } of Deno.readDirSync(UNITS)) {
    if (!isFile) continue;
    const text = await Deno.readTextFile(join(UNITS, name));
    await workspace.write(
      `units/${name}`,
      text.replaceAll("/usr/bin/moat", MOAT),
    );
  }
  await workspace.write(
    "units/web.service",
    "[Service]\nExecStart=/bin/true\n",
  );
  await workspace.write(
    "units/web.service.d/moat.conf",
    await Deno.readTextFile(join(UNITS, "example.service.d/moat.conf")),
  );
  return workspace.path("units");
}

const VERIFIED = [
  "moat.service",
  "moat.socket",
  "moat-ecs-relative.socket",
  "moat-ecs-address.service",
  "moat-bind@web.service",
  "web.service",
];
for (const unit of VERIFIED) {
  testUnless(
    noSystemd ?? noMoat,
    `systemd takes ${unit} without a remark`,
    async () => {
      await using workspace = await Workspace.open();
      const units = await installUnits(workspace);
      const { code, stdout, stderr } = await run(
        ["systemd-analyze", "verify", "--man=no", unit],
        // The colon keeps the system's own units.
        { env: { SYSTEMD_UNIT_PATH: `${units}:` } },
      );
      assert.deepEqual({ code, stdout, stderr }, {
        code: 0,
        stdout: "",
        stderr: "",
      });
    },
  );
}

/** Ten times the exposure level that `systemd-analyze security` gives. */
const EXPOSURE = [
  { unit: "moat.service", atMost: 11 },
  { unit: "moat-bind@.service", atMost: 2 },
  { unit: "moat-ecs-address.service", atMost: 19 },
];
for (const { unit, atMost } of EXPOSURE) {
  testUnless(
    noSystemd,
    `systemd finds ${unit} exposed to ${atMost / 10} at most`,
    async () => {
      const { code, stdout } = await run([
        ...["systemd-analyze", "security", "--offline=true", "--no-pager"],
        ...[`--threshold=${atMost}`, join(UNITS, unit)],
      ]);
      assert.equal(code, 0, stdout);
    },
  );
}

/** moat, started by the first connection to one of two sockets. */
interface Activated {
  readonly pid: number;
  readonly ports: readonly [number, number];
  stdout(): string;
  /** `STATUS BODY` of an answer. */
  get(path: string, headers?: Record<string, string>): Promise<string>;
  stop(signal: Deno.Signal): Promise<RunResult>;
}

/** Two ports that were free a moment ago. */
function freePorts(): [number, number] {
  using one = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using other = Deno.listen({ hostname: "::1", port: 0 });
  return [one.addr.port, other.addr.port];
}

async function activate(
  args: readonly string[],
  fn: (moat: Activated) => Promise<void>,
): Promise<void> {
  await using workspace = await Workspace.open();
  await Deno.mkdir(workspace.path("runtime"));
  const env = {
    ...moatEnv(workspace),
    RUNTIME_DIRECTORY: workspace.path("runtime"),
    AWS_REGION: "eu-central-1",
    AWS_SECRET_ACCESS_KEY: "hush-canary",
  };
  const ports = freePorts();
  await using server = await startServer([
    ...["systemd-socket-activate", "-l", `127.0.0.1:${ports[0]}`],
    ...["-l", `[::1]:${ports[1]}`],
    ...Object.keys(env).flatMap((name) => ["-E", name]),
    ...[MOAT, ...args],
  ], {
    env,
    clearEnv: true,
    ready: /^Listening on .*$/gm,
    on: "stderr",
    count: 2,
  });
  await fn({
    pid: server.pid,
    ports,
    stdout: server.stdout,
    stop: server.stop,
    get: (path, headers = {}) =>
      get(`http://127.0.0.1:${ports[0]}${path}`, headers),
  });
}

async function get(url: string, headers: Record<string, string> = {}) {
  const flags = Object.entries(headers)
    .flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  const { stdout } = await run([
    ...["curl", "-s", "-g", "-m", "10", "--noproxy", "*"],
    ...["-w", "\n%{http_code}", ...flags, url],
  ]);
  const end = stdout.lastIndexOf("\n");
  return `${stdout.slice(end + 1)} ${stdout.slice(0, end)}`;
}

const helpersOf = (pid: number) => childrenOf(pid, "systemd-socket-");

/** `ADDRESS:PORT`, as the kernel writes them, where a process or its helpers listen. */
function listeningAt(pids: readonly number[]): string[] {
  const open = new Set(pids.flatMap(descriptorsOf));
  const lines = ["tcp", "tcp6"].flatMap((table) =>
    Deno.readTextFileSync(`/proc/net/${table}`).split("\n")
  );
  return lines.map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) =>
      state === "0A" && open.has(`socket:[${inode}]`)
    ).map(([, local = ""]) => local).sort();
}

const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, "0");

const noActivation = isThere("systemd-socket-activate") && isThere("curl")
  ? noMoat
  : "no systemd-socket-activate or no curl";

for (const command of ["proxy", "serve"]) {
  const test = (name: string, fn: (moat: Activated) => Promise<void>) =>
    testUnless(
      noActivation,
      `moat ${command} on inherited sockets ${name}`,
      () => activate([command], fn),
    );

  test("answers the connection that started it", async ({ get }) => {
    assert.match(await get("/healthz"), /^200 ok/);
  });

  test("answers on the second one", async ({ ports }) => {
    assert.match(await get(`http://[::1]:${ports[1]}/healthz`), /^200 ok/);
  });

  test("refuses a foreign Host", async ({ get }) => {
    const answer = await get("/healthz", { Host: "evil.example" });
    assert.match(answer, /^403 /);
  });

  test("says where it listens", async ({ get, ports, stdout }) => {
    await get("/healthz");
    const ready = stdout().split("\n").filter((line) =>
      line.startsWith("ready")
    );
    assert.deepEqual(ready, [
      `ready http://127.0.0.1:${ports[0]}`,
      `ready http://[::1]:${ports[1]}`,
    ]);
  });

  test("listens nowhere else", async ({ get, pid, ports }) => {
    await get("/healthz");
    assert.deepEqual(listeningAt([pid, ...helpersOf(pid)]), [
      `00000000000000000000000001000000:${hex(ports[1])}`,
      `0100007F:${hex(ports[0])}`,
    ]);
  });

  test("keeps its environment from the helpers", async ({ get, pid }) => {
    await get("/healthz");
    const helpers = helpersOf(pid);
    assert.equal(helpers.length, 2);
    for (const helper of helpers) {
      const environ = await Deno.readTextFile(`/proc/${helper}/environ`);
      assert.doesNotMatch(environ, /AWS_|MOAT_|HOME=/);
    }
  });

  test("ends in good order, with its helpers", async ({ get, pid, stop }) => {
    await get("/healthz");
    const helpers = helpersOf(pid);
    const { code } = await stop("SIGTERM");
    assert.deepEqual([code, helpers.filter(isRunning)], [0, []]);
  });

  test("leaves no helper behind when it is killed", async ({ get, pid, stop }) => {
    await get("/healthz");
    const helpers = helpersOf(pid);
    await stop("SIGKILL");
    await eventually("their end", () => !helpers.some(isRunning), 1_000);
  });

  test("fails when a helper ends, for a restart", async ({ get, pid, stop }) => {
    await get("/healthz");
    Deno.kill(helpersOf(pid)[0] ?? 0, "SIGKILL");
    await eventually("its end", () => !isRunning(pid));
    assert.equal((await stop("SIGTERM")).code, 1);
  });

  testUnless(
    noMoat,
    `moat ${command} refuses sockets that were meant for another process`,
    async () => {
      await using workspace = await Workspace.open();
      const { code, stderr } = await run([MOAT, command], {
        env: {
          ...moatEnv(workspace),
          RUNTIME_DIRECTORY: workspace.directory,
          AWS_REGION: "eu-central-1",
          LISTEN_FDS: "1",
          LISTEN_PID: "1",
        },
        clearEnv: true,
        timeoutMs: 10_000,
      });
      assert.equal(code, 1);
      assert.match(stderr, /in LISTEN_PID, found "1"/);
    },
  );
}

/** A machine with the units, the user, a stand-in for STS, and web.service. */
async function boot(fn: (bed: SystemdBed) => Promise<void>): Promise<void> {
  await using bed = await SystemdBed.open({
    moat: MOAT,
    units: UNITS,
    more: {
      "web.service.d/moat.conf": await Deno.readTextFile(
        join(UNITS, "example.service.d/moat.conf"),
      ),
      "web.service": WEB,
      "simulator.service":
        "[Service]\nUser=nobody\nExecStart=/usr/bin/moat simulate aws --listen 127.0.0.1:7300\n",
    },
    files: {
      "etc/moat/bind/web.conf":
        'BIND_OPTIONS="--grant aws --mode ecs-full --token-file --url http://127.0.0.1:7224"\n',
      "etc/moat/aws/credentials":
        `[default]\naws_access_key_id = ${SIMULATOR_ACCESS_KEY_ID}\naws_secret_access_key = ${SIMULATOR_SECRET_ACCESS_KEY}\n`,
    },
  });
  await bed.must("systemd-sysusers", "/run/bed/units/moat.sysusers");
  await fn(bed);
}

/** Shows what its token is and what it gets for it. */
const WEB = `[Service]
User=nobody
ExecStart=/bin/sh -c 'read -r token < "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"; \\
  echo "web $token"; \\
  curl -s -H "Authorization: $token" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"; \\
  echo; echo "web done"; exec sleep 60'
`;

/** Runs moat in a bed as its user would be told to. */
function asMoat(bed: SystemdBed, ...args: string[]): Promise<string> {
  return bed.must(
    ...["setpriv", "--reuid=moat", "--regid=moat", "--clear-groups", "env"],
    ...["MOAT_HOME=/var/lib/moat", "MOAT_KEYRING=file", "HOME=/var/lib/moat"],
    ...["AWS_SHARED_CREDENTIALS_FILE=/etc/moat/aws/credentials"],
    ...[
      "AWS_ENDPOINT_URL_STS=http://127.0.0.1:7300",
      "AWS_REGION=eu-central-1",
    ],
    ...["AWS_EC2_METADATA_DISABLED=true", "moat", ...args],
  );
}

const noBed = noMoat ?? bedReason();

function bedTest(name: string, fn: (bed: SystemdBed) => Promise<void>): void {
  testUnless(noBed, `under systemd ${name}`, () => boot(fn));
}

bedTest("moat.socket starts moat.service", async (bed) => {
  await bed.must("systemctl", "start", "moat.socket");
  assert.match(await bed.get("http://127.0.0.1:7224/healthz"), /^200 ok/);
});

bedTest("both sockets are served, and no other", async (bed) => {
  await bed.must(
    "systemctl",
    "start",
    "moat.socket",
    "moat-ecs-relative.socket",
  );
  assert.match(await bed.get("http://169.254.170.2/healthz"), /^200 ok/);
  assert.match(await bed.get("http://127.0.0.1:7224/healthz"), /^200 ok/);
  const listening = await bed.must("ss", "-ltnH");
  const addresses = listening.trim().split("\n").map((line) =>
    line.split(/\s+/)[3]
  );
  assert.deepEqual(addresses.sort(), ["127.0.0.1:7224", "169.254.170.2:80"]);
});

bedTest(
  "the address of the ecs-relative modes goes with its unit",
  async (bed) => {
    await bed.must("systemctl", "start", "moat-ecs-relative.socket");
    assert.match(
      await bed.must("ip", "address", "show", "lo"),
      /169\.254\.170\.2/,
    );
    await bed.must(
      "systemctl",
      "stop",
      "moat-ecs-relative.socket",
      "moat-ecs-address",
    );
    assert.doesNotMatch(
      await bed.must("ip", "address", "show", "lo"),
      /169\.254\.170\.2/,
    );
  },
);

bedTest("moat.service starts anew after it was killed", async (bed) => {
  await bed.must("systemctl", "start", "moat.socket", "moat.service");
  await bed.must("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "moat");
  await eventually("the restart", async () => {
    const { stdout } = await bed.run(
      "systemctl",
      "show",
      "-p",
      "NRestarts",
      "moat",
    );
    return stdout === "NRestarts=1\n";
  });
  assert.match(await bed.get("http://127.0.0.1:7224/healthz"), /^200 ok/);
});

bedTest("moat.service stops at once and leaves nothing", async (bed) => {
  await bed.must("systemctl", "start", "moat.socket", "moat.service");
  await bed.must("systemctl", "stop", "moat.socket", "moat.service");
  const result = await bed.must("systemctl", "show", "-p", "Result", "moat");
  assert.equal(result, "Result=success\n");
  assert.equal((await bed.run("pgrep", "-u", "moat")).stdout, "");
  assert.equal((await bed.run("ls", "/run/moat")).code, 2);
});

/** Starts web.service with a grant that the stand-in takes. */
async function startWeb(bed: SystemdBed): Promise<string> {
  await bed.must(
    "systemctl",
    "start",
    "simulator",
    "moat.socket",
    "moat.service",
  );
  await asMoat(
    bed,
    "grant",
    "aws",
    "--role",
    "arn:aws:iam::123456789012:role/Web",
  );
  await bed.must("systemctl", "start", "web");
  return await tokenOf(bed, 1);
}

/** What the n-th start of web.service got as its token. */
async function tokenOf(bed: SystemdBed, start: number): Promise<string> {
  await eventually(
    "web.service",
    () => [...bed.log().matchAll(/^web done$/gm)].length === start,
  );
  return [...bed.log().matchAll(/^web (Bearer .*)$/gm)][start - 1]?.[1] ?? "";
}

bedTest("a bound service gets its role by LoadCredential=", async (bed) => {
  assert.match(await startWeb(bed), /^Bearer moat\.web\.[\w-]{40,}$/);
  assert.match(bed.log(), /"AccessKeyId":"ASIA/);
});

bedTest("a restart of a bound service rotates its token", async (bed) => {
  const first = await startWeb(bed);
  await bed.must("systemctl", "restart", "web");
  const second = await tokenOf(bed, 2);
  assert.notEqual(first, second);
  const url = "http://127.0.0.1:7224/ecs/credentials";
  const statuses = await Promise.all(
    [first, second].map(async (token) =>
      (await bed.get(url, "-H", `Authorization: ${token}`)).slice(0, 3)
    ),
  );
  assert.deepEqual(statuses, ["401", "200"]);
});

bedTest("the right of a bound service ends with it", async (bed) => {
  const token = await startWeb(bed);
  await bed.must("systemctl", "stop", "web");
  const url = "http://127.0.0.1:7224/ecs/credentials";
  // systemctl does not wait for the units that stop with it.
  await eventually("a refusal", async () => {
    const answer = await bed.get(url, "-H", `Authorization: ${token}`);
    return answer.startsWith("401 ");
  });
});

/**
 * Units as users of needroleshere have them, written after its documentation;
 * nothing but the executable's name is another one.
 */
const NEEDROLESHERE: Readonly<Record<string, string>> = {
  "needroleshere.service": `[Unit]
Wants=needroleshere.socket
[Service]
Type=simple
Environment=AWS_REGION=us-east-1
ExecStart=/usr/bin/moat serve
Restart=always
RestartSec=3s
RuntimeDirectory=needroleshere
RuntimeDirectoryPreserve=no
DynamicUser=yes
User=needroleshere
NoNewPrivileges=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
ProtectSystem=full
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=no
`,
  "needroleshere.socket": `[Socket]
ListenStream=127.0.0.1:7224
FreeBind=yes
IPAddressAllow=localhost
IPAddressDeny=any
`,
  "needroleshere-bind@.service": `[Unit]
PartOf=%i.service
Before=%i.service
After=needroleshere.socket needroleshere.service
Wants=needroleshere.socket needroleshere.service
[Service]
Type=oneshot
RemainAfterExit=yes
Environment=RUNTIME_DIRECTORY=/run/needroleshere
ExecStart=/usr/bin/moat bind %i --no-validate --url http://127.0.0.1:7224 \\
  --certificate /etc/tls/web.crt --private-key /etc/tls/web.key \\
  --trust-anchor-arn arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/a \\
  --profile-arn arn:aws:rolesanywhere:us-east-1:123456789012:profile/p \\
  --role-arn arn:aws:iam::123456789012:role/Web
ExecStop=/usr/bin/moat unbind %i
`,
  "old.service": `[Unit]
Wants=needroleshere-bind@old.service
[Service]
User=nobody
EnvironmentFile=/run/needroleshere/env/old
ExecStart=/bin/sh -c 'curl -s -o /dev/null -w "old %%{http_code}\\n" \\
  -H "Authorization: $$AWS_CONTAINER_AUTHORIZATION_TOKEN" \\
  "$$AWS_CONTAINER_CREDENTIALS_FULL_URI"; exec sleep 60'
`,
};

function needroleshereTest(
  name: string,
  fn: (bed: SystemdBed) => Promise<void>,
): void {
  testUnless(
    noBed,
    `under systemd, units of needroleshere: ${name}`,
    async () => {
      await using bed = await SystemdBed.open({
        moat: MOAT,
        units: UNITS,
        more: NEEDROLESHERE,
      });
      await fn(bed);
    },
  );
}

needroleshereTest("the server answers", async (bed) => {
  await bed.must("systemctl", "start", "needroleshere.socket");
  assert.match(await bed.get("http://127.0.0.1:7224/healthz"), /^200 ok/);
});

// Its certificate does not exist, which is found out after the token was checked.
needroleshereTest(
  "a service's token, bound by root, is known to it",
  async (bed) => {
    await bed.must("systemctl", "start", "old");
    await eventually("an answer", () => /^old [0-9]+$/m.test(bed.log()));
    assert.match(bed.log(), /^old 500$/m);
  },
);
