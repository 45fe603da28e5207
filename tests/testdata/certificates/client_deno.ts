/**
 * Connects to 127.0.0.1 as each HOST=PORT and prints whether it trusts it.
 * The roots come from DENO_CERT; the verifier is rustls.
 *
 * @module
 */

for (const argument of Deno.args) {
  const [host = "", port] = argument.split("=");
  print(`${host} ${await attempt(host, Number(port))}\n`);
}

async function attempt(hostname: string, port: number): Promise<string> {
  const plain = await Deno.connect({ hostname: "127.0.0.1", port });
  using secure = await Deno.startTls(plain, { hostname });
  try {
    await secure.handshake();
  } catch (error) {
    const isRefusal = error instanceof Deno.errors.InvalidData &&
      error.message.startsWith("invalid peer certificate");
    return isRefusal ? "refused" : String(error);
  }
  const answer = new Uint8Array(2);
  await secure.read(answer);
  return new TextDecoder().decode(answer);
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
