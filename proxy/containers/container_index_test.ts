import assert from "node:assert/strict";
import { ContainerIndex } from "./container_index.ts";
import type { ContainerState, EngineEvent } from "./engine.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);
const C = "c".repeat(64);
const IP = "10.0.0.2";
const NEVER = "0001-01-01T00:00:00Z";
const START = "2026-01-01T00:00:10.5Z";
const START_MS = Date.parse(START);

/** Of a list, when `startedAt` is null. */
function state(
  id: string,
  options: Partial<ContainerState> & {
    ip?: string;
    endpoint?: string;
    startedAt?: string | null;
  } = {},
): ContainerState {
  const { ip = IP, endpoint = "e1", startedAt = START, ...rest } = options;
  return {
    id,
    name: id.slice(0, 3),
    isRunning: true,
    hasExited: false,
    endpoints: ip ? [{ address: ip, network: "net", endpoint }] : [],
    joins: undefined,
    isPartial: false,
    finishedAt: startedAt === null ? undefined : NEVER,
    facts: startedAt === null ? undefined : {
      id,
      name: "",
      image: "",
      env: {},
      labels: {},
      startedAt,
    },
    ...rest,
  };
}

function event(
  container: string,
  action: string,
  rest: Partial<EngineEvent> = {},
): EngineEvent {
  return { container, action, network: undefined, atMs: START_MS, ...rest };
}

/** An index whose questions are answered at once. */
class Told extends ContainerIndex {
  readonly changed: string[];

  constructor() {
    const changed: string[] = [];
    super((address) => changed.push(address));
    this.changed = changed;
  }

  tell(id: string, said: ContainerState | undefined): void {
    const ask = this.ask();
    this.apply(ask, id, said);
    this.answered(ask);
  }

  list(...states: ContainerState[]): void {
    const ask = this.ask();
    this.replace(ask, states);
    this.answered(ask);
  }

  ids(address = IP): string[] {
    return this.holders(address).map(({ id }) => id);
  }

  /** Whether a container had the address when the order was so, and the time. */
  hadAt(id: string, order: number, atMs = -Infinity): boolean {
    const entry = this.get(id);
    return entry !== undefined && this.had(entry, IP, { order, atMs });
  }
}

Deno.test("apply() gives an address to a container", () => {
  const index = new Told();
  index.tell(A, state(A));
  assert.deepEqual(index.ids(), [A]);
});

Deno.test("apply() tells each address that it touches", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(A, state(A, { ip: "10.0.0.3" }));
  assert.deepEqual(index.changed, [IP, IP, "10.0.0.3"]);
});

Deno.test("apply() knows two containers of one address", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B));
  assert.deepEqual(index.ids(), [A, B]);
});

for (const gone of ["nothing", "an end"]) {
  Deno.test(`apply() takes the address away with ${gone}`, () => {
    const index = new Told();
    index.tell(A, state(A));
    const ended = { isRunning: false, hasExited: true, ip: "" };
    index.tell(A, gone === "nothing" ? undefined : state(A, ended));
    assert.deepEqual(index.ids(), []);
    assert.equal(index.size, 0);
  });
}

for (
  const action of ["die", "died", "stop", "destroy", "remove", "disconnect"]
) {
  Deno.test(`happened() takes the address away with ${action}`, () => {
    const index = new Told();
    index.tell(A, state(A));
    index.happened(event(A, action));
    assert.deepEqual(index.ids(), []);
  });
}

Deno.test("happened() takes only the address of the network that was left", () => {
  const index = new Told();
  const other = { address: "10.1.0.2", network: "other", endpoint: "e2" };
  const { endpoints } = state(A);
  index.tell(A, state(A, { endpoints: [...endpoints, other] }));
  index.happened(event(A, "disconnect", { network: "other" }));
  assert.deepEqual([index.ids(), index.ids("10.1.0.2")], [[A], []]);
});

const ACTIONS: Record<string, boolean> = {
  create: true,
  init: true,
  start: true,
  restart: true,
  pause: true,
  unpause: true,
  rename: true,
  update: true,
  connect: true,
  disconnect: true,
  die: true,
  stop: true,
  destroy: false,
  remove: false,
  attach: false,
  kill: false,
  cleanup: false,
  "exec_create: sh": false,
  "health_status: healthy": false,
};

for (const [action, isAsked] of Object.entries(ACTIONS)) {
  Deno.test(`happened() asks ${isAsked ? "" : "not "}after ${action}`, () => {
    assert.equal(new Told().happened(event(A, action)), isAsked);
  });
}

for (const action of ["die", "start", "rename", "connect", "destroy"]) {
  Deno.test(`apply() drops an answer that ${action} has overtaken`, () => {
    const index = new Told();
    const ask = index.ask();
    index.happened(event(A, action));
    assert.equal(index.apply(ask, A, state(A)), false);
    assert.deepEqual(index.ids(), []);
  });
}

Deno.test("apply() takes an answer that was asked after the event", () => {
  const index = new Told();
  const old = index.ask();
  index.happened(event(A, "start"));
  const ask = index.ask();
  assert.equal(index.apply(ask, A, state(A)), true);
  assert.equal(index.apply(old, A, undefined), false);
  assert.deepEqual(index.ids(), [A]);
});

Deno.test("apply() takes an answer although another container had an event", () => {
  const index = new Told();
  const ask = index.ask();
  index.happened(event(B, "die"));
  assert.equal(index.apply(ask, A, state(A)), true);
});

Deno.test("replace() ends what the list lacks", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.list(state(B, { ip: "10.0.0.3", startedAt: null }));
  assert.deepEqual([index.get(A), index.ids("10.0.0.3")], [undefined, [B]]);
});

Deno.test("replace() leaves what had an event since the list was asked", () => {
  const index = new Told();
  const ask = index.ask();
  index.happened(event(A, "start"));
  index.tell(A, state(A));
  index.replace(ask, [state(B, { ip: "10.0.0.3" })]);
  assert.deepEqual(index.ids(), [A]);
});

Deno.test("replace() keeps which start was known", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.list(state(A, { startedAt: null }));
  assert.equal(index.get(A)?.startedAt, START);
});

Deno.test("joiners() knows who shares a network, by id or name", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, { ip: "", joins: A }));
  index.tell(C, state(C, { ip: "", joins: "aaa" }));
  const [holder] = index.holders(IP);
  assert.ok(holder);
  assert.deepEqual(index.joiners(holder), [B, C]);
});

Deno.test("apply() tells the address that somebody begins to share", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.changed.length = 0;
  index.tell(B, state(B, { ip: "", isRunning: false, joins: A }));
  assert.deepEqual(index.changed, [IP]);
});

const JOINED = { ip: "", joins: A };
const ENDED = { isRunning: false, hasExited: true };

Deno.test("apply() tells the address that somebody runs at again", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, { ...JOINED, ...ENDED }));
  index.changed.length = 0;
  index.tell(B, state(B, JOINED));
  assert.deepEqual(index.changed, [IP]);
});

function joiners(index: Told): readonly string[] | undefined {
  const [holder] = index.holders(IP);
  return holder && index.joiners(holder);
}

Deno.test("joiners() keeps who ended, who is not counted", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, { ...JOINED, ...ENDED }));
  assert.deepEqual(joiners(index), [B]);
  assert.equal(index.size, 1);
});

for (const gone of ["an answer", "an event", "a list"]) {
  Deno.test(`joiners() forgets who was destroyed, by ${gone}`, () => {
    const index = new Told();
    index.tell(A, state(A));
    index.tell(B, state(B, JOINED));
    if (gone === "an answer") index.tell(B, undefined);
    if (gone === "an event") index.happened(event(B, "destroy"));
    if (gone === "a list") index.list(state(A, { startedAt: null }));
    assert.deepEqual(joiners(index), []);
  });
}

Deno.test("joiners() knows who shares a network through another one", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(C, state(C, { ip: "", joins: B }));
  index.tell(B, state(B, JOINED));
  assert.deepEqual(joiners(index), [B, C]);
});

Deno.test("joiners() knows who shared it through one that is gone", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, JOINED));
  index.tell(C, state(C, { ip: "", joins: B }));
  index.tell(B, undefined);
  assert.deepEqual(joiners(index), [C]);
  index.changed.length = 0;
  index.tell(C, undefined);
  assert.deepEqual([joiners(index), index.changed], [[], [IP]]);
});

Deno.test("joiners() ends although containers share in a circle", () => {
  const index = new Told();
  index.tell(A, state(A, { joins: C }));
  index.tell(B, state(B, JOINED));
  index.tell(C, state(C, { ip: "", joins: B }));
  assert.deepEqual(joiners(index), [B, C, A]);
});

Deno.test("joiners() keeps what a list leaves out", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, JOINED));
  index.list(
    state(A, { startedAt: null }),
    state(B, { ip: "", startedAt: null, isPartial: true }),
  );
  assert.deepEqual(joiners(index), [B]);
});

Deno.test("unread has who is new, until it is described", () => {
  const index = new Told();
  index.happened(event(B, "create"));
  assert.deepEqual([...index.unread], [B]);
  index.tell(B, state(B));
  index.happened(event(B, "start"));
  assert.deepEqual([...index.unread], []);
});

const READ: Record<string, (index: Told) => void> = {
  "there is none": (index) => index.tell(B, undefined),
  "a list lacks it": (index) => index.list(),
  "a list has it": (index) => index.list(state(B, { startedAt: null })),
  "it is destroyed": (index) => void index.happened(event(B, "destroy")),
  "the engine is lost": (index) => index.lose(),
};

for (const [name, read] of Object.entries(READ)) {
  Deno.test(`unread loses a new one when ${name}`, () => {
    const index = new Told();
    index.happened(event(B, "create"));
    read(index);
    assert.deepEqual([...index.unread], []);
  });
}

/** Tells of a new container by an answer that its start overtakes. */
function overtaken(index: Told, found: ContainerState): void {
  index.happened(event(B, "create"));
  const ask = index.ask();
  index.happened(event(B, "start"));
  assert.equal(index.apply(ask, B, found), false);
}

Deno.test("apply() learns of an answer that was overtaken only whose network is shared", () => {
  const index = new Told();
  index.tell(A, state(A));
  overtaken(index, state(B, { ip: "10.0.0.3", joins: A }));
  assert.deepEqual([...index.unread], []);
  assert.deepEqual(joiners(index), [B]);
  assert.deepEqual(index.ids("10.0.0.3"), []);
  index.tell(B, state(B, { ip: "", joins: A }));
  assert.equal(index.get(B)?.isRunning, true);
});

Deno.test("apply() learns nothing of an answer that an end has overtaken", () => {
  const index = new Told();
  index.happened(event(B, "create"));
  const ask = index.ask();
  index.happened(event(B, "destroy"));
  index.apply(ask, B, state(B));
  assert.equal(index.get(B), undefined);
});

const NS = { ip: "", joins: "ns:/proc/1/ns/net" };

for (
  const [name, found] of [
    ["does not say whose network it has", state(B, { isPartial: true })],
    ["is of podman's ns:PATH", state(B, NS)],
  ] as const
) {
  Deno.test(`unread keeps a new one whose overtaken answer ${name}`, () => {
    const index = new Told();
    overtaken(index, found);
    assert.deepEqual([...index.unread], [B]);
  });
}

/** As podman lists what has no network of its own. */
const BLIND = state(B, { ip: "", startedAt: null, isPartial: true });

Deno.test("unread has who is listed without an address, until this run is described", () => {
  const index = new Told();
  index.list(BLIND);
  assert.deepEqual([...index.unread], [B]);
  index.tell(B, state(B, { ...NS, ip: IP }));
  index.list(BLIND);
  assert.deepEqual([...index.unread], []);
  index.happened(event(B, "die"));
  index.list(BLIND);
  assert.deepEqual([...index.unread], [B]);
});

Deno.test("unread leaves out who has no network, however often it starts", () => {
  const index = new Told();
  index.tell(B, state(B, { ip: "" }));
  index.happened(event(B, "died"));
  index.list(BLIND);
  assert.deepEqual([...index.unread], []);
});

Deno.test("foreign has who runs in a network of another path", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, NS));
  assert.deepEqual([...index.foreign], [B]);
  index.happened(event(B, "died"));
  assert.deepEqual([...index.foreign], []);
});

Deno.test("replace() keeps the addresses that a list leaves out", () => {
  const index = new Told();
  index.tell(A, state(A));
  index.tell(B, state(B, { ...NS, ip: IP }));
  index.list(state(A, { startedAt: null }), BLIND);
  assert.deepEqual(index.ids(), [A, B]);
});

Deno.test("unread has who was only listed, when something happens to it", () => {
  const index = new Told();
  index.list(state(B, { startedAt: null, isPartial: true }));
  assert.deepEqual([...index.unread], []);
  index.happened(event(B, "start"));
  assert.deepEqual([...index.unread], [B]);
});

Deno.test("apply() takes no older answer for a newer one", () => {
  const index = new Told();
  const ask = index.ask();
  index.tell(A, state(A));
  assert.equal(index.apply(ask, A, state(A, { ip: "10.0.0.3" })), true);
  assert.deepEqual([index.ids(), index.ids("10.0.0.3")], [[A], []]);
});

Deno.test("had() is true for what the index knew, at any time of the clock", () => {
  const index = new Told();
  index.tell(A, state(A));
  const { order } = index;
  index.tell(A, state(A));
  assert.ok(index.hadAt(A, order));
});

const RUNS: { name: string; first: ContainerState; second: ContainerState }[] =
  [
    {
      name: "started anew, as podman says",
      first: state(A, { endpoint: "" }),
      second: state(A, { endpoint: "", startedAt: "2026-01-01T00:00:20Z" }),
    },
    {
      name: "in the network anew, as Docker says",
      first: state(A),
      second: state(A, { endpoint: "e2" }),
    },
    {
      name: "never seen started, as podman lists it",
      first: state(A, { endpoint: "", startedAt: null }),
      second: state(A, { endpoint: "" }),
    },
  ];

for (const { name, first, second } of RUNS) {
  Deno.test(`had() is false for a container ${name}`, () => {
    const index = new Told();
    index.tell(A, first);
    const { order } = index;
    index.tell(A, second);
    assert.ok(!index.hadAt(A, order));
  });
}

Deno.test("had() is true for a listed container that is in the network as before", () => {
  const index = new Told();
  index.list(state(A, { startedAt: null }));
  const { order } = index;
  index.tell(A, state(A));
  assert.ok(index.hadAt(A, order));
});

const TIMES: {
  name: string;
  events?: EngineEvent[];
  state?: ContainerState;
  atMs: number;
  had: boolean;
}[] = [
  { name: "before its start", atMs: START_MS - 1, had: false },
  { name: "after its start", atMs: START_MS, had: true },
  {
    name: "in the millisecond of its start",
    state: state(A, { startedAt: "2026-01-01T00:00:10.500000001Z" }),
    atMs: START_MS,
    had: false,
  },
  {
    name: "between Docker's connection and its start",
    events: [event(A, "connect", { network: "net", atMs: START_MS - 200 })],
    atMs: START_MS - 100,
    had: true,
  },
  {
    name: "before Docker's connection",
    events: [event(A, "connect", { network: "net", atMs: START_MS - 200 })],
    atMs: START_MS - 201,
    had: false,
  },
  {
    name: "after the connection of another network",
    events: [event(A, "connect", { network: "no", atMs: START_MS - 200 })],
    atMs: START_MS - 100,
    had: false,
  },
  {
    name: "between podman's init and its start",
    events: [event(A, "init", { atMs: START_MS - 8 })],
    atMs: START_MS - 4,
    had: true,
  },
  {
    name: "after an init of an earlier run",
    events: [event(A, "init", { atMs: START_MS - 80 })],
    state: state(A, { finishedAt: "2026-01-01T00:00:10.45Z" }),
    atMs: START_MS - 4,
    had: false,
  },
  {
    name: "after a start without a time",
    state: state(A, { startedAt: "soon" }),
    atMs: START_MS,
    had: false,
  },
];

for (const { name, events = [], state: said = state(A), atMs, had } of TIMES) {
  Deno.test(`had() is ${had} ${name}`, () => {
    const index = new Told();
    for (const each of events) index.happened(each);
    index.tell(A, said);
    assert.equal(index.hadAt(A, -1, atMs), had);
  });
}

Deno.test("had() trusts no time of an address that came while it ran", () => {
  const index = new Told();
  index.tell(A, state(A, { ip: "" }));
  index.happened(event(A, "connect", { network: "net" }));
  index.tell(A, state(A));
  assert.ok(!index.hadAt(A, -1, START_MS + 1e9));
});

Deno.test("lose() forgets the times of events", () => {
  const index = new Told();
  index.happened(event(A, "init", { atMs: START_MS - 8 }));
  index.lose();
  index.tell(A, state(A));
  assert.ok(!index.hadAt(A, -1, START_MS - 4));
});
