import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { engineSockets } from "./engine_sockets.ts";

const CASES: {
  name: string;
  configured?: string[];
  env?: Record<string, string>;
  sockets: string[];
}[] = [
  {
    name: "takes the configuration before the environment",
    configured: ["unix:///a.sock", "unix:///b.sock"],
    env: { DOCKER_HOST: "unix:///c.sock" },
    sockets: ["/a.sock", "/b.sock"],
  },
  {
    name: "takes DOCKER_HOST before DOCKER_URL",
    env: { DOCKER_HOST: "unix:///c.sock", DOCKER_URL: "unix:///d.sock" },
    sockets: ["/c.sock"],
  },
  {
    name: "takes DOCKER_URL",
    env: { DOCKER_URL: "unix:///d.sock" },
    sockets: ["/d.sock"],
  },
  {
    name: "takes go-metadataproxy's spelling",
    env: { DOCKER_URL: "unix://var/run/docker.sock" },
    sockets: ["/var/run/docker.sock"],
  },
  {
    name: "ignores an empty DOCKER_HOST",
    env: { DOCKER_HOST: "", DOCKER_URL: "unix:///d.sock" },
    sockets: ["/d.sock"],
  },
  {
    name: "names a socket once",
    configured: ["unix:///a.sock", "unix:////a.sock"],
    sockets: ["/a.sock"],
  },
  { name: "takes an empty list", configured: [], sockets: [] },
];

for (const { name, configured, env = {}, sockets } of CASES) {
  Deno.test(`engineSockets() ${name}`, () => {
    assert.deepEqual(engineSockets(configured, env), sockets);
  });
}

for (const url of ["tcp://127.0.0.1:2375", "/a.sock", "unix://", "unix:///"]) {
  Deno.test(`engineSockets() refuses ${url}`, () => {
    assert.throws(
      () => engineSockets(undefined, { DOCKER_HOST: url }),
      (error) =>
        error instanceof MoatError && error.code === "usage" &&
        /DOCKER_HOST: wanted a unix socket/.test(error.message),
    );
  });
}

Deno.test("engineSockets() takes nothing below XDG_RUNTIME_DIR, where engines without root are", async () => {
  const directory = await Deno.makeTempDir();
  const socket = `${directory}/podman/podman.sock`;
  await Deno.mkdir(`${directory}/podman`);
  const listener = Deno.listen({ transport: "unix", path: socket });
  try {
    const found = engineSockets(undefined, { XDG_RUNTIME_DIR: directory });
    assert.ok(!found.includes(socket) && found.length > 0);
  } finally {
    listener.close();
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("engineSockets() takes two paths to a socket for one", async () => {
  const directory = await Deno.makeTempDir();
  const socket = `${directory}/engine.sock`;
  const listener = Deno.listen({ transport: "unix", path: socket });
  try {
    await Deno.symlink(socket, `${directory}/link.sock`);
    const urls = [`unix://${socket}`, `unix://${directory}/link.sock`];
    assert.deepEqual(engineSockets(urls, {}), [socket]);
  } finally {
    listener.close();
    await Deno.remove(directory, { recursive: true });
  }
});
