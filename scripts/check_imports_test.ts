import assert from "node:assert/strict";
import { checkTree } from "./check_imports.ts";

const CASES: {
  name: string;
  files: Record<string, string>;
  expect: string[];
}[] = [
  {
    name: "takes the allowed directions",
    files: {
      "main.ts": 'import "$core/a.ts"; import "$providers/mod.ts";',
      "core/a.ts": 'import { b } from "./cli/b.ts";',
      "core/cli/b.ts": "export const b = 1;",
      "proxy/p.ts": 'import type { b } from "$core/cli/b.ts";',
      "providers/mod.ts": 'import { aws } from "./aws/mod.ts";',
      "providers/aws/mod.ts": 'import "$core/a.ts"; import "./b.ts";',
      "providers/aws/b.ts": 'import "npm-package";',
    },
    expect: [],
  },
  {
    name: "finds core importing proxy",
    files: { "core/a.ts": '\n\nimport "$proxy/p.ts";' },
    expect: ['core/a.ts:3: core must not import proxy ("$proxy/p.ts")'],
  },
  {
    name: "finds a dynamic import",
    files: { "core/a.ts": 'await import("$providers/mod.ts");' },
    expect: [
      'core/a.ts:1: core must not import providers ("$providers/mod.ts")',
    ],
  },
  {
    name: "finds a re-export",
    files: { "proxy/a.ts": 'export * from "$providers/mod.ts";' },
    expect: [
      'proxy/a.ts:1: proxy must not import providers ("$providers/mod.ts")',
    ],
  },
  {
    name: "finds a provider importing another",
    files: { "providers/npm/mod.ts": 'import "../aws/mod.ts";' },
    expect: [
      'providers/npm/mod.ts:1: a provider must not import another ("providers/aws/mod.ts")',
    ],
  },
  {
    name: "lets a provider import what providers share",
    files: { "providers/npm/mod.ts": 'import "../tokens/token.ts";' },
    expect: [],
  },
  {
    name: "finds what providers share importing a provider",
    files: { "providers/tokens/token.ts": 'import "../npm/mod.ts";' },
    expect: [
      'providers/tokens/token.ts:1: a provider must not import another ("providers/npm/mod.ts")',
    ],
  },
  {
    name: "finds a provider importing the list of providers",
    files: { "providers/npm/mod.ts": 'import "../mod.ts";' },
    expect: [
      'providers/npm/mod.ts:1: a provider must not import another ("providers/mod.ts")',
    ],
  },
  {
    name: "finds main importing scripts",
    files: { "main.ts": 'import "./scripts/build.ts";' },
    expect: [
      'main.ts:1: main.ts must not import scripts ("./scripts/build.ts")',
    ],
  },
  {
    name: "lets a test import tests/support",
    files: { "core/a_test.ts": 'import "../tests/support/fake_clock.ts";' },
    expect: [],
  },
  {
    name: "finds a relative import across folders",
    files: { "proxy/a.ts": 'import "../core/a.ts";' },
    expect: ['proxy/a.ts:1: write "$core/a.ts" instead of "../core/a.ts"'],
  },
  {
    name: "finds an alias inside its own folder",
    files: { "core/a.ts": 'import "$core/b.ts";' },
    expect: ['core/a.ts:1: import relatively inside core ("$core/b.ts")'],
  },
  {
    name: "finds a cycle",
    files: {
      "core/a.ts": 'import "./b.ts";',
      "core/b.ts": 'import "./c.ts";',
      "core/c.ts": 'import "./b.ts";',
    },
    expect: [
      "core/b.ts:1: import cycle core/b.ts -> core/c.ts -> core/b.ts",
    ],
  },
  {
    name: "finds a provider's name in a string",
    files: { "core/a.ts": 'f("aws");', "providers/aws/mod.ts": "" },
    expect: ['core/a.ts:1: names the provider "aws"'],
  },
  {
    name: "finds a provider's name inside an identifier",
    files: { "proxy/a.ts": "\nlet awsRegion;", "providers/aws/mod.ts": "" },
    expect: ['proxy/a.ts:2: names the provider "aws"'],
  },
  {
    name: "lets comments and tests name a provider",
    files: {
      "core/a.ts": '/** Such as aws. */\nf("//", /"/); // aws',
      "core/a_test.ts": 'f("aws");',
      "providers/aws/mod.ts": "",
    },
    expect: [],
  },
  {
    name: "does not take a word that contains a name for it",
    files: { "core/a.ts": "draws(laws);", "providers/aws/mod.ts": "" },
    expect: [],
  },
  {
    name: "lets core say header and tokens",
    files: {
      "core/a.ts": "let header, tokens;",
      "providers/header/mod.ts": "",
      "providers/tokens/token.ts": "",
    },
    expect: [],
  },
  {
    name: "finds what belongs to the machine",
    files: {
      "proxy/a.ts": "Deno.exit(1);\nconsole.log(Date.now());\nDeno.env.get(x);",
      "providers/aws/a.ts": "setTimeout(f, 1);\nsetInterval(f, 1);",
    },
    expect: [
      "providers/aws/a.ts:1: take setTimeout as an argument",
      "providers/aws/a.ts:2: take setInterval as an argument",
      "proxy/a.ts:1: take Deno.exit as an argument",
      "proxy/a.ts:2: take Date.now as an argument",
      "proxy/a.ts:2: take console as an argument",
      "proxy/a.ts:3: take Deno.env as an argument",
    ],
  },
  {
    name: "lets a string speak of the machine",
    files: { "core/a.ts": 'f("Deno.exit", `a \\\n${x} setTimeout()`);' },
    expect: [],
  },
  {
    name: "lets the adapters use the machine",
    files: {
      "main.ts": "Deno.exit(1);",
      "core/clock.ts": "Date.now();",
      "core/cli/output.ts": "console.log();",
      "core/paths.ts": "Deno.env;",
      "core/a_test.ts": "Deno.env;",
      "scripts/a.ts": "Deno.exit(1);",
    },
    expect: [],
  },
];

for (const c of CASES) {
  Deno.test(`checkTree() ${c.name}`, () => {
    assert.deepEqual(checkTree(new Map(Object.entries(c.files))), c.expect);
  });
}
