import assert from "node:assert/strict";
import { join } from "node:path";
import { MoatError } from "$core/errors.ts";
import { type AskOptions, type FlagValues } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { obtainToken, type TokenInput, type TokenPlaces } from "./obtain.ts";

const PLACES: TokenPlaces = {
  what: "Example token",
  env: {},
  variables: ["EXAMPLE_TOKEN", "EX_TOKEN"],
  hint: "create one at https://example.com/keys",
};

const program = (answer: string | undefined) => ({
  command: "ex auth token",
  run: () => Promise.resolve(answer),
});

const ask = (answer: string) => () => Promise.resolve(new Secret(answer));

/** Pipes text in. */
function input(text: string, isTerminal = false): TokenInput {
  return {
    isTerminal: () => isTerminal,
    readable: ReadableStream.from([new TextEncoder().encode(text)]),
  };
}

const ALL = { EX_TOKEN: "second", EXAMPLE_TOKEN: "first" };

const ORDER: {
  name: string;
  flags?: FlagValues;
  places?: Partial<TokenPlaces>;
  answer?: string;
  expect: [token: string, source: string, variable?: string];
}[] = [
  {
    name: "--token-file before everything",
    flags: { "token-file": "-" },
    places: { env: ALL, program: program("printed") },
    answer: "answered",
    expect: ["piped", "file"],
  },
  {
    name: "the first variable before the program",
    places: { env: ALL, program: program("printed") },
    answer: "answered",
    expect: ["first", "env", "EXAMPLE_TOKEN"],
  },
  {
    name: "the next variable when the first is empty",
    places: { env: { EXAMPLE_TOKEN: "", EX_TOKEN: "second" } },
    expect: ["second", "env", "EX_TOKEN"],
  },
  {
    name: "the program before a question",
    places: { program: program("printed\n") },
    answer: "answered",
    expect: ["printed", "cli"],
  },
  {
    name: "a question when the program has none",
    places: { program: program(undefined) },
    answer: "answered",
    expect: ["answered", "prompt"],
  },
];

for (const { name, flags = {}, places, answer, expect } of ORDER) {
  Deno.test(`obtainToken() takes ${name}`, async () => {
    const { token, origin } = await obtainToken(
      { flags, ...answer !== undefined && { ask: ask(answer) } },
      { ...PLACES, ...places },
      input("piped\n"),
    );
    const [wanted, tokenSource, tokenVariable] = expect;
    assert.deepEqual([token.reveal(), origin], [wanted, {
      tokenSource,
      ...tokenVariable && { tokenVariable },
    }]);
  });
}

Deno.test("obtainToken() asks for it hidden, and takes a paste of several lines (moat-go W25, 353)", async () => {
  const asked: [string, AskOptions | undefined][] = [];
  const { token } = await obtainToken({
    flags: {},
    ask: (question, options) => {
      asked.push([question, options]);
      return Promise.resolve(new Secret("abc\ndef"));
    },
  }, PLACES);
  assert.deepEqual([token.reveal(), asked], [
    "abcdef",
    [["Example token (not shown): ", { joinsLines: true }]],
  ]);
});

Deno.test("obtainToken() reads a file", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "token");
  await Deno.writeTextFile(path, "from-file\n");
  const { token } = await obtainToken(
    { flags: { "token-file": path } },
    PLACES,
  );
  assert.equal(token.reveal(), "from-file");
});

Deno.test("obtainToken() reads a named pipe, as a shell's <(…) is", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "pipe");
  const shell = new Deno.Command("sh", {
    args: ["-c", 'mkfifo "$0" && echo made && echo from-pipe >"$0"', path],
    stdout: "piped",
  }).spawn();
  const output = shell.stdout.getReader();
  await output.read();
  const { token } = await obtainToken(
    { flags: { "token-file": path } },
    PLACES,
  );
  await output.cancel();
  await shell.status;
  assert.equal(token.reveal(), "from-pipe");
});

Deno.test("obtainToken() stops reading a file without end", async () => {
  await assert.rejects(
    obtainToken({ flags: { "token-file": "/dev/zero" } }, PLACES),
    { code: "bad-token" },
  );
});

const FAILURES: {
  name: string;
  flags?: FlagValues;
  places?: Partial<TokenPlaces>;
  stdin?: TokenInput;
  answer?: string;
  code: string;
  message: RegExp;
}[] = [
  {
    name: "has no token anywhere",
    code: "no-token",
    message:
      /^Cannot find any Example token: no --token-file, no EXAMPLE_TOKEN, no EX_TOKEN, and no terminal to ask at$/,
  },
  {
    name: "is given a file that is missing",
    flags: { "token-file": "/nonexistent/token" },
    places: { env: ALL },
    code: "cannot-read",
    message: /^Cannot read "\/nonexistent\/token"/,
  },
  {
    name: "is given a directory",
    flags: { "token-file": "/tmp" },
    code: "cannot-read",
    message: /^Cannot read "\/tmp"/,
  },
  {
    name: "would show the token at a terminal (moat-go W25)",
    flags: { "token-file": "-" },
    stdin: input(CANARY, true),
    code: "usage",
    message: /it would be shown$/,
  },
  {
    name: "is piped nothing",
    flags: { "token-file": "-" },
    stdin: input(""),
    places: { env: ALL },
    code: "bad-token",
    message: /^Cannot use the token of stdin: .* found nothing$/,
  },
  {
    name: "finds several words in a variable",
    places: { env: { EX_TOKEN: `token ${CANARY}` } },
    code: "bad-token",
    message: /^Cannot use the token of EX_TOKEN: /,
  },
  {
    name: "is printed an error by the program",
    places: { program: program(`no token, but ${CANARY}`) },
    code: "bad-token",
    message: /^Cannot use the token of ex auth token: /,
  },
  {
    name: "is answered nothing",
    answer: "",
    code: "bad-token",
    message: /^Cannot use the token of the answer: .* found nothing$/,
  },
];

for (
  const { name, flags = {}, places, stdin, answer, code, message } of FAILURES
) {
  Deno.test(`obtainToken() fails when it ${name}`, async () => {
    const error = await obtainToken(
      { flags, ...answer !== undefined && { ask: ask(answer) } },
      { ...PLACES, ...places },
      stdin ?? input("piped"),
    ).catch((error: unknown) => error);
    assert.ok(error instanceof MoatError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
  });
}

Deno.test("obtainToken() ends when the person gives no answer (moat-go 389)", async () => {
  await assert.rejects(
    obtainToken({
      flags: {},
      ask: () => Promise.reject(new MoatError("no-answer", "Cannot go on")),
    }, PLACES),
    { code: "no-answer" },
  );
});
