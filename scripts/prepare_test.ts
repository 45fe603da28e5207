import assert from "node:assert/strict";
import { join } from "node:path";
import { needsPreparing } from "./prepare.ts";
import { ROOT } from "./process.ts";

const CASES: { name: string; paths: string[]; needed: boolean }[] = [
  { name: "all tests", paths: [], needed: true },
  { name: "a unit test", paths: ["core/grant_test.ts"], needed: false },
  { name: "a folder of unit tests", paths: ["core/", "proxy"], needed: false },
  { name: "a test in tests/", paths: ["tests/cli_test.ts"], needed: true },
  { name: "the folder tests/", paths: ["./tests/"], needed: true },
  { name: "the whole project", paths: ["."], needed: true },
  { name: "an absolute path", paths: [join(ROOT, "tests")], needed: true },
  { name: "a mix", paths: ["core", "tests/cli_test.ts"], needed: true },
  { name: "a folder with a like name", paths: ["tests_old"], needed: false },
];

for (const { name, paths, needed } of CASES) {
  Deno.test(`needsPreparing() ${needed ? "takes" : "leaves out"} ${name}`, () => {
    assert.equal(needsPreparing(paths), needed);
  });
}
