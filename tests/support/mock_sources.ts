/**
 * Everything that gives source credentials over HTTP, on one port of
 * 127.0.0.1: instance metadata, a container endpoint, the SSO portal and its
 * tokens, the sign-in service, and STS for the roles of profiles.
 *
 * @module
 */

/** What a route answers; null for what hangs until the mock is closed. */
export type MockAnswer = Response | null;

/** A request as the mock saw it. */
export interface MockRequest {
  /** Such as `GET /container?a=b`. */
  readonly line: string;
  readonly headers: Headers;
  readonly body: string;
}

/** The routes, by method and path. */
const ROUTES = {
  "PUT /latest/api/token": "instanceToken",
  "GET /latest/meta-data/iam/security-credentials/": "instanceRole",
  "GET /latest/meta-data/iam/security-credentials/web": "instance",
  "GET /container": "container",
  "GET /federation/credentials": "sso",
  "POST /token": "oidc",
  "POST /v1/token": "signin",
  "POST /": "sts",
} as const;

/** The name of a route. */
export type MockRoute = typeof ROUTES[keyof typeof ROUTES];

/** The running mock; `await using` stops it. */
export interface MockSources extends AsyncDisposable {
  /** Such as `http://127.0.0.1:40009`. */
  readonly url: string;
  /** What came so far. */
  readonly requests: readonly MockRequest[];
  /** Routes that answer otherwise. */
  readonly answers: Partial<Record<MockRoute, () => MockAnswer>>;
}

/** What the mock's credentials hold. */
export interface MockSecrets {
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  /** In ms since the Unix epoch. Default: in an hour. */
  readonly expiresAt?: number;
}

/** Access key IDs tell which route answered. */
export const MOCK_KEY_IDS = {
  instance: "ASIAINSTANCEINSTANCE",
  container: "ASIACONTAINERCONTAIN",
  sso: "ASIASSOSSOSSOSSOSSOS",
  signin: "ASIASIGNINSIGNINSIGN",
  sts: "ASIASTSSTSSTSSTSSTSS",
} as const;

/**
 * Starts the mock, with all routes answering well.
 *
 * @param secrets What its credentials hold.
 */
export function startMockSources(secrets: MockSecrets): MockSources {
  const requests: MockRequest[] = [];
  const answers: MockSources["answers"] = {};
  const closed = Promise.withResolvers<Response>();
  const serve = async (request: Request) => {
    const { pathname, search } = new URL(request.url);
    const { method, headers } = request;
    const body = await request.text();
    requests.push({ line: `${method} ${pathname}${search}`, headers, body });
    const route = ROUTES[`${method} ${pathname}` as keyof typeof ROUTES];
    if (!route) return new Response("no such route", { status: 404 });
    const special = answers[route];
    if (special) return special() ?? await closed.promise;
    return answer(route, secrets, body);
  };
  const stop = new AbortController();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    signal: stop.signal,
    onListen() {},
    onError: () => new Response(null, { status: 500 }),
  }, serve);
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    requests,
    answers,
    async [Symbol.asyncDispose]() {
      closed.resolve(new Response(null, { status: 503 }));
      stop.abort();
      await server.finished;
    },
  };
}

function answer(
  route: MockRoute,
  secrets: MockSecrets,
  body: string,
): Response {
  const { secretAccessKey, sessionToken } = secrets;
  const expiresAt = secrets.expiresAt ?? Date.now() + 3_600_000;
  const expiration = new Date(expiresAt).toISOString();
  switch (route) {
    case "instanceToken":
      return new Response("imds-token");
    case "instanceRole":
      return new Response("web");
    case "instance":
    case "container":
      return Response.json({
        Code: "Success",
        AccessKeyId: MOCK_KEY_IDS[route],
        SecretAccessKey: secretAccessKey,
        Token: sessionToken,
        Expiration: expiration,
      });
    case "sso":
      return Response.json({
        roleCredentials: {
          accessKeyId: MOCK_KEY_IDS.sso,
          secretAccessKey,
          sessionToken,
          expiration: expiresAt,
        },
      });
    case "oidc":
      return Response.json({
        accessToken: "renewed-token",
        expiresIn: 28_800,
        refreshToken: "renewed-refresh-token",
      });
    case "signin":
      return Response.json({
        accessToken: {
          accessKeyId: MOCK_KEY_IDS.signin,
          secretAccessKey,
          sessionToken,
        },
        tokenType: "aws_sigv4",
        expiresIn: 900,
        refreshToken: "renewed-refresh-token",
      });
    case "sts":
      return stsAnswer(body, secrets, expiration);
  }
}

function stsAnswer(
  body: string,
  { secretAccessKey, sessionToken }: MockSecrets,
  expiration: string,
): Response {
  const action = new URLSearchParams(body).get("Action");
  const xml =
    `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <${action}Result>
    <Credentials>
      <AccessKeyId>${MOCK_KEY_IDS.sts}</AccessKeyId>
      <SecretAccessKey>${secretAccessKey}</SecretAccessKey>
      <SessionToken>${sessionToken}</SessionToken>
      <Expiration>${expiration}</Expiration>
    </Credentials>
    <AssumedRoleUser>
      <AssumedRoleId>AROAMOCKMOCKMOCKMOCK1:mock</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/X/mock</Arn>
    </AssumedRoleUser>
  </${action}Result>
</${action}Response>`;
  return new Response(xml, { headers: { "content-type": "text/xml" } });
}
