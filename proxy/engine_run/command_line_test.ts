import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { parseLine, words } from "../../tests/support/engine_line.ts";
import { run, which } from "../../tests/support/run.ts";
import { type EngineRun, parseEngineRun } from "./command_line.ts";

const HEADS: { line: string; prefix: string; head: string }[] = [
  { line: "docker run img", prefix: "docker", head: "docker run" },
  { line: "podman run img", prefix: "podman", head: "podman run" },
  {
    line: "/usr/bin/docker run img",
    prefix: "/usr/bin/docker",
    head: "/usr/bin/docker run",
  },
  { line: "./podman run img", prefix: "./podman", head: "./podman run" },
  {
    line: "docker container run img",
    prefix: "docker",
    head: "docker container run",
  },
  {
    line: "podman container run --rm img",
    prefix: "podman",
    head: "podman container run",
  },
  ...[
    "-D",
    "--debug",
    "--debug=false",
    "--tls",
    "--tlsverify",
    "-H tcp://h:1",
    "-Htcp://h:1",
    "-H=tcp://h:1",
    "--host tcp://h:1",
    "--host=tcp://h:1",
    "-c run",
    "--context run",
    "--context=run",
    "-Dc run",
    "-DH tcp://h:1",
    "-DHtcp://h:1",
    "--config /x",
    "-l debug",
    "--log-level debug",
    "--tlscacert x --tlscert y --tlskey z",
    "-D -H a -H b --tls",
  ].map((options) => ({
    line: `docker ${options} run img`,
    prefix: `docker ${options}`,
    head: `docker ${options} run`,
  })),
  ...[
    "-r",
    "--remote",
    "--remote=true",
    "--noout",
    "--syslog",
    "--trace",
    "--transient-store",
    "-c run",
    "--connection run",
    "-rc run",
    "--root /r --runroot /rr",
    "--storage-driver vfs",
    "--storage-opt a=b",
    "--cgroup-manager=cgroupfs",
    "--log-level debug",
    "--url unix:///x",
    "--network-config-dir /x",
  ].map((options) => ({
    line: `podman ${options} run img`,
    prefix: `podman ${options}`,
    head: `podman ${options} run`,
  })),
];

for (const { line, prefix, head } of HEADS) {
  Deno.test(`parseEngineRun() finds the verb in "${line}"`, () => {
    const parsed = parseLine(line);
    assert.deepEqual(
      [parsed.prefix, parsed.head],
      [words(prefix), words(head)],
    );
  });
}

const NOT_ENGINES = [
  "",
  "aws s3 ls",
  "docker-compose run x",
  "mydocker run img",
  "docker.sh run img",
  "/usr/bin/docker/ls run",
  "DOCKER run img",
  "sh -c docker·run·img",
  "sudo ls",
  "sudo -u me ls",
];

for (const line of NOT_ENGINES) {
  Deno.test(`parseEngineRun() knows no engine in "${line}"`, () => {
    assert.equal(parseEngineRun(words(line)), undefined);
  });
}

const NAMED: {
  line: string;
  name?: string;
  labels?: string[];
  files?: string[];
}[] = [
  { line: "docker run img" },
  { line: "docker run --name web img", name: "web" },
  { line: "podman run --name=web img", name: "web" },
  { line: "docker run --name a --name b img", name: "b" },
  { line: "docker run --name= img" },
  { line: "docker run img --name web --label a=b -l c=d" },
  { line: "docker run --label a=b img", labels: ["a=b"] },
  { line: "docker run --label=a=b=c img", labels: ["a=b=c"] },
  { line: "docker run -l a=b -lc=d img", labels: ["a=b", "c=d"] },
  { line: "podman run -itl a=b img", labels: ["a=b"] },
  { line: "docker run -l a --label a=·b img", labels: ["a", "a= b"] },
  { line: "docker run --label-file f img", files: ["f"] },
  { line: "podman run --label-file=f --label-file g img", files: ["f", "g"] },
  { line: "docker -l debug run img" },
];

for (const { line, name, labels = [], files = [] } of NAMED) {
  Deno.test(`parseEngineRun() finds name and labels of "${line}"`, () => {
    const found = parseLine(line);
    assert.deepEqual(
      [found.name, found.labels, found.labelFiles],
      [name, labels, files],
    );
  });
}

Deno.test("parseEngineRun() knows no engine in no words", () => {
  assert.equal(parseEngineRun([]), undefined);
});

const NETWORKS: { line: string; network: string | undefined }[] = [
  { line: "docker run img", network: undefined },
  { line: "docker run --network x img", network: "x" },
  { line: "docker run --network=x img", network: "x" },
  { line: "docker run --net x img", network: "x" },
  { line: "docker run --net=x img", network: "x" },
  { line: "docker run --net=host --rm img", network: "host" },
  { line: "podman run --pod p img", network: "pod:p" },
  { line: "podman run --pod-id-file /p --network x img", network: "pod:/p" },
  { line: "docker run --network container:a img", network: "container:a" },
  {
    line: "docker run --network=name=x,alias=y img",
    network: "name=x,alias=y",
  },
  { line: "docker run --network a --network b img", network: "b" },
  { line: "docker run --network a --net=b img", network: "b" },
  { line: "docker run -it --network x img", network: "x" },
  { line: "docker run -p 80:80 --network x img", network: "x" },
  { line: "docker run --name --network --net y img", network: "y" },
  { line: "docker run --name=n --network x img", network: "x" },
  { line: "docker run --rm=true --network x img", network: "x" },
  { line: "docker run -ite A=1 --network x img", network: "x" },
  { line: "docker run -e= --network x img", network: "x" },
  { line: "docker run -v=/a:/b --network x img", network: "x" },
  { line: "docker run -uroot --network x img", network: "x" },
  { line: "docker run -i=false --network x img", network: "x" },
  { line: "docker run --network-alias a img", network: undefined },
  { line: "docker run img --network x", network: undefined },
  { line: "docker run --rm img sh --net=host", network: undefined },
  { line: "docker run -- --network x", network: undefined },
  { line: "docker run - --network x", network: undefined },
  { line: "docker run --rm true --network x", network: undefined },
  { line: "docker run --tty img --network x", network: undefined },
  { line: "docker run -e --network x img", network: undefined },
  { line: "docker run -e A -e B img --network x", network: undefined },
  { line: "docker run -it img -it --network x", network: undefined },
  { line: "docker run --env-file f img --network x", network: undefined },
  { line: "docker run --network", network: "" },
  { line: "podman run --replace --network x img", network: "x" },
  { line: "podman run --tls-verify=false --net x img", network: "x" },
  { line: "podman run --rootfs /dir --network x", network: undefined },
  { line: "podman run -d=false --network x img", network: "x" },
];

for (const { line, network } of NETWORKS) {
  Deno.test(`parseEngineRun() reads network ${network} from "${line}"`, () => {
    assert.equal(parseLine(line).network, network);
  });
}

const ENVIRONMENTS: { line: string; names: string[]; files?: string[] }[] = [
  { line: "docker run img", names: [] },
  { line: "docker run -e A=1 img", names: ["A"] },
  { line: "docker run -eA=1 img", names: ["A"] },
  { line: "docker run -e=A=1 img", names: ["A"] },
  { line: "docker run -e A img", names: ["A"] },
  { line: "docker run -e A= img", names: ["A"] },
  { line: "docker run -e A=b=c img", names: ["A"] },
  { line: "docker run --env A=1 img", names: ["A"] },
  { line: "docker run --env=A=1 img", names: ["A"] },
  { line: "docker run --env=A img", names: ["A"] },
  { line: "docker run -ite A=1 img", names: ["A"] },
  { line: "docker run -iteA=1 img", names: ["A"] },
  { line: "docker run -e A=1 -eB -t --env C=·x img", names: ["A", "C", "B"] },
  { line: "docker run -e -e img", names: ["-e"] },
  { line: "docker run img -e A=1", names: [] },
  { line: "docker run -w /e -e A img", names: ["A"] },
  { line: "docker run --env-file f img", names: [], files: ["f"] },
  { line: "docker run --env-file=f img", names: [], files: ["f"] },
  {
    line: "docker run --env-file f --env-file g img",
    names: [],
    files: ["f", "g"],
  },
];

for (const { line, names, files = [] } of ENVIRONMENTS) {
  Deno.test(`parseEngineRun() reads the environment of "${line}"`, () => {
    const { envNames, envFiles } = parseLine(line);
    assert.deepEqual([[...envNames].sort(), envFiles], [names.sort(), files]);
  });
}

const IMAGES: {
  line: string;
  image: string;
  command?: string;
  end: number;
}[] = [
  { line: "docker run img", image: "img", end: 0 },
  { line: "docker run img sh -c x", image: "img", command: "sh -c x", end: 0 },
  { line: "docker run --rm -it img sh", image: "img", command: "sh", end: 2 },
  { line: "docker run --rm --name n img:1", image: "img:1", end: 3 },
  {
    line: "docker run -e A=1 h:5000/a/b@sha256:0 x",
    image: "h:5000/a/b@sha256:0",
    command: "x",
    end: 2,
  },
  { line: "docker run -- img x", image: "img", command: "x", end: 0 },
  {
    line: "docker run --rm -- img -- x",
    image: "img",
    command: "-- x",
    end: 1,
  },
  { line: "docker run --name -- img", image: "img", end: 2 },
  {
    line: "docker run img --entrypoint x",
    image: "img",
    command: "--entrypoint x",
    end: 0,
  },
  { line: "docker run img -- x", image: "img", command: "-- x", end: 0 },
  {
    line: "docker run img --rm img",
    image: "img",
    command: "--rm img",
    end: 0,
  },
  {
    line: "podman run docker://h/img x",
    image: "docker://h/img",
    command: "x",
    end: 0,
  },
  { line: "podman run --rootfs /dir x", image: "/dir", command: "x", end: 1 },
  { line: "docker run", image: "", end: 0 },
  { line: "docker run --rm", image: "", end: 1 },
  { line: "docker run --name", image: "", end: 1 },
  { line: "docker run --rm --", image: "", end: 1 },
];

for (const { line, image, command, end } of IMAGES) {
  Deno.test(`parseEngineRun() finds the image of "${line}"`, () => {
    const found = parseLine(line);
    assert.deepEqual(
      [found.image, found.command, found.optionsEnd],
      [image, command?.split(" ") ?? [], end],
    );
  });
}

const ENTRYPOINTS: { line: string; entrypoint: string | undefined }[] = [
  { line: "docker run img", entrypoint: undefined },
  { line: "docker run --entrypoint sh img", entrypoint: "sh" },
  { line: "docker run --entrypoint=/bin/sh img", entrypoint: "/bin/sh" },
  { line: "docker run --entrypoint a --entrypoint b img", entrypoint: "b" },
  { line: "docker run --entrypoint= img", entrypoint: "" },
  { line: "docker run --entrypoint  img", entrypoint: "" },
  { line: "docker run img --entrypoint sh", entrypoint: undefined },
  { line: 'podman run --entrypoint ["a","b"] img', entrypoint: '["a","b"]' },
];

for (const { line, entrypoint } of ENTRYPOINTS) {
  Deno.test(`parseEngineRun() finds the entrypoint of "${line}"`, () => {
    assert.equal(parseLine(line).entrypoint, entrypoint);
  });
}

const ROOTFS: { line: string; is: boolean }[] = [
  { line: "podman run img", is: false },
  { line: "podman run --rootfs /dir", is: true },
  { line: "podman run --rootfs=true /dir", is: true },
  { line: "podman run --rootfs=false img", is: false },
  { line: "podman run img --rootfs", is: false },
];

for (const { line, is } of ROOTFS) {
  Deno.test(`parseEngineRun() tells ${is ? "a directory" : "an image"} in "${line}"`, () => {
    assert.equal(parseLine(line).isRootfs, is);
  });
}

const PULLS: { line: string; policy?: string; options?: string[] }[] = [
  { line: "docker run img" },
  { line: "docker run --pull always img", policy: "always" },
  { line: "podman run --pull=Never img", policy: "never" },
  {
    line: "docker run --platform linux/arm64 -it img",
    options: ["--platform=linux/arm64"],
  },
  {
    line: "podman run --arch=arm64 --os linux --rm --tls-verify=false img",
    options: ["--arch=arm64", "--os=linux", "--tls-verify=false"],
  },
  { line: "podman run --tls-verify img", options: ["--tls-verify=true"] },
  { line: "podman run --authfile f img", options: ["--authfile=f"] },
];

for (const { line, policy, options = [] } of PULLS) {
  Deno.test(`parseEngineRun() finds how to pull for "${line}"`, () => {
    const { pullPolicy, pullOptions } = parseLine(line);
    assert.deepEqual([pullPolicy, pullOptions], [policy, options]);
  });
}

const ATTACHED = [
  "-i",
  "-it",
  "-ti",
  "--detach=false",
  "--detach=0",
  "--detach=F",
  "-d=false",
  "-d=0",
  "-itd=false",
  "-d --detach=false",
  "-e d",
  "-ed",
  "-ud",
  "-v /d:/d",
  "--name -d",
  "--name=-d",
  "--detach-keys ctrl-d",
  "-a stdin",
];

for (const options of ATTACHED) {
  Deno.test(`parseEngineRun() takes a container with ${options}`, () => {
    assert.equal(parseLine(`docker run ${options} img`).tail.at(-1), "img");
  });
}

const DETACHED = [
  "-d",
  "--detach",
  "--detach=true",
  "--detach=1",
  "--detach=T",
  "--detach=",
  "--detach=perhaps",
  "-d=true",
  "-d=1",
  "-dit",
  "-itd",
  "-tdi",
  "-tde A=1",
  "--rm -d",
  "--detach=false -d",
  "--name x -d",
  "--name=x -d",
  "-e= -d",
  "-eA -d",
];

for (const options of DETACHED) {
  Deno.test(`parseEngineRun() refuses a container with ${options}`, () => {
    assert.match(failure(`docker run ${options} img`), /with --detach: /);
  });
}

for (const option of ["--env-host", "--env-host=true"]) {
  Deno.test(`parseEngineRun() refuses ${option}, which carries the host's keys in`, () => {
    assert.match(failure(`podman run ${option} img`), /with --env-host: /);
  });
}

Deno.test("parseEngineRun() takes --env-host=false", () => {
  assert.equal(parseLine("podman run --env-host=false img").tail.at(-1), "img");
});

Deno.test("parseEngineRun() takes -d behind the image as the container's own", () => {
  assert.deepEqual(parseLine("docker run img -d").tail, ["img", "-d"]);
});

/** The error of a command line that cannot be bound, as one text. */
function failure(line: string): string {
  try {
    parseEngineRun(words(line));
  } catch (error) {
    assert(error instanceof MoatError, String(error));
    assert.equal(error.code, "usage");
    assert(error.hint);
    return error.message;
  }
  throw new Error("did not throw");
}

const REFUSED: { line: string; expect: RegExp }[] = [
  { line: "docker create img", expect: /"docker create": a container that is/ },
  { line: "podman start x", expect: /"podman start": .* exists already/ },
  { line: "docker compose run x", expect: /"docker compose": services/ },
  { line: "docker build .", expect: /"docker build": only run starts/ },
  { line: "docker exec x run", expect: /"docker exec"/ },
  { line: "docker pull run", expect: /"docker pull"/ },
  { line: "docker image run", expect: /"docker image"/ },
  { line: "podman play kube run", expect: /"podman play"/ },
  { line: "docker container ls", expect: /"docker container ls"/ },
  { line: "docker container create img", expect: /"docker container create"/ },
  { line: "docker container", expect: /"docker container"/ },
  { line: "docker run-it img", expect: /"docker run-it"/ },
  { line: "docker RUN img", expect: /"docker RUN"/ },
  { line: "docker", expect: /^Cannot bind "docker": / },
  { line: "docker --version", expect: /^Cannot bind "docker": / },
  { line: "docker -- run img", expect: /^Cannot bind "docker --": / },
  { line: "docker - run img", expect: /^Cannot bind "docker -": / },
  { line: "docker --context", expect: /^Cannot bind "docker": / },
  { line: "docker -D", expect: /^Cannot bind "docker": / },
  { line: "docker --host run img", expect: /^Cannot bind "docker img": / },
  { line: "/opt/bin/podman ps", expect: /^Cannot bind "podman ps": / },
  { line: "sudo docker run img", expect: /^Cannot bind docker behind sudo/ },
  { line: "sudo -E podman run img", expect: /bind podman behind sudo/ },
  { line: "sudo -u me /bin/docker run img", expect: /docker behind sudo/ },
  { line: "/usr/bin/sudo docker run img", expect: /docker behind sudo/ },
];

for (const { line, expect } of REFUSED) {
  Deno.test(`parseEngineRun() refuses "${line}"`, () => {
    assert.match(failure(line), expect);
  });
}

const ARGV = fc.tuple(
  fc.constantFrom(
    "docker",
    "podman",
    "/usr/bin/docker",
    "x/podman",
    "sudo",
    "",
  ),
  fc.array(
    fc.oneof(
      fc.string(),
      fc.constantFrom("run", "container", "-it", "-e", "-d=false", "--rm"),
      fc.constantFrom("--network", "--net=host", "--", "-", "--detach=0", "-H"),
      fc.string().map((text) => `-${text}`),
      fc.string().map((text) => `--${text}`),
    ),
    { maxLength: 8 },
  ),
).map(([program, rest]) => [program, ...rest]);

Deno.test("parseEngineRun() throws nothing but usage errors", () => {
  fc.assert(fc.property(ARGV, (argv) => {
    try {
      parseEngineRun(argv);
    } catch (error) {
      return error instanceof MoatError && error.code === "usage";
    }
    return true;
  }));
});

Deno.test("parseEngineRun() loses no word: head and tail are the command line", () => {
  const runs = ARGV.map(([program = "", ...rest]) => [program, "run", ...rest]);
  fc.assert(fc.property(fc.oneof(ARGV, runs), (argv) => {
    let parsed: EngineRun | undefined;
    try {
      parsed = parseEngineRun(argv);
    } catch {
      return;
    }
    if (!parsed) return;
    assert.deepEqual([...parsed.head, ...parsed.tail], argv);
    assert.equal(parsed.head.at(-1), "run");
    assert.deepEqual(parsed.head.slice(0, parsed.prefix.length), parsed.prefix);
    const separator = parsed.tail[parsed.optionsEnd] === "--" ? 1 : 0;
    const [image = "", ...command] = parsed.tail.slice(
      parsed.optionsEnd + separator,
    );
    assert.deepEqual([parsed.image, parsed.command], [image, command]);
  }));
});

/** The options in an engine's own help: long name, and whether it takes a value. */
async function helpOf(engine: string, ...args: string[]) {
  const { stdout } = await run([engine, ...args, "--help"]);
  const OPTION = /^ +(?:-\w, )?(--[a-z][\w-]+)(?: (\w+))?(?: {2,}|$)/gm;
  const options = [...stdout.matchAll(OPTION)];
  assert(options.length > 5, "cannot read the help");
  return options.map(([, name = "", type]) => ({ name, isSwitch: !type }));
}

for (const engine of ["docker", "podman"]) {
  const reason = which(engine) ? undefined : `${engine} is not installed`;

  testUnless(
    reason,
    `parseEngineRun() knows which options of ${engine} run take a value`,
    async () => {
      const options = (await helpOf(engine, "run")).filter(({ name }) =>
        // Refused, or what is looked for below.
        !["--detach", "--env-host"].includes(name) &&
        !/^--net(work)?$/.test(name)
      );
      const wrong = options.filter(({ name, isSwitch }) => {
        const parsed = parseLine(`${engine} run ${name} --network=x img`);
        return isSwitch !== (parsed.network === "x");
      });
      assert.deepEqual(wrong, []);
    },
  );

  testUnless(
    reason,
    `parseEngineRun() knows which global options of ${engine} take a value`,
    async () => {
      const options = (await helpOf(engine)).filter(({ name }) =>
        name !== "--help" && name !== "--version"
      );
      const line = options.map(({ name, isSwitch }) =>
        isSwitch ? name : `${name} value`
      );
      const head = `${engine} ${line.join(" ")} run`;
      assert.deepEqual(parseLine(`${head} img`).head, words(head));
    },
  );
}
