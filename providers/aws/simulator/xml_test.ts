import assert from "node:assert/strict";
import fc from "fast-check";
import { renderXml } from "./xml.ts";

Deno.test("renderXml() writes elements in order and leaves out undefined ones", () => {
  assert.equal(
    renderXml("R", { B: { C: "1" }, D: undefined, A: "2" }),
    `<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <B>
    <C>1</C>
  </B>
  <A>2</A>
</R>
`,
  );
});

const TEXTS: [string, string][] = [
  ["a<b>&\"c'", "a&lt;b&gt;&amp;&quot;c'"],
  ["a\r\nb\tc", "a&#13;\nb\tc"],
  ["\0\x1b\x0b", "\ufffd\ufffd\ufffd"],
  ["\ud800x", "\ufffdx"],
  ["é🙂", "é🙂"],
];
for (const [text, escaped] of TEXTS) {
  Deno.test(`renderXml() escapes ${JSON.stringify(text)}`, () => {
    const xml = renderXml("R", { A: text });
    assert.equal(/<A>(.*)<\/A>/s.exec(xml)?.[1], escaped);
  });
}

Deno.test("renderXml() lets no text become markup", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const xml = renderXml("R", { A: text });
    assert.deepEqual(xml.match(/<\/?\w+/g), ["<R", "<A", "</A", "</R"]);
  }));
});
