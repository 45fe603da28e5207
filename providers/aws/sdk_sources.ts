/**
 * What we use of AWS's credential providers. Loaded by `import()` only; a
 * module of its own, so that the bundler can leave out all the rest.
 *
 * @module
 */

export {
  fromInstanceMetadata,
  fromLoginCredentials,
  fromSSO,
} from "@aws-sdk/credential-providers";
export {
  getDefaultRoleAssumer,
  getDefaultRoleAssumerWithWebIdentity,
} from "@aws-sdk/client-sts";
