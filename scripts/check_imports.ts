/**
 * Checks what the folders of moat may know of each other, so that a layer
 * which is crossed by mistake shows in the gate.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join, posix } from "node:path";
import { ROOT, runScript } from "./process.ts";

/** Which folders a folder may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["core", "proxy", "providers"],
  core: [],
  proxy: ["core"],
  providers: ["core"],
  scripts: ["core", "proxy", "providers"],
  tests: ["core", "proxy", "providers", "scripts"],
};

/** What only the composition root and the adapters of the machine may use. */
const MACHINE =
  /\b(Deno\.exit|Deno\.env|console|Date\.now|setTimeout|setInterval|process\.env|process\.exit)\b(?!["'\w-])/g;

/** Where {@link MACHINE} is at home. */
const MACHINE_FILES =
  /^(main|core\/cli\/output|core\/paths|core\/clock)\.ts$|^(scripts|tests)\//;

/** Folders below providers/ that hold no provider of that name. */
const NOT_A_PROVIDER = ["header", "testdata", "tokens"];

/** What providers share. */
const SHARED_BY_PROVIDERS = "tokens";

/** Source text by path from the project's root. */
export type Tree = ReadonlyMap<string, string>;

/**
 * Checks all sources.
 *
 * @param tree Every TypeScript file below main.ts, core, proxy, providers, scripts and tests.
 * @returns One line per violation, `FILE:LINE: sentence`; empty if there is none.
 */
export function checkTree(tree: Tree): string[] {
  const code = new Map(
    [...tree].map(([file, text]) => [file, without("/", text)]),
  );
  return [
    ...[...code].flatMap(([file, text]) => checkImports(file, text)),
    // A string may hold a script for another runtime.
    ...[...tree].flatMap(([file, text]) =>
      checkMachine(file, without("/\"'`", text))
    ),
    ...[...code].flatMap(([file, text]) =>
      checkNames(file, text, providerNames(tree))
    ),
    ...checkCycles(code),
  ].sort();
}

/** Strings, comments and regular expressions, told apart by how they start. */
const TOKEN =
  /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/.*|(?<=[(,=:[!&|?{};\n]\s*|return\s+)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g;

/** Blanks the tokens that start with one of `starts`; lines keep their numbers. */
function without(starts: string, text: string): string {
  return text.replace(
    TOKEN,
    (token) =>
      starts.includes(token.charAt(0)) ? token.replace(/[^\n]+/g, "") : token,
  );
}

const isTest = (file: string) => /_(test|bench)\.ts$/.test(file);
const top = (file: string) => file.split("/")[0] ?? "";

/** Where an import leads, from the project's root; undefined for a package. */
function resolve(file: string, specifier: string): string | undefined {
  if (/^\$\w+\//.test(specifier)) return specifier.slice(1);
  if (!specifier.startsWith(".")) return undefined;
  return posix.join(posix.dirname(file), specifier);
}

function* importsOf(file: string, code: string) {
  // Right behind a quote it is text, such as the fixture of a test.
  const IMPORT = /(?<!["'`])\b(?:from|import)\s*\(?\s*"([^"\n]+)"/g;
  for (const match of code.matchAll(IMPORT)) {
    const specifier = match[1] ?? "";
    const target = resolve(file, specifier);
    if (target) yield { specifier, target, at: at(file, code, match.index) };
  }
}

function at(file: string, code: string, index: number): string {
  return `${file}:${code.slice(0, index).split("\n").length}`;
}

function checkImports(file: string, code: string): string[] {
  return [...importsOf(file, code)].flatMap(({ specifier, target, at }) => {
    const [from, to] = [top(file), top(target)];
    const problems: string[] = [];
    if (from !== to && !isTest(file) && !MAY_IMPORT[from]?.includes(to)) {
      problems.push(`${at}: ${from} must not import ${to} ("${specifier}")`);
    }
    if (crossesProviders(file, target) && !isTest(file)) {
      problems.push(`${at}: a provider must not import another ("${target}")`);
    }
    if (specifier.startsWith("$") && from === to) {
      problems.push(`${at}: import relatively inside ${to} ("${specifier}")`);
    }
    if (specifier.startsWith(".") && from !== to && to in ALIASED) {
      problems.push(`${at}: write "$${target}" instead of "${specifier}"`);
    }
    return problems;
  });
}

const ALIASED = { core: true, proxy: true, providers: true };

function crossesProviders(file: string, target: string): boolean {
  const [from, own] = file.split("/");
  const [to, other] = target.split("/");
  if (from !== "providers" || to !== "providers") return false;
  const isList = /^providers\/(mod|commands)\.ts$/.test(file);
  return !isList && own !== other && other !== SHARED_BY_PROVIDERS;
}

function checkMachine(file: string, code: string): string[] {
  if (MACHINE_FILES.test(file) || isTest(file)) return [];
  return [...code.matchAll(MACHINE)].map((match) =>
    `${at(file, code, match.index)}: take ${match[1]} as an argument`
  );
}

function providerNames(tree: Tree): string[] {
  const folders = [...tree.keys()].filter((file) =>
    /^providers\/[^/]+\//.test(file)
  ).map((file) => file.split("/")[1] ?? "");
  return [...new Set(folders)].filter((name) => !NOT_A_PROVIDER.includes(name));
}

function checkNames(file: string, code: string, names: string[]): string[] {
  if (!/^(core|proxy)\//.test(file) || isTest(file)) return [];
  return code.split("\n").flatMap((line, index) => {
    // awsRegion and AWS_REGION are made of words, too.
    const words = line.replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase()
      .split(/[^a-z0-9]+/);
    return names.filter((name) => words.includes(name))
      .map((name) => `${file}:${index + 1}: names the provider "${name}"`);
  });
}

function checkCycles(code: Tree): string[] {
  const done = new Set<string>();
  const problems: string[] = [];
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) {
      const cycle = [...path.slice(path.indexOf(file)), file];
      problems.push(`${file}:1: import cycle ${cycle.join(" -> ")}`);
    }
    if (done.has(file)) return;
    done.add(file);
    for (const { target } of importsOf(file, code.get(file) ?? "")) {
      visit(target, [...path, file]);
    }
  };
  for (const file of code.keys()) visit(file, []);
  return problems;
}

/**
 * Lists the TypeScript files of the project.
 *
 * @param root The project's root.
 * @returns Paths from the root, sorted.
 */
export async function sourceFiles(root: string): Promise<string[]> {
  const found: string[] = [];
  const walk = async (path: string): Promise<void> => {
    for await (const entry of Deno.readDir(join(root, path))) {
      const child = posix.join(path, entry.name);
      if (entry.isDirectory) await walk(child);
      else if (child.endsWith(".ts")) found.push(child);
    }
  };
  for await (const entry of Deno.readDir(root)) {
    if (!(entry.name in MAY_IMPORT)) continue;
    if (entry.isDirectory) await walk(entry.name);
    else found.push(entry.name);
  }
  return found.sort();
}

if (import.meta.main) {
  await runScript(async () => {
    const files = await sourceFiles(ROOT);
    const problems = checkTree(
      new Map(files.map((f) => [f, Deno.readTextFileSync(join(ROOT, f))])),
    );
    for (const problem of problems) console.log(problem);
    return problems.length > 0 ? 1 : 0;
  });
}
