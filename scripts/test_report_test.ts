import assert from "node:assert/strict";
import { nothingRan, parseJunit, selected, tally } from "./test_report.ts";

/** As written by Deno 2.7.11, shortened. */
const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="8" failures="2" errors="1" time="0.011">
  <testsuite name="./a_test.ts" tests="8" disabled="2" errors="0" failures="2">
    <testcase name="ok" classname="./a_test.ts" time="0.000" line="1" col="6">
    </testcase>
    <testcase name="a &gt; b" classname="./a_test.ts" time="0" line="1" col="6">
    </testcase>
    <testcase name="no (skipped: &lt;x&gt; &amp; &quot;y&quot;)" classname="./a_test.ts" time="0.000" line="3" col="6">
      <skipped/>
    </testcase>
    <testcase name="bad" classname="./a_test.ts" time="0.000" line="4" col="6">
      <failure message="Uncaught Error: x">Error: x</failure>
    </testcase>
    <testcase name="cut" classname="./a_test.ts" time="0.000" line="2" col="6">
      <error message="Cancelled"/>
    </testcase>
    <testcase name="ok &gt; step" classname="./a_test.ts" time="0" line="2" col="48">
    </testcase>
    <testcase name="ok &gt; step &gt; deep" classname="./a_test.ts" time="0" line="2" col="78">
      <skipped/>
    </testcase>
    <testcase name="bad &gt; step" classname="./a_test.ts" time="0" line="5" col="46">
      <failure message="Uncaught Error: y">Error: y</failure>
    </testcase>
  </testsuite>
</testsuites>
`;

Deno.test("tally() counts tests and leaves their steps out", () => {
  const { passed, failed } = tally(parseJunit(REPORT), 1);
  assert.deepEqual({ passed, failed }, { passed: 2, failed: 2 });
});

Deno.test("tally() names what was skipped", () => {
  assert.deepEqual(tally(parseJunit(REPORT), 1).skipped, [
    'no (skipped: <x> & "y")',
    "ok > step > deep",
  ]);
});

Deno.test("tally() counts a run that failed without a failed test", () => {
  assert.equal(tally(parseJunit(""), 1).failed, 1);
});

Deno.test("tally() does not add to the failures of tests", () => {
  const one = { file: "a", name: "x", outcome: "failed" } as const;
  assert.equal(tally([one], 1).failed, 1);
});

Deno.test("selected() leaves out what the filter left out", () => {
  const names = selected(parseJunit(REPORT), "ok").map((test) => test.name);
  assert.deepEqual(names, ["ok", "ok > step", "ok > step > deep"]);
});

Deno.test("selected() takes a pattern between slashes", () => {
  const names = selected(parseJunit(REPORT), "/^(bad|cut)$/")
    .map((test) => test.name);
  assert.deepEqual(names, ["bad", "cut"]);
});

Deno.test("nothingRan() names the filter that nothing matched", () => {
  assert.match(nothingRan([], "nosuchthing", 0) ?? "", /"nosuchthing"/);
});

Deno.test("nothingRan() leaves a run that failed by itself alone", () => {
  assert.equal(nothingRan([], "nosuchthing", 1), undefined);
});

Deno.test("nothingRan() says nothing when a test was chosen", () => {
  const one = { file: "a", name: "x", outcome: "skipped" } as const;
  assert.equal(nothingRan([one], "x", 0), undefined);
});
