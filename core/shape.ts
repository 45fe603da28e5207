/**
 * Reading values of unknown shape, such as a parsed file, so that a fault
 * names its place.
 *
 * @module
 */

import { closestMatch } from "leven";

/** Keys and indices from the top to a value. */
export type Path = readonly (string | number)[];

/** A value has not the shape that was wanted. */
export class ShapeError extends Error {
  /** Where. */
  readonly path: Path;
  /** What would be right, if there is more to say. */
  readonly hint: string | undefined;

  /** `message` is what was wanted and found, never the value itself. */
  constructor(path: Path, message: string, hint?: string) {
    super(message);
    this.path = path;
    this.hint = hint;
  }
}

/** A value and its place. Its methods throw {@link ShapeError}. */
export class Shape {
  readonly #value: unknown;
  /** Where it is. */
  readonly path: Path;

  /** A value at a place; default: the top. */
  constructor(value: unknown, path: Path = []) {
    this.#value = value;
    this.path = path;
  }

  /** Refuses it, in words like `wanted a port`. */
  fail(message: string, hint?: string): never {
    throw new ShapeError(this.path, message, hint);
  }

  /** A text. */
  text(): string {
    if (typeof this.#value === "string") return this.#value;
    return this.#failKind("a text", "write it in quotes");
  }

  /**
   * A text, in the form that `read` gives it.
   *
   * @param wanted What it is, such as `a host`.
   * @param read Gives undefined for what is none.
   */
  textAs<T>(wanted: string, read: (text: string) => T | undefined): T {
    return read(this.text()) ?? this.fail(`wanted ${wanted}`);
  }

  /** One of some words. */
  oneOf<const T extends string>(...words: readonly T[]): T {
    const wanted = words.map((word) => JSON.stringify(word)).join(" or ");
    return this.textAs(wanted, (text) => words.find((word) => word === text));
  }

  /** A whole number between two others, which it may be. */
  integer(min: number, max: number): number {
    const value = this.#value;
    if (typeof value !== "number") return this.#failKind("a number");
    return Number.isInteger(value) && value >= min && value <= max
      ? value
      : this.fail(`wanted a whole number from ${min} to ${max}`);
  }

  /** True or false. */
  boolean(): boolean {
    const value = this.#value;
    return typeof value === "boolean" ? value : this.#failKind("true or false");
  }

  /** Whether it is a list. */
  get isList(): boolean {
    return Array.isArray(this.#value);
  }

  /** The elements of a list. */
  list(): Shape[] {
    if (!Array.isArray(this.#value)) {
      return this.#failKind("a list", 'write it in brackets, as ["VALUE"]');
    }
    return this.#value.map((value, i) => new Shape(value, [...this.path, i]));
  }

  /** The members of a table whose keys are free. */
  entries(): [key: string, value: Shape][] {
    const value = this.#value;
    if (kindOf(value) !== "a table") return this.#failKind("a table");
    return Object.entries(value as object)
      .map(([key, member]) => [key, new Shape(member, [...this.path, key])]);
  }

  /** A table that has no other keys than these. */
  table<K extends string>(...keys: readonly K[]): Table<K> {
    const members = this.entries();
    const foreign = members.find(([key]) => !keys.includes(key as K));
    if (foreign) throw unknownKey(...foreign, keys);
    return new Table(this.path, new Map(members));
  }

  #failKind(wanted: string, hint?: string): never {
    return this.fail(`wanted ${wanted}, found ${kindOf(this.#value)}`, hint);
  }
}

/** A table whose keys are known. */
export class Table<K extends string> {
  readonly #path: Path;
  readonly #members: ReadonlyMap<string, Shape>;

  /** Made by {@link Shape.table}. */
  constructor(path: Path, members: ReadonlyMap<string, Shape>) {
    this.#path = path;
    this.#members = members;
  }

  /** A member that must be there. */
  get(key: K): Shape {
    const member = this.#members.get(key);
    if (member) return member;
    throw new ShapeError(this.#path, `the key "${key}" is missing`);
  }

  /** A member that may be missing. */
  find(key: K): Shape | undefined {
    return this.#members.get(key);
  }
}

function unknownKey(key: string, { path }: Shape, known: readonly string[]) {
  // A secret that was pasted into the wrong line has digits or upper case.
  const name = /^[a-z][a-z_-]{0,31}$/.test(key) ? ` "${key}"` : "";
  const match = closestMatch(key, [...known], { maxDistance: 3 });
  return new ShapeError(
    path,
    `unknown key${name}`,
    match === undefined
      ? `the keys here are ${known.join(", ")}`
      : `did you mean ${match}?`,
  );
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object" && value !== null) return "a table";
  return ({ string: "a text", boolean: "true or false", number: "a number" })[
    typeof value as string
  ] ?? "nothing";
}
