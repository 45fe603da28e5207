import assert from "node:assert/strict";
import { serveControl } from "$proxy/control.ts";
import { headerProvider } from "../../../tests/support/header_provider.ts";
import { memoryStreams } from "../../../tests/support/memory_streams.ts";
import { type TempHome, tempHome } from "../../../tests/support/temp_home.ts";
import { MoatError } from "../../errors.ts";
import type { Provider } from "../../provider.ts";
import { runProgram } from "../app.ts";
import { CORE_COMMANDS } from "./mod.ts";

const PROVIDERS: readonly Provider[] = [
  {
    ...headerProvider({ name: "alpha" }),
    explain: ({ name }) =>
      Promise.resolve([
        ["environment", "passed over: it holds no key"],
        ["profile", `used for ${name}\n`],
      ]),
  },
  headerProvider({ name: "plain" }),
];

async function moat(home: TempHome, ...argv: string[]) {
  const streams = memoryStreams();
  const status = await runProgram({
    commands: CORE_COMMANDS,
    examples: [],
    version: "",
    env: { MOAT_HOME: home.directory, MOAT_KEYRING: "file" },
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve(PROVIDERS.map((p) => () => p)),
  }, argv);
  return { status, out: streams.out, err: streams.err };
}

/** A home with two grants. */
async function homeWithGrants(): Promise<TempHome> {
  const home = await tempHome();
  await moat(home, "grant", "alpha", "--name", "x", "--token", "t");
  await moat(home, "grant", "plain", "--token", "t");
  return home;
}

/** Serves a proxy that explains as it is told. */
async function serveProxy(
  home: TempHome,
  callProvider: Parameters<typeof serveControl>[1]["callProvider"],
) {
  const server = await serveControl(
    home.paths.controlSocket,
    {
      runs: { disconnected() {} },
      callProvider,
    } as unknown as Parameters<typeof serveControl>[1],
  );
  return { [Symbol.asyncDispose]: () => server.close() };
}

const EXPLAIN = ["grant", "show", "alpha:x", "--explain"];

Deno.test("moat grant show --explain explains by itself without a proxy", async () => {
  await using home = await homeWithGrants();
  assert.deepEqual(await moat(home, ...EXPLAIN), {
    status: 0,
    out: [
      "  environment   passed over: it holds no key\n",
      "  profile       used for alpha:x\\n\n",
      "  explained by  this command, because no proxy is running\n",
    ].join(""),
    err: "",
  });
});

Deno.test("moat grant show --explain asks a running proxy", async () => {
  await using home = await homeWithGrants();
  const calls: unknown[] = [];
  await using _proxy = await serveProxy(home, (...call) => {
    calls.push(call);
    return Promise.resolve({ lines: [["environment", "used"]] });
  });
  assert.deepEqual(await moat(home, ...EXPLAIN), {
    status: 0,
    out: [
      "  environment   used\n",
      "  explained by  the running proxy, whose environment counts\n",
    ].join(""),
    err: "",
  });
  assert.deepEqual(calls, [["alpha", "explain", { grant: "alpha:x" }]]);
});

for (const by of ["proxy", "command"]) {
  Deno.test(`moat grant show --explain --json has the documented members, by ${by}`, async () => {
    await using home = await homeWithGrants();
    const lines = [["file", "used"]];
    await using _proxy = by === "proxy"
      ? await serveProxy(home, () => Promise.resolve({ lines }))
      : undefined;
    const { out } = await moat(home, ...EXPLAIN, "--json");
    assert.deepEqual(JSON.parse(out), {
      name: "alpha:x",
      provider: "alpha",
      explainedBy: by,
      lines: by === "proxy" ? [{ label: "file", value: "used" }] : [
        { label: "environment", value: "passed over: it holds no key" },
        { label: "profile", value: "used for alpha:x\n" },
      ],
    });
  });
}

Deno.test("moat grant show --explain passes the proxy's error on", async () => {
  await using home = await homeWithGrants();
  await using _proxy = await serveProxy(
    home,
    () => Promise.reject(new MoatError("grant-damaged", "Cannot read")),
  );
  const { status, err } = await moat(home, ...EXPLAIN);
  assert.deepEqual([status, err], [1, "error: Cannot read\n"]);
});

Deno.test("moat grant show --explain refuses a provider that cannot", async () => {
  await using home = await homeWithGrants();
  const { status, err } = await moat(
    home,
    ...["grant", "show", "plain", "--explain"],
  );
  assert.equal(status, 2);
  assert.match(err, /^error: Cannot explain grant "plain": .*\nhint: .*alpha/);
});

Deno.test("moat grant show --explain fails for a grant that is not there", async () => {
  await using home = await homeWithGrants();
  const { status, err } = await moat(
    home,
    ...["grant", "show", "alpha", "--explain"],
  );
  assert.equal(status, 1);
  assert.match(err, /^error: Cannot find grant "alpha"\n/);
});
