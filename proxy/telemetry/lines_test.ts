import assert from "node:assert/strict";
import fc from "fast-check";
import { COPY, EVENTS } from "../../tests/support/metadata_events.ts";
import { requestLabels } from "./labels.ts";
import { datadogLine, statsdLine } from "./lines.ts";

Deno.test("statsdLine() is one line of one measurement, whatever the labels", () => {
  fc.assert(
    fc.property(EVENTS, (event) => {
      const labels = requestLabels(event, COPY);
      const line = statsdLine({ name: "a.b", value: 1, type: "c", labels });
      assert.match(line, /^a\.b\.[^\s:|\p{Cc}]+:1\.000000\|c$/u);
    }),
  );
});

Deno.test("datadogLine() has exactly the tags that there are, whatever their values", () => {
  fc.assert(
    fc.property(EVENTS, (event) => {
      const labels = requestLabels(event, COPY);
      const line = datadogLine({ name: "a.b", value: 1, type: "c", labels });
      const [, tags = ""] = /^a\.b:1\|c\|#([^|\p{Cc}]*)$/u.exec(line) ?? [];
      const names = tags.split(",").map((tag) => tag.split(":")[0]);
      assert.deepEqual(names, labels.map(([name]) => name));
    }),
  );
});
