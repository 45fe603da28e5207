/**
 * Joining environments of several origins. Pure.
 *
 * Most variables have one value, so that somebody must win. Two are lists that
 * can be continued instead: git's settings (`GIT_CONFIG_COUNT` and numbered
 * pairs of key and value) and the options of Java (`JAVA_TOOL_OPTIONS`).
 *
 * @see {@link https://git-scm.com/docs/git-config#ENVIRONMENT | git-config, ENVIRONMENT}
 * @module
 */

/** An environment, or a part of one. */
export type Variables = Readonly<Record<string, string>>;

/** Where Java finds options that no command line names. */
export const JAVA_OPTIONS = "JAVA_TOOL_OPTIONS";

/** How many settings git finds in its environment. */
export const GIT_COUNT = "GIT_CONFIG_COUNT";

const OF_GIT = /^GIT_CONFIG_(COUNT|(KEY|VALUE)_[0-9]+)$/;

const OF_PROXY = /_(no)?proxy$/i;

/** More is no list that anybody wrote. */
const MAX_GIT_SETTINGS = 1000;

/** Such as `http.extraHeader` and its value. */
type GitSetting = readonly [key: string, value: string];

/**
 * Joins what several grants give to one client.
 *
 * @param each In the order of the grants: the first that sets a variable, or a
 * key of git's, counts.
 * @returns All variables, git's settings numbered anew.
 */
export function joinVariables(each: readonly Variables[]): Variables {
  const joined = new Map<string, string>();
  const settings: GitSetting[] = [];
  for (const variables of each) {
    for (const [name, value] of Object.entries(variables)) {
      if (!OF_GIT.test(name) && !joined.has(name)) joined.set(name, value);
    }
    const taken = new Set(settings.map(([key]) => key));
    // One grant may set a key twice: git has lists of its own.
    settings.push(...gitSettings(variables).filter(([key]) => !taken.has(key)));
  }
  return { ...Object.fromEntries(joined), ...numbered(settings) };
}

/**
 * Puts a binding's variables over those of a program's user.
 *
 * @param theirs The user's.
 * @param ours The binding's: they count, and lists end with them.
 * @returns All variables.
 */
export function overlayVariables(
  theirs: Variables,
  ours: Variables,
): Record<string, string> {
  const options = [theirs[JAVA_OPTIONS], ours[JAVA_OPTIONS]]
    .filter((text) => text).join(" ");
  const settings = ours[GIT_COUNT] === undefined
    ? {}
    : numbered([...gitSettings(theirs), ...gitSettings(ours)]);
  return {
    ...theirs,
    ...ours,
    ...(options && { [JAVA_OPTIONS]: options }),
    ...settings,
  };
}

/**
 * Tells whether two names are of one variable.
 *
 * @param name Such as `HTTPS_PROXY`.
 * @param other Another name.
 * @returns Whether they are equal; those of proxies in any case, because some
 * clients (Python, npm) read them so.
 */
export function isSameVariable(name: string, other: string): boolean {
  return name === other ||
    (OF_PROXY.test(name) && name.toLowerCase() === other.toLowerCase());
}

/** What git would read; it refuses a list with a gap, which ends here. */
function gitSettings(variables: Variables): GitSetting[] {
  const count = Number(variables[GIT_COUNT] ?? 0);
  const settings: GitSetting[] = [];
  for (let i = 0; i < Math.min(count, MAX_GIT_SETTINGS); i++) {
    const key = variables[`GIT_CONFIG_KEY_${i}`];
    const value = variables[`GIT_CONFIG_VALUE_${i}`];
    if (key === undefined || value === undefined) break;
    settings.push([key, value]);
  }
  return settings;
}

function numbered(settings: readonly GitSetting[]): Variables {
  if (settings.length === 0) return {};
  const pairs = settings.flatMap(([key, value], i) => [
    [`GIT_CONFIG_KEY_${i}`, key],
    [`GIT_CONFIG_VALUE_${i}`, value],
  ]);
  return {
    [GIT_COUNT]: String(settings.length),
    ...Object.fromEntries(pairs),
  };
}
