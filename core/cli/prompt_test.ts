import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import {
  type MemoryStreams,
  memoryStreams,
} from "../../tests/support/memory_streams.ts";
import { run, which } from "../../tests/support/run.ts";
import { createAsk, type TerminalInput } from "./prompt.ts";

/** A terminal on which pieces of text are typed, one a read. */
class Typist implements TerminalInput {
  readonly #pieces: Uint8Array[];
  /** What was asked of the terminal, in order. */
  readonly modes: boolean[] = [];

  constructor(pieces: readonly (string | Uint8Array)[]) {
    this.#pieces = pieces.map((piece) =>
      typeof piece === "string" ? new TextEncoder().encode(piece) : piece
    );
  }

  isTerminal(): boolean {
    return true;
  }

  setRaw(isRaw: boolean): void {
    this.modes.push(isRaw);
  }

  read(bytes: Uint8Array): Promise<number | null> {
    const piece = this.#pieces.shift();
    if (piece) bytes.set(piece);
    return Promise.resolve(piece?.length ?? null);
  }
}

const terminal = (): MemoryStreams => memoryStreams(true);

/** Asks once, and gives what was answered. */
async function answer(
  pieces: readonly (string | Uint8Array)[],
): Promise<string | undefined> {
  const ask = createAsk(terminal(), new Typist(pieces));
  return (await ask?.("? "))?.reveal();
}

const ANSWERS: { name: string; pieces: (string | Uint8Array)[]; to: string }[] =
  [
    { name: "a line", pieces: ["secret\r"], to: "secret" },
    { name: "a line feed as its end", pieces: ["secret\n"], to: "secret" },
    { name: "keys one by one", pieces: [..."secret", "\r"], to: "secret" },
    { name: "an empty line", pieces: ["\r"], to: "" },
    { name: "blanks at both ends", pieces: [" a b \r"], to: " a b " },
    { name: "what is left by backspace", pieces: ["ax\x7fb\b\r"], to: "a" },
    { name: "backspace on an empty line", pieces: ["\x7f\x7fa\r"], to: "a" },
    { name: "a backspace over two bytes", pieces: ["aü\x7fb\r"], to: "ab" },
    { name: "a backspace over an emoji", pieces: ["a🔑\x7fb\r"], to: "ab" },
    { name: "what follows Ctrl-U", pieces: ["wrong\x15right\r"], to: "right" },
    { name: "no cursor keys", pieces: ["a\x1b[A\x1b[1;5Cb\x1bOP\r"], to: "ab" },
    { name: "no control characters", pieces: ["a\0\x01\tb\r"], to: "ab" },
    {
      name: "a character in two reads",
      pieces: [Uint8Array.of(0xc3), Uint8Array.of(0xbc), "\r"],
      to: "ü",
    },
    { name: "only the first line", pieces: ["one\rtwo\r"], to: "one" },
  ];

for (const { name, pieces, to } of ANSWERS) {
  Deno.test(`createAsk() takes ${name}`, async () => {
    assert.equal(await answer(pieces), to);
  });
}

Deno.test("createAsk() keeps what was typed ahead for the next question", async () => {
  const ask = createAsk(terminal(), new Typist(["one\rtwo\r"]));
  const answers = [await ask?.("1 "), await ask?.("2 ")];
  assert.deepEqual(answers.map((a) => a?.reveal()), ["one", "two"]);
});

const PASTES: { name: string; pieces: string[]; to: string }[] = [
  { name: "one line", pieces: ["one\r"], to: "one" },
  { name: "lines in one read", pieces: ["one\rtwo\r"], to: "one\ntwo" },
  {
    name: "lines whose last has no end yet",
    pieces: ["one\r\ntwo", "\r"],
    to: "one\n\ntwo",
  },
  { name: "no line of a later read", pieces: ["one\r", "two\r"], to: "one" },
];

for (const { name, pieces, to } of PASTES) {
  Deno.test(`createAsk() takes a paste of ${name} where lines are joined`, async () => {
    const ask = createAsk(terminal(), new Typist(pieces));
    const given = await ask?.("? ", { joinsLines: true });
    assert.equal(given?.reveal(), to);
  });
}

Deno.test("createAsk() puts the question on stderr, and nothing of the answer", async () => {
  const streams = terminal();
  await createAsk(streams, new Typist([`${CANARY}\r`]))?.("Passphrase: ");
  assert.deepEqual([streams.out, streams.err], ["", "Passphrase: \n"]);
});

Deno.test("createAsk() gives a terminal its settings back", async () => {
  const typist = new Typist(["x\r"]);
  await createAsk(terminal(), typist)?.("? ");
  assert.deepEqual(typist.modes, [true, false]);
});

Deno.test("createAsk() ends by SIGINT for Ctrl-C, with the terminal's settings back", async () => {
  const typist = new Typist(["abc\x03"]);
  const ended = new Promise((resolve) => {
    const interrupt = (signal: Deno.Signal) =>
      resolve([signal, [...typist.modes]]);
    void createAsk(terminal(), typist, interrupt)?.("? ");
  });
  assert.deepEqual(await ended, ["SIGINT", [true, false]]);
});

const FAILURES: { name: string; pieces: string[]; code: string }[] = [
  { name: "Ctrl-D", pieces: ["abc\x04"], code: "no-answer" },
  { name: "the end of the input", pieces: ["abc"], code: "no-answer" },
  {
    name: "more than 4096 characters",
    pieces: Array(5).fill("x".repeat(1000)),
    code: "usage",
  },
];

for (const { name, pieces, code } of FAILURES) {
  Deno.test(`createAsk() refuses ${name}, with the terminal's settings back`, async () => {
    const typist = new Typist(pieces);
    await assert.rejects(async () => {
      await createAsk(terminal(), typist)?.("? ");
    }, { code });
    assert.deepEqual(typist.modes, [true, false]);
  });
}

Deno.test("createAsk() cannot ask when stderr is no terminal", () => {
  assert.equal(createAsk(memoryStreams(), new Typist([])), undefined);
});

Deno.test("createAsk() cannot ask when stdin is no terminal", () => {
  const typist = new Typist([]);
  typist.isTerminal = () => false;
  assert.equal(createAsk(terminal(), typist), undefined);
});

const PROGRAM = fileURLToPath(
  new URL("../../tests/support/ask_child.ts", import.meta.url),
);

/** Runs the program on a pseudo-terminal; `act` is called when it asks. */
async function onTerminal(
  act: (type: (keys: string) => Promise<void>, pid: number) => unknown,
): Promise<{ code: number; shown: string }> {
  const program = `${Deno.execPath()} run -A --no-check ${PROGRAM}`;
  await using child = new Deno.Command("script", {
    // The terminal's settings as they are left are shown, too.
    args: ["-qec", `${program}; s=$?; stty -a; exit $s`, "/dev/null"],
    env: { WANTED: CANARY, SHELL: "/bin/sh", NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const keyboard = child.stdin.getWriter();
  let shown = "";
  let hasActed = false;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    shown += text;
    const [, pid] = /\[(\d+)\] secret\? /.exec(shown) ?? [];
    if (!pid || hasActed) continue;
    hasActed = true;
    await act((keys) => keyboard.write(new TextEncoder().encode(keys)), +pid);
  }
  await keyboard.close().catch(() => {/* it has ended */});
  return { code: (await child.status).code, shown };
}

const reason = which("script") && which("stty")
  ? undefined
  : "no script(1) or stty(1)";

/** Fails unless the terminal was left as it had been found. */
function assertRestored(shown: string): void {
  for (const setting of ["echo", "icanon", "isig"]) {
    assert.match(shown, new RegExp(`\\s${setting}\\s`), shown);
  }
}

testUnless(reason, "createAsk() shows nothing of what is typed", async () => {
  const { code, shown } = await onTerminal((type) => type(`${CANARY}\r`));
  assert.equal(code, 0);
  assert.match(shown, /secret\? \r\nwanted: true\r\n/);
  assertNoCanary(shown);
  assertRestored(shown);
});

testUnless(
  reason,
  "createAsk() ends with 130 for Ctrl-C, with the terminal as it was",
  async () => {
    const { code, shown } = await onTerminal((type) => type(`${CANARY}\x03`));
    assert.equal(code, 130);
    assert(!shown.includes("wanted"), shown);
    assertNoCanary(shown);
    assertRestored(shown);
  },
);

testUnless(
  reason,
  "createAsk() leaves the terminal as it was when SIGTERM ends it",
  async () => {
    const { code, shown } = await onTerminal((_type, pid) =>
      Deno.kill(pid, "SIGTERM")
    );
    assert.equal(code, 143);
    assertRestored(shown);
  },
);

Deno.test("createAsk() asks nobody when stdin is no terminal", async () => {
  const argv = [Deno.execPath(), "run", "-A", "--no-check", PROGRAM];
  assert.equal((await run(argv)).stdout, "no terminal\n");
});
