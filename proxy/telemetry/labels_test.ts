import assert from "node:assert/strict";
import type { MetadataEvent } from "$core/metadata.ts";
import {
  COPY,
  facts,
  REFUSED,
  SERVED,
} from "../../tests/support/metadata_events.ts";
import { LabelBounds, MAX_SETS, MAX_VALUES, requestLabels } from "./labels.ts";

const LABEL_CASES: {
  name: string;
  event: Partial<MetadataEvent>;
  expect: Record<string, string>;
}[] = [
  {
    name: "a token request",
    event: { resource: "token" },
    expect: { "handler_name": "passthrough", "request_path": "/api/token" },
  },
  {
    name: "the info",
    event: { resource: "info" },
    expect: {
      "handler_name": "iam-info-handler",
      "request_path": "/meta-data/iam/info",
    },
  },
  {
    name: "an error only with a failure",
    event: { status: 200, error: "role_names_do_not_match" },
    expect: { "response_code": "200", "error_description": "" },
  },
  {
    name: "a role whose session was refused",
    event: { status: 502, error: "could_not_assume_role", role: "App" },
    expect: {
      "role_name": "App",
      "response_code": "502",
      "error_description": "could_not_assume_role",
    },
  },
  {
    name: "100 whole characters of a value",
    event: { role: "🐳".repeat(150) },
    expect: { "role_name": "🐳".repeat(100) },
  },
  {
    name: "a variable before a label of the same name",
    event: { container: facts({ labels: { A: "label" }, env: { a: "env" } }) },
    expect: { "container_a": "env" },
  },
  {
    name: "no member that every object has",
    event: { container: facts({ labels: {}, env: {} }) },
    expect: { "container_constructor": "" },
  },
];

for (const { name, event, expect } of LABEL_CASES) {
  Deno.test(`requestLabels() has ${name}`, () => {
    const copy = { labels: ["A", "constructor"], env: ["a"], separator: "_" };
    const labels = new Map(requestLabels({ ...REFUSED, ...event }, copy));
    const found = Object.keys(expect).map((
      key,
    ) => [key, labels.get(key) ?? ""]);
    assert.deepEqual(Object.fromEntries(found), expect);
  });
}

Deno.test("LabelBounds keeps the values of each label, and the sets of them, few", () => {
  const bounds = new LabelBounds();
  const values = new Map<string, Set<string>>();
  const sets = new Set<string>();
  for (let index = 0; index < 20_000; index++) {
    const container = facts({
      env: { STAGE: `s${index % 300}` },
      labels: { PROJECT_VERSION: `v${index % 299}` },
    });
    const event = { ...SERVED, role: `r${index % 297}`, container };
    const labels = bounds.bound(requestLabels(event, COPY));
    sets.add(JSON.stringify(labels));
    for (const [name, value] of labels) {
      values.set(name, (values.get(name) ?? new Set()).add(value));
    }
  }
  const most = Math.max(...[...values.values()].map(({ size }) => size));
  assert.equal(most, MAX_VALUES + 1);
  // That with `other` in place of everything free is one of them.
  assert.equal(sets.size, MAX_SETS);
});

Deno.test("LabelBounds keeps what is known beforehand, however many sets there are", () => {
  const bounds = new LabelBounds();
  for (let index = 0; index < 3 * MAX_SETS; index++) {
    const env = { STAGE: `s${index % 150}` };
    const container = facts({ env, labels: {} });
    const event = { ...SERVED, role: `r${index % 149}`, container };
    bounds.bound(requestLabels(event, COPY));
  }
  const labels = new Map(bounds.bound(requestLabels({
    ...SERVED,
    role: "late",
    container: facts({ env: { STAGE: "late" }, labels: {} }),
  }, COPY)));
  assert.deepEqual(
    ["role_name", "container_stage", "response_code", "api_version"].map(
      (name) => labels.get(name),
    ),
    ["other", "other", "200", "latest"],
  );
});
