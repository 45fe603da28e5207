/**
 * Two servers that other people wrote, and what they take some bytes for:
 * nginx, and the HTTP server of Node.
 *
 * @module
 */

import { eventually } from "./eventually.ts";
import { writeText } from "./intercept_bed.ts";
import { startServer, which } from "./run.ts";
import { hear, statusesIn } from "./shared_bed.ts";
import type { Workspace } from "./workspace.ts";

/** A request as a server understood it. */
export interface SeenRequest {
  /** Such as `GET`. */
  readonly method: string;
  /** As the server gives it to its handler. */
  readonly target: string;
  /** The length of its content. */
  readonly length: number;
}

/** What a server made of the bytes of one connection. */
export interface Reading {
  /** The requests that it took for whole, in their order. */
  readonly seen: readonly SeenRequest[];
  /** The statuses that it answered. */
  readonly statuses: readonly number[];
}

/** A server that tells how it reads. */
export interface FramingServer {
  /** For messages. */
  readonly name: "nginx" | "node";
  /**
   * Sends bytes on a connection of their own.
   *
   * @param bytes Each character as the byte of the same number.
   */
  read(bytes: string): Promise<Reading>;
}

/** Why the servers cannot be started; undefined if they can. */
export function framingReason(): string | undefined {
  const missing = ["nginx", "node"].filter((program) => !which(program));
  return missing.length > 0
    ? `not installed: ${missing.join(", ")}`
    : undefined;
}

/** The last request that is sent to a server: whoever sees it, saw the end of those before. */
export const SENTINEL =
  "GET /sentinel HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n";

/**
 * Listens twice: as the server that is looked at, and behind nginx, which has
 * written anew what it read, with a length. Both tell in a field of each
 * answer what they saw.
 */
const SCRIPT = `
const http = require("node:http");
const net = require("node:net");
const seen = (method, target, length) =>
  Buffer.from(JSON.stringify({ method, target, length })).toString("base64");
const server = http.createServer({ maxHeaderSize: 1 << 18 }, (request, response) => {
  let length = 0;
  request.on("data", (chunk) => length += chunk.length);
  request.on("end", () => {
    response.setHeader("X-Seen", seen(request.method, request.url, length));
    response.end();
  });
});
const behind = net.createServer({ allowHalfOpen: true }, (socket) => {
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    const end = text.indexOf("\\r\\n\\r\\n") + 4;
    if (end < 4) return;
    const [, length = "0"] = /^content-length: ([0-9]+)\\r$/im.exec(text.slice(0, end)) ?? [];
    if (text.length < end + Number(length)) return;
    const [method, target] = text.split(" ", 2);
    socket.end("HTTP/1.0 200 OK\\r\\nX-Seen: " + seen(method, target, Number(length)) +
      "\\r\\nContent-Length: 0\\r\\n\\r\\n");
  });
});
server.listen(0, "127.0.0.1", () =>
  behind.listen(0, "127.0.0.1", () =>
    console.log("ready " + server.address().port + " " + behind.address().port)));
`;

function nginxConf(directory: string, behind: string): string {
  return `
daemon off;
master_process off;
${Deno.uid() === 0 ? "user root;" : ""}
pid ${directory}/pid;
error_log ${directory}/error.log;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  large_client_header_buffers 8 128k;
  merge_slashes off;
  server {
    listen unix:${directory}/socket;
    location / {
      proxy_pass http://127.0.0.1:${behind};
      proxy_set_header Host $http_host;
      proxy_ignore_client_abort on;
      proxy_buffer_size 64k;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;
    }
  }
}
`;
}

/**
 * Starts both servers. They end with the process of the test file.
 *
 * @param workspace Where nginx has its files.
 */
export async function startFramingServers(
  workspace: Workspace,
): Promise<readonly FramingServer[]> {
  const node = await startServer([which("node") ?? "", "-e", SCRIPT], {
    ready: /^ready ([0-9]+) ([0-9]+)\n/gm,
  });
  addEventListener("unload", () => Deno.kill(node.pid, "SIGKILL"));
  const [, port = "", behind = ""] = node.ready[0] ?? [];
  const conf = await workspace.write("nginx/conf", "");
  const directory = workspace.path("nginx");
  await Deno.writeTextFile(conf, nginxConf(directory, behind));
  const nginx = new Deno.Command(which("nginx") ?? "", {
    args: ["-c", conf, "-p", directory, "-e", `${directory}/error.log`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  addEventListener("unload", () => nginx.kill("SIGKILL"));
  const unix = { transport: "unix", path: `${directory}/socket` } as const;
  await eventually("nginx", async () => {
    (await Deno.connect(unix)).close();
    return true;
  });
  const tcp = { hostname: "127.0.0.1", port: Number(port) };
  return [
    { name: "nginx", read: (bytes) => read(() => Deno.connect(unix), bytes) },
    { name: "node", read: (bytes) => read(() => Deno.connect(tcp), bytes) },
  ];
}

async function read(
  connect: () => Promise<Deno.Conn>,
  bytes: string,
): Promise<Reading> {
  using conn = await connect();
  // A server that refuses does not read to the end.
  await writeText(conn, bytes).catch(() => {});
  await conn.closeWrite().catch(() => {});
  const { text } = await hear(conn);
  const seen = [...text.matchAll(/^X-Seen: ([\w+/=]+)\r$/gm)]
    .map(([, encoded = ""]) => JSON.parse(atob(encoded)));
  return { seen, statuses: statusesIn(text) };
}
