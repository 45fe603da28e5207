/**
 * What `moat run` makes of the command lines of container engines. The engine
 * is a mock that records how it was called; real ones are in
 * `main_job_test.ts`.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason, runMoat } from "./support/moat.ts";
import { type RunResult, SYSTEM_PATH } from "./support/run.ts";
import { get, Scene } from "./support/scene.ts";

const reason = moatReason();

/** Answers questions about networks, and records all else. */
const MOCK_ENGINE = `#!/bin/sh
# A mock of a container engine.
case " $* " in
  *' info '*) echo "$MOCK_INFO" ;;
  *' network inspect '*) echo "$MOCK_NETWORK" ;;
  *' image inspect '*) echo '{"Entrypoint":["/bin/entry"],"Cmd":["sh"]}' ;;
  *)
    for word; do
      case $word in
        *:/moat:*) cat "\${word%%:/moat:*}/token" >"$HOME/token" ;;
      esac
    done
    printf '%s\\n' "$@" >"$HOME/argv"
    eval "\${MOCK_RUN-}"
    ;;
esac
`;

/** A home with a mock of both engines. */
interface EngineScene {
  readonly scene: Scene;
  moat(...args: string[]): Promise<RunResult>;
  /** The recorded arguments; undefined if the engine was asked to run nothing. */
  argv(): Promise<string[] | undefined>;
}

const NETWORKS = {
  docker: {
    MOCK_INFO: 'Debian GNU/Linux 12 (bookworm) ["name=apparmor"]',
    MOCK_NETWORK: '[{"IPAM":{"Config":[{"Gateway":"127.0.0.3"}]}}]',
  },
  podman: {
    MOCK_INFO: "false",
    MOCK_NETWORK: '[{"subnets":[{"gateway":"127.0.0.3"}]}]',
  },
};

type EngineName = keyof typeof NETWORKS;

function test(
  engine: EngineName,
  name: string,
  fn: (scene: EngineScene) => Promise<void>,
): void {
  testUnless(reason, `moat run ${name}`, async () => {
    await using scene = await Scene.open();
    const { workspace } = scene;
    await workspace.write("bin/docker", MOCK_ENGINE, 0o700);
    await workspace.write("bin/podman", MOCK_ENGINE, 0o700);
    const PATH = `${workspace.path("bin")}:${SYSTEM_PATH}`;
    Object.assign(scene.env, NETWORKS[engine], { PATH });
    await fn({
      scene,
      moat: (...args) => runMoat(args, { workspace, env: scene.env }),
      argv: async () => {
        const text = await Deno.readTextFile(workspace.path("argv"))
          .catch(() => undefined);
        return text?.trimEnd().split("\n");
      },
    });
  });
}

/** The arguments, with what differs from run to run replaced. */
function normalise(argv: readonly string[], { paths }: Scene): string[] {
  return argv.map((word) =>
    word.replace(paths.runs, "RUNS").replace(
      /^RUNS\/[0-9a-z]{10}\//,
      "RUNS/RUN/",
    )
      .replace(/:\d{4,5}\//, ":PORT/")
  );
}

const OURS = [
  ...["--volume", "RUNS/RUN/files:/moat:ro,z"],
  ...["--add-host", "moat-proxy:127.0.0.3"],
  ...["--env", "AWS_CONFIG_FILE=/moat/aws/config"],
  ...["--env", "AWS_CREDENTIAL_PROFILES_FILE=/moat/aws/config"],
  ...["--env", "AWS_SHARED_CREDENTIALS_FILE=/moat/aws/no-credentials"],
  ...["--env", "AWS_SDK_LOAD_CONFIG=1"],
  ...["--env", "AWS_REGION=us-east-1"],
  ...["--env", "AWS_DEFAULT_REGION=us-east-1"],
  ...["--env", "AWS_PAGER="],
  ...[
    "--env",
    "MOAT_AWS_CREDENTIAL_URL=http://moat-proxy:PORT/aws/process-credentials",
  ],
  ...["--env", "MOAT_AWS_CREDENTIAL_TOKEN_FILE=/moat/token"],
];

const COMMANDS: readonly { head: string[]; tail: string[] }[] = [
  { head: ["run"], tail: ["image"] },
  {
    head: ["run"],
    tail: ["--rm", "-it", "-e", "MINE=1", "image", "aws", "s3", "ls"],
  },
  { head: ["container", "run"], tail: ["image", "run"] },
  { head: ["--log-level", "error", "run"], tail: ["--name=x", "image"] },
];

for (const engine of ["docker", "podman"] as const) {
  for (const { head, tail } of COMMANDS) {
    const line = [engine, ...head, ...tail];
    test(
      engine,
      `inserts its options after the verb of ${line.join(" ")}`,
      async ({ scene, moat, argv }) => {
        const { code, stderr } = await moat(
          "run",
          "--grant",
          "aws",
          "--",
          ...line,
        );
        assert.equal(code, 0, stderr);
        assert.deepEqual(normalise(await argv() ?? [], scene), [
          ...head,
          ...OURS,
          ...tail,
        ]);
      },
    );
  }

  test(
    engine,
    `gives ${engine} the token in a file only`,
    async ({ scene, moat, argv }) => {
      await moat("run", "--grant", "aws", "--", engine, "run", "image");
      const bearer = await Deno.readTextFile(scene.workspace.path("token"));
      const [, token = ""] = /^Bearer (moat\.run-\w{10}\.[\w-]{43})$/
        .exec(bearer) ?? [];
      assert.notEqual(token, "");
      assert.ok(!(await argv())?.join("\n").includes(token));
    },
  );

  test(
    engine,
    `passes the exit status of ${engine} on`,
    async ({ scene, moat }) => {
      scene.env["MOCK_RUN"] = "exit 42";
      const { code } = await moat(
        "run",
        "--grant",
        "aws",
        "--",
        engine,
        "run",
        "i",
      );
      assert.equal(code, 42);
      assert.deepEqual(await scene.runNames(), []);
    },
  );

  test(
    engine,
    `adds no gateway for ${engine} run --network host`,
    async ({ scene, moat, argv }) => {
      await moat(
        ...[
          "run",
          "--grant",
          "aws",
          "--",
          engine,
          "run",
          "--network=host",
          "i",
        ],
      );
      const words = normalise(await argv() ?? [], scene);
      assert.ok(!words.includes("--add-host"));
      assert.ok(
        words.some((word) =>
          word.endsWith("URL=http://127.0.0.1:PORT/aws/process-credentials")
        ),
      );
    },
  );
}

for (const network of ["none", "container:x"]) {
  test(
    "docker",
    `gives docker run --network ${network} a relay`,
    async ({ moat, argv }) => {
      const { code, stderr } = await moat(
        ...["run", "--grant", "aws", "--", "docker", "run"],
        ...["--network", network, "image", "aws"],
      );
      assert.equal(code, 0, stderr);
      assert.match(
        stderr,
        /^note: the container reaches moat by a relay on .*\n$/,
      );
      const line = (await argv() ?? []).join(" ");
      const [, url, port] =
        / --env MOAT_AWS_CREDENTIAL_URL=http:\/\/127\.0\.0\.1:(\d+)\/.* --entrypoint \/moat\/relay image (\d+) \/moat\/endpoint\.sock -- \/bin\/entry aws$/
          .exec(line) ?? [];
      assert.ok(url !== undefined && url === port, line);
      assert.ok(!line.includes("--add-host"));
    },
  );
}

test(
  "docker",
  "says by which way the container reaches moat",
  async ({ moat }) => {
    const { stderr } = await moat(
      ...["run", "--grant", "aws", "--", "docker", "run", "image"],
    );
    assert.equal(
      stderr,
      'note: the container reaches moat by its gateway 127.0.0.3, because the network "bridge" is a bridge of this host\n',
    );
  },
);

test(
  "docker",
  "listens on the gateway of the container's network as long as the container runs",
  async ({ scene, moat, argv }) => {
    await scene.startProxy();
    scene.env["MOCK_RUN"] = 'until [ -e "$HOME/stop" ]; do sleep 0.02; done';
    const ended = moat("run", "--grant", "aws", "--", "docker", "run", "image");
    const words = await eventually("engine", argv);
    const [, port] = /moat-proxy:(\d+)\//.exec(words.join(" ")) ?? [];
    const gateway: Deno.NetAddr = {
      transport: "tcp",
      hostname: "127.0.0.3",
      port: Number(port),
    };
    const headers = {
      Host: `moat-proxy:${port}`,
      Authorization: await Deno.readTextFile(scene.workspace.path("token")),
    };
    const { status } = await get(gateway, "/aws/process-credentials", headers);
    assert.equal(status, 200);
    await scene.workspace.write("stop", "");
    await ended;
    await eventually("its end", async () => {
      const error = await get(gateway, "/healthz").then(() => "", String);
      // Reset is what the last one in the listener's queue gets.
      return /Connection(Refused|Reset)/.test(error);
    });
  },
);

const REFUSED: readonly { command: string[]; error: RegExp }[] = [
  { command: ["docker", "create", "image"], error: /"docker create"/ },
  {
    command: ["docker", "container", "create", "image"],
    error: /"docker container create"/,
  },
  { command: ["docker", "start", "x"], error: /"docker start"/ },
  { command: ["docker", "exec", "x", "sh"], error: /"docker exec"/ },
  {
    command: ["docker", "compose", "run", "service"],
    error: /"docker compose"/,
  },
  { command: ["docker"], error: /"docker/ },
  { command: ["docker", "run", "-d", "image"], error: /--detach/ },
  { command: ["docker", "run", "-itd", "image"], error: /--detach/ },
  { command: ["docker", "run", "--detach", "image"], error: /--detach/ },
  { command: ["docker", "run", "--detach=true", "image"], error: /--detach/ },
  { command: ["podman", "create", "image"], error: /"podman create"/ },
  { command: ["podman", "run", "-d", "image"], error: /--detach/ },
  { command: ["podman", "pod", "create"], error: /"podman pod"/ },
  { command: ["sudo", "docker", "run", "image"], error: /behind sudo/ },
  {
    command: ["/usr/bin/sudo", "-E", "podman", "run", "image"],
    error: /behind sudo/,
  },
];

for (const { command, error } of REFUSED) {
  test(
    "docker",
    `refuses ${command.join(" ")} and starts nothing`,
    async ({ scene, moat, argv }) => {
      const { code, stdout, stderr } = await moat(
        "run",
        "--grant",
        "aws",
        "--",
        ...command,
      );
      assert.equal(code, 125);
      assert.equal(stdout, "");
      assert.match(stderr, /^error: .+\nhint: .+\n$/);
      assert.match(stderr, error);
      assert.equal(await argv(), undefined);
      assert.equal(await scene.status(), undefined);
      assert.deepEqual(await scene.runNames(), []);
    },
  );
}

const WARNED: readonly { options: string[]; name: string }[] = [
  { options: ["-e", "AWS_ACCESS_KEY_ID"], name: "AWS_ACCESS_KEY_ID" },
  { options: ["-eAWS_ACCESS_KEY_ID=AKIA"], name: "AWS_ACCESS_KEY_ID" },
  { options: ["-e", "AWS_ACC*"], name: "AWS_ACCESS_KEY_ID" },
  { options: ["--env", "AWS_PROFILE=mine"], name: "AWS_PROFILE" },
  { options: ["--env=AWS_SESSION_TOKEN=x"], name: "AWS_SESSION_TOKEN" },
  { options: ["-ite", "AWS_CONFIG_FILE=/x"], name: "AWS_CONFIG_FILE" },
  { options: ["--env-file", "variables"], name: "AWS_SECRET_ACCESS_KEY" },
  { options: ["--env-file=variables"], name: "AWS_SECRET_ACCESS_KEY" },
];

for (const { options, name } of WARNED) {
  test(
    "docker",
    `warns of ${options.join(" ")}, and leaves it in`,
    async ({ scene, moat, argv }) => {
      await scene.workspace.write(
        "variables",
        "# mine\nMINE=1\nAWS_SECRET_ACCESS_KEY=secret\n",
      );
      const { code, stderr } = await moat(
        ...[
          "run",
          "--grant",
          "aws",
          "--",
          "docker",
          "run",
          ...options,
          "image",
        ],
      );
      assert.equal(code, 0, stderr);
      assert.match(
        stderr,
        new RegExp(
          `^note: .*\nwarning: ${name} is set for the container .*\n$`,
        ),
      );
      assert.deepEqual((await argv())?.slice(-options.length - 1), [
        ...options,
        "image",
      ]);
    },
  );
}

test(
  "docker",
  "does not warn of what comes after the image",
  async ({ moat }) => {
    const { stderr } = await moat(
      ...["run", "--grant", "aws", "--", "docker", "run", "image"],
      ...["tool", "-e", "AWS_PROFILE=x", "-d"],
    );
    assert.match(stderr, /^note: .*\n$/);
  },
);

test(
  "docker",
  "says what docker said when it cannot be asked",
  async ({ scene, moat, argv }) => {
    await scene.workspace.write(
      "bin/docker",
      "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n",
      0o700,
    );
    const { code, stderr } = await moat(
      "run",
      "--grant",
      "aws",
      "--",
      "docker",
      "run",
      "i",
    );
    assert.equal(code, 125);
    assert.match(
      stderr,
      /^error: .*Cannot connect to the Docker daemon\nhint: .*\n$/,
    );
    assert.equal(await argv(), undefined);
  },
);
