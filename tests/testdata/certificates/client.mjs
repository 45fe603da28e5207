// Connects to 127.0.0.1 as each HOST=PORT and prints whether it trusts it.
// The roots come from NODE_EXTRA_CA_CERTS.
// deno-lint-ignore-file no-console -- its output is read by a test
import { isIP } from "node:net";
import process from "node:process";
import { checkServerIdentity, connect } from "node:tls";

for (const argument of process.argv.slice(2)) {
  const [host, port] = argument.split("=");
  console.log(host, await attempt(host, Number(port)));
}

function attempt(host, port) {
  return new Promise((resolve) => {
    const socket = connect({
      host: "127.0.0.1",
      port,
      servername: isIP(host) ? "" : host,
      checkServerIdentity: (_name, certificate) =>
        checkServerIdentity(host, certificate),
    });
    socket.once("data", (data) => {
      resolve(data.toString().slice(0, 2));
      socket.destroy();
    });
    socket.once("error", ({ code }) => {
      const isRefusal = /^(UNABLE_TO_|SELF_SIGNED_|ERR_TLS_CERT_ALTNAME)/
        .test(code);
      resolve(isRefusal ? "refused" : code);
    });
  });
}
