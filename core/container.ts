/**
 * What is known of a container that acts as a client.
 *
 * @module
 */

/** A container, as its engine described it when it was asked last. */
export interface ContainerFacts {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Without the slash that the Docker API puts before it. */
  readonly name: string;
  /** As it was named when the container was created, such as `alpine:3.20`. */
  readonly image: string;
  /** Its environment; of a variable that is there twice, the last. */
  readonly env: Readonly<Record<string, string>>;
  /** Its labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** When it was started, as the engine spells it: another text is another start. */
  readonly startedAt: string;
}

/** How much of an id engines show. */
const SHORT_ID = 12;

/**
 * Shortens a container's id as engines do.
 *
 * @param container Any.
 * @returns Its first 12 digits.
 */
export function shortId({ id }: Pick<ContainerFacts, "id">): string {
  return id.replaceAll(/[^\w]/g, "").slice(0, SHORT_ID);
}

/** The label by which `moat run` finds its container; its value is the run's name. */
export const RUN_LABEL = "moat.run";

/** Which container may use a binding. */
export interface ContainerMatch {
  /** Its name, whole. */
  readonly name?: string;
  /** A label and its value. */
  readonly label?: { readonly key: string; readonly value: string };
}

/**
 * Tells whether a value from JSON says which container is meant.
 *
 * @param value Any value.
 * @returns Whether it has a name, a label or both, and nothing else.
 */
export function isContainerMatch(value: unknown): value is ContainerMatch {
  if (!isRecord(value, ["name", "label"])) return false;
  const { name, label } = value;
  if (name === undefined && label === undefined) return false;
  if (name !== undefined && typeof name !== "string") return false;
  return label === undefined ||
    (isRecord(label, ["key", "value"]) && typeof label["key"] === "string" &&
      typeof label["value"] === "string");
}

function isRecord(
  value: unknown,
  keys: readonly string[],
): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.keys(value).every((key) => keys.includes(key));
}

/**
 * Tells whether a container is the one that is meant.
 *
 * @param match Name or label; with neither, no container is.
 * @param container What its engine says of it now.
 */
export function matchesContainer(
  { name, label }: ContainerMatch,
  container: Pick<ContainerFacts, "name" | "labels">,
): boolean {
  if (name === undefined && label === undefined) return false;
  if (name !== undefined && name !== container.name) return false;
  return label === undefined ||
    (Object.hasOwn(container.labels, label.key) &&
      container.labels[label.key] === label.value);
}

/**
 * The engine's options that make a new container the one that is meant.
 *
 * @param match Which one.
 */
export function engineOptions({ name, label }: ContainerMatch): string[] {
  return [
    ...name === undefined ? [] : ["--name", name],
    ...label ? ["--label", `${label.key}=${label.value}`] : [],
  ];
}
