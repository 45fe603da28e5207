/**
 * What stands around the clients: an S3 that tells who asked, and an HTTP
 * proxy that tells what went through it.
 *
 * @module
 */

/** A server on loopback; `await using` ends it. */
export interface LocalServer extends AsyncDisposable {
  /** Where it listens, such as `127.0.0.1:40123`. */
  readonly authority: string;
}

/**
 * Starts an S3 whose every object holds the access key ID that asked for it,
 * for clients that show their credentials in requests only.
 *
 * @param hostname Where it listens. Default: 127.0.0.1.
 */
export function startEchoS3(hostname = "127.0.0.1"): LocalServer {
  return serve(hostname, ({ method, headers }) => {
    const signed = headers.get("authorization") ?? "";
    const key = /Credential=(\w+)\//.exec(signed)?.[1] ?? "";
    const range = `bytes 0-${key.length - 1}/${key.length}`;
    const isPart = headers.has("range");
    return new Response(method === "HEAD" ? null : key, {
      status: isPart ? 206 : 200,
      headers: {
        ...isPart ? { "Content-Range": range } : {},
        "Content-Length": String(key.length),
        "ETag": '"0"',
        "Last-Modified": new Date().toUTCString(),
      },
    });
  });
}

/** An HTTP proxy that keeps what it was asked for. */
export interface RecordingProxy extends LocalServer {
  /** URLs without a query, oldest first. */
  readonly urls: readonly string[];
}

/** Starts a proxy for plain HTTP; it refuses tunnels. */
export function startRecordingProxy(): RecordingProxy {
  const urls: string[] = [];
  const server = serve("127.0.0.1", async ({ url, method, headers }) => {
    const { origin, pathname, protocol } = new URL(url);
    urls.push(origin + pathname);
    if (protocol !== "http:" || method === "CONNECT") {
      return new Response(null, { status: 501 });
    }
    return await fetch(url, { method, headers }).catch(() =>
      new Response(null, { status: 502 })
    );
  });
  return { ...server, urls };
}

function serve(
  hostname: string,
  handler: (request: Request) => Response | Promise<Response>,
): LocalServer {
  const server = Deno.serve({ hostname, port: 0, onListen() {} }, handler);
  return {
    authority: `${hostname}:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
