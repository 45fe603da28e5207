import assert from "node:assert/strict";
import { CLIENTS } from "./clients.ts";
import { COLUMNS } from "./columns.ts";
import type { Cell } from "./matrix.ts";
import { fill, matrixRow, numberRules, refreshTable } from "./report.ts";

const [CLIENT] = CLIENTS.filter(({ unsupported }) => unsupported["process"]);

const CELL: Cell = {
  client: CLIENT?.name ?? "",
  column: "ecs-full",
  variant: "plain",
  isOk: true,
  proxied: 0,
  line: "ok",
  tookMs: 1,
};

/** The row of the client, without name and version. */
function row(cells: readonly Cell[], contained: readonly Cell[] = []) {
  assert.ok(CLIENT);
  return matrixRow(CLIENT, { cells, contained }, numberRules());
}

Deno.test("matrixRow() tells what was not run", () => {
  const wanted = [...COLUMNS.map(() => "not run"), "not run", "nothing"];
  assert.deepEqual(row([]), wanted);
});

Deno.test("matrixRow() tells a session", () => {
  assert.equal(row([CELL])[1], "ok");
});

Deno.test("matrixRow() fails a mode that works without a proxy only", () => {
  const proxied: Cell = { ...CELL, variant: "proxied", proxied: 1 };
  assert.equal(row([CELL, proxied])[1], "failed");
});

Deno.test("matrixRow() names the rule behind a missing session", () => {
  const cell: Cell = { ...CELL, column: "process", isOk: false };
  assert.match(row([cell])[0] ?? "", /^no \(\d\)$/);
});

Deno.test("matrixRow() names the mode inside a container", () => {
  const cell: Cell = { ...CELL, column: "ecs-relative" };
  assert.equal(row([], [cell]).at(-2), "`ecs-relative`");
});

Deno.test("matrixRow() tells a way that goes through a proxy once", () => {
  const cells = ["ecs-full", "ecs-full-query"].map((column) => (
    { ...CELL, column, variant: "unlisted", proxied: 1 } as Cell
  ));
  assert.equal(row(cells).at(-1), "`ecs-full`");
});

Deno.test("refreshTable() counts what a client said without a session", () => {
  const text = refreshTable([{
    client: "an SDK",
    column: "ecs-full",
    polls: 3,
    sessions: 1,
    failures: ["error", "late"],
  }]);
  assert.match(text, /\| an SDK \| `ecs-full` \| 3 \| 1 \| 2 ways \|$/);
});

const PAGE = "a\n\n<!-- x -->\nold\n<!-- /x -->\n\nb\n";

Deno.test("fill() replaces what is between the markers", () => {
  const wanted = "a\n\n<!-- x -->\n\nnew\n\n<!-- /x -->\n\nb\n";
  assert.equal(fill(PAGE, "x", "new"), wanted);
});

Deno.test("fill() refuses a page without the markers", () => {
  assert.throws(() => fill(PAGE, "y", "new"), /no markers <!-- y -->/);
});
