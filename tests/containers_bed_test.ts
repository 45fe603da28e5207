import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import {
  type Bed,
  bedReason,
  type Engine,
  openBed,
} from "./support/containers.ts";
import { run, startServer, which } from "./support/run.ts";

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = bedReason(engine);

  testUnless(reason, `a ${engine} bed runs a container`, async () => {
    await using bed = await openBed(engine);
    const { stdout, stderr } = await run([...containerOf(bed), "echo", "ok"]);
    assert.equal(stdout, "ok\n", stderr);
  });

  testUnless(reason, `a ${engine} bed takes plain options, too`, async () => {
    await using bed = await openBed(engine);
    const { argv, env } = bed.plain;
    const info = [...bed.prefix, ...argv, "image", "ls", "--quiet"];
    const { stdout, stderr } = await run(info, { env });
    assert.match(stdout, /^[0-9a-f]{12}\n$/, stderr);
  });

  testUnless(
    reason,
    `a ${engine} bed answers its containers on 169.254.170.2`,
    async () => {
      await using bed = await openBed(engine);
      await Deno.writeTextFile(`${bed.directory}/found`, "");
      const serve = [which("python3") ?? "", "-u", "-m", "http.server"];
      await using server = await startServer(
        [...bed.prefix, ...serve, "--bind", "169.254.170.2", "0"],
        { cwd: bed.directory, ready: /Serving HTTP on .*\((.*)\)/g },
      );
      const url = `${server.ready[0]?.[1]}found`;
      const { stdout, stderr } = await run([
        ...containerOf(bed),
        ..."curl -s -w %{http_code}".split(" "),
        url,
      ]);
      assert.equal(stdout, "200", stderr);
    },
  );

  testUnless(reason, `a closed ${engine} bed leaves nothing`, async () => {
    const bed = await openBed(engine);
    const detached = [bed.engine, "run", "--detach", ...bed.mounts, bed.image];
    await run([...detached, "sleep", "60"]);
    await bed.close();
    assert.deepEqual(await traces(bed.directory), []);
  });
}

testUnless(
  bedReason("podman"),
  "two podman beds stand side by side",
  async () => {
    await using one = await openBed("podman");
    await using two = await openBed("podman");
    const outputs = await Promise.all([one, two].map(async (bed, index) => {
      return (await run([...containerOf(bed), "echo", `bed ${index}`])).stdout;
    }));
    assert.deepEqual(outputs, ["bed 0\n", "bed 1\n"]);
  },
);

testUnless(
  bedReason("podman"),
  "a bed goes when its test process is killed",
  async () => {
    const module = new URL("support/containers.ts", import.meta.url).href;
    const script = `const { openBed } = await import("${module}");
      console.log("ready", (await openBed("podman")).directory);
      setInterval(() => {}, 1000);`;
    const server = await startServer([Deno.execPath(), "eval", script], {
      ready: /ready (.*)\n/g,
    });
    await server.stop("SIGKILL");
    const directory = server.ready[0]?.[1] ?? "";
    for (let tries = 0; tries < 100; tries++) {
      if ((await traces(directory)).length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.deepEqual(await traces(directory), []);
  },
);

/** The start of a command line that runs a program in a new container. */
function containerOf(bed: Bed): string[] {
  return [bed.engine, "run", "--rm", ...bed.mounts, bed.image];
}

/** Processes, mounts, namespaces and files that carry a bed's name. */
async function traces(directory: string): Promise<string[]> {
  const name = directory.split("/").at(-1) ?? "";
  const found: string[] = [];
  for (const entry of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(entry.name)) continue;
    const path = `/proc/${entry.name}/cmdline`;
    const command = await Deno.readTextFile(path).catch(() => "");
    if (command.includes(name)) found.push(command.replaceAll("\0", " "));
  }
  for (const line of Deno.readTextFileSync("/proc/mounts").split("\n")) {
    if (line.includes(name)) found.push(line);
  }
  for (const path of [directory, `/run/netns/${name}`]) {
    await Deno.lstat(path).then(() => found.push(path), () => {});
  }
  return found;
}
