/**
 * TOML files that a person wrote, read strictly: each fault names its line and
 * column, and nothing of what the file holds.
 *
 * @module
 */

import { parse, TomlError } from "smol-toml";
import { MoatError } from "./errors.ts";
import { type Path, Shape, ShapeError } from "./shape.ts";

/** Deeper than any file that is meant. */
const MAX_DEPTH = 32;

/** How {@link parseToml} reads. */
export interface TomlOptions<T> {
  /** For errors: what the file is called. */
  readonly file: string;
  /** The code of its errors. Default: `bad-config`. */
  readonly code?: string;
  /** Reads the value, and throws by its methods. */
  read(top: Shape): T;
}

/**
 * Parses TOML into a value of a known shape.
 *
 * @param text The file's text.
 * @param options What it is and what it must look like.
 * @returns What `read` returns.
 * @throws {MoatError} `bad-config` or the code given, with line and column.
 */
export function parseToml<T>(text: string, options: TomlOptions<T>): T {
  const { file, code = "bad-config", read } = options;
  const refuse = (position: Position, message: string, hint?: string) =>
    new MoatError(
      code,
      `Cannot use "${file}" at line ${position.line}, column ${position.column}: ${message}`,
      hint === undefined ? {} : { hint },
    );
  try {
    return read(new Shape(parse(text, { maxDepth: MAX_DEPTH })));
  } catch (error) {
    if (error instanceof TomlError) throw refuse(error, syntaxFault(error));
    if (!(error instanceof ShapeError)) throw error;
    throw refuse(locate(text, error.path), error.message, error.hint);
  }
}

/** Its first line; the rest shows the file. */
function syntaxFault({ message }: TomlError): string {
  const [first = ""] = message.split("\n");
  return first.replace(/^Invalid TOML document: /, "");
}

/** Where something is in a text; both count from 1. */
export interface Position {
  /** The line. */
  readonly line: number;
  /** The character in it, in units of UTF-16. */
  readonly column: number;
}

/**
 * Finds the place of a value.
 *
 * @param text TOML that has been parsed without a fault.
 * @param path To the value.
 * @returns Where its key begins, or the value itself in a list; for what is
 * missing, where the innermost table around it begins.
 */
export function locate(text: string, path: Path): Position {
  const offsets = new Offsets(text).all;
  let offset = 0;
  for (let length = path.length; length > 0; length--) {
    const found = offsets.get(idOf(path.slice(0, length)));
    if (found === undefined) continue;
    offset = found;
    break;
  }
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - before.lastIndexOf("\n") };
}

function idOf(path: Path): string {
  return JSON.stringify(path);
}

/** Walks through TOML that is known to be right, and notes where things begin. */
class Offsets {
  /** By path, as {@link idOf}. */
  readonly all = new Map<string, number>();
  readonly #text: string;
  /** How many tables an array of them has so far. */
  readonly #counts = new Map<string, number>();
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    let table: Path = [];
    for (this.#skipVoid(); this.#at < text.length; this.#skipVoid()) {
      if (text[this.#at] === "[") table = this.#readHeader();
      else this.#readPair(table);
    }
  }

  #note(path: Path, offset: number) {
    const id = idOf(path);
    if (!this.all.has(id)) this.all.set(id, offset);
  }

  /** Blanks, ends of lines and comments. */
  #skipVoid() {
    this.#skip(/(?:[\s\ufeff]|#[^\n]*)*/y);
  }

  #skip(pattern: RegExp) {
    pattern.lastIndex = this.#at;
    if (pattern.test(this.#text)) this.#at = pattern.lastIndex;
  }

  /** `[a.b]` or `[[a.b]]`: the path of what follows. */
  #readHeader(): Path {
    const start = this.#at;
    const isArray = this.#text.startsWith("[[", start);
    this.#at += isArray ? 2 : 1;
    let path: Path = [];
    const keys = this.#readKeys();
    keys.forEach(([key], i) => {
      path = [...path, key];
      this.#note(path, start);
      const id = idOf(path);
      const count = this.#counts.get(id) ?? 0;
      const isNew = isArray && i === keys.length - 1;
      if (isNew) this.#counts.set(id, count + 1);
      if (isNew || count > 0) path = [...path, isNew ? count : count - 1];
    });
    this.#note(path, start);
    this.#at += isArray ? 2 : 1;
    return path;
  }

  #readPair(table: Path) {
    let path = table;
    for (const [key, offset] of this.#readKeys()) {
      path = [...path, key];
      this.#note(path, offset);
    }
    this.#at++; // The equals sign.
    this.#skip(/[ \t]*/y);
    this.#readValue(path);
  }

  /** `a . "b"`, up to what ends it. */
  #readKeys(): [key: string, offset: number][] {
    const keys: [string, number][] = [];
    do {
      this.#skip(/[ \t.]*/y);
      const start = this.#at;
      if (/["']/.test(this.#text[start] ?? "")) this.#skipString();
      else this.#skip(/[\w-]*/y);
      const raw = this.#text.slice(start, this.#at);
      keys.push([keyOf(raw), start]);
      this.#skip(/[ \t]*/y);
    } while (this.#text[this.#at] === ".");
    return keys;
  }

  #readValue(path: Path) {
    const first = this.#text[this.#at];
    if (first === "[") this.#readList("]", (i) => this.#readElement(path, i));
    else if (first === "{") this.#readList("}", () => this.#readPair(path));
    else if (first === '"' || first === "'") this.#skipString();
    else this.#skip(/[^,\]}\n#]*/y);
  }

  #readElement(path: Path, index: number) {
    this.#note([...path, index], this.#at);
    this.#readValue([...path, index]);
  }

  #readList(end: string, readOne: (index: number) => void) {
    this.#at++;
    for (let index = 0; this.#at < this.#text.length; index++) {
      this.#skip(/(?:[\s,]|#[^\n]*)*/y);
      if (this.#text[this.#at] === end) break;
      readOne(index);
    }
    this.#at++;
  }

  #skipString() {
    const quote = this.#text[this.#at] ?? "";
    const isLong = this.#text.startsWith(quote.repeat(3), this.#at);
    const mark = isLong ? quote.repeat(3) : quote;
    this.#at += mark.length;
    while (
      this.#at < this.#text.length && !this.#text.startsWith(mark, this.#at)
    ) {
      this.#at += quote === '"' && this.#text[this.#at] === "\\" ? 2 : 1;
    }
    this.#at += mark.length;
    // Up to two quotes more belong to the text.
    if (isLong) this.#skip(quote === '"' ? /"{0,2}/y : /'{0,2}/y);
  }
}

/** A quoted key may have escapes. */
function keyOf(raw: string): string {
  return /^["']/.test(raw) ? Object.keys(parse(`${raw} = 0`))[0] ?? "" : raw;
}
