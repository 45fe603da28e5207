/**
 * JavaScript clients of AWS, one per run: `clients.mjs NAME [keep]`; the
 * protocol is that of ../python/clients.py. NODE_PATH says where the packages
 * are.
 */

import { createRequire } from "node:module";
import process from "node:process";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);

const CLIENTS = {
  v3() {
    const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");
    return () => {
      const chain = fromNodeProviderChain();
      return async () => {
        const found = await chain();
        return [found.accessKeyId, found.expiration];
      };
    };
  },
  v2() {
    const { CredentialProviderChain } = require("aws-sdk");
    return () => {
      const found = new CredentialProviderChain().resolvePromise();
      return async () => {
        const credentials = await found;
        await credentials.getPromise();
        return [credentials.accessKeyId, credentials.expireTime];
      };
    };
  },
};

const [name, how] = process.argv.slice(2);
const open = CLIENTS[name]();
let kept;
process.stdout.write("ready\n");
for await (const _ of createInterface({ input: process.stdin })) {
  try {
    const poll = kept ?? open();
    if (how === "keep") kept = poll;
    const [key, expires] = await poll();
    process.stdout.write(`ok ${key} ${expires?.toISOString() ?? "-"}\n`);
  } catch (error) {
    process.stdout.write(`error ${String(error).replaceAll("\n", " ")}\n`);
  }
}
