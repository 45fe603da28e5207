import assert from "node:assert/strict";
import { Answer } from "$core/provider.ts";
import { parseAnswers } from "../../tests/support/raw_http.ts";
import { encodeAnswer } from "./writer.ts";

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const KEEP = { now: NOW, close: false, headOnly: false };

function write(answer: Answer, options: Partial<typeof KEEP> = {}): string {
  return new TextDecoder().decode(
    encodeAnswer(answer, { ...KEEP, ...options }),
  );
}

Deno.test("encodeAnswer() writes these bytes", () => {
  assert.equal(
    write(new Answer(200, "{}", undefined, [["Allow", "GET"]])),
    "HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n" +
      "Content-Type: application/json\r\nContent-Length: 2\r\n" +
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" +
      "Allow: GET\r\n\r\n{}",
  );
});

Deno.test("encodeAnswer() counts bytes, not characters", () => {
  const bytes = encodeAnswer(new Answer(200, "é€"), KEEP);
  assert.match(new TextDecoder().decode(bytes), /\r\nContent-Length: 5\r\n/);
});

Deno.test("encodeAnswer() says that the connection closes", () => {
  assert.match(
    write(new Answer(200, ""), { close: true }),
    /\r\nConnection: close\r\n/,
  );
});

Deno.test("encodeAnswer() leaves the body out for HEAD, not its length (RFC 9110 section 9.3.2)", () => {
  const text = write(new Answer(200, "abc"), { headOnly: true });
  assert.match(text, /\r\nContent-Length: 3\r\n(.*\r\n)*\r\n$/);
});

for (const other of [{ headOnly: true }, { close: true }]) {
  const name = JSON.stringify(other);
  Deno.test(`encodeAnswer() does not mix up its forms: ${name}`, () => {
    const answer = new Answer(200, "abc");
    const expected = write(new Answer(200, "abc"), other);
    const plain = write(new Answer(200, "abc"));
    assert.deepEqual(
      [write(answer, other), write(answer), write(answer, other)],
      [expected, plain, expected],
    );
  });
}

Deno.test("encodeAnswer() gives the same bytes within a second", () => {
  const answer = new Answer(200, "{}");
  const first = encodeAnswer(answer, KEEP);
  assert.equal(encodeAnswer(answer, { ...KEEP, now: NOW + 300 }), first);
});

Deno.test("encodeAnswer() does not change bytes that may be on their way", () => {
  const answer = new Answer(200, "{}");
  const first = encodeAnswer(answer, KEEP);
  const copy = first.slice();
  encodeAnswer(answer, { ...KEEP, now: NOW + 2000 });
  assert.deepEqual(first, copy);
});

Deno.test("encodeAnswer() dates a later answer anew (RFC 9110 section 6.6.1)", () => {
  const answer = new Answer(200, "{}");
  write(answer);
  assert.match(
    write(answer, { now: NOW + 1000 }),
    /\r\nDate: [^\r]*:06 GMT\r\n/,
  );
});

for (const status of [204, 304]) {
  Deno.test(`encodeAnswer() gives ${status} neither body nor length (RFC 9110 section 8.6)`, () => {
    const [answer] = parseAnswers(write(new Answer(status, "")));
    assert.equal(answer?.headers.has("content-length"), false);
  });
}

Deno.test("encodeAnswer() takes a status without a known reason (RFC 9112 section 4)", () => {
  assert.match(write(new Answer(418, "")), /^HTTP\/1\.1 418 \r\n/);
});

const SPLITTING: { name: string; answer: Answer }[] = [
  {
    name: "a value with CR LF",
    answer: new Answer(200, "", undefined, [["A", "b\r\nC: d"]]),
  },
  {
    name: "a value with LF",
    answer: new Answer(200, "", undefined, [["A", "b\nC: d"]]),
  },
  {
    name: "a name with a colon",
    answer: new Answer(200, "", undefined, [["A: b", "c"]]),
  },
  {
    name: "a content type with CR LF",
    answer: new Answer(200, "", "a/b\r\nC: d"),
  },
];
for (const { name, answer } of SPLITTING) {
  Deno.test(`encodeAnswer() refuses ${name} (RFC 9112 section 11.1)`, () => {
    assert.throws(() => encodeAnswer(answer, KEEP), TypeError);
  });
}
