/**
 * The fast gate: format, lint, types, imports and doc comments. Prints only
 * what fails.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { sourceFiles } from "./check_imports.ts";
import { ROOT, run, runScript } from "./process.ts";

/** One check: its name and what runs it. */
interface Check {
  readonly name: string;
  readonly argv: readonly string[];
}

/** Modules that only pass on what a package exports; its docs are its own. */
const PASSED_ON = /\/(sdk_sources|sdk_sts|get_role_sdk|logtape)\.ts$/;

async function checks(): Promise<Check[]> {
  const deno = Deno.execPath();
  const documented = (await sourceFiles(ROOT)).filter((file) =>
    /^(core|proxy|providers)\//.test(file) &&
    !/_(test|bench)\.ts$/.test(file) && !PASSED_ON.test(file)
  );
  const imports = [deno, "run", "--allow-read", "scripts/check_imports.ts"];
  return [
    { name: "format", argv: [deno, "fmt", "--check"] },
    { name: "lint", argv: [deno, "lint", "--quiet"] },
    { name: "types", argv: [deno, "check", "--quiet"] },
    { name: "imports", argv: imports },
    { name: "docs", argv: [deno, "doc", "--lint", "--quiet", ...documented] },
  ];
}

async function passes(check: Check): Promise<boolean> {
  const result = await run(check.argv, { env: { RUST_BACKTRACE: "0" } });
  if (result.code === 0) return true;
  console.error(`${result.stdout}${result.stderr}`.trimEnd());
  console.error(`check failed: ${check.name}\n`);
  return false;
}

await runScript(async () => {
  const passed = await Promise.all((await checks()).map(passes));
  return passed.every(Boolean) ? 0 : 1;
});
