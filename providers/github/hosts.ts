/**
 * Which hosts and paths belong to a GitHub, and how each takes a token: the
 * API as Bearer, git and its large files as the password of Basic.
 *
 * @module
 * @see {@link https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api | Authenticating to the REST API}
 * @see {@link https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation | HTTP-based git access}
 */

import { isAddress } from "$core/host.ts";

/** What may follow a host. */
export const PORT = /:\d+$/;

/** The GitHub that needs no `--host`. */
export const GITHUB = "github.com";

/** A host, or a part of its paths. */
export interface Place {
  /** As an `Injection` has it. */
  readonly host: string;
  /** As an `Injection` has it. */
  readonly path?: string;
}

/** The hosts of one GitHub. */
export interface GithubHosts {
  /** Where the REST API begins, such as `https://api.github.com`. */
  readonly apiUrl: string;
  /** Take `Authorization: Bearer`. */
  readonly api: readonly Place[];
  /** Take `Authorization: Basic`, and git over ssh at the same name. */
  readonly git: readonly string[];
  /** Serve downloads, which need no token or have one in their URL. */
  readonly downloads: readonly string[];
}

/**
 * Lists the hosts of a GitHub.
 *
 * @param host `github.com`, `TENANT.ghe.com`, or an Enterprise Server's
 * `HOST[:PORT]`.
 * @see {@link https://docs.github.com/en/actions/reference/runners/self-hosted-runners | Hosts of github.com}
 * @see {@link https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency/network-details-for-ghecom | Hosts of ghe.com}
 * @see {@link https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api | Paths of an Enterprise Server}
 */
export function githubHosts(host: string): GithubHosts {
  if (isCloud(host)) {
    return {
      apiUrl: `https://api.${host}`,
      api: [{ host: `api.${host}` }, { host: `uploads.${host}` }],
      git: host === GITHUB ? [host, `gist.${host}`] : [host],
      downloads: host === GITHUB ? GITHUB_DOWNLOADS : [`codeload.${host}`],
    };
  }
  return {
    apiUrl: `https://${host}/api/v3`,
    api: ["/api/v3", "/api/graphql", "/api/uploads"]
      .map((path) => ({ host, path })),
    git: [host],
    // With subdomain isolation; without it they are paths of the host.
    downloads: isAddress(host.replace(PORT, ""))
      ? []
      : [`codeload.${host}`, `raw.${host}`, `media.${host}`],
  };
}

/** Not `*.githubusercontent.com`: Actions takes uploads there. */
const GITHUB_DOWNLOADS: readonly string[] = [
  "codeload.github.com",
  "raw.githubusercontent.com",
  "media.githubusercontent.com",
  "objects.githubusercontent.com",
  "release-assets.githubusercontent.com",
  // Large files of git, by signed URLs.
  "github-cloud.githubusercontent.com",
  "github-cloud.s3.amazonaws.com",
];

/**
 * Tells whether GitHub itself runs it, with hosts of their own for the API.
 *
 * @param host As {@link githubHosts} takes it.
 */
export function isCloud(host: string): boolean {
  return host === GITHUB || /^[^.:]+\.ghe\.com$/.test(host);
}
