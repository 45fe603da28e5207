/**
 * Fills a fresh moto server and turns its authentication on. A program of its
 * own, because the server may be in another network namespace.
 *
 * Run as `moto_setup.ts URL [EXTERNAL_ID [ROLES]]`, `ROLES` being JSON of
 * `MotoOptions.roles`; prints JSON on stdout.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

/** The account of everything in moto. */
const ACCOUNT = "123456789012";

/** moto takes the service from here; signatures are not checked yet. */
const AUTHORIZATION =
  "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x";

async function post(
  url: string,
  body: string | URLSearchParams,
): Promise<string> {
  // moto closes its connections: say so, instead of finding out.
  const headers = { authorization: AUTHORIZATION, connection: "close" };
  const response = await fetch(url, { method: "POST", body, headers });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`);
  return text;
}

function element(xml: string, name: string): string {
  const [, text] = xml.match(new RegExp(`<${name}>([^<]+)</${name}>`)) ?? [];
  if (text === undefined) throw new Error(`no ${name} in ${xml}`);
  return text;
}

function policy(statement: Record<string, unknown>): string {
  const Statement = [{ Effect: "Allow", ...statement }];
  return JSON.stringify({ Version: "2012-10-17", Statement });
}

const [url = "", externalId, roles = "[]"] = Deno.args;
const further: { name: string; path?: string; externalId?: string }[] = JSON
  .parse(roles);
const iam = (Action: string, fields: Record<string, string>) =>
  post(url, new URLSearchParams({ Action, Version: "2010-05-08", ...fields }));
const [UserName, RoleName] = ["moat-source", "moat-role"];
const roleArn = `arn:aws:iam::${ACCOUNT}:role/${RoleName}`;
const userArn = `arn:aws:iam::${ACCOUNT}:user/${UserName}`;

await iam("CreateUser", { UserName });
await iam("PutUserPolicy", {
  UserName,
  PolicyName: "assume",
  PolicyDocument: policy({
    Action: ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    Resource: roleArn,
  }),
});
await createRole(RoleName, externalId);
if (further.length > 0) {
  const PolicyDocument = policy({
    Action: ["sts:AssumeRole", "sts:TagSession", "iam:GetRole"],
    Resource: further.map(({ name, path = "/" }) =>
      `arn:aws:iam::${ACCOUNT}:role${path}${name}`
    ),
  });
  const PolicyName = "further";
  for (const role of further) {
    await createRole(role.name, role.externalId, role.path);
  }
  await iam("PutUserPolicy", { UserName, PolicyName, PolicyDocument });
}

async function createRole(RoleName: string, externalId = "", Path = "/") {
  const condition = { StringEquals: { "sts:ExternalId": externalId } };
  await iam("CreateRole", {
    RoleName,
    Path,
    AssumeRolePolicyDocument: policy({
      Action: "sts:AssumeRole",
      Principal: { AWS: userArn },
      ...(externalId ? { Condition: condition } : {}),
    }),
  });
  await iam("PutRolePolicy", {
    RoleName,
    PolicyName: "use",
    PolicyDocument: policy({ Action: "s3:*", Resource: "*" }),
  });
}

const key = await iam("CreateAccessKey", { UserName });
await post(`${url}/moto-api/reset-auth`, "0");
console.log(JSON.stringify({
  accessKeyId: element(key, "AccessKeyId"),
  secretAccessKey: element(key, "SecretAccessKey"),
  roleArn,
  userArn,
}));
