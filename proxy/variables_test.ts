import assert from "node:assert/strict";
import fc from "fast-check";
import {
  isSameVariable,
  joinVariables,
  overlayVariables,
  type Variables,
} from "./variables.ts";

/** An environment with settings of git. */
function git(...settings: [key: string, value: string][]): Variables {
  return Object.fromEntries([
    ["GIT_CONFIG_COUNT", String(settings.length)],
    ...settings.flatMap(([key, value], i) => [
      [`GIT_CONFIG_KEY_${i}`, key],
      [`GIT_CONFIG_VALUE_${i}`, value],
    ]),
  ]);
}

const JOINS: { name: string; each: Variables[]; joined: Variables }[] = [
  { name: "none to none", each: [], joined: {} },
  {
    name: "different variables",
    each: [{ A: "1" }, { B: "2" }],
    joined: { A: "1", B: "2" },
  },
  {
    name: "one variable to the value of the first",
    each: [{ A: "1" }, { A: "2" }],
    joined: { A: "1" },
  },
  {
    name: "an empty value like any other",
    each: [{ A: "" }, { A: "2" }],
    joined: { A: "" },
  },
  {
    name: "a variable with the name of a method of objects",
    each: [{ toString: "1" } as unknown as Variables],
    joined: { toString: "1" } as unknown as Variables,
  },
  {
    name: "settings of git, numbered anew",
    each: [git(["a", "1"]), git(["b", "2"], ["c", "3"])],
    joined: git(["a", "1"], ["b", "2"], ["c", "3"]),
  },
  {
    name: "settings of git past a grant that has none",
    each: [git(["a", "1"]), { X: "" }, git(["b", "2"])],
    joined: { X: "", ...git(["a", "1"], ["b", "2"]) },
  },
  {
    name: "a key of git of two grants to the value of the first",
    each: [git(["a", "1"]), git(["a", "2"], ["b", "3"])],
    joined: git(["a", "1"], ["b", "3"]),
  },
  {
    name: "a key that one grant sets twice to both values",
    each: [git(["a", ""], ["a", "2"])],
    joined: git(["a", ""], ["a", "2"]),
  },
  {
    name: "settings up to a gap",
    each: [{ ...git(["a", "1"]), GIT_CONFIG_COUNT: "3" }],
    joined: git(["a", "1"]),
  },
  {
    name: "no settings without a count",
    each: [{ GIT_CONFIG_KEY_0: "a", GIT_CONFIG_VALUE_0: "1" }],
    joined: {},
  },
  {
    name: "no settings for a count that is none",
    each: [{ ...git(["a", "1"]), GIT_CONFIG_COUNT: "many" }],
    joined: {},
  },
];
for (const { name, each, joined } of JOINS) {
  Deno.test(`joinVariables() joins ${name}`, () => {
    assert.deepEqual(joinVariables(each), joined);
  });
}

Deno.test("joinVariables() loses and adds no setting of git, whatever it says", () => {
  const text = fc.string({ maxLength: 20 });
  const settings = fc.uniqueArray(fc.tuple(text, text), {
    selector: ([key]) => key,
    maxLength: 12,
  });
  fc.assert(fc.property(settings, fc.nat(12), (all, at) => {
    const each = [git(...all.slice(0, at)), git(...all.slice(at))];
    assert.deepEqual(joinVariables(each), all.length > 0 ? git(...all) : {});
  }));
});

const OVERLAYS: {
  name: string;
  theirs: Variables;
  ours: Variables;
  all: Variables;
}[] = [
  {
    name: "puts ours over theirs",
    theirs: { A: "1", B: "2" },
    ours: { A: "3" },
    all: { A: "3", B: "2" },
  },
  {
    name: "puts our options of Java behind theirs",
    theirs: { JAVA_TOOL_OPTIONS: "-Xmx1g" },
    ours: { JAVA_TOOL_OPTIONS: "-Da=b" },
    all: { JAVA_TOOL_OPTIONS: "-Xmx1g -Da=b" },
  },
  {
    name: "adds no blank to our options of Java",
    theirs: { JAVA_TOOL_OPTIONS: "" },
    ours: { JAVA_TOOL_OPTIONS: "-Da=b" },
    all: { JAVA_TOOL_OPTIONS: "-Da=b" },
  },
  {
    name: "leaves their options of Java alone",
    theirs: { JAVA_TOOL_OPTIONS: "-Xmx1g" },
    ours: {},
    all: { JAVA_TOOL_OPTIONS: "-Xmx1g" },
  },
  {
    name: "puts our settings of git behind theirs, also of one key",
    theirs: git(["a", "1"]),
    ours: git(["a", "2"]),
    all: git(["a", "1"], ["a", "2"]),
  },
  {
    name: "leaves their settings of git alone",
    theirs: { ...git(["a", "1"]), GIT_CONFIG_COUNT: "7" },
    ours: { A: "1" },
    all: { ...git(["a", "1"]), GIT_CONFIG_COUNT: "7", A: "1" },
  },
];
for (const { name, theirs, ours, all } of OVERLAYS) {
  Deno.test(`overlayVariables() ${name}`, () => {
    assert.deepEqual(overlayVariables(theirs, ours), all);
  });
}

const NAMES: [name: string, other: string, isSame: boolean][] = [
  ["A", "A", true],
  ["A", "a", false],
  ["HTTPS_PROXY", "https_proxy", true],
  ["HTTPS_PROXY", "Https_Proxy", true],
  ["HTTPS_PROXY", "HTTP_PROXY", false],
  ["NO_PROXY", "no_proxy", true],
  ["tool_noproxy", "TOOL_NOPROXY", true],
  ["SSL_CERT_FILE", "ssl_cert_file", false],
  ["PROXY", "proxy", false],
];
for (const [name, other, isSame] of NAMES) {
  Deno.test(`isSameVariable() tells ${name} and ${other} ${isSame ? "are one" : "apart"}`, () => {
    assert.equal(isSameVariable(name, other), isSame);
  });
}
