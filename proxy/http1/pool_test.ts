import assert from "node:assert/strict";
import {
  ConnectionPool,
  connectionsWithin,
  type Pooled,
  readDescriptorLimit,
} from "./pool.ts";

class FakeConnection implements Pooled {
  readonly isStranger: boolean;
  isClosed = false;

  constructor(isStranger: boolean) {
    this.isStranger = isStranger;
  }

  close(): boolean {
    return this.isClosed = true;
  }
}

const stranger = () => new FakeConnection(true);
const known = () => new FakeConnection(false);

Deno.test("add() takes connections until the pool is full", () => {
  const pool = new ConnectionPool(2);
  const taken = [known(), known(), known()].map((one) => pool.add(one));
  assert.deepEqual(taken, [true, true, false]);
});

Deno.test("add() closes the oldest stranger of a full pool", () => {
  const pool = new ConnectionPool(3);
  const connections = [known(), stranger(), stranger(), known()];
  const taken = connections.map((one) => pool.add(one));
  assert.deepEqual(
    [taken, connections.map(({ isClosed }) => isClosed)],
    [[true, true, true, true], [false, true, false, false]],
  );
});

Deno.test("add() closes no stranger while there is a place", () => {
  const pool = new ConnectionPool(2);
  const one = stranger();
  pool.add(one);
  pool.add(known());
  assert.equal(one.isClosed, false);
});

Deno.test("delete() makes a place, once", () => {
  const pool = new ConnectionPool(2);
  const [one, two] = [known(), known()];
  pool.add(one);
  pool.add(two);
  pool.delete(one);
  pool.delete(one);
  assert.deepEqual([pool.add(known()), pool.add(known())], [true, false]);
});

const WITHIN: { limit: number; expect: number }[] = [
  { limit: 1, expect: 1 },
  { limit: 128, expect: 1 },
  { limit: 256, expect: 128 },
  { limit: 1024, expect: 768 },
  { limit: 8192, expect: 6144 },
  { limit: 20_000, expect: 15_000 },
  { limit: 1_048_576, expect: 40_000 },
  { limit: Infinity, expect: 40_000 },
];

for (const { limit, expect } of WITHIN) {
  Deno.test(`connectionsWithin() allows ${expect} of ${limit} descriptors`, () => {
    assert.equal(connectionsWithin(limit), expect);
  });
}

/** A program in place of the shell. */
async function limitSaidBy(script: string): Promise<number> {
  const directory = await Deno.makeTempDir();
  try {
    const shell = `${directory}/sh`;
    await Deno.writeTextFile(shell, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
    return readDescriptorLimit(shell);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const SAID: { script: string; expect: number }[] = [
  { script: "echo 1024", expect: 1024 },
  { script: "echo unlimited", expect: Infinity },
  { script: "echo what", expect: 256 },
  { script: "exit 1", expect: 256 },
  { script: 'ulimit -Sn 99; exec /bin/sh "$@"', expect: 99 },
];

for (const { script, expect } of SAID) {
  Deno.test(`readDescriptorLimit() reads ${expect} from ${script}`, async () => {
    assert.equal(await limitSaidBy(script), expect);
  });
}

Deno.test("readDescriptorLimit() is careful without a shell", () => {
  assert.equal(readDescriptorLimit("/nowhere/sh"), 256);
});
