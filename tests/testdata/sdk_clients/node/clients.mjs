/**
 * JavaScript clients of AWS, one per run: `clients.mjs NAME`; the protocol is
 * that of ../python/clients.py. NODE_PATH says where the packages are.
 */

import { createRequire } from "node:module";
import process from "node:process";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);

const CLIENTS = {
  v3() {
    const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");
    return async () => {
      const found = await fromNodeProviderChain()();
      return [found.accessKeyId, found.expiration];
    };
  },
  v2() {
    const { CredentialProviderChain } = require("aws-sdk");
    return async () => {
      const found = await new CredentialProviderChain().resolvePromise();
      return [found.accessKeyId, found.expireTime];
    };
  },
};

const poll = CLIENTS[process.argv[2]]();
process.stdout.write("ready\n");
for await (const _ of createInterface({ input: process.stdin })) {
  try {
    const [key, expires] = await poll();
    process.stdout.write(`ok ${key} ${expires.toISOString()}\n`);
  } catch (error) {
    process.stdout.write(`error ${String(error).replaceAll("\n", " ")}\n`);
  }
}
