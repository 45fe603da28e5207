/**
 * What we use of AWS's STS client. Loaded by `import()` only; a module of its
 * own, so that the bundler can leave out all the rest.
 *
 * @module
 */

export {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  GetCallerIdentityCommand,
  GetSessionTokenCommand,
  STSClient,
} from "@aws-sdk/client-sts";
export { FetchHttpHandler } from "@smithy/fetch-http-handler";
