import assert from "node:assert/strict";
import { isSmallFile } from "./files.ts";

/** Makes something in a directory of its own, and asks about it. */
async function ask(
  make: (path: string) => unknown,
  maxBytes = 3,
): Promise<boolean> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/it`;
    await make(path);
    return await isSmallFile(path, maxBytes);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const write = (text: string) => (path: string) =>
  Deno.writeTextFile(path, text);
const link = (to: string) => (path: string) => Deno.symlink(to, path);
const makePipe = (path: string) =>
  new Deno.Command("mkfifo", { args: [path] }).output();

const CASES: {
  name: string;
  make: (path: string) => unknown;
  isSmall: boolean;
}[] = [
  { name: "a file", make: write("abc"), isSmall: true },
  { name: "a longer file", make: write("abcd"), isSmall: false },
  { name: "a pipe", make: makePipe, isSmall: false },
  { name: "a directory", make: Deno.mkdir, isSmall: false },
  { name: "a link to /dev/zero", make: link("/dev/zero"), isSmall: false },
  { name: "a link to /dev/null", make: link("/dev/null"), isSmall: true },
];

for (const { name, make, isSmall } of CASES) {
  Deno.test(`isSmallFile() is ${isSmall} for ${name}`, async () => {
    assert.equal(await ask(make), isSmall);
  });
}

Deno.test("isSmallFile() throws for a file that is not there", async () => {
  await assert.rejects(ask(() => {}), Deno.errors.NotFound);
});
