import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import {
  clientSentence,
  hideSecrets,
  isHardFailure,
  mapAwsError,
  RefusedAnswer,
  SELF_SOURCE_MARK,
  sourceTimeout,
  stsTimeout,
} from "./errors.ts";
import type { AwsSettings } from "./settings.ts";

const SETTINGS: AwsSettings = {
  role: "arn:aws:iam::123456789012:role/Deploy",
  region: "eu-central-1",
  durationSeconds: 900,
  source: {
    kind: "profile",
    profile: "dev",
    configFile: "/home/ana/.aws/config",
    credentialsFile: "/home/ana/.aws/credentials",
  },
};

/** An answer of a service, as the SDK throws it. */
function service(name: string, message: string, httpStatusCode = 400): Error {
  const members = { name, $fault: "client", $metadata: { httpStatusCode } };
  return Object.assign(new Error(message), members);
}

/** An answer that the SDK could not read. */
function garbage(httpStatusCode: number): Error {
  return Object.assign(new SyntaxError(`Unexpected <html> ${CANARY}`), {
    $metadata: { httpStatusCode },
  });
}

function named(name: string, message = CANARY): Error {
  return Object.assign(new Error(message), { name });
}

function coded(code: string): Error {
  return Object.assign(new Error(`${code}: ${CANARY}`), { code });
}

const SIGNATURE = "The request signature we calculated does not match.";

/** Hard failures are not tried again soon. */
const CASES: { what: string; error: unknown; code: string; hard?: boolean }[] =
  [
    {
      what: "a role that may not be assumed",
      error: service("AccessDenied", "User: arn:… is not authorized", 403),
      code: "access-denied",
      hard: true,
    },
    {
      what: "another word for denied",
      error: service("AccessDeniedException", "no", 403),
      code: "access-denied",
      hard: true,
    },
    ...[
      "InvalidClientTokenId",
      "UnrecognizedClientException",
      "InvalidAccessKeyId",
      "InvalidToken",
      "SignatureDoesNotMatch",
      "IncompleteSignature",
    ].map((name) => ({
      what: `source keys that are refused with ${name}`,
      error: service(name, SIGNATURE, 403),
      code: "source-rejected",
      hard: true,
    })),
    ...["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"].map(
      (name) => ({
        what: `a source that ended with ${name}`,
        error: service(name, "The security token is expired", 403),
        code: "source-expired",
        hard: true,
      }),
    ),
    {
      what: "an SSO session that ended",
      error: named(
        "CredentialsProviderError",
        "The SSO session associated with this profile has expired.",
      ),
      code: "source-expired",
      hard: true,
    },
    {
      what: "an SSO token that ended",
      error: named("TokenProviderError", "Token is expired"),
      code: "source-expired",
      hard: true,
    },
    {
      what: "a profile without credentials",
      error: named("CredentialsProviderError"),
      code: "no-source",
      hard: true,
    },
    {
      what: "a chain without credentials",
      error: named("ProviderError"),
      code: "no-source",
      hard: true,
    },
    {
      what: "a missing token file",
      error: coded("ENOENT"),
      code: "no-source",
      hard: true,
    },
    {
      what: "a token file that may not be read",
      error: coded("EACCES"),
      code: "no-source",
      hard: true,
    },
    {
      what: "a source that is moat",
      error: named("CredentialsProviderError", `x ${SELF_SOURCE_MARK} y`),
      code: "source-is-moat",
      hard: true,
    },
    {
      what: "a region that is off",
      error: service("RegionDisabledException", "STS is not activated", 403),
      code: "region-disabled",
      hard: true,
    },
    ...["Throttling", "ThrottlingException", "TooManyRequestsException"].map(
      (name) => ({
        what: `too many calls with ${name}`,
        error: service(name, "Rate exceeded"),
        code: "sts-throttled",
      }),
    ),
    {
      what: "too many calls, whatever the name",
      error: service("SlowDown", "Rate exceeded", 429),
      code: "sts-throttled",
    },
    {
      what: "a session that is too long",
      error: service(
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set",
      ),
      code: "duration-too-long",
      hard: true,
    },
    {
      what: "another request that STS refuses",
      error: service("ValidationError", "RoleSessionName is wrong"),
      code: "sts-refused",
      hard: true,
    },
    {
      what: "an endpoint of another region",
      error: service(
        "SignatureDoesNotMatch",
        "Credential should be scoped to a valid region.",
        403,
      ),
      code: "sts-refused",
      hard: true,
    },
    ...["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"].map(
      (name) => ({
        what: `a wrong clock with ${name}`,
        error: service(name, "x", 403),
        code: "clock-skew",
      }),
    ),
    ...["Signature expired: 1 is now earlier", "Signature not yet current"].map(
      (message) => ({
        what: `a wrong clock with "${message}"`,
        error: service("SignatureDoesNotMatch", message, 403),
        code: "clock-skew",
      }),
    ),
    {
      what: "an STS that is down",
      error: service("ServiceUnavailable", "x", 503),
      code: "sts-unavailable",
    },
    {
      what: "a gateway's error page",
      error: garbage(502),
      code: "sts-unavailable",
    },
    { what: "a login page", error: garbage(200), code: "sts-garbage" },
    {
      what: "a page that is not found",
      error: garbage(404),
      code: "sts-garbage",
    },
    {
      what: "an answer without XML",
      error: service("Unknown", "Unknown", 400),
      code: "sts-garbage",
    },
    {
      what: "an answer that is no XML",
      error: new SyntaxError(CANARY),
      code: "sts-garbage",
    },
    {
      what: "an error without a name",
      error: new Error(CANARY),
      code: "sts-garbage",
    },
    {
      what: "an answer that is not read",
      error: new RefusedAnswer("answered more than 64 KiB"),
      code: "sts-garbage",
    },
    {
      what: "a network that is down",
      error: new TypeError(`error sending request for url (${CANARY})`),
      code: "sts-unreachable",
    },
    {
      what: "a refused connection",
      error: coded("ECONNREFUSED"),
      code: "sts-unreachable",
    },
    {
      what: "an unknown host",
      error: coded("ENOTFOUND"),
      code: "sts-unreachable",
    },
    {
      what: "a certificate of somebody else",
      error: new TypeError(`invalid peer certificate: UnknownIssuer ${CANARY}`),
      code: "sts-unreachable",
    },
    {
      what: "a slow STS",
      error: named("TimeoutError"),
      code: "sts-timeout",
    },
    {
      what: "a call that was stopped",
      error: named("AbortError"),
      code: "sts-timeout",
    },
    {
      what: "a mistake of ours",
      error: new RangeError(CANARY),
      code: "internal",
    },
    { what: "an unknown error", error: named("Surprise"), code: "internal" },
    { what: "a thrown text", error: CANARY, code: "sts-garbage" },
    { what: "a thrown nothing", error: undefined, code: "sts-garbage" },
  ];

/** All that a person sees of an error. */
function shown(error: MoatError): string {
  return `${error.message} ${error.hint}`;
}

for (const { what, error, code, hard = false } of CASES) {
  Deno.test(`mapAwsError() says ${code} for ${what}`, () => {
    assert.equal(mapAwsError(error, SETTINGS).code, code);
  });

  Deno.test(`mapAwsError() gives one sentence and a hint for ${what}`, () => {
    const { message, hint } = mapAwsError(error, SETTINGS);
    assert.match(message, /^(Cannot|Unexpected) .*[^.\s]$/);
    assert(hint);
  });

  Deno.test(`mapAwsError() quotes nothing unknown for ${what}`, () => {
    assertNoCanary(shown(mapAwsError(error, SETTINGS)));
  });

  Deno.test(`isHardFailure() is ${hard} for ${what}`, () => {
    assert.equal(isHardFailure(mapAwsError(error, SETTINGS)), hard);
  });

  Deno.test(`clientSentence() keeps the host to itself for ${what}`, () => {
    const sentence = clientSentence(mapAwsError(error, SETTINGS));
    assert.match(sentence, /^[A-Za-z][A-Za-z ,']*[a-z]$/);
    assert.doesNotMatch(sentence, /arn|Deploy|1234|ana|dev|central|aws/);
  });
}

for (const { code } of [...CASES, { code: "source-timeout" }]) {
  if (code === "internal") continue;
  Deno.test(`clientSentence() has a sentence of its own for ${code}`, () => {
    const sentence = clientSentence(new MoatError(code, "x"));
    assert.notEqual(sentence, clientSentence(new MoatError("internal", "x")));
  });
}

for (const code of ["nonsense", "toString", "__proto__", "constructor"]) {
  Deno.test(`clientSentence() has a sentence for the code ${code}`, () => {
    const sentence = clientSentence(new MoatError(code, CANARY));
    assert.equal(sentence, "moat failed to obtain a session");
  });
}

Deno.test("mapAwsError() leaves an error of moat's own as it is", () => {
  const error = new MoatError("own", "x");
  assert.equal(mapAwsError(error, SETTINGS), error);
});

Deno.test("mapAwsError() quotes STS", () => {
  const error = service("AccessDenied", "User: arn:x is not authorized.", 403);
  assert.equal(
    mapAwsError(error, SETTINGS).message,
    "Cannot assume arn:aws:iam::123456789012:role/Deploy: STS answered AccessDenied: User: arn:x is not authorized",
  );
});

Deno.test("mapAwsError() names another action on wish", () => {
  const error = service("AccessDenied", "no", 403);
  const { message } = mapAwsError(error, SETTINGS, "ask who this is");
  assert.match(message, /^Cannot ask who this is: STS answered AccessDenied/);
});

Deno.test("mapAwsError() names profile and files when there is no source", () => {
  const error = mapAwsError(named("CredentialsProviderError"), SETTINGS);
  assert.match(shown(error), /profile "dev" in .*credentials and .*config/);
  assert.match(shown(error), /aws sso login --profile dev/);
});

Deno.test("mapAwsError() names the chain when there is no source", () => {
  const { profile: _, ...source } = SETTINGS.source;
  const settings = {
    ...SETTINGS,
    source: { ...source, kind: "default" as const },
  };
  const error = mapAwsError(named("CredentialsProviderError"), settings);
  assert.match(shown(error), /tried the environment, profile "default"/);
});

Deno.test("mapAwsError() names the endpoint that cannot be reached", () => {
  const source = { ...SETTINGS.source, stsEndpoint: "http://127.0.0.1:1" };
  const error = mapAwsError(coded("ECONNREFUSED"), { ...SETTINGS, source });
  assert.match(error.message, /: http:\/\/127\.0\.0\.1:1 cannot be reached$/);
});

const PROGRAMS = [
  `Command failed: /opt/get-keys\n${CANARY}`,
  `Command failed: /opt/get-keys --secret ${CANARY}`,
  `Profile dev credential_process returned invalid JSON: ${CANARY}`,
  `Profile dev credential_process returned invalid credentials.`,
];

for (const message of PROGRAMS) {
  const error = named("CredentialsProviderError", message);
  Deno.test(
    `mapAwsError() never quotes a source program, as for "${
      message.replace(CANARY, "…").replace("\n", " ")
    }"`,
    () => {
      const mapped = mapAwsError(error, SETTINGS);
      assertNoCanary(shown(mapped), clientSentence(mapped));
      assert.match(shown(mapped), /credential_process failed/);
    },
  );
}

Deno.test("mapAwsError() quotes no canonical request, which may hold a token", () => {
  const message =
    `${SIGNATURE}\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:${CANARY}'`;
  const error = service("SignatureDoesNotMatch", message, 403);
  const mapped = mapAwsError(error, SETTINGS);
  assertNoCanary(shown(mapped));
  assert.match(mapped.message, /we calculated does not match$/);
});

Deno.test("mapAwsError() shortens what STS says", () => {
  const error = service("AccessDenied", "x".repeat(10_000), 403);
  assert(mapAwsError(error, SETTINGS).message.length < 500);
});

Deno.test("mapAwsError() shortens the name of STS's error", () => {
  const error = service("X".repeat(100_000), "no", 400);
  assert(mapAwsError(error, SETTINGS).message.length < 200);
});

for (const part of ["name", "message", "stack"] as const) {
  Deno.test(`hideSecrets() takes secrets out of an error's ${part}`, () => {
    const error = new Error("x");
    error[part] = `a ${CANARY} b ${CANARY}`;
    hideSecrets(error, [undefined, "", CANARY]);
    assert.equal(error[part], "a [redacted] b [redacted]");
  });
}

Deno.test("hideSecrets() leaves an error without secrets as it is", () => {
  const error = new DOMException("x", "TimeoutError");
  assert.equal(hideSecrets(error, [CANARY]), error);
});

Deno.test("mapAwsError() says on one printable line what anybody answers", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("a\nb", "\x1b[2J", "\x9b", "\u2028", "\u202e", "scoped to"),
  );
  const status = fc.constantFrom(200, 400, 403, 500);
  fc.assert(fc.property(text, text, status, (name, message, status) => {
    const error = mapAwsError(service(name, message, status), SETTINGS);
    // deno-lint-ignore no-control-regex
    const line = /^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$/;
    assert.match(error.message, line);
    assert.match(error.hint ?? "", line);
    assert.match(error.code, /^[a-z-]+$/);
  }));
});

Deno.test("mapAwsError() keeps an odd profile name on its line", () => {
  const source = { ...SETTINGS.source, profile: "a\nerror: b\x1b[2J" };
  const settings = { ...SETTINGS, source };
  for (
    const error of [
      mapAwsError(named("ProviderError"), settings),
      sourceTimeout(settings),
    ]
  ) {
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(shown(error), /[\x00-\x1f]/);
  }
});

for (const error of [stsTimeout(), sourceTimeout(SETTINGS)]) {
  Deno.test(`${error.code} is a soft failure with a hint`, () => {
    assert.deepEqual([isHardFailure(error), !!error.hint], [false, true]);
  });
}
