import assert from "node:assert/strict";
import { StreamCollector } from "./stream.ts";

Deno.test("StreamCollector fails where nobody listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const collector = new StreamCollector({ hostname: "127.0.0.1", port });
  await assert.rejects(collector.deliver(["a\n"]));
  collector.close();
});
