import assert from "node:assert/strict";
import { digestToken } from "$core/binding.ts";
import type { RunRequest } from "$core/control.ts";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Policy } from "$core/policy.ts";
import { Answer, createRegistry, type Provider } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import type { Store } from "$core/store/store.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { containerFacts } from "../../tests/support/fake_containers.ts";
import { settle } from "../../tests/support/fake_clock.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import {
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import { Binder } from "../bindings/binder.ts";
import { BindingTable, type LiveBinding } from "../bindings/binding_table.ts";
import type { OnLost } from "../listeners.ts";
import { runDirectory } from "./run_files.ts";
import { Runs, type RunsOptions } from "./runs.ts";

const RUN = "abcdefghij";
const OTHER_RUN = "0123456789";
const TOKEN = tokenOf(RUN, "A");
/** Another token of the same run. */
const WRONG_TOKEN = tokenOf(RUN, "B");
const OTHER_TOKEN = tokenOf(OTHER_RUN, "C");

function tokenOf(run: string, letter: string): string {
  return `moat.run-${run}.${letter.repeat(42)}A`;
}

function request(more: Partial<RunRequest> = {}): RunRequest {
  return {
    run: RUN,
    grants: ["alpha"],
    tokenDigest: digestToken(TOKEN),
    directory: "/moat",
    reach: { by: "loopback" },
    ...more,
  };
}

function grant(name: string, settings: Grant["settings"] = {}): Grant {
  const [provider = ""] = name.split(":");
  return { provider, name, createdAt: 0, settings };
}

/** A provider whose endpoint `/NAME` answers with the grant's settings. */
function provider(name: string, more: Partial<Provider> = {}): Provider {
  return {
    ...headerProvider({ name }),
    conflictingEnv: [`${name}_KEY`],
    registerEndpoints(endpoints, { settings }) {
      const answer = new Answer(200, JSON.stringify(settings));
      endpoints.get(`/${name}`, () => answer);
    },
    containerEnv: (_grant, container) => ({
      [`${name}_URL`]: container.endpointUrl,
      [`${name}_TOKEN`]: container.tokenFile ?? "",
    }),
    containerMounts: (_grant, { directory }) => [
      { path: `${name}/file`, mode: 0o444, content: directory ?? "" },
    ],
    ...more,
  };
}

/** Runs with everything that they need. */
class Bed {
  readonly platform;
  readonly bindings = new BindingTable();
  readonly store = createMemoryStore([grant("alpha", { n: 1 }), grant("beta")]);
  readonly runs: Runs;
  /** Listeners in use, by how they are reached. */
  readonly inUse: string[] = [];
  /** Takes the listener of the last run away. */
  lose: OnLost = () => {};
  idles = 0;

  constructor(home?: TempHome, more: Partial<RunsOptions> = {}) {
    this.platform = fakePlatform(home ? { paths: home.paths } : {});
    const registry = more.registry ??
      createRegistry([provider("alpha"), provider("beta")]);
    this.runs = new Runs({
      platform: this.platform,
      registry,
      binder: new Binder(registry, this.platform),
      store: this.store,
      bindings: this.bindings,
      listeners: {
        reach: ({ by }, onLost) => {
          this.lose = onLost;
          return this.#reach(by);
        },
      },
      endsWhenIdle: false,
      onIdle: () => void this.idles++,
      ...more,
    });
  }

  #reach(by: string) {
    this.inUse.push(by);
    const release = () => void this.inUse.splice(this.inUse.indexOf(by), 1);
    return { url: `http://${by}:1`, admits: () => true, release };
  }

  /** The binding of a token, which no run has to load. */
  find(token = TOKEN): LiveBinding | undefined {
    const live = this.bindings.find(token);
    assert(!(live instanceof Promise));
    return live;
  }

  /** What a token's holder gets on some paths; `gone` for an unknown token. */
  get(path: string, token = TOKEN): string {
    const live = this.find(token);
    if (!live) return "gone";
    const { routes, otherwise } = live.served;
    const answer = routes.get(path)?.({ binding: live.binding }) ?? otherwise;
    assert(answer instanceof Answer);
    if (answer.status === 404) return "not found";
    if (answer.status !== 403) return answer.body;
    assert.equal(JSON.parse(answer.body).code, "grant-gone");
    return "refused";
  }

  /** Waits until a run has ended wholly, its files included. */
  async ended(): Promise<void> {
    await eventually("the end of a run", () => this.events.includes("unbound"));
  }

  /** Audit events, without fields. */
  get events(): string[] {
    return this.platform.events.map(({ event }) => event);
  }
}

Deno.test("open() gives a run all that its providers declare", async () => {
  const bed = new Bed(undefined, { endsWhenIdle: true });
  const wish = request({ grants: ["alpha", "beta"], directory: "/d" });
  assert.deepEqual(await bed.runs.open(wish, {}), {
    endpointUrl: "http://loopback:1",
    env: {
      ...{ alpha_URL: "http://loopback:1", alpha_TOKEN: "/d/token" },
      ...{ beta_URL: "http://loopback:1", beta_TOKEN: "/d/token" },
    },
    files: [
      { path: "alpha/file", mode: 0o444, content: "/d" },
      { path: "beta/file", mode: 0o444, content: "/d" },
    ],
    conflictingEnv: ["alpha_KEY", "beta_KEY"],
    endsWhenIdle: true,
    environment: {},
  });
});

const POLICY: Policy = {
  default: "allow",
  rules: [{ action: "deny", host: "evil.test" }],
  allowHosts: [],
  plainHttp: [],
};

/** The proxy variable of a run that was opened. */
async function proxyOf(
  more: Partial<Provider>,
  wish: Partial<RunRequest> = {},
): Promise<string | undefined> {
  const registry = createRegistry([provider("alpha", more)]);
  const bed = new Bed(undefined, { registry });
  const { env } = await bed.runs.open(request(wish), {});
  return env["HTTPS_PROXY"];
}

const PLACE = `http://moat:moat.run-${RUN}.${"0".repeat(43)}@loopback:1`;
const WITH_PROXY: Record<string, string | undefined> = {
  "nothing": undefined,
  "a host to allow": undefined,
  "a header to inject": PLACE,
  "a part of a path to substitute": PLACE,
};
const DECLARE: Record<string, Provider["configureProxy"]> = {
  "a host to allow": (proxy) => proxy.allow("a.test"),
  "a header to inject": (proxy) =>
    proxy.inject({
      host: "a.test",
      header: "authorization",
      value: new Secret("x"),
      strip: [],
    }),
  "a part of a path to substitute": (proxy) =>
    proxy.substitute({
      host: "a.test",
      placeholder: "placeholder-of-16",
      value: new Secret("x"),
    }),
};
for (const [name, wanted] of Object.entries(WITH_PROXY)) {
  Deno.test(`open() gives ${wanted ? "the proxy and a place for the token" : "no proxy"} for a grant with ${name}`, async () => {
    const declare = DECLARE[name];
    const found = await proxyOf(declare ? { configureProxy: declare } : {});
    assert.equal(found, wanted);
  });
}

Deno.test("open() gives the proxy for a policy", async () => {
  assert.equal(await proxyOf({}, { policy: POLICY }), PLACE);
});

Deno.test("open() gives a binding the run's policy", async () => {
  const bed = new Bed();
  await bed.runs.open(request({ policy: POLICY }), {});
  assert.deepEqual(bed.bindings.get(`run-${RUN}`)?.policy, POLICY);
});

Deno.test("open() names what grants take from the proxy's environment", async () => {
  const registry = createRegistry([
    provider("alpha", {
      environmentIdentity: (grant) => `key of ${grant?.name}`,
    }),
    provider("beta", { environmentIdentity: () => undefined }),
  ]);
  const bed = new Bed(undefined, { registry });
  const { environment } = await bed.runs.open(
    request({ grants: ["alpha", "beta"] }),
    {},
  );
  assert.deepEqual(environment, { alpha: "key of alpha" });
});

Deno.test("open() gives a binding the run's settings and subject", async () => {
  const bed = new Bed();
  const settings = { alpha: { duration: 900 } };
  const subject = { user: "ana", container: "web", labels: { a: "b" } };
  await bed.runs.open(request({ settings, subject }), {});
  const binding = bed.bindings.get(`run-${RUN}`);
  assert.deepEqual([binding?.settings, binding?.subject], [
    settings,
    { ...subject, run: RUN },
  ]);
});

Deno.test("open() names the run as subject, whatever the request says", async () => {
  const bed = new Bed();
  await bed.runs.open(request({ subject: { run: "another" } }), {});
  assert.deepEqual(bed.bindings.get(`run-${RUN}`)?.subject, { run: RUN });
});

Deno.test("close() leaves no binding of a run's name", async () => {
  const bed = new Bed();
  const owner = {};
  await bed.runs.open(request(), owner);
  await bed.runs.close(RUN, owner);
  assert.equal(bed.bindings.get(`run-${RUN}`), undefined);
});

Deno.test("open() tells of a new run, and not of one that is resumed", async () => {
  const opened: unknown[] = [];
  const bed = new Bed(undefined, {
    onOpened: (grants, owner) => opened.push([grants, owner]),
  });
  const [first, second] = [{}, {}];
  await bed.runs.open(request(), first);
  await bed.runs.open(request(), second);
  assert.deepEqual(opened, [[["alpha"], first]]);
});

Deno.test("notify() tells the owners of the runs that use a grant", async () => {
  const bed = new Bed();
  const told: string[] = [];
  const owner = (name: string) => ({
    notify: ({ code }: MoatError) => told.push(`${name} ${code}`),
  });
  const runs = { one: ["alpha"], two: ["beta"], three: ["beta", "alpha"] };
  for (const [i, [name, grants]] of Object.entries(runs).entries()) {
    const tokenDigest = digestToken(name);
    const run = `abcdefghi${i}`;
    await bed.runs.open(request({ run, grants, tokenDigest }), owner(name));
  }
  bed.runs.notify("alpha", new MoatError("ends-soon", "x"));
  assert.deepEqual(told, ["one ends-soon", "three ends-soon"]);
});

Deno.test("open() and close() measure how many runs there are", async () => {
  const bed = new Bed();
  const owner = {};
  await bed.runs.open(request(), owner);
  await bed.runs.close(RUN, owner);
  assert.deepEqual(bed.platform.measured, [
    { name: "runs", value: 1, labels: {} },
    { name: "runs", value: 0, labels: {} },
  ]);
});

/** A provider that no binding fits whose grant says so. */
function strict(name: string): Provider {
  return provider(name, {
    registerEndpoints(endpoints, { settings }) {
      endpoints.get(`/${name}`, () => new Answer(200, "wide"));
      if (settings["strict"]) throw new MoatError("misfit", "it is strict");
      endpoints.get(`/${name}/more`, () => new Answer(200, "wide"));
    },
  });
}

/** Two grants, of which the first one becomes too strict for the run. */
async function misfit() {
  const registry = createRegistry([strict("alpha"), provider("beta")]);
  const bed = new Bed(undefined, { registry });
  const told: MoatError[] = [];
  const owner = { notify: (error: MoatError) => told.push(error) };
  const wish = request({ grants: ["alpha", "beta"] });
  await bed.runs.open(wish, owner);
  await bed.store.put(grant("alpha", { strict: true }));
  await bed.runs.grantChanged("alpha");
  return { bed, told, wish, owner };
}

Deno.test("open() refuses a run that its grant does not fit, and keeps nothing", async () => {
  const bed = new Bed(undefined, {
    registry: createRegistry([strict("alpha")]),
  });
  await bed.store.put(grant("alpha", { strict: true }));
  await assert.rejects(bed.runs.open(request(), {}), { code: "misfit" });
  assert.deepEqual(
    [bed.runs.names, bed.inUse, bed.get("/alpha"), bed.events],
    [[], [], "gone", []],
  );
});

Deno.test("grantChanged() refuses all endpoints of a grant that a run does not fit any more", async () => {
  const { bed } = await misfit();
  assert.deepEqual(
    ["/alpha", "/alpha/more", "/beta"].map((path) => bed.get(path)),
    ["refused", "refused", "{}"],
  );
});

Deno.test("grantChanged() tells the owner of a run that does not fit any more", async () => {
  const { told } = await misfit();
  assert.deepEqual(told.map(({ code }) => code), ["misfit"]);
});

Deno.test("grantChanged() logs and does not audit a change that a run does not fit", async () => {
  const { bed } = await misfit();
  const line = bed.platform.lines.find((l) => l.event === "binding-misfit");
  assert.deepEqual([line?.fields, bed.events], [
    { binding: `run-${RUN}`, grant: "alpha", code: "misfit" },
    ["bound"],
  ]);
});

Deno.test("open() resumes a run that does not fit any more, without that grant", async () => {
  const { bed, wish, owner } = await misfit();
  await bed.runs.open(wish, owner);
  assert.deepEqual(
    ["/alpha", "/alpha/more", "/beta"].map((path) => bed.get(path)),
    ["refused", "refused", "{}"],
  );
});

Deno.test("open() prepares no answer of a grant that a resumed run does not fit", async () => {
  const prefetched: string[] = [];
  const registry = createRegistry([{
    ...strict("alpha"),
    prefetch: (grant) => Promise.resolve(void prefetched.push(grant.name)),
  }]);
  const bed = new Bed(undefined, { registry });
  await bed.runs.open(request(), {});
  await bed.store.put(grant("alpha", { strict: true }));
  await bed.runs.grantChanged("alpha");
  await bed.runs.open(request(), {});
  assert.deepEqual(prefetched, ["alpha"]);
});

Deno.test("grantChanged() serves a run again that fits again", async () => {
  const { bed } = await misfit();
  await bed.store.put(grant("alpha"));
  await bed.runs.grantChanged("alpha");
  assert.equal(bed.get("/alpha/more"), "wide");
});

Deno.test("open() serves the run's grants to the holder of its token", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  assert.deepEqual(
    [bed.get("/alpha"), bed.get("/beta"), bed.get("/alpha", WRONG_TOKEN)],
    ['{"n":1}', "not found", "gone"],
  );
});

Deno.test("open() audits the binding with its grants", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  assert.deepEqual(bed.platform.events, [{
    event: "bound",
    fields: { binding: `run-${RUN}`, grants: ["alpha"] },
  }]);
});

const REFUSED: { name: string; more: Partial<RunRequest>; code: string }[] = [
  {
    name: "a grant that is not there",
    more: { grants: ["alpha", "alpha:x"] },
    code: "grant-not-found",
  },
  {
    name: "a grant that is no name",
    more: { grants: ["../alpha"] },
    code: "usage",
  },
  {
    name: "a grant given twice",
    more: { grants: ["alpha", "alpha"] },
    code: "usage",
  },
  {
    name: "two grants of one provider",
    more: { grants: ["alpha", "alpha:y"] },
    code: "endpoint-conflict",
  },
];

for (const { name, more, code } of REFUSED) {
  Deno.test(`open() refuses ${name}, and keeps nothing`, async () => {
    const bed = new Bed();
    await bed.store.put(grant("alpha:y"));
    await assert.rejects(bed.runs.open(request(more), {}), { code });
    assert.deepEqual(
      [bed.runs.names, bed.inUse, bed.get("/alpha"), bed.events],
      [[], [], "gone", []],
    );
  });
}

Deno.test("open() refuses a run after stop()", async () => {
  const bed = new Bed();
  bed.runs.stop();
  await assert.rejects(bed.runs.open(request(), {}), {
    code: "proxy-stopping",
  });
});

Deno.test("open() prepares each grant's first answer", async () => {
  const prefetched: unknown[] = [];
  const registry = createRegistry([
    provider("alpha", {
      prefetch: ({ name }, binding) => {
        prefetched.push([name, binding?.name]);
        return Promise.resolve();
      },
    }),
  ]);
  const bed = new Bed(undefined, { registry });
  await bed.runs.open(request(), {});
  assert.deepEqual(prefetched, [["alpha", `run-${RUN}`]]);
});

Deno.test("open() succeeds although the first answer cannot be prepared", async () => {
  const failure = new MoatError("denied", "no");
  const registry = createRegistry([
    provider("alpha", { prefetch: () => Promise.reject(failure) }),
  ]);
  const bed = new Bed(undefined, { registry });
  await bed.runs.open(request(), {});
  await settle();
  const line = bed.platform.lines.find((l) => l.event === "prefetch-failed");
  assert.deepEqual(line?.fields, { grant: "alpha", code: "denied" });
});

Deno.test("open() resumes a run for the same token", async () => {
  const bed = new Bed();
  const [first, second] = [{}, {}];
  const opened = await bed.runs.open(request(), first);
  assert.deepEqual(await bed.runs.open(request(), second), opened);
  assert.deepEqual(
    [bed.runs.names, bed.inUse, bed.events],
    [[RUN], ["loopback"], ["bound", "run-resumed"]],
  );
});

Deno.test("open() lets a resumed run outlive its first connection", async () => {
  const bed = new Bed();
  const [first, second] = [{}, {}];
  await bed.runs.open(request(), first);
  await bed.runs.open(request(), second);
  bed.runs.disconnected(first);
  await bed.platform.clock.advance(60_000);
  assert.equal(bed.get("/alpha"), '{"n":1}');
});

Deno.test("open() refuses a run of that name with another token", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  const other = request({ tokenDigest: digestToken(WRONG_TOKEN) });
  await assert.rejects(bed.runs.open(other, {}), { code: "run-exists" });
  assert.deepEqual(
    [bed.get("/alpha"), bed.get("/alpha", WRONG_TOKEN), bed.inUse],
    ['{"n":1}', "gone", ["loopback"]],
  );
});

Deno.test("open() lets one of two tokens win when both come at once", async () => {
  const bed = new Bed();
  const other = request({ tokenDigest: digestToken(WRONG_TOKEN) });
  const results = await Promise.allSettled([
    bed.runs.open(request(), {}),
    bed.runs.open(other, {}),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status).sort(),
    ["fulfilled", "rejected"],
  );
  const served = [bed.get("/alpha"), bed.get("/alpha", WRONG_TOKEN)];
  assert.deepEqual(served.sort(), ["gone", '{"n":1}'].sort());
  assert.equal(bed.inUse.length, 1);
});

Deno.test("open() uses one listener for a run that is opened twice at once", async () => {
  const bed = new Bed();
  await Promise.all([
    bed.runs.open(request(), {}),
    bed.runs.open(request(), {}),
  ]);
  assert.deepEqual(bed.inUse, ["loopback"]);
});

Deno.test("close() ends a run at once", async () => {
  const bed = new Bed();
  const owner = {};
  await bed.runs.open(request(), owner);
  await bed.runs.close(RUN, owner);
  assert.deepEqual(
    [bed.get("/alpha"), bed.runs.names, bed.inUse, bed.idles, bed.events],
    ["gone", [], [], 1, ["bound", "unbound"]],
  );
});

Deno.test("close() ends no run of another connection", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await bed.runs.close(RUN, {});
  assert.equal(bed.get("/alpha"), '{"n":1}');
});

Deno.test("close() takes a run that is not there", async () => {
  const bed = new Bed();
  await bed.runs.close(RUN, {});
  assert.equal(bed.idles, 0);
});

Deno.test("close() tells of idleness only with the last run", async () => {
  const bed = new Bed();
  const owner = {};
  const other = { run: OTHER_RUN, tokenDigest: digestToken(OTHER_TOKEN) };
  await bed.runs.open(request(), owner);
  await bed.runs.open(request(other), owner);
  await bed.runs.close(RUN, owner);
  assert.equal(bed.idles, 0);
  await bed.runs.close(other.run, owner);
  assert.equal(bed.idles, 1);
});

Deno.test("close() removes the files of a command that is gone", async () => {
  await using home = await tempHome();
  const bed = new Bed(home);
  const owner = {};
  await Deno.mkdir(runDirectory(home.paths, RUN), { recursive: true });
  await bed.runs.open(request(), owner);
  await bed.runs.close(RUN, owner);
  assert.deepEqual(await namesIn(home.paths.runs), []);
});

Deno.test("close() releases what every provider holds", async () => {
  const released: string[] = [];
  const cleanup = (name: string) =>
    provider(name, { cleanup: (b) => void released.push(`${name} ${b.name}`) });
  const registry = createRegistry([cleanup("alpha"), cleanup("beta")]);
  const bed = new Bed(undefined, { registry });
  const owner = {};
  await bed.runs.open(request(), owner);
  await bed.runs.close(RUN, owner);
  assert.deepEqual(released, [`alpha run-${RUN}`, `beta run-${RUN}`]);
});

Deno.test("close() goes on after a provider that cannot release", async () => {
  const registry = createRegistry([
    provider("alpha", {
      cleanup: () => {
        throw new TypeError("x");
      },
    }),
    provider("beta", { cleanup: () => Promise.reject(new TypeError("x")) }),
  ]);
  const bed = new Bed(undefined, { registry });
  const owner = {};
  await bed.runs.open(request(), owner);
  await bed.runs.close(RUN, owner);
  assert.deepEqual([bed.events, bed.idles], [["bound", "unbound"], 1]);
});

Deno.test("disconnected() leaves a run five seconds", async () => {
  const bed = new Bed();
  const owner = {};
  await bed.runs.open(request(), owner);
  bed.runs.disconnected(owner);
  await bed.platform.clock.advance(4999);
  assert.equal(bed.get("/alpha"), '{"n":1}');
  await bed.platform.clock.advance(1);
  assert.deepEqual([bed.get("/alpha"), bed.inUse], ["gone", []]);
  await bed.ended();
});

Deno.test("disconnected() ends only the runs of that connection", async () => {
  const bed = new Bed();
  const owner = {};
  const other = { run: OTHER_RUN, tokenDigest: digestToken(OTHER_TOKEN) };
  await bed.runs.open(request(), owner);
  await bed.runs.open(request(other), {});
  bed.runs.disconnected(owner);
  await bed.platform.clock.advance(5000);
  assert.deepEqual(bed.runs.names, [other.run]);
  await bed.ended();
});

Deno.test("open() within the grace saves a run", async () => {
  const bed = new Bed();
  const owner = {};
  await bed.runs.open(request(), owner);
  bed.runs.disconnected(owner);
  await bed.platform.clock.advance(4999);
  await bed.runs.open(request(), {});
  await bed.platform.clock.advance(60_000);
  assert.equal(bed.get("/alpha"), '{"n":1}');
});

Deno.test("open() after the grace makes the run anew", async () => {
  const bed = new Bed();
  const owner = {};
  await bed.runs.open(request(), owner);
  bed.runs.disconnected(owner);
  await bed.platform.clock.advance(5000);
  await bed.ended();
  await bed.runs.open(request(), owner);
  assert.deepEqual(
    [bed.get("/alpha"), bed.inUse],
    ['{"n":1}', ["loopback"]],
  );
});

Deno.test("disconnected() gives a resumed run a new grace", async () => {
  const bed = new Bed();
  const [first, second] = [{}, {}];
  await bed.runs.open(request(), first);
  bed.runs.disconnected(first);
  await bed.platform.clock.advance(4000);
  await bed.runs.open(request(), second);
  bed.runs.disconnected(second);
  await bed.platform.clock.advance(4999);
  assert.equal(bed.get("/alpha"), '{"n":1}');
});

Deno.test("grantChanged() stops a revoked grant, and leaves the others", async () => {
  const bed = new Bed();
  await bed.runs.open(request({ grants: ["alpha", "beta"] }), {});
  await bed.store.delete("alpha");
  await bed.runs.grantChanged("alpha");
  assert.deepEqual([bed.get("/alpha"), bed.get("/beta")], ["refused", "{}"]);
});

Deno.test("grantChanged() takes the new settings of a grant", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await bed.store.put(grant("alpha", { n: 2 }));
  await bed.runs.grantChanged("alpha");
  assert.equal(bed.get("/alpha"), '{"n":2}');
});

/** Revokes `alpha`, then grants it anew. */
async function grantAnew(bed: Bed): Promise<void> {
  await bed.store.delete("alpha");
  await bed.runs.grantChanged("alpha");
  await bed.store.put(grant("alpha", { n: 3 }));
  await bed.runs.grantChanged("alpha");
}

Deno.test("grantChanged() gives no run a grant back that it lost", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await grantAnew(bed);
  assert.equal(bed.get("/alpha"), "refused");
});

Deno.test("grantChanged() keeps a lost grant away when another one changes", async () => {
  const bed = new Bed();
  await bed.runs.open(request({ grants: ["alpha", "beta"] }), {});
  await grantAnew(bed);
  await bed.runs.grantChanged("beta");
  assert.deepEqual([bed.get("/alpha"), bed.get("/beta")], ["refused", "{}"]);
});

Deno.test("open() gives a resumed run no grant back that it lost", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await grantAnew(bed);
  await bed.runs.open(request(), {});
  await bed.runs.grantChanged("alpha");
  assert.equal(bed.get("/alpha"), "refused");
});

Deno.test("open() gives a new run a grant that another one lost", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await grantAnew(bed);
  const tokenDigest = digestToken(OTHER_TOKEN);
  await bed.runs.open(request({ run: OTHER_RUN, tokenDigest }), {});
  assert.equal(bed.get("/alpha", OTHER_TOKEN), '{"n":3}');
});

Deno.test("grantChanged() audits the change of a grant in use", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await bed.store.put(grant("alpha", { n: 2 }));
  await bed.runs.grantChanged("alpha");
  assert.deepEqual(bed.platform.events.at(-1), {
    event: "grant-changed",
    fields: { binding: `run-${RUN}`, grant: "alpha" },
  });
});

Deno.test("grantChanged() audits no change of a grant that is lost", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  await grantAnew(bed);
  assert.deepEqual(bed.events, ["bound"]);
});

const SQUATTED = new MoatError("address-in-use", "no");

Deno.test("a run that loses its gateway ends at once", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  bed.lose(SQUATTED);
  assert.deepEqual(
    [bed.get("/alpha"), bed.runs.names, bed.inUse],
    ["gone", [], []],
  );
  await bed.ended();
});

Deno.test("a run that loses its gateway tells its owner", async () => {
  const bed = new Bed();
  const told: string[] = [];
  await bed.runs.open(request(), { notify: ({ code }) => told.push(code) });
  bed.lose(SQUATTED);
  await bed.ended();
  assert.deepEqual(told, ["run-lost"]);
});

Deno.test("open() refuses the token of a run that lost its gateway", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  bed.lose(SQUATTED);
  await bed.ended();
  await assert.rejects(bed.runs.open(request(), {}), { code: "run-lost" });
});

Deno.test("open() admits a token where the run is reached", async () => {
  const bed = new Bed(undefined, {
    listeners: {
      reach: () => ({
        url: "http://x:1",
        admits: (local) => local === "172.17.0.1",
        release() {},
      }),
    },
  });
  await bed.runs.open(request(), {});
  await bed.runs.grantChanged("alpha");
  const { admits } = bed.find()?.entry ?? assert.fail();
  assert.deepEqual(["172.17.0.1", "127.0.0.1"].map(admits), [true, false]);
});

Deno.test("grantChanged() ends the answers that connections remember", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  const live = bed.find();
  await bed.runs.grantChanged("alpha");
  assert.equal(live?.isLive, false);
});

Deno.test("grantChanged() leaves runs without that grant alone", async () => {
  const bed = new Bed();
  await bed.runs.open(request(), {});
  const live = bed.find();
  await bed.runs.grantChanged("beta");
  assert.deepEqual([live?.isLive, bed.find() === live], [
    true,
    true,
  ]);
});

Deno.test("grantChanged() makes every provider forget the grant", async () => {
  const forgotten: string[] = [];
  const registry = createRegistry([
    provider("alpha", { forget: (name) => void forgotten.push(name) }),
    provider("beta"),
  ]);
  const bed = new Bed(undefined, { registry });
  await bed.runs.grantChanged("alpha:x");
  assert.deepEqual(forgotten, ["alpha:x"]);
});

Deno.test("grantChanged() serves nothing of a grant that cannot be read", async () => {
  const failure = new MoatError("grant-damaged", "no");
  const memory = createMemoryStore([grant("alpha")]);
  let isDamaged = false;
  const store: Store = {
    ...memory,
    get: (name) => isDamaged ? Promise.reject(failure) : memory.get(name),
  };
  const bed = new Bed(undefined, { store });
  await bed.runs.open(request(), {});
  isDamaged = true;
  await bed.runs.grantChanged("alpha");
  const line = bed.platform.lines.find(({ event }) => event === "grant-gone");
  assert.deepEqual([bed.get("/alpha"), line?.fields["code"]], [
    "refused",
    "grant-damaged",
  ]);
});

/** A store whose readers wait until they are let go, one by one. */
class SlowStore implements Store {
  readonly #memory = createMemoryStore([grant("alpha", { n: 1 })]);
  readonly #waiting: (() => void)[] = [];
  readonly put = this.#memory.put;
  readonly delete = this.#memory.delete;
  readonly list = this.#memory.list;
  readonly update = this.#memory.update;

  /** Reads at once, but tells only later what it has read. */
  async get(name: string): Promise<Grant> {
    const read = await Promise.allSettled([this.#memory.get(name)]);
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const [result] = read;
    if (result.status === "rejected") throw result.reason;
    return result.value;
  }

  /** Lets the readers go that wait now, and those that come after them. */
  async release(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) {
      await settle();
      this.#waiting.splice(0).forEach((resume) => resume());
    }
    await settle();
  }

  /** Lets one reader go: the first, or the last that came. */
  async releaseOne(which: "first" | "last"): Promise<void> {
    await settle();
    (which === "first" ? this.#waiting.shift() : this.#waiting.pop())?.();
    await settle();
  }
}

/** An open run, whose store tells nothing more until it is released. */
async function openSlowly(owner = {}): Promise<{ store: SlowStore; bed: Bed }> {
  const store = new SlowStore();
  const bed = new Bed(undefined, { store });
  const opening = bed.runs.open(request(), owner);
  await store.release();
  await opening;
  return { store, bed };
}

Deno.test("open() serves no grant that is revoked while it is read", async () => {
  const store = new SlowStore();
  const bed = new Bed(undefined, { store });
  const opening = bed.runs.open(request(), {});
  await settle();
  await store.delete("alpha");
  const changing = bed.runs.grantChanged("alpha");
  await store.release();
  await Promise.allSettled([opening, changing]);
  assert(["gone", "refused"].includes(bed.get("/alpha")), bed.get("/alpha"));
});

Deno.test("open() serves the new grant that replaces one while it is read", async () => {
  const store = new SlowStore();
  const bed = new Bed(undefined, { store });
  const opening = bed.runs.open(request(), {});
  await settle();
  await store.put(grant("alpha", { n: 2 }));
  const changing = bed.runs.grantChanged("alpha");
  await store.release();
  await Promise.all([opening, changing]);
  assert.equal(bed.get("/alpha"), '{"n":2}');
});

Deno.test("grantChanged() revives no run that ends meanwhile", async () => {
  const owner = {};
  const { store, bed } = await openSlowly(owner);
  const changing = bed.runs.grantChanged("alpha");
  await settle();
  await bed.runs.close(RUN, owner);
  await store.release();
  await changing;
  assert.equal(bed.get("/alpha"), "gone");
});

Deno.test("grantChanged() believes the last of two readings, whichever ends first", async () => {
  const { store, bed } = await openSlowly();
  const first = bed.runs.grantChanged("alpha");
  await settle();
  await store.delete("alpha");
  const second = bed.runs.grantChanged("alpha");
  await store.releaseOne("last");
  await store.release();
  await Promise.all([first, second]);
  assert.equal(bed.get("/alpha"), "refused");
});

Deno.test("grantChanged() takes the old rights away before it reads", async () => {
  const { store, bed } = await openSlowly();
  const changing = bed.runs.grantChanged("alpha");
  assert.deepEqual(bed.bindings.names, []);
  const asked = bed.bindings.find(TOKEN);
  assert(asked instanceof Promise);
  await store.release();
  await changing;
  assert((await asked)?.isLive);
});

Deno.test("grantChanged() keeps a run that is resumed meanwhile", async () => {
  const { store, bed } = await openSlowly();
  const changing = bed.runs.grantChanged("alpha");
  await settle();
  const resuming = bed.runs.open(request(), {});
  await store.release();
  await Promise.all([changing, resuming]);
  assert.equal(bed.get("/alpha"), '{"n":1}');
});

Deno.test("open() makes a run anew that ends while it is resumed", async () => {
  const second = {};
  const { store, bed } = await openSlowly();
  const resuming = bed.runs.open(request(), second);
  await settle();
  await bed.runs.close(RUN, second);
  await store.release();
  await resuming;
  assert.deepEqual(
    [bed.get("/alpha"), bed.runs.names, bed.inUse],
    ['{"n":1}', [RUN], ["loopback"]],
  );
});

const TOKENLESS: Partial<Provider> = {
  modes: [{
    ...{ name: "imds", summary: "x", access: "container", needsFiles: false },
    reach: { hostname: "169.254.169.254", port: 80 },
  }],
};

/** A run whose client is known by its label. */
const BY_LABEL: Partial<RunRequest> = {
  mode: "imds",
  reach: { by: "address", address: "169.254.169.254", port: 80 },
  container: { label: { key: "moat.run", value: RUN } },
};

function tokenlessBed(more: Partial<RunsOptions> = {}): Bed {
  const registry = createRegistry([provider("alpha", TOKENLESS)]);
  return new Bed(undefined, { registry, servesMetadata: () => true, ...more });
}

const ITS_CONTAINER = containerFacts({ labels: { "moat.run": RUN } });

Deno.test("open() enters a run of a container without a token", async () => {
  const bed = tokenlessBed();
  await bed.runs.open(request(BY_LABEL), {});
  const [live] = await bed.bindings.ofContainer(ITS_CONTAINER);
  assert.deepEqual(
    [live?.binding.name, live?.served.grants.map(({ name }) => name)],
    [`run-${RUN}`, ["alpha"]],
  );
});

Deno.test("open() gives a run without a token neither token nor files", async () => {
  const bed = tokenlessBed();
  const opened = await bed.runs.open(request(BY_LABEL), {});
  assert.deepEqual([opened.env, opened.files, bed.get("/alpha"), bed.inUse], [
    { alpha_URL: "http://169.254.169.254", alpha_TOKEN: "" },
    ...[[], "gone", []],
  ]);
});

Deno.test("open() refuses a run without token and container", async () => {
  const { container: _, ...wish } = BY_LABEL;
  await assert.rejects(tokenlessBed().runs.open(request(wish), {}), {
    code: "usage",
  });
});

Deno.test("open() refuses a run without a token where no metadata is served", async () => {
  const bed = tokenlessBed({ servesMetadata: () => false });
  await assert.rejects(bed.runs.open(request(BY_LABEL), {}), {
    code: "not-reachable",
  });
});

Deno.test("close() takes the binding of a run from its container", async () => {
  const bed = tokenlessBed();
  const owner = {};
  await bed.runs.open(request(BY_LABEL), owner);
  await bed.runs.close(RUN, owner);
  assert.deepEqual(await bed.bindings.ofContainer(ITS_CONTAINER), []);
});

Deno.test("grantChanged() leaves no moment without a binding to a run's container", async () => {
  const bed = tokenlessBed();
  await bed.runs.open(request(BY_LABEL), {});
  await bed.store.put(grant("alpha", { n: 2 }));
  const changing = bed.runs.grantChanged("alpha");
  const [live] = await bed.bindings.ofContainer(ITS_CONTAINER);
  assert.deepEqual(live?.served.grants.map(({ settings }) => settings), [
    { n: 2 },
  ]);
  await changing;
});
