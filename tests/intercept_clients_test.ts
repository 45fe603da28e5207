/**
 * Real clients through the intercepting proxy, from end to end: each has
 * nothing but the environment that `moat run` or `moat exec` gives, and each
 * vendor must see the real credential once, in its header. What a client
 * prints, what is in its environment and the files that it leaves never hold
 * it.
 */

import assert from "node:assert/strict";
import { assertNoCanary } from "./support/canary.ts";
import { stepUnless, testUnless } from "./support/conditional.ts";
import { moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";
import {
  API,
  type Client,
  CLIENTS,
  node,
  sh,
} from "./support/proxy_clients.ts";
import { SYSTEM_PATH } from "./support/run.ts";
import { VendorBed } from "./support/vendor_bed.ts";
import { assertInjectedOnce } from "./support/vendor_credentials.ts";
import { vendorNetReason } from "./support/vendor_net.ts";

const GRANTS = ["testapi", "github", "npm", "anthropic"];

/** Runs a client in a directory of its own, which also gets its environment. */
async function runClient(
  bed: VendorBed,
  { argv, files = {}, env = {} }: Client,
  start: readonly string[],
): Promise<string> {
  const name = crypto.randomUUID();
  const home = bed.workspace.path(name);
  await Deno.mkdir(home);
  for (const [file, content] of Object.entries(files)) {
    await bed.workspace.write(`${name}/${file}`, content);
  }
  const { code, stdout, stderr } = await bed.moat(
    [...start, "--", ...sh('env -0 >environment; exec "$@"'), "sh", ...argv],
    { PATH: SYSTEM_PATH, ...env, HOME: home },
    home,
  );
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  assertNoCanary(stdout, stderr);
  return stdout;
}

/** Runs a client; looks at what it printed and what vendors saw. */
async function check(
  bed: VendorBed,
  client: Client,
  start: readonly string[],
): Promise<void> {
  const before = bed.requests().length;
  const stdout = await runClient(bed, client, start);
  if (client.prints instanceof RegExp) assert.match(stdout, client.prints);
  else assert.equal(stdout, client.prints);
  const requests = bed.requests(before);
  assertInjectedOnce(requests);
  const asked = [...new Set(requests.map(({ host }) => host))];
  assert.deepEqual(asked, client.asks ?? [API]);
}

testUnless(
  moatReason() ?? vendorNetReason() ?? motoReason(),
  "real clients have their credential put on their requests",
  async (t) => {
    await using bed = await VendorBed.open();
    await bed.grantTestapi();
    await bed.grantNpm();
    await bed.grant("github", "--host", "git.acme.test");
    await bed.grant("anthropic");
    const flags = [
      ...GRANTS.flatMap((grant) => ["--grant", grant]),
      ...bed.flags,
    ];
    for (const [name, client] of Object.entries(CLIENTS)) {
      await stepUnless(
        t,
        client.reason,
        name,
        () => check(bed, client, ["run", ...flags]),
      );
    }
    const old = node("axios-old");
    await stepUnless(
      t,
      old.reason,
      "axios before 1.16.1 is told why not",
      async () => {
        const before = bed.requests().length;
        const stdout = await runClient(bed, old, ["run", ...flags]);
        assert.match(stdout, /^400 .*CONNECT for https/);
        assert.deepEqual(bed.requests(before), []);
      },
    );
    await t.step("curl by moat exec", async () => {
      const { code, stderr } = await bed.moat(["bind", "client", ...flags]);
      assert.equal(code, 0, stderr);
      await check(bed, CLIENTS["curl"]!, ["exec", "client"]);
    });
  },
);
