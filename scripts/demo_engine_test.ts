import assert from "node:assert/strict";
import { engineEnv, failureLine } from "./demo_engine.ts";

const KEPT = [
  "PATH",
  "HOME",
  "XDG_RUNTIME_DIR",
  "XDG_DATA_HOME",
  "XDG_CONFIG_HOME",
  "DOCKER_HOST",
  "DOCKER_CONTEXT",
  "DOCKER_CONFIG",
  "CONTAINER_HOST",
  "CONTAINERS_CONF",
  "CONTAINERS_STORAGE_CONF",
  "TMPDIR",
  "DBUS_SESSION_BUS_ADDRESS",
];

for (const name of KEPT) {
  Deno.test(`engineEnv() keeps ${name}`, () => {
    assert.deepEqual(engineEnv({ [name]: "x" }), { [name]: "x" });
  });
}

for (const name of ["AWS_PROFILE", "MOAT_HOME", "MY_HOME", "HTTP_PROXY"]) {
  Deno.test(`engineEnv() leaves ${name} out`, () => {
    assert.deepEqual(engineEnv({ [name]: "x" }), {});
  });
}

const LONG = "abcde ".repeat(20).trim();

const LINES: { name: string; printed: string; line: string }[] = [
  { name: "keeps a short line", printed: "no luck\n", line: "no luck" },
  { name: "takes the last line", printed: "first\nlast\n\n", line: "last" },
  {
    name: "takes what is before a hint",
    printed: "docker: no daemon.\nSee 'docker run --help'.\nhint: start it\n",
    line: "docker: no daemon.",
  },
  { name: "leaves the label out", printed: "Error: no luck", line: "no luck" },
  {
    name: "keeps the end of a long chain of causes",
    printed: `Error: ${LONG}: cannot make it: not permitted`,
    line: "cannot make it: not permitted",
  },
  {
    name: "cuts after a word",
    printed: LONG,
    line: `${"abcde ".repeat(12)}…`,
  },
  {
    name: "keeps a line that just fits",
    printed: "x".repeat(73),
    line: "x".repeat(73),
  },
  {
    name: "cuts a word that is too long by itself",
    printed: "x".repeat(74),
    line: `${"x".repeat(71)} …`,
  },
  { name: "says so if nothing was said", printed: "", line: "no reason given" },
];

for (const { name, printed, line } of LINES) {
  Deno.test(`failureLine() ${name}`, () => {
    assert.equal(failureLine("p", printed), `p: ${line}`);
  });
}
