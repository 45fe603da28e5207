/**
 * The variables in which a client finds its placeholder.
 *
 * @module
 */

/**
 * Puts a grant's placeholder into variables. Of several grants that set the
 * same one the first of the binding counts, so a named grant has them with its
 * name as well: `github:work` has `GH_TOKEN` and `GH_TOKEN_WORK`.
 *
 * @param grantName The full name.
 * @param variables Such as `GH_TOKEN`.
 * @param placeholder The value of each.
 * @returns A part of an environment.
 */
export function placeholderVariables(
  grantName: string,
  variables: readonly string[],
  placeholder: string,
): Record<string, string> {
  const [, name] = grantName.split(":");
  const suffix = name?.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");
  return Object.fromEntries(
    variables.flatMap((variable) => [
      [variable, placeholder],
      ...suffix === undefined ? [] : [[`${variable}_${suffix}`, placeholder]],
    ]),
  );
}
