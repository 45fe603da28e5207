import assert from "node:assert/strict";
import { ProxyFailure } from "./failure.ts";
import { ALERT, alertRecord, tlsFailure } from "./tls_failure.ts";

const InvalidData = Deno.errors.InvalidData;

const CASES: { name: string; error: Error; code: string }[] = [
  {
    name: "an end",
    error: new Deno.errors.UnexpectedEof("unexpected end of file"),
    code: "client-closed-handshake",
  },
  {
    name: "a reset",
    error: new Deno.errors.ConnectionReset("connection reset"),
    code: "client-closed-handshake",
  },
  {
    name: "an alert about the certificate",
    error: new InvalidData("received fatal alert: UnknownCA"),
    code: "client-rejected-certificate",
  },
  {
    name: "another alert",
    error: new InvalidData("received fatal alert: DecodeError"),
    code: "tls-failed",
  },
  {
    name: "a message that makes no sense",
    error: new InvalidData(
      "received corrupt message of type InvalidContentType",
    ),
    code: "tls-failed",
  },
];
for (const { name, error, code } of CASES) {
  Deno.test(`tlsFailure() gives ${code} for ${name}`, () =>
    assert.equal(failureOf(error).code, code));
}

Deno.test("tlsFailure() spells an alert as the RFC does", () =>
  assert.match(
    failureOf(new InvalidData("received fatal alert: UnknownCA")).message,
    /unknown_ca/,
  ));

Deno.test("tlsFailure() passes on what has nothing to do with TLS", () => {
  const error = new TypeError("ours");
  assert.equal(tlsFailure(error), error);
});

Deno.test("alertRecord() writes a fatal alert (RFC 8446 section 6)", () =>
  assert.deepEqual(
    [...alertRecord(ALERT.unrecognizedName)],
    [21, 3, 3, 0, 2, 2, 112],
  ));

function failureOf(error: Error): ProxyFailure {
  const failure = tlsFailure(error);
  assert(failure instanceof ProxyFailure);
  return failure;
}
