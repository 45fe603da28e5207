import assert from "node:assert/strict";
import { type Client, CLIENTS, versionOf } from "./clients.ts";
import { type Cell, judge, type Verdict } from "./matrix.ts";

const CLIENT: Client = {
  name: "an SDK",
  language: "python",
  program: "sdk",
  version: { debian: "sdk" },
  isQuick: false,
  refreshes: false,
  unsupported: { process: { sentence: "It cannot." } },
};

const OK = { isOk: true, proxied: 0, variant: "plain" } as const;

const VERDICTS: readonly (Partial<Cell> & {
  readonly name: string;
  readonly verdict: Verdict;
})[] = [
  { name: "a session", ...OK, column: "ecs-full", verdict: "ok" },
  {
    name: "no session where one is due",
    ...OK,
    column: "ecs-full",
    isOk: false,
    verdict: "failed",
  },
  {
    name: "no session, by rule",
    ...OK,
    column: "process",
    isOk: false,
    verdict: "unsupported",
  },
  {
    name: "a session against the rule",
    ...OK,
    column: "process",
    verdict: "unexpected",
  },
  {
    name: "a session through a proxy in spite of NO_PROXY",
    ...OK,
    column: "ecs-full",
    variant: "proxied",
    proxied: 1,
    verdict: "failed",
  },
  {
    name: "a session through a proxy without NO_PROXY",
    ...OK,
    column: "ecs-full",
    variant: "unlisted",
    proxied: 1,
    verdict: "ok",
  },
  {
    name: "no session without NO_PROXY",
    ...OK,
    column: "ecs-full",
    variant: "unlisted",
    isOk: false,
    verdict: "unsupported",
  },
];

for (const { name, verdict, ...cell } of VERDICTS) {
  Deno.test(`judge() takes ${name} as ${verdict}`, () => {
    const whole = { client: CLIENT.name, line: "", tookMs: 1, ...cell };
    assert.equal(judge(whole as Cell, CLIENT), verdict);
  });
}

for (const client of CLIENTS.filter(({ version }) => "file" in version)) {
  Deno.test(`versionOf() finds the version of ${client.name}`, async () => {
    assert.match(await versionOf(client), /^\d+\.\d+(\.\d+)?$/);
  });
}
