import assert from "node:assert/strict";
import { environmentOfClient } from "./child.ts";

const CASES: {
  name: string;
  env: Record<string, string>;
  ours?: Record<string, string>;
  conflicting?: string[];
  expect: Record<string, string>;
}[] = [
  { name: "keeps its user's variables", env: { A: "1" }, expect: { A: "1" } },
  {
    name: "puts ours over them",
    env: { A: "1" },
    ours: { A: "2" },
    expect: { A: "2" },
  },
  {
    name: "drops what would override ours",
    env: { A: "1", B: "2" },
    conflicting: ["A"],
    expect: { B: "2" },
  },
  {
    name: "keeps ours of a name that it drops",
    env: { A: "1" },
    ours: { A: "2" },
    conflicting: ["A"],
    expect: { A: "2" },
  },
  {
    name: "drops proxies in any case",
    env: { Http_Proxy: "1", ALL_proxy: "2", all_proxy: "3" },
    ours: { HTTP_PROXY: "4", http_proxy: "5" },
    conflicting: ["HTTP_PROXY", "ALL_PROXY"],
    expect: { HTTP_PROXY: "4", http_proxy: "5" },
  },
  {
    name: "drops other variables in their own case alone",
    env: { ca_file: "1", CA_FILE: "2" },
    conflicting: ["CA_FILE"],
    expect: { ca_file: "1" },
  },
  {
    name: "keeps its user's options of Java before ours",
    env: { JAVA_TOOL_OPTIONS: "-Xmx1g" },
    ours: { JAVA_TOOL_OPTIONS: "-Da=b" },
    conflicting: ["JAVA_TOOL_OPTIONS"],
    expect: { JAVA_TOOL_OPTIONS: "-Xmx1g -Da=b" },
  },
  {
    name: "keeps its user's settings of git before ours",
    env: {
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "a",
      GIT_CONFIG_VALUE_0: "1",
    },
    ours: {
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "b",
      GIT_CONFIG_VALUE_0: "2",
    },
    conflicting: ["GIT_CONFIG_COUNT"],
    expect: {
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: "a",
      GIT_CONFIG_VALUE_0: "1",
      GIT_CONFIG_KEY_1: "b",
      GIT_CONFIG_VALUE_1: "2",
    },
  },
  { name: "drops our own mark", env: { MOAT_SOURCE: "1" }, expect: {} },
];
for (const { name, env, ours = {}, conflicting = [], expect } of CASES) {
  Deno.test(`environmentOfClient() ${name}`, () => {
    const given = { env: ours, conflictingEnv: conflicting };
    assert.deepEqual(environmentOfClient(env, given), expect);
  });
}
