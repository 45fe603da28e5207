import assert from "node:assert/strict";
import { type Binding, digestToken } from "$core/binding.ts";
import { Answer } from "$core/provider.ts";
import { BindingTable, collectRoutes, LiveBinding } from "./bindings.ts";

function binding(token: string, grants = ["a", "b"]): Binding {
  return { name: `of ${token}`, grants, tokenDigest: digestToken(token) };
}

function live(token: string): LiveBinding {
  return new LiveBinding(binding(token), new Map(), () => true);
}

Deno.test("find() knows a binding by its token alone", () => {
  const table = new BindingTable();
  const [one, two] = [live("one"), live("two")];
  table.set(one);
  table.set(two);
  const found = ["one", "two", "three", "", digestToken("one")].map((token) =>
    table.find(token)
  );
  assert.deepEqual(found, [one, two, undefined, undefined, undefined]);
});

Deno.test("set() replaces the binding of the same token", () => {
  const table = new BindingTable();
  const [old, next] = [live("one"), live("one")];
  table.set(old);
  table.set(next);
  assert.deepEqual([table.find("one") === next, old.isLive, next.isLive], [
    true,
    false,
    true,
  ]);
});

Deno.test("remove() ends a binding, also for who remembers it", () => {
  const table = new BindingTable();
  const one = live("one");
  table.set(one);
  table.remove(binding("one"));
  assert.deepEqual([table.find("one"), one.isLive], [undefined, false]);
});

Deno.test("remove() leaves other bindings alone, and takes an unknown one", () => {
  const table = new BindingTable();
  const one = live("one");
  table.set(one);
  table.remove(binding("two"));
  assert.deepEqual([table.find("one") === one, one.isLive], [true, true]);
});

const handler = () => new Answer(200, "");

Deno.test("collectRoutes() collects what is registered", () => {
  const own = binding("one");
  const { endpoints, routes } = collectRoutes(own);
  endpoints.get("/a", handler);
  endpoints.get("/b", handler);
  assert.deepEqual([endpoints.binding, [...routes]], [own, [
    ["/a", handler],
    ["/b", handler],
  ]]);
});

Deno.test("collectRoutes() refuses two handlers for one path", () => {
  const { endpoints } = collectRoutes(binding("one"));
  endpoints.get("/a", handler);
  assert.throws(() => endpoints.get("/a", handler), {
    code: "endpoint-conflict",
    message: "Cannot bind a and b together: wanted one grant of each provider",
  });
});
