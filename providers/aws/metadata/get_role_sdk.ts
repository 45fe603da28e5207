/**
 * What we use of AWS's IAM client. Loaded by `import()` only; a module of its
 * own, so that the bundler can leave out all the rest.
 *
 * @module
 */

export { GetRoleCommand, IAMClient } from "@aws-sdk/client-iam";
