import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { parseAuthority } from "$core/host.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import type { Injection } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { RequestHead } from "../http1/head.ts";
import { collectDeclared, type Declared, Outbound } from "./outbound.ts";

const GITHUB = parseAuthority("api.github.com:443")!;

function injection(over: Partial<Injection> = {}): Injection {
  return {
    host: "api.github.com",
    header: "authorization",
    value: new Secret("Bearer real"),
    strip: [],
    ...over,
  };
}

function declared(
  grant: string,
  ...injections: readonly Injection[]
): Declared {
  return { grant, injections, substitutions: [], allowed: [] };
}

function head(
  fields: readonly (readonly [string, string])[] = [],
  target = "/user",
): RequestHead {
  return new RequestHead("GET", target, "1.1", [
    ["Host", "api.github.com"],
    ...fields,
  ]);
}

function treat(
  grants: readonly Declared[],
  fields: readonly (readonly [string, string])[] = [],
  { target = "/user", authority = GITHUB, isSecret = true } = {},
) {
  return new Outbound(DEFAULT_POLICY, grants)
    .treat(
      authority,
      head(fields, target),
      { target, readings: [target.split("?")[0] ?? ""] },
      isSecret,
    );
}

Deno.test("collectDeclared() keeps what a provider declares", () => {
  const found = collectDeclared("x", (registrar) => {
    registrar.inject(injection());
    registrar.substitute({
      host: "api.telegram.org",
      placeholder: "moat0123456789abcdef",
      value: new Secret("1:a"),
    });
    registrar.allow("codeload.github.com");
  });
  assert.deepEqual(
    [
      found.grant,
      found.injections.length,
      found.substitutions.length,
      found.allowed,
    ],
    ["x", 1, 1, ["codeload.github.com"]],
  );
});

Deno.test("treat() puts the header of a grant on", () => {
  const { grants, add, strip } = treat([declared("github", injection())]);
  assert.deepEqual(
    [grants, add, [...strip]],
    [["github"], [["Authorization", "Bearer real"]], ["authorization"]],
  );
});

Deno.test("treat() removes what the injection strips", () => {
  const { strip } = treat([
    declared("anthropic", injection({ strip: ["x-api-key"] })),
  ]);
  assert.deepEqual([...strip], ["authorization", "x-api-key"]);
});

const ELSEWHERE = [
  "api.github.com:8443",
  "github.com:443",
  "api.github.com.evil.example:443",
  "xapi.github.com:443",
];
for (const elsewhere of ELSEWHERE) {
  Deno.test(`treat() puts nothing on for ${elsewhere}`, () => {
    const authority = parseAuthority(elsewhere)!;
    const { grants, add } = treat([declared("github", injection())], [], {
      authority,
    });
    assert.deepEqual([grants, add], [[], []]);
  });
}

Deno.test("treat() puts nothing on without TLS, and still removes the client's own", () => {
  const treatment = treat([declared("github", injection())], [], {
    isSecret: false,
  });
  assert.deepEqual(
    [treatment.grants, treatment.add, [...treatment.strip]],
    [[], [], ["authorization"]],
  );
});

Deno.test("treat() matches a wildcard, not the bare suffix (moat-go W4)", () => {
  const grants = [
    declared("datadog", injection({ host: "*.datadoghq.com" })),
  ];
  const at = (host: string) =>
    treat(grants, [], { authority: { host, port: 443 } }).grants;
  assert.deepEqual(
    [at("api.datadoghq.com"), at("datadoghq.com"), at("evildatadoghq.com")],
    [["datadog"], [], []],
  );
});

const WORK = injection({
  value: new Secret("Bearer work"),
  placeholder: "ghp_moatwork",
});
const HOME = injection({
  value: new Secret("Bearer home"),
  placeholder: "ghp_moathome",
});
const OTHER = injection({ header: "x-api-key", value: new Secret("other") });

const CHOICES: readonly {
  readonly name: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly expect: string;
}[] = [
  { name: "no header", fields: [], expect: "github:home" },
  {
    name: "the first one's placeholder",
    fields: [["Authorization", "token ghp_moathome"]],
    expect: "github:home",
  },
  {
    name: "the second one's placeholder",
    fields: [["Authorization", "token ghp_moatwork"]],
    expect: "github:work",
  },
  {
    name: "the second one's placeholder in Basic",
    fields: [[
      "authorization",
      `Basic ${Buffer.from("x:ghp_moatwork").toString("base64")}`,
    ]],
    expect: "github:work",
  },
  {
    name: "the header of the third",
    fields: [["X-Api-Key", "anything"]],
    expect: "other",
  },
  {
    name: "an unknown value in the header of the first two",
    fields: [["Authorization", "Bearer ghp_unknown"]],
    expect: "github:home",
  },
];
for (const { name, fields, expect } of CHOICES) {
  Deno.test(`treat() chooses ${expect} for ${name} (moat-go m295)`, () => {
    const grants = [
      declared("github:home", HOME),
      declared("github:work", WORK),
      declared("other", OTHER),
    ];
    const treatment = treat(grants, fields);
    assert.deepEqual(treatment.grants, [expect]);
    assert.equal(treatment.add.length, 1);
  });
}

Deno.test("treat() puts all headers of the one grant on", () => {
  const { add } = treat([
    declared(
      "datadog",
      injection({ header: "dd-api-key", value: new Secret("a") }),
      injection({ header: "dd-application-key", value: new Secret("b") }),
    ),
    declared("other", OTHER),
  ]);
  assert.deepEqual(add, [["Dd-Api-Key", "a"], ["Dd-Application-Key", "b"]]);
});

Deno.test("treat() takes the longest path of a grant", () => {
  const grants = [declared(
    "npm",
    injection({ value: new Secret("Bearer outer") }),
    injection({ path: "/npm/private", value: new Secret("Bearer inner") }),
  )];
  const at = (target: string) => treat(grants, [], { target }).add;
  assert.deepEqual(
    [
      at("/npm/private"),
      at("/npm/private/x?y"),
      at("/npm/privates"),
      at("/npm"),
    ].map(([field]) => field?.[1]),
    ["Bearer inner", "Bearer inner", "Bearer outer", "Bearer outer"],
  );
});

Deno.test("treat() prefers an exact host to a wildcard, a longer one to a shorter one", () => {
  const grants = [declared(
    "x",
    injection({ host: "*.github.com", value: new Secret("short") }),
    injection({ host: "*.api.github.com", value: new Secret("long") }),
    injection({ value: new Secret("exact") }),
  )];
  const at = (host: string) =>
    treat(grants, [], { authority: { host, port: 443 } }).add[0]?.[1];
  assert.deepEqual(
    [at("api.github.com"), at("a.api.github.com"), at("a.github.com")],
    ["exact", "long", "short"],
  );
});

const PLACE = "moat0123456789abcdef";

function telegram(value = "123:abc/../d"): Declared {
  return {
    grant: "telegram",
    injections: [],
    substitutions: [{
      host: "api.github.com",
      placeholder: PLACE,
      value: new Secret(value),
    }],
    allowed: [],
  };
}

Deno.test("treat() replaces a placeholder in the path, as one part of a segment", () => {
  const { target, grants } = treat([telegram()], [], {
    target: `/bot${PLACE}/getMe`,
  });
  assert.deepEqual([target, grants], ["/bot123:abc%2F..%2Fd/getMe", [
    "telegram",
  ]]);
});

Deno.test("treat() leaves a placeholder in the query as it is", () => {
  const target = `/x?token=${PLACE}`;
  assert.deepEqual(treat([telegram()], [], { target }).target, target);
});

Deno.test("treat() replaces nothing without TLS", () => {
  const target = `/bot${PLACE}/getMe`;
  const treatment = treat([telegram()], [], { target, isSecret: false });
  assert.deepEqual([treatment.target, treatment.grants], [target, []]);
});
