/**
 * A client that floods a metadata service with requests for tokens, over one
 * connection. A program of its own, because the test is in another network
 * namespace.
 *
 * Run as `flood_child.ts HOST COUNT LAST`. Prints JSON of how many answers had
 * status 200, and of the last tokens.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

const [hostname = "", count = "0", last = "0"] = Deno.args;
const REQUEST = `PUT /latest/api/token HTTP/1.1\r\nHost: ${hostname}\r\n` +
  "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n";

const connection = await Deno.connect({ hostname, port: 80 });
const send = async () => {
  const bytes = new TextEncoder().encode(REQUEST.repeat(Number(count)));
  for (let at = 0; at < bytes.length;) {
    at += await connection.write(bytes.subarray(at));
  }
  await connection.closeWrite();
};
const [text] = await Promise.all([
  new Response(connection.readable).text(),
  send(),
]);
const tokens = [...text.matchAll(/\r\n\r\n([\w-]{43})/g)]
  .map(([, token]) => token);
console.log(JSON.stringify({
  answered: text.match(/HTTP\/1\.1 200 /g)?.length ?? 0,
  tokens: tokens.slice(-Number(last)),
}));
