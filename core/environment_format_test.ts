import assert from "node:assert/strict";
import fc from "fast-check";
import { testUnless } from "../tests/support/conditional.ts";
import { motoReason, PYTHON } from "../tests/support/moto.ts";
import { isThere, run, which } from "../tests/support/run.ts";
import { Workspace } from "../tests/support/workspace.ts";
import {
  type EnvironmentView,
  type Format,
  formatEnvironment,
  FORMATS,
  parseEnvironment,
  parseFormat,
  writeQuoted,
} from "./environment_format.ts";

const TOKEN = "Bearer moat.web.c2VjcmV0";
const SYSTEMD = "/lib/systemd/systemd";
const GENERATOR =
  "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator";

function view(more: Partial<EnvironmentView> = {}): EnvironmentView {
  return { name: "web", environment: {}, mounts: [], hosts: [], ...more };
}

const FULL = view({
  environment: {
    AWS_CONTAINER_AUTHORIZATION_TOKEN: TOKEN,
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/ecs/credentials",
  },
  environmentFile: "/var/lib/moat/env/web",
  mounts: [
    { source: "/var/lib/moat/b/files", target: "/moat", readOnly: true },
  ],
  hosts: [{ name: "moat-proxy", address: "172.17.0.1" }],
  entrypoint: ["/moat/relay"],
});

const WITH_FILE = view({
  environment: {
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/var/lib/moat/tokens/web",
    AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/ecs/credentials",
  },
  environmentFile: "/var/lib/moat/env/web",
  tokenFile: "/var/lib/moat/tokens/web",
});

/** Whether the format takes a view. */
function accepts(format: Format, candidate: EnvironmentView): boolean {
  try {
    formatEnvironment(format, candidate);
    return true;
  } catch (error) {
    assert.equal((error as { code?: string }).code, "bad-value");
    return false;
  }
}

/** Texts of the characters that readers treat in a way of their own. */
const oddText = fc.string({
  maxLength: 8,
  unit: fc.constantFrom(
    ...["a", "Z", "7", " ", "\t", "\n", "\r", "'", '"', "`", "$", "\\", "#"],
    ...[";", "=", "%", ":", "*", "{", "}", "-", "!", "~", "\0", "\x7f"],
    ...["\u0085", "\u00a0", "\ufeff", "\u2028", "é", "日", "😀"],
  ),
});
const names = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/);
const environments = fc.dictionary(names, oddText, { maxKeys: 5 });

/** Numbered variables, which no reader needs for itself. */
function numbered(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(values.map((value, i) => [`V_${i}`, value]));
}

// What is written.

const GOLDEN: { format: Format; view: EnvironmentView; lines: string[] }[] = [
  {
    format: "env",
    view: FULL,
    lines: [
      `AWS_CONTAINER_AUTHORIZATION_TOKEN=${TOKEN}`,
      "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/ecs/credentials",
    ],
  },
  {
    format: "export",
    view: FULL,
    lines: [
      `export AWS_CONTAINER_AUTHORIZATION_TOKEN='${TOKEN}'`,
      "export AWS_CONTAINER_CREDENTIALS_RELATIVE_URI='/ecs/credentials'",
    ],
  },
  {
    format: "docker",
    view: FULL,
    lines: [
      "--env-file /var/lib/moat/env/web " +
      "--volume /var/lib/moat/b/files:/moat:ro " +
      "--add-host moat-proxy:172.17.0.1 --entrypoint /moat/relay",
    ],
  },
  {
    format: "compose",
    view: FULL,
    lines: [
      "services:",
      '  "web":',
      "    env_file:",
      '      - "/var/lib/moat/env/web"',
      "    volumes:",
      "      - type: bind",
      '        source: "/var/lib/moat/b/files"',
      '        target: "/moat"',
      "        read_only: true",
      "    extra_hosts:",
      '      - "moat-proxy:172.17.0.1"',
      "    entrypoint:",
      '      - "/moat/relay"',
    ],
  },
  {
    format: "systemd",
    view: FULL,
    lines: ["[Service]", "EnvironmentFile=/var/lib/moat/env/web"],
  },
  {
    format: "systemd",
    view: WITH_FILE,
    lines: [
      "[Service]",
      "LoadCredential=moat-token:/var/lib/moat/tokens/web",
      "Environment=AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=%d/moat-token",
      'Environment="AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1/ecs/credentials"',
    ],
  },
];
for (const { format, view, lines } of GOLDEN) {
  const how = view.tokenFile ? " with a token file" : "";
  Deno.test(`formatEnvironment() writes ${format}${how}`, () => {
    const expected = lines.map((line) => line + "\n").join("");
    assert.equal(formatEnvironment(format, view), expected);
  });
}

for (const format of ["docker", "compose", "systemd"] as const) {
  Deno.test(`formatEnvironment() never shows a token as ${format}`, () => {
    assert.doesNotMatch(formatEnvironment(format, FULL), /Bearer|c2VjcmV0/);
  });
  Deno.test(`formatEnvironment() needs a file for ${format}`, () => {
    const { environmentFile: _, ...bare } = FULL;
    assert.throws(() => formatEnvironment(format, bare), {
      code: "bad-value",
      message: /wanted a file/,
    });
  });
}

Deno.test("formatEnvironment() keeps compose from taking a dollar as a variable", () => {
  const text = formatEnvironment("compose", view({ entrypoint: ["/$a"] }));
  assert.match(text, /^ {6}- "\/\$\$a"$/m);
});

Deno.test("formatEnvironment() writes json that says everything", () => {
  assert.deepEqual(JSON.parse(formatEnvironment("json", FULL)), FULL);
});

Deno.test("formatEnvironment() writes json of the known members only", () => {
  const more = { ...FULL, secret: "c2VjcmV0LW9mLW90aGVycw" };
  const written = JSON.parse(formatEnvironment("json", more));
  assert.equal(written.secret, undefined);
});

// What cannot be written.

const CONTAINED = view({
  environment: { A: "b" },
  environmentFile: "/e",
  container: { name: "web", label: { key: "app", value: "a $b" } },
});

Deno.test("formatEnvironment() gives docker the name and label of the container", () => {
  assert.equal(
    formatEnvironment("docker", CONTAINED),
    "--env-file /e --name web --label 'app=a $b'\n",
  );
});

Deno.test("formatEnvironment() gives compose the name and label of the container", () => {
  assert.match(
    formatEnvironment("compose", CONTAINED),
    /\n {4}container_name: "web"\n {4}labels:\n {6}- "app=a \$\$b"\n$/,
  );
});

Deno.test("formatEnvironment() gives JSON the container", () => {
  const { container } = JSON.parse(formatEnvironment("json", CONTAINED));
  assert.deepEqual(container, CONTAINED.container);
});

const REFUSED: { name: string; formats: Format[]; value: string }[] = [
  { name: "a newline", formats: ["env", "compose"], value: "a\nB=c" },
  { name: "a carriage return", formats: ["env", "compose"], value: "a\r" },
  { name: "a blank at its start", formats: ["env", "compose"], value: " a" },
  { name: "a blank at its end", formats: ["env", "compose"], value: "a " },
  { name: "a backslash", formats: ["env", "compose"], value: "a\\b" },
  { name: "a double quote first", formats: ["env"], value: '"a"' },
  { name: "a single quote first", formats: ["env"], value: "'a" },
  { name: "a NUL", formats: ["env", "export", "compose"], value: "\0" },
  { name: "half a character", formats: ["env", "export"], value: "\ud800" },
  { name: "a dollar", formats: ["compose"], value: "a$b" },
  { name: "a comment", formats: ["compose"], value: "a #b" },
];
for (const { name, formats, value } of REFUSED) {
  for (const format of formats) {
    Deno.test(`formatEnvironment() refuses ${name} in ${format}`, () => {
      const candidate = view({
        environment: { A: value },
        environmentFile: "/e",
      });
      assert.equal(accepts(format, candidate), false);
    });
  }
}

const REFUSED_VIEWS: {
  name: string;
  format: Format;
  view: Partial<EnvironmentView>;
}[] = [
  {
    name: "a colon in a path to mount",
    format: "docker",
    view: { mounts: [{ source: "/a:b", target: "/c", readOnly: true }] },
  },
  {
    name: "a line break in a path to mount",
    format: "docker",
    view: { mounts: [{ source: "/a\nb", target: "/c", readOnly: true }] },
  },
  {
    name: "an entrypoint with arguments",
    format: "docker",
    view: { entrypoint: ["/moat/relay", "--port"] },
  },
  { name: "a name of no service", format: "compose", view: { name: "a@b" } },
  {
    name: "a pattern as environment file",
    format: "systemd",
    view: { environmentFile: "/etc/*" },
  },
  {
    name: "a relative token file",
    format: "systemd",
    view: { tokenFile: "token" },
  },
];
for (const { name, format, view: more } of REFUSED_VIEWS) {
  Deno.test(`formatEnvironment() refuses ${name} in ${format}`, () => {
    assert.equal(accepts(format, view(more)), false);
  });
}

for (const format of FORMATS) {
  Deno.test(`formatEnvironment() refuses a bad name in ${format}`, () => {
    const candidate = view({ ...FULL, environment: { "A B": "x" } });
    assert.equal(accepts(format, candidate), false);
  });
}

Deno.test("formatEnvironment() tells no value in its errors", () => {
  fc.assert(fc.property(fc.constantFrom(...FORMATS), oddText, (format, odd) => {
    const environment = { A: `${odd}canary${odd}` };
    try {
      formatEnvironment(format, view({ environment, environmentFile: "/e" }));
    } catch (error) {
      assert.doesNotMatch((error as Error).message, /canary/);
    }
  }));
});

// What real readers make of it.

testUnless(
  which("sh") ? undefined : "no sh",
  "formatEnvironment() writes exports that sh evaluates",
  async () => {
    const property = fc.asyncProperty(
      fc.array(oddText, { minLength: 1, maxLength: 12 }),
      async (values) => {
        const environment = numbered(
          values.filter((value) => !value.includes("\0")),
        );
        const script = formatEnvironment("export", view({ environment })) +
          "exec env -0\n";
        const { stdout } = await run(["sh", "-c", script], { clearEnv: true });
        const got = stdout.split("\0").filter((line) => line.startsWith("V_"))
          .map((line) => line.split(/=(.*)/s).slice(0, 2));
        assert.deepEqual(Object.fromEntries(got), environment);
      },
    );
    await fc.assert(property, { numRuns: 30 });
  },
);

testUnless(
  which("sh") ? undefined : "no sh",
  "formatEnvironment() writes docker options that sh splits into words",
  async () => {
    const odd = view({
      mounts: [{ source: "/a b$HOME", target: "/it's", readOnly: false }],
    });
    const script = `printf '%s\\n' ${formatEnvironment("docker", odd)}`;
    const { stdout } = await run(["sh", "-c", script]);
    assert.equal(stdout, "--volume\n/a b$HOME:/it's\n");
  },
);

testUnless(
  isThere(GENERATOR) ? undefined : "no systemd",
  "formatEnvironment() writes env lines that systemd's own reader understands",
  async () => {
    await using workspace = await Workspace.open();
    const property = fc.asyncProperty(
      fc.array(oddText, { minLength: 1, maxLength: 20 }),
      async (values) => {
        // This reader, other than that of units, expands variables and drops empty values.
        const environment = numbered(
          values.filter((value) =>
            value !== "" && !value.includes("$") &&
            accepts("env", view({ environment: { A: value } }))
          ),
        );
        const text = formatEnvironment("env", view({ environment }));
        await workspace.write(".config/environment.d/moat.conf", text);
        const { stdout, stderr } = await run([GENERATOR], {
          clearEnv: true,
          env: { HOME: workspace.directory },
        });
        assert.equal(stderr, "");
        assert.deepEqual(await evaluate(stdout, environment), environment);
      },
    );
    await fc.assert(property, { numRuns: 40 });
  },
);

/** The values that sh gives to variables. */
async function evaluate(
  assignments: string,
  wanted: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const keys = Object.keys(wanted);
  const print = keys.map((key) => `printf '%s\\0' "$${key}"`).join("\n");
  const lines = assignments.split("\n").filter((line) => /^V_\d+=/.test(line));
  const script = `${lines.join("\n")}\n${print}\n`;
  const { stdout } = await run(["sh", "-c", script], { clearEnv: true });
  const values = stdout.split("\0");
  return Object.fromEntries(keys.map((key, i) => [key, values[i] ?? ""]));
}

testUnless(
  motoReason(),
  "formatEnvironment() writes compose files that a YAML parser reads",
  async () => {
    const odd = oddText.filter((text) =>
      accepts("compose", view({ entrypoint: [text] }))
    );
    const views = fc.sample(
      fc.array(odd, { minLength: 4, maxLength: 4 }),
      50,
    )
      .map(([a = "", b = "", c = "", d = ""]) =>
        view({
          environment: { A: "b" },
          environmentFile: `/${a}`,
          mounts: [{ source: `/${b}`, target: `/${c}`, readOnly: false }],
          entrypoint: [d, ""],
        })
      );
    const texts = views.map((each) => formatEnvironment("compose", each));
    const program =
      "import json,sys,yaml; print(json.dumps([yaml.safe_load(t) for t in json.load(sys.stdin)]))";
    const { stdout } = await run([PYTHON, "-c", program], {
      stdin: JSON.stringify(texts),
    });
    // Compose reads $$ as one dollar.
    const services = JSON.parse(stdout.replaceAll("$$", "$"));
    const expected = views.map(({ environmentFile, mounts, entrypoint }) => ({
      services: {
        web: {
          env_file: [environmentFile],
          volumes: mounts.map(({ source, target, readOnly }) => ({
            type: "bind",
            source,
            target,
            read_only: readOnly,
          })),
          entrypoint,
        },
      },
    }));
    assert.deepEqual(services, expected);
  },
);

/** Odd, but what a drop-in can say. */
const UNIT_VALUES = [
  "plain",
  "",
  " blanks at both ends ",
  "quotes \" and ' both",
  "back\\slash and \\n and \\",
  "100% of %n and %%",
  "$HOME ${HOME}",
  "# no comment ; either",
  "é 日 😀",
];

/** Lays out a service with a drop-in. */
async function writeUnit(
  workspace: Workspace,
  dropIn: string,
): Promise<string> {
  const unit = await workspace.write(
    "moat-test.service",
    "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    0o644,
  );
  await workspace.write("moat-test.service.d/moat.conf", dropIn, 0o644);
  await Deno.chmod(workspace.directory, 0o755);
  await Deno.chmod(workspace.path("moat-test.service.d"), 0o755);
  return unit;
}

const DROP_INS: { name: string; view: EnvironmentView }[] = [
  { name: "an environment file", view: FULL },
  {
    name: "a token file and odd values",
    view: view({
      environment: { ...numbered(UNIT_VALUES), T: "/a b%c/tok'en\"" },
      tokenFile: "/a b%c/tok'en\"",
    }),
  },
];
for (const { name, view } of DROP_INS) {
  testUnless(
    which("systemd-analyze") ? undefined : "no systemd-analyze",
    `formatEnvironment() writes a drop-in with ${name} that systemd-analyze verifies`,
    async () => {
      await using workspace = await Workspace.open();
      const unit = await writeUnit(
        workspace,
        formatEnvironment("systemd", view),
      );
      const { stderr } = await run(
        ["systemd-analyze", "verify", "--man=no", unit],
        { env: { SYSTEMD_UNIT_PATH: workspace.directory } },
      );
      assert.equal(stderr, "");
    },
  );
}

testUnless(
  isThere(SYSTEMD) && which("setpriv") ? undefined : "no systemd",
  "formatEnvironment() writes a drop-in whose values systemd reads as they are",
  async () => {
    await using workspace = await Workspace.open();
    const environment = { ...numbered(UNIT_VALUES), T: "/run/token" };
    const candidate = view({ environment, tokenFile: "/run/token" });
    await writeUnit(workspace, formatEnvironment("systemd", candidate));
    // It tests no unit as root.
    const nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
      .split(" ");
    const { stdout } = await run(
      [
        ...Deno.uid() === 0 ? nobody : [],
        ...[SYSTEMD, "--test", "--system", "--unit=moat-test.service"],
      ],
      {
        clearEnv: true,
        env: {
          SYSTEMD_UNIT_PATH: workspace.directory,
          HOME: workspace.directory,
          XDG_RUNTIME_DIR: workspace.directory,
        },
      },
    );
    const read = [...stdout.matchAll(/^\t+Environment: (.*)$/gm)]
      .map((match) => match[1]);
    const expected = Object.entries({
      ...environment,
      T: "/run/credentials/moat-test.service/moat-token",
    }).map(([name, value]) => `${name}=${value}`);
    assert.deepEqual(read, expected);
  },
);

// Reading.

Deno.test("parseEnvironment() reads what formatEnvironment() wrote", () => {
  fc.assert(fc.property(environments, (environment) => {
    fc.pre(accepts("env", view({ environment })));
    const text = formatEnvironment("env", view({ environment }));
    assert.deepEqual(
      Object.entries(parseEnvironment(text)),
      Object.entries(environment),
    );
  }));
});

Deno.test("parseEnvironment() reads what writeQuoted() wrote", () => {
  fc.assert(fc.property(environments, (environment) => {
    let text: string;
    try {
      text = writeQuoted(environment);
    } catch {
      return;
    }
    assert.deepEqual(parseEnvironment(text), { ...environment });
  }));
});

const READABLE: { name: string; text: string; expected: object }[] = [
  {
    name: "a file of needroleshere",
    text:
      'A_TOKEN="Bearer needroleshere.x.y"\nB_URI=http://h/ecs/credentials\n',
    expected: {
      A_TOKEN: "Bearer needroleshere.x.y",
      B_URI: "http://h/ecs/credentials",
    },
  },
  {
    name: "comments and blank lines",
    text: "# one\n\n  ; two\nA=1\n \n",
    expected: { A: "1" },
  },
  { name: "a last line without newline", text: "A=1", expected: { A: "1" } },
  {
    name: "lines that end in CR LF",
    text: "A=1\r\nB=2\r\n",
    expected: { A: "1", B: "2" },
  },
  { name: "the later of two", text: "A=1\nA=2\n", expected: { A: "2" } },
  { name: "empty values", text: 'A=\nB=""\n', expected: { A: "", B: "" } },
  {
    name: "an equals sign in a value",
    text: "A=b=c=\n",
    expected: { A: "b=c=" },
  },
  { name: "a # in a value", text: "A=b #c\n", expected: { A: "b #c" } },
  { name: "nothing", text: "", expected: {} },
];
for (const { name, text, expected } of READABLE) {
  Deno.test(`parseEnvironment() reads ${name}`, () => {
    assert.deepEqual(parseEnvironment(text), expected);
  });
}

const DAMAGED: { name: string; line: string }[] = [
  { name: "a line without =", line: "canary" },
  { name: "a name with a blank", line: "A B=canary" },
  { name: "an unclosed quote", line: 'A="canary' },
  { name: "text after a quote", line: 'A="canary" b' },
  { name: "single quotes", line: "A='canary'" },
  { name: "a backslash", line: "A=canary\\" },
  { name: "export", line: "export A=canary" },
];
for (const { name, line } of DAMAGED) {
  Deno.test(`parseEnvironment() refuses ${name} by its line's number`, () => {
    assert.throws(() => parseEnvironment(`OK=1\n\n${line}\n`), (error) => {
      const { code, message } = error as { code: string; message: string };
      assert.equal(code, "environment-damaged");
      assert.match(message, /line 3\b/);
      assert.doesNotMatch(message, /canary/);
      return true;
    });
  });
}

Deno.test("writeQuoted() sorts by name and quotes values with a blank", () => {
  const text = writeQuoted({ B_URI: "/ecs/credentials", A_TOKEN: "Bearer x" });
  assert.equal(text, 'A_TOKEN="Bearer x"\nB_URI=/ecs/credentials\n');
});

Deno.test("writeQuoted() refuses a quote", () => {
  assert.throws(() => writeQuoted({ A: 'a "b"' }), { code: "bad-value" });
});

Deno.test("parseFormat() knows all formats", () => {
  assert.deepEqual(FORMATS.map(parseFormat), FORMATS);
});

Deno.test("parseFormat() refuses others, naming all", () => {
  assert.throws(() => parseFormat("yaml"), {
    code: "usage",
    hint: /env, export, docker, compose, json, systemd/,
  });
});
