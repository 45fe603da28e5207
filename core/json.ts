/**
 * JSON that others wrote.
 *
 * @module
 */

/**
 * Parses JSON whose shape is checked next, where no JSON is as wrong as one of
 * another shape.
 *
 * @param json Text, or its UTF-8.
 * @returns The value; undefined for what is no JSON.
 */
export function parseJson(json: string | Uint8Array): unknown {
  try {
    return JSON.parse(
      typeof json === "string"
        ? json
        : new TextDecoder("utf-8", { fatal: true }).decode(json),
    );
  } catch {
    return undefined;
  }
}
