/**
 * A reader of HTTP/1.1 messages that owes nothing to moat's own: it looks at
 * characters where that one uses expressions, and can be told to be as lax as
 * servers in use are. What moat forwards must be the same message to each.
 *
 * @module
 */

const CR = 0x0d;
const LF = 0x0a;

/** How a reader understands what the RFCs forbid. */
export interface Habits {
  /** Which characters end a line. */
  readonly lineEnd: "CRLF" | "LF" | "any";
  /** Which of Content-Length and Transfer-Encoding counts if both are there. */
  readonly prefers: "coding" | "length";
  /** Which Content-Length counts if there are several. */
  readonly length: "first" | "last";
  /** What makes a body chunked. */
  readonly chunked: "exact" | "mentioned";
  /** Whether a line that begins with a blank goes on with the field before. */
  readonly unfolds: boolean;
  /** Whether blanks before the colon are a part of the name. */
  readonly exactNames: boolean;
}

/** Readers as they are in use. */
export const READERS: readonly Habits[] = [
  {
    lineEnd: "CRLF",
    prefers: "coding",
    length: "first",
    chunked: "exact",
    unfolds: false,
    exactNames: true,
  },
  {
    lineEnd: "LF",
    prefers: "coding",
    length: "last",
    chunked: "mentioned",
    unfolds: true,
    exactNames: false,
  },
  {
    lineEnd: "LF",
    prefers: "length",
    length: "first",
    chunked: "mentioned",
    unfolds: false,
    exactNames: true,
  },
  {
    lineEnd: "any",
    prefers: "length",
    length: "last",
    chunked: "exact",
    unfolds: true,
    exactNames: false,
  },
];

/** A message as a reader understands it. */
export interface Message {
  /** The request-line or status-line. */
  readonly firstLine: string;
  /** Names in lower case, values without blanks around them. */
  readonly fields: readonly (readonly [string, string])[];
  /** The content. */
  readonly body: string;
  /** Names of the trailer fields, in lower case. */
  readonly trailers: readonly string[];
  /** Where the next message starts. */
  readonly end: number;
}

/** What the request before an answer was, and whether one can end with the connection. */
export interface Situation {
  /** Of the request; undefined if the message is a request. */
  readonly method?: string;
}

/**
 * Reads one message.
 *
 * @param text Each character a byte.
 * @param habits How.
 * @param situation What the message is. Default: a request.
 * @returns The message; undefined if it is incomplete, or nothing at all.
 */
export function readMessage(
  text: string,
  habits: Habits,
  situation: Situation = {},
): Message | undefined {
  const head = readLines(text, 0, habits);
  if (!head) return undefined;
  const [firstLine = "", ...lines] = head.lines;
  const fields = toFields(lines, habits);
  const none = { body: "", trailers: [], end: head.end };
  const body = hasNoBody(firstLine, situation)
    ? none
    : readBody(text, head.end, fields, habits, situation);
  return body && { firstLine, fields, ...body };
}

function hasNoBody(firstLine: string, { method }: Situation): boolean {
  if (method === undefined) return false;
  const status = Number(firstLine.split(" ")[1]);
  return method === "HEAD" || status < 200 || status === 204 || status === 304;
}

function readBody(
  text: string,
  start: number,
  fields: readonly (readonly [string, string])[],
  habits: Habits,
  { method }: Situation,
) {
  const of = (name: string) =>
    fields.filter((field) => field[0] === name).map((field) => field[1]);
  const codings = of("transfer-encoding").map((value) => value.toLowerCase());
  const lengths = of("content-length");
  const isChunked = habits.chunked === "exact"
    ? codings.at(-1) === "chunked"
    : codings.some((coding) => coding.includes("chunked"));
  if (isChunked && (habits.prefers === "coding" || lengths.length === 0)) {
    return readChunks(text, start, habits);
  }
  const length = habits.length === "first" ? lengths[0] : lengths.at(-1);
  if (length === undefined) {
    const end = method === undefined ? start : text.length;
    return { body: text.slice(start, end), trailers: [], end };
  }
  const end = start + Number.parseInt(length, 10);
  if (!(end <= text.length)) return undefined;
  return { body: text.slice(start, end), trailers: [], end };
}

function readChunks(text: string, start: number, habits: Habits) {
  let at = start;
  let body = "";
  for (;;) {
    const line = nextLine(text, at, habits);
    if (!line) return undefined;
    // As lax as strtoul(): up to what is no digit.
    const size = Number.parseInt(line.text, 16);
    if (Number.isNaN(size)) return undefined;
    if (size === 0) return readTrailers(text, line.end, body, habits);
    if (line.end + size > text.length) return undefined;
    body += text.slice(line.end, line.end + size);
    const after = nextLine(text, line.end + size, habits);
    if (!after || after.text !== "") return undefined;
    at = after.end;
  }
}

function readTrailers(
  text: string,
  start: number,
  body: string,
  habits: Habits,
) {
  const section = readLines(text, start, habits);
  if (!section) return undefined;
  const trailers = toFields(section.lines, habits).map(([name]) => name);
  return { body, trailers, end: section.end };
}

/** All lines up to the empty one. */
function readLines(text: string, start: number, habits: Habits) {
  const lines: string[] = [];
  for (let at = start;;) {
    const line = nextLine(text, at, habits);
    if (!line) return undefined;
    at = line.end;
    if (line.text === "") return { lines, end: at };
    lines.push(line.text);
  }
}

function nextLine(text: string, start: number, { lineEnd }: Habits) {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== CR && code !== LF) continue;
    const isPair = code === CR && text.charCodeAt(at + 1) === LF;
    if (isPair) return { text: text.slice(start, at), end: at + 2 };
    const isEnd = lineEnd === "any" || (lineEnd === "LF" && code === LF);
    if (isEnd) return { text: text.slice(start, at), end: at + 1 };
  }
  return undefined;
}

function toFields(
  lines: readonly string[],
  { unfolds, exactNames }: Habits,
) {
  const fields: [string, string][] = [];
  for (const line of lines) {
    const last = fields.at(-1);
    if (unfolds && last && (line[0] === " " || line[0] === "\t")) {
      last[1] = trim(`${last[1]} ${line}`);
      continue;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const known = exactNames ? name : trim(name);
    fields.push([known.toLowerCase(), trim(line.slice(name.length + 1))]);
  }
  return fields;
}

/** Lax readers skip whatever is not visible. */
function trim(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && text.charCodeAt(start) <= 0x20) start++;
  while (end > start && text.charCodeAt(end - 1) <= 0x20) end--;
  return text.slice(start, end);
}
