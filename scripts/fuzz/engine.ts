/**
 * A small fuzzer: it changes inputs at random, keeps those that led to
 * something new, and remembers the first one that broke a promise.
 *
 * What it does follows from its seed alone, and what a target does from its
 * input, so that a failure can be had again.
 *
 * @module
 */

/** One thing that is fuzzed. */
export interface Target {
  /** As the command line names it. */
  readonly name: string;
  /** Inputs to begin with; each character a byte. */
  readonly seeds: readonly string[];
  /** Pieces that matter to it; each character a byte. */
  readonly dictionary: readonly string[];
  /**
   * Takes one input and checks all that is promised about it.
   *
   * @param input Any bytes.
   * @returns What came of it, in a few words: an input with new words is kept.
   * @throws If a promise is broken.
   */
  run(input: Uint8Array<ArrayBuffer>): string;
}

/** How long and from where. */
export interface FuzzOptions {
  /** How many inputs. */
  readonly executions: number;
  /** Any integer. */
  readonly seed: number;
  /** Ends it earlier. Default: never. */
  readonly seconds?: number;
}

/** What came of fuzzing one target. */
export interface Report {
  /** The target's. */
  readonly name: string;
  /** How many inputs were run. */
  readonly executions: number;
  /** How many of them broke a promise. */
  readonly crashes: number;
  /** How many different outcomes were seen. */
  readonly outcomes: number;
  /** The first crash. */
  readonly failure?: Failure;
}

/** An input that broke a promise. */
export interface Failure {
  /** The input in hexadecimal. */
  readonly hex: string;
  /** What was wrong. */
  readonly error: unknown;
}

/** Longer inputs are cut: they cost time and show nothing new. */
const MAX_BYTES = 1024;

/** The most inputs that are kept. */
const MAX_KEPT = 512;

/** No input may take longer, ten times in a row: the machine has other work. */
const SLOW_MS = 250;
const ATTEMPTS = 10;

/** The clock is looked at this often. */
const CHECK_EVERY = 256;

/** Numbers at random that follow from a seed: xorshift32. */
export class Random {
  #state: number;

  /** Starts from any integer. */
  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }

  /** One of some things. */
  pick<T>(things: readonly T[]): T {
    return things[this.below(things.length)]!;
  }

  /**
   * Makes one that follows from bytes.
   *
   * @param bytes Any bytes.
   */
  static of(bytes: Uint8Array): Random {
    let hash = 0x811c9dc5;
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
    return new Random(hash);
  }
}

/**
 * Fuzzes one target.
 *
 * @param target What.
 * @param options How long and from where.
 * @returns What came of it.
 */
export function fuzz(target: Target, options: FuzzOptions): Report {
  const random = new Random(options.seed);
  const dictionary = target.dictionary.map(toBytes);
  const kept = target.seeds.map(toBytes);
  const outcomes = new Set<string>();
  const deadline = performance.now() + 1000 * (options.seconds ?? Infinity);
  let executions = 0;
  let crashes = 0;
  let failure: Failure | undefined;
  for (; executions < options.executions; executions++) {
    if (executions % CHECK_EVERY === 0 && performance.now() > deadline) break;
    const input = kept[executions] ?? mutate(random, kept, dictionary);
    try {
      const outcome = runTimed(target, input);
      if (outcomes.has(outcome) || kept.length >= MAX_KEPT) continue;
      outcomes.add(outcome);
      if (executions >= target.seeds.length) kept.push(input);
    } catch (error) {
      crashes++;
      failure ??= { hex: input.toHex(), error };
    }
  }
  return {
    name: target.name,
    executions,
    crashes,
    outcomes: outcomes.size,
    ...failure && { failure },
  };
}

function runTimed(target: Target, input: Uint8Array<ArrayBuffer>): string {
  for (let attempt = 1;; attempt++) {
    const startedAt = performance.now();
    const outcome = target.run(input);
    const tookMs = performance.now() - startedAt;
    if (tookMs < SLOW_MS) return outcome;
    if (attempt === ATTEMPTS) throw new Error(`took ${Math.round(tookMs)} ms`);
  }
}

/**
 * Turns text into bytes.
 *
 * @param text Each character a byte.
 * @returns The bytes.
 */
export function toBytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * Turns bytes into text.
 *
 * @param bytes Any bytes, at most some thousands.
 * @returns Each byte as the character of the same number.
 */
export function toText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const LF = 0x0a;

/** What stands in the way of parsers. */
const INTERESTING: readonly Bytes[] = [
  ...'\0\t\n\r "%,-./09:;=AZ\\_az\x7f\x80\xa0\xff',
].map(toBytes);

type Bytes = Uint8Array<ArrayBuffer>;

function mutate(
  random: Random,
  kept: readonly Bytes[],
  dictionary: readonly Bytes[],
): Bytes {
  let input = random.pick(kept);
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const at = random.below(input.length + 1);
    const length = random.below(Math.min(16, input.length - at) + 1);
    input = edit(random, input, at, length, kept, dictionary);
  }
  return input.length > MAX_BYTES ? input.slice(0, MAX_BYTES) : input;
}

/** One change of `length` bytes at `at`. */
function edit(
  random: Random,
  input: Bytes,
  at: number,
  length: number,
  kept: readonly Bytes[],
  dictionary: readonly Bytes[],
): Bytes {
  const piece = input.subarray(at, at + length);
  switch (random.below(10)) {
    case 0:
      return replace(input, at, 1, Uint8Array.of(random.below(256)));
    case 1:
      return replace(
        input,
        at,
        1,
        random.pick(INTERESTING),
      );
    case 2:
      return replace(
        input,
        at,
        0,
        random.pick(INTERESTING),
      );
    case 3:
      return replace(input, at, length, Uint8Array.of());
    case 4:
      return replace(input, at, 0, piece);
    case 5:
      return replace(input, at, length, random.pick(dictionary));
    case 6:
      return replace(input, random.below(input.length + 1), length, piece);
    case 7: {
      // The beginning of one input and the end of another.
      const other = random.pick(kept);
      const from = random.below(other.length + 1);
      return replace(input, at, input.length, other.subarray(from));
    }
    case 8:
      // Where a line begins, if there are lines.
      return replace(
        input,
        input.indexOf(LF, at) + 1,
        0,
        random.pick(dictionary),
      );
    default:
      return replace(input, at, 0, random.pick(dictionary));
  }
}

function replace(
  input: Bytes,
  at: number,
  removed: number,
  added: Uint8Array,
): Bytes {
  const tail = input.subarray(Math.min(at + removed, input.length));
  const result = new Uint8Array(at + added.length + tail.length);
  result.set(input.subarray(0, at));
  result.set(added, at);
  result.set(tail, at + added.length);
  return result;
}
