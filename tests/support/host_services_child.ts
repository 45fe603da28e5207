/**
 * What else may be on a host: its real metadata service, and collectors of
 * measurements. A program of its own, because the test is in another network
 * namespace.
 *
 * Prints JSON of its ports; each line on stdin is answered with JSON of all
 * that was heard so far.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { HeardByServices, RealRequest } from "./host_services.ts";

const hostname = "127.0.0.1";
const requests: RealRequest[] = [];
const heard: HeardByServices = {
  requests,
  ...{ statsd: [], statsite: [], datadog: [] },
};

/** What is harmless, and what is not: it would give all of it to anybody. */
const PATHS: Readonly<Record<string, string>> = {
  "/latest/meta-data/ami-id": "ami-0123456789abcdef0",
  "/latest/meta-data/hostname": "host.of.the.instance",
};

/** As the real one with version 1 off. */
const real = Deno.serve({ hostname, port: 0, onListen() {} }, (request) => {
  const { method, url, headers } = request;
  const { pathname } = new URL(url);
  requests.push({ method, path: pathname, headers: [...headers] });
  if (method === "PUT") return new Response("real-token");
  if (headers.get("x-aws-ec2-metadata-token") !== "real-token") {
    return new Response("unauthorized", { status: 401 });
  }
  const body = PATHS[pathname];
  return body === undefined
    ? new Response("not there", { status: 404 })
    : new Response(body, { headers: { "content-type": "text/plain" } });
});

async function datagrams(name: "statsd" | "datadog"): Promise<number> {
  const socket = createSocket("udp4");
  socket.on("message", (bytes) => void heard[name].push(...linesOf(bytes)));
  socket.bind(0, hostname);
  await once(socket, "listening");
  return socket.address().port;
}

const linesOf = (bytes: { toString(): string }) =>
  bytes.toString().split("\n").filter((line) => line !== "");

async function collect(listener: Deno.TcpListener): Promise<void> {
  for await (const { readable } of listener) {
    let text = "";
    for await (const piece of readable.pipeThrough(new TextDecoderStream())) {
      const whole = (text + piece).split("\n");
      text = whole.pop() ?? "";
      heard.statsite.push(...whole);
    }
  }
}

const statsite = Deno.listen({ hostname, port: 0 });
collect(statsite);
console.log(JSON.stringify({
  real: real.addr.port,
  statsd: await datagrams("statsd"),
  statsite: statsite.addr.port,
  datadog: await datagrams("datadog"),
}));
for await (const _chunk of Deno.stdin.readable) {
  console.log(JSON.stringify(heard));
}
Deno.exit();
