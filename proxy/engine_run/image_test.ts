import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { parseLine, words } from "../../tests/support/engine_line.ts";
import { parseEngineRun } from "./command_line.ts";
import { readEntrypoint, wrapCommand } from "./image.ts";
import type { AskEngine } from "./reach.ts";

interface Config {
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
}

/** An engine that has some images, can pull others, and remembers what it was asked. */
class MockEngine {
  readonly asked: string[] = [];

  constructor(
    readonly local: Record<string, Config | null>,
    readonly remote: Record<string, Config> = {},
  ) {}

  readonly ask: AskEngine = (args) => {
    this.asked.push(args.join(" "));
    const name = args.at(-1) ?? "";
    if (args[0] === "pull") return this.#pull(name);
    const found = this.local[name];
    return found === undefined
      ? Promise.reject(new MoatError("engine-failed", "no such image"))
      : Promise.resolve(`${JSON.stringify(found)}\n`);
  };

  #pull(name: string): Promise<string> {
    const found = this.remote[name];
    if (!found) {
      return Promise.reject(new MoatError("engine-failed", "cannot pull"));
    }
    this.local[`docker.io/${name}`] = found;
    return Promise.resolve(`docker.io/${name}\n`);
  }
}

const BOTH: Config = { Entrypoint: ["/entry", "-a"], Cmd: ["start", "now"] };
const ENTRY: Config = { Entrypoint: ["/entry", "-a"] };
const CMD: Config = { Entrypoint: null, Cmd: ["sh", "-c", "a b"] };

const STARTED: { line: string; image: Config | null; argv: string }[] = [
  { line: "docker run i", image: BOTH, argv: "/entry -a start now" },
  { line: "docker run i x y", image: BOTH, argv: "/entry -a x y" },
  { line: "docker run i", image: ENTRY, argv: "/entry -a" },
  { line: "docker run i x", image: ENTRY, argv: "/entry -a x" },
  { line: "docker run i", image: CMD, argv: "sh -c a·b" },
  { line: "docker run i x", image: CMD, argv: "x" },
  { line: "docker run i x", image: {}, argv: "x" },
  { line: "docker run i x", image: null, argv: "x" },
  { line: "docker run i -- x", image: ENTRY, argv: "/entry -a -- x" },
  { line: "docker run -- i x", image: CMD, argv: "x" },
  { line: "docker run --entrypoint e i", image: BOTH, argv: "e" },
  { line: "docker run --entrypoint e i x", image: BOTH, argv: "e x" },
  { line: "docker run --entrypoint= i x", image: BOTH, argv: "x" },
  { line: 'docker run --entrypoint ["e"] i', image: BOTH, argv: '["e"]' },
  { line: "docker run i x", image: { Entrypoint: [""] }, argv: "x" },
  { line: "podman run i", image: BOTH, argv: "/entry -a start now" },
  { line: "podman run i x", image: BOTH, argv: "/entry -a x" },
  { line: "podman run --entrypoint e i", image: BOTH, argv: "e" },
  { line: "podman run --entrypoint= i x", image: BOTH, argv: "x" },
  { line: 'podman run --entrypoint ["e"] i', image: BOTH, argv: "e" },
  {
    line: 'podman run --entrypoint ["e","-f·g"] i x',
    image: BOTH,
    argv: "e -f·g x",
  },
  { line: "podman run --entrypoint [1] i x", image: BOTH, argv: "[1] x" },
  { line: "podman run --entrypoint [e i x", image: BOTH, argv: "[e x" },
  { line: "podman run --entrypoint [] i", image: BOTH, argv: "start now" },
  { line: "podman run --entrypoint [] i x", image: BOTH, argv: "x" },
  { line: "podman run --rootfs i x y", image: BOTH, argv: "x y" },
  { line: "podman run --rootfs --entrypoint e i x", image: BOTH, argv: "e x" },
];

for (const { line, image, argv } of STARTED) {
  Deno.test(`readEntrypoint() finds ${argv} in "${line}" of ${JSON.stringify(image)}`, async () => {
    const { ask } = new MockEngine({ i: image });
    assert.deepEqual(await readEntrypoint(parseLine(line), ask), words(argv));
  });
}

const NOTHING: { line: string; image: Config }[] = [
  { line: "docker run i", image: {} },
  { line: "docker run i", image: { Entrypoint: [], Cmd: [] } },
  { line: "docker run i", image: { Entrypoint: [""], Cmd: null } },
  { line: "docker run --entrypoint= i", image: BOTH },
  { line: "podman run --entrypoint= i", image: BOTH },
  { line: 'podman run --entrypoint [""] i', image: BOTH },
  { line: "podman run --entrypoint [] i", image: ENTRY },
  { line: "podman run --rootfs i", image: BOTH },
];

for (const { line, image } of NOTHING) {
  Deno.test(`readEntrypoint() refuses "${line}" of ${JSON.stringify(image)}`, async () => {
    const { ask } = new MockEngine({ i: image });
    await assert.rejects(readEntrypoint(parseLine(line), ask), {
      code: "usage",
      message: /^Cannot start "i": neither its ENTRYPOINT and CMD nor /,
    });
  });
}

for (const line of ["docker run", "podman run --rm", "docker run --name"]) {
  Deno.test(`readEntrypoint() refuses "${line}", which names no image`, async () => {
    await assert.rejects(
      readEntrypoint(parseLine(line), new MockEngine({}).ask),
      {
        code: "usage",
        message: /^Cannot run a container: \w+ run names no image$/,
      },
    );
  });
}

/** What is asked of the engine; `i` is there and can be pulled, `far` only pulled, `near` only there. */
const ASKED: { line: string; asked: string[] }[] = [
  { line: "docker run i", asked: ["INSPECT i"] },
  { line: "docker run i x", asked: ["INSPECT i"] },
  { line: "docker run --entrypoint e i", asked: [] },
  { line: "docker run --entrypoint= i x", asked: [] },
  { line: "podman run --rootfs i x", asked: [] },
  { line: "podman run --entrypoint [] i", asked: ["INSPECT i"] },
  {
    line: "docker run far",
    asked: ["INSPECT far", "pull --quiet far", "INSPECT docker.io/far"],
  },
  {
    line: "docker run --platform linux/arm64 far",
    asked: [
      "INSPECT far",
      "pull --quiet --platform=linux/arm64 far",
      "INSPECT docker.io/far",
    ],
  },
  {
    line: "docker run --pull always i",
    asked: ["pull --quiet i", "INSPECT docker.io/i"],
  },
  {
    line: "podman run --pull=newer i",
    asked: ["pull --quiet i", "INSPECT docker.io/i"],
  },
  {
    line: "podman run --pull newer near",
    asked: ["pull --quiet near", "INSPECT near"],
  },
  { line: "docker run --pull missing i", asked: ["INSPECT i"] },
  { line: "docker run --pull never i", asked: ["INSPECT i"] },
];

for (const { line, asked } of ASKED) {
  Deno.test(`readEntrypoint() asks ${asked.length} questions for "${line}"`, async () => {
    const engine = new MockEngine({ i: BOTH, near: BOTH }, {
      i: BOTH,
      far: BOTH,
    });
    await readEntrypoint(parseLine(line), engine.ask);
    const INSPECT = "image inspect --format {{json .Config}}";
    assert.deepEqual(
      engine.asked,
      asked.map((text) => text.replace("INSPECT", INSPECT)),
    );
  });
}

for (const policy of ["", "--pull=always ", "--pull=newer "]) {
  Deno.test(`readEntrypoint() says why it cannot pull with "${policy}"`, async () => {
    const { ask } = new MockEngine({});
    const run = parseLine(`docker run ${policy}i`);
    await assert.rejects(readEntrypoint(run, ask), { message: "cannot pull" });
  });
}

Deno.test("readEntrypoint() does not pull against --pull never", async () => {
  const engine = new MockEngine({}, { i: BOTH });
  await assert.rejects(
    readEntrypoint(parseLine("docker run --pull never i"), engine.ask),
    { message: "no such image" },
  );
});

const GARBAGE = [
  "",
  "x",
  "1",
  '"x"',
  "[{",
  '{"Cmd":"x"}',
  '{"Cmd":[1]}',
  '{"Entrypoint":{}}',
];

for (const answer of GARBAGE) {
  Deno.test(`readEntrypoint() refuses the answer ${JSON.stringify(answer)}`, async () => {
    const ask: AskEngine = () => Promise.resolve(answer);
    await assert.rejects(readEntrypoint(parseLine("docker run i"), ask), {
      code: "engine-garbage",
      message: "Cannot read what the container engine says about the image",
    });
  });
}

const WRAPPED: { line: string; argv: string; expect: string }[] = [
  {
    line: "docker run i",
    argv: "/entry start",
    expect:
      "docker run --entrypoint /moat/relay i 7224 /moat/endpoint.sock -- /entry start",
  },
  {
    line: "podman --log-level error container run --rm -it i x y",
    argv: "x y",
    expect:
      "podman --log-level error container run --rm -it --entrypoint /moat/relay i 7224 /moat/endpoint.sock -- x y",
  },
  {
    line: "docker run --init --entrypoint e -e A=·b i x",
    argv: "e x",
    expect:
      "docker run --init --entrypoint e -e A=·b --entrypoint /moat/relay i 7224 /moat/endpoint.sock -- e x",
  },
  {
    line: "docker run --rm -- i -- x",
    argv: "-- x",
    expect:
      "docker run --rm --entrypoint /moat/relay -- i 7224 /moat/endpoint.sock -- -- x",
  },
  {
    line: "podman run --rootfs /dir x",
    argv: "x",
    expect:
      "podman run --rootfs --entrypoint /moat/relay /dir 7224 /moat/endpoint.sock -- x",
  },
];

for (const { line, argv, expect } of WRAPPED) {
  Deno.test(`wrapCommand() puts the relay into "${line}"`, () => {
    const { head, tail } = wrapCommand(parseLine(line), words(argv), 7224);
    assert.deepEqual([...head, ...tail], words(expect));
  });
}

/** Command lines with an image. */
const RUNS = fc.tuple(
  fc.constantFrom("docker", "podman"),
  fc.array(fc.constantFrom(
    ...["--rm", "-it", "--init", "--name=n", "--entrypoint=e", "--pull=never"],
    ...["--network=x", "-eA=1", "--label=l", "--platform=p"],
  )),
  fc.constantFrom([], ["--"]),
  fc.array(fc.string(), { maxLength: 4 }),
).map(([engine, options, separator, command]) => [
  ...[engine, "run", ...options, ...separator, "image", ...command],
]);

Deno.test("wrapCommand() gives what its own command line is parsed to", () => {
  fc.assert(fc.property(RUNS, fc.array(fc.string()), (line, argv) => {
    const run = parseEngineRun(line);
    assert(run);
    const wrapped = wrapCommand(run, argv, 1);
    assert.deepEqual(
      wrapped,
      parseEngineRun([...wrapped.head, ...wrapped.tail]),
    );
  }));
});
