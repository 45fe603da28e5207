/**
 * The clients of the conformance matrix, and what each does not support by a
 * rule of its own.
 *
 * @module
 */

import { join } from "node:path";
import { must } from "../process.ts";
import { type ClientLanguage, SDK_CLIENTS_SOURCE } from "../sdk_clients.ts";
import { type ColumnName, COLUMNS, type Mode } from "./columns.ts";

/** A reason why a client cannot use a mode. */
export interface Rule {
  /** For people, about the client. */
  readonly sentence: string;
}

/** Where a client's version is written. */
export type VersionSource =
  | { readonly file: string; readonly pattern: RegExp }
  | { readonly debian: string };

/** One row of the matrix. */
export interface Client {
  /** For people. */
  readonly name: string;
  /** Who runs its program. */
  readonly language: ClientLanguage;
  /** The program's name for it. */
  readonly program: string;
  readonly version: VersionSource;
  /** Whether CI runs it with every change. */
  readonly isQuick: boolean;
  /** Whether the library refreshes credentials by itself, and so is in the refresh part. */
  readonly refreshes: boolean;
  /** Columns that it cannot use, and why. */
  readonly unsupported: Readonly<Partial<Record<ColumnName, Rule>>>;
}

const rule = (sentence: string): Rule => ({ sentence });

const NO_TOKEN_FILE = rule(
  "It is older than `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` and asks without a token.",
);
const NO_RELATIVE_TOKEN = rule(
  "With `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` it sends no token; the query modes are for such clients.",
);
const NO_FULL_URI = rule(
  "It does not know `AWS_CONTAINER_CREDENTIALS_FULL_URI`.",
);
const NO_PROCESS = rule("It does not know `credential_process`.");
const FULL_BY_FILE_ONLY = rule(
  "It uses `AWS_CONTAINER_CREDENTIALS_FULL_URI` only together with `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.",
);

/** Gives all columns of some modes the same rule. */
function all(rule: Rule, ...modes: Mode[]): Client["unsupported"] {
  const found = COLUMNS.filter(({ mode }) => modes.includes(mode));
  return Object.fromEntries(found.map(({ name }) => [name, rule]));
}

const NO_RELATIVE_FILE = {
  "ecs-relative-file": rule(
    "With `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` it sends the token of `AWS_CONTAINER_AUTHORIZATION_TOKEN` only.",
  ),
};
const NO_FILES = {
  "ecs-full-file": NO_TOKEN_FILE,
  "ecs-relative-file": NO_TOKEN_FILE,
};
const UNNAMED_RELATIVE = all(NO_RELATIVE_TOKEN, "ecs-relative");
const RELATIVE_BY_FILE_ONLY = {
  "ecs-relative": rule(
    "With `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` it sends a token of `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` only.",
  ),
};
const WITHOUT_FULL = all(NO_FULL_URI, "ecs-full", "ecs-full-query");

type Row = Partial<Client> & Pick<Client, "name" | "version">;

const rows = (
  language: ClientLanguage,
  clients: Readonly<Record<string, Row>>,
): Client[] =>
  Object.entries(clients).map(([program, client]) => ({
    ...{ language, program, unsupported: {} },
    ...{ isQuick: false, refreshes: true },
    ...client,
  }));

const python = (name: string): VersionSource => ({
  file: "python/requirements.txt",
  pattern: new RegExp(`^${name}==(.+)$`, "m"),
});
const go = (module: string): VersionSource => ({
  file: "go/go.mod",
  pattern: new RegExp(`${module} v(.+)`),
});
const node = (name: string): VersionSource => ({
  file: "node/package.json",
  pattern: new RegExp(`"${name}": "(.+)"`),
});
const rust = (name: string): VersionSource => ({
  file: "rust/Cargo.lock",
  pattern: new RegExp(`name = "${name}"\nversion = "(.+)"`),
});
const java = (artifact: string): VersionSource => ({
  file: "java/pom.xml",
  pattern: new RegExp(`<artifactId>${artifact}<.*\\s*<version>(.+)<`),
});

/** All of them. */
export const CLIENTS: readonly Client[] = [
  ...rows("python", {
    boto3: { name: "boto3", version: python("boto3"), isQuick: true },
    aiobotocore: { name: "aiobotocore", version: python("aiobotocore") },
    awscrt: { name: "AWS Common Runtime", version: python("awscrt") },
    pyarrow: { name: "AWS SDK for C++ (pyarrow)", version: python("pyarrow") },
    deltalake: {
      name: "AWS SDK for Rust (deltalake)",
      version: python("deltalake"),
    },
    minio: {
      name: "MinIO for Python",
      version: python("minio"),
      unsupported: { process: NO_PROCESS, ...NO_RELATIVE_FILE },
    },
    obstore: {
      name: "obstore",
      version: python("obstore"),
      unsupported: {
        process: NO_PROCESS,
        "ecs-full": FULL_BY_FILE_ONLY,
        "ecs-full-query": FULL_BY_FILE_ONLY,
        ...UNNAMED_RELATIVE,
      },
    },
    opendal: {
      name: "OpenDAL",
      version: python("opendal"),
      unsupported: { process: NO_PROCESS },
    },
  }),
  ...rows("venv", {
    awscli: {
      name: "AWS CLI 1",
      version: {
        file: "../../../scripts/prepare.ts",
        pattern: /"awscli==(.+)"/,
      },
      isQuick: true,
      refreshes: false,
    },
  }),
  ...rows("debian", {
    boto3: {
      name: "boto3 of Debian",
      version: { debian: "python3-boto3" },
      unsupported: NO_FILES,
    },
    awscli: {
      name: "AWS CLI 2 of Debian",
      version: { debian: "awscli" },
      refreshes: false,
      unsupported: NO_FILES,
    },
    rclone: {
      name: "rclone of Debian",
      version: { debian: "rclone" },
      refreshes: false,
      unsupported: NO_FILES,
    },
  }),
  ...rows("node", {
    v3: {
      name: "AWS SDK for JavaScript 3",
      version: node("@aws-sdk/credential-providers"),
      isQuick: true,
    },
    v2: {
      name: "AWS SDK for JavaScript 2",
      version: node("aws-sdk"),
      isQuick: true,
      unsupported: RELATIVE_BY_FILE_ONLY,
    },
  }),
  ...rows("go", {
    v2: {
      name: "AWS SDK for Go 2",
      version: go("aws-sdk-go-v2/config"),
      isQuick: true,
    },
    v1: {
      name: "AWS SDK for Go 1",
      version: go("aws/aws-sdk-go"),
      isQuick: true,
    },
    minio: {
      name: "MinIO for Go",
      version: go("minio-go/v7"),
      unsupported: { ...NO_RELATIVE_FILE },
    },
  }),
  ...rows("java", {
    v2: { name: "AWS SDK for Java 2", version: java("auth") },
    v1: {
      name: "AWS SDK for Java 1",
      version: java("aws-java-sdk-core"),
      unsupported: { ...UNNAMED_RELATIVE },
    },
  }),
  ...rows("rust", {
    sdk: { name: "AWS SDK for Rust", version: rust("aws-config") },
    rusoto: {
      name: "rusoto",
      version: rust("rusoto_credential"),
      unsupported: { ...NO_FILES, ...UNNAMED_RELATIVE },
    },
  }),
  ...rows("ruby", {
    sdk: {
      name: "AWS SDK for Ruby of Debian",
      version: { debian: "ruby-aws-sdk-core" },
      unsupported: { ...WITHOUT_FULL, ...UNNAMED_RELATIVE },
    },
  }),
  ...rows("php", {
    async: {
      name: "AsyncAws for PHP of Debian",
      version: { debian: "php-async-aws-core" },
      unsupported: {
        process: NO_PROCESS,
        ...WITHOUT_FULL,
        ...UNNAMED_RELATIVE,
      },
    },
  }),
];

/**
 * Finds out which version of a client is installed.
 *
 * @param client Which.
 * @returns Such as `1.43.117`; Debian's without its own suffix.
 */
export async function versionOf({ version }: Client): Promise<string> {
  if ("debian" in version) {
    const query = ["dpkg-query", "-W", "-f=${Version}", version.debian];
    return /^(?:\d+:)?([^-+]+)/.exec(await must(query))?.[1] ?? "unknown";
  }
  const path = join(SDK_CLIENTS_SOURCE, version.file);
  const text = await Deno.readTextFile(path);
  return version.pattern.exec(text)?.[1] ?? "unknown";
}

/** Debian's packages that the rows of a language need. */
export const PACKAGES: Readonly<Partial<Record<ClientLanguage, string>>> = {
  debian: "awscli python3-boto3 rclone",
  ruby: "ruby-aws-sdk-core",
  php: "php-cli php-async-aws-core",
  java: "default-jdk-headless maven",
};
