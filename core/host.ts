/**
 * Host names and addresses in one spelling, so that no two parts of moat can
 * disagree about where a request goes.
 *
 * @module
 */

/** A host and a port. */
export interface Authority {
  /** Canonical: lower-case A-labels without final dot, dotted IPv4, or compressed IPv6 without brackets. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** Longer than any name; what a client sends is looked at no further. */
const MAX_TEXT = 512;

/** Labels of 1 to 63 characters, 253 in all (RFC 1035 section 2.3.4); `_` is in use. */
const NAME = /^(?=.{1,253}$)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$/;

/** A last label that begins with a letter makes no IPv4 address. */
const PLAIN =
  /^(?=.{1,253}$)(?!.*xn--)(?:[a-z0-9_-]{1,63}\.)*[a-z][a-z0-9_-]{0,62}$/;

/** What the parser of URLs would skip, decode, or take for another part. */
// deno-lint-ignore no-control-regex
const FOREIGN = /[\x00-\x20\x7f%*/?#@\\[\]:]/;

/** Letters, digits, colons and dots of an IPv6 address; a zone has no place here. */
const IPV6 = /^(?:\[([0-9a-f:.]+)\]|([0-9a-f:.]*:[0-9a-f:.]*))$/i;

/**
 * Spells a host in the one canonical way.
 *
 * The parser of URLs does the work, because clients and servers agree on it:
 * it knows IDNA, and each form in which `inet_aton` takes an IPv4 address.
 *
 * @param text A name, IPv4 in any form (`127.1`, `0x7f.1`, `2130706433`), or
 * IPv6 with or without brackets.
 * @returns As {@link Authority.host}; undefined for everything else. The same
 * text again for what is canonical.
 * @see {@link https://url.spec.whatwg.org/#host-parsing | WHATWG URL, host parsing}
 */
export function canonicalHost(text: string): string | undefined {
  if (PLAIN.test(text)) return text;
  if (text.length > MAX_TEXT) return undefined;
  const ipv6 = IPV6.exec(text);
  if (ipv6) return hostOf(`[${ipv6[1] ?? ipv6[2]}]`)?.slice(1, -1);
  if (text === "" || FOREIGN.test(text)) return undefined;
  const name = hostOf(text)?.replace(/\.$/, "");
  return name !== undefined && NAME.test(name) ? name : undefined;
}

function hostOf(text: string): string | undefined {
  return URL.parse(`http://${text}/`)?.hostname;
}

/**
 * Reads `HOST:PORT`.
 *
 * @param text IPv6 in brackets; port 1 to 65535 without leading zeros.
 * @param defaultPort Where the text may lack one.
 * @returns The authority, canonical; undefined for everything else, also for
 * one with a user.
 */
export function parseAuthority(
  text: string,
  defaultPort?: number,
): Authority | undefined {
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::([1-9][0-9]{0,4}))?$/.exec(text);
  const host = canonicalHost(match?.[1] ?? "");
  const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
  if (host === undefined || port === undefined || port > 65535) {
    return undefined;
  }
  return { host, port };
}

/**
 * Tells the port that URLs leave out.
 *
 * @param scheme Without a colon.
 */
export function defaultPort(scheme: "http" | "https"): number {
  return scheme === "http" ? 80 : 443;
}

/**
 * Writes an authority, as {@link parseAuthority} reads it.
 *
 * @param authority Canonical.
 * @param defaultPort The port that is left out. Default: none.
 */
export function formatAuthority(
  { host, port }: Authority,
  defaultPort?: number,
): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === defaultPort ? name : `${name}:${port}`;
}

/**
 * What an address is for. `translated` ends at an IPv4 address that someone
 * else chooses the way to; `metadata` gives credentials of the machine.
 */
export type AddressKind =
  | "public"
  | "loopback"
  | "private"
  | "shared"
  | "link-local"
  | "metadata"
  | "unspecified"
  | "multicast"
  | "reserved"
  | "translated";

/** An address as a number. */
interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

/** The addresses with the same first bits. */
interface Range extends Address {
  readonly shift: bigint;
}

/**
 * The first that holds an address counts.
 *
 * @see {@link https://www.iana.org/assignments/iana-ipv4-special-registry | IANA, IPv4}
 * @see {@link https://www.iana.org/assignments/iana-ipv6-special-registry | IANA, IPv6}
 */
const KINDS: readonly (readonly [Range, AddressKind])[] = [
  ...ranges("metadata", [
    "169.254.169.254/32", // AWS, Azure, Google and most others
    "169.254.170.2/32", // AWS ECS
    "169.254.170.23/32", // AWS EKS
    "169.254.0.23/32", // Tencent
    "169.254.42.42/32", // Scaleway
    "100.100.100.200/32", // Alibaba
    "168.63.129.16/32", // Azure
    "192.0.0.192/32", // Oracle
    "fd00:ec2::254/128", // AWS
    "fd00:ec2::23/128", // AWS EKS
    "fd20:ce::254/128", // Google
    "fd00:42::42/128", // Scaleway
  ]),
  ...ranges("unspecified", ["0.0.0.0/8", "::/128"]),
  ...ranges("loopback", ["127.0.0.0/8", "::1/128"]),
  ...ranges("private", [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fec0::/10",
  ]),
  ...ranges("shared", ["100.64.0.0/10"]),
  ...ranges("link-local", ["169.254.0.0/16", "fe80::/10"]),
  ...ranges("multicast", ["224.0.0.0/4", "ff00::/8"]),
  ...ranges("translated", ["64:ff9b:1::/48"]),
  ...ranges("reserved", [
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
  ]),
  // Of IPv6, nothing else is assigned.
  ...ranges("public", ["0.0.0.0/0", "2000::/3"]),
  ...ranges("reserved", ["::/0"]),
];

/** IPv6 addresses that lead to an IPv4 address, and to which. */
const EMBEDDED: readonly (readonly [Range, (value: bigint) => bigint])[] = [
  [range("64:ff9b::/96"), (value) => value], // RFC 6052
  [range("2002::/16"), (value) => value >> 80n], // 6to4, RFC 3056
  [range("2001::/32"), (value) => ~value], // Teredo, RFC 4380
  [range("::ffff:0:0:0/96"), (value) => value], // RFC 2765
  [range("::/96"), (value) => value], // RFC 4291 section 2.5.5.1
];

/** The same address for IPv4's sake, RFC 4291 section 2.5.5.2. */
const MAPPED = range("::ffff:0:0/96");

/**
 * Tells what an address is for, as IANA's registries of special addresses do.
 *
 * An IPv6 address that leads to an IPv4 address is judged by that, and is
 * never `public` unless it is the same one (`::ffff:0:0/96`).
 *
 * @param address In any form that {@link canonicalHost} takes.
 * @returns Its kind; undefined for what is no address.
 */
export function addressKind(address: string): AddressKind | undefined {
  const host = canonicalHost(address);
  const found = host === undefined ? undefined : parseAddress(host);
  return found && kindOf(found);
}

function kindOf(address: Address): AddressKind {
  if (holds(MAPPED, address)) return kindOf(ipv4(address.value));
  const own = KINDS.find(([range]) => holds(range, address))?.[1] ?? "reserved";
  if (address.value <= 1n) return own;
  const embedded = EMBEDDED.find(([range]) => holds(range, address))?.[1];
  if (!embedded) return own;
  const kind = kindOf(ipv4(embedded(address.value)));
  return kind === "public" ? "translated" : kind;
}

function ipv4(value: bigint): Address {
  return { bits: 32, value: BigInt.asUintN(32, value) };
}

function holds({ bits, value, shift }: Range, address: Address): boolean {
  return bits === address.bits && address.value >> shift === value;
}

function ranges(
  kind: AddressKind,
  blocks: readonly string[],
): (readonly [Range, AddressKind])[] {
  return blocks.map((block) => [range(block), kind]);
}

function range(block: string): Range {
  const [first = "", length] = block.split("/");
  const address = parseAddress(first);
  if (!address) throw new TypeError(`${block} is no block of addresses`);
  const shift = BigInt(address.bits - Number(length));
  return { bits: address.bits, value: address.value >> shift, shift };
}

/**
 * Tells whether a canonical host is an address.
 *
 * @param host As {@link Authority.host}.
 */
export function isAddress(host: string): boolean {
  return host.includes(":") || /^[0-9.]+$/.test(host);
}

/**
 * Gives the bytes of an address.
 *
 * @param host As {@link Authority.host}.
 * @returns 4 or 16, the most significant first; undefined for a name.
 */
export function addressBytes(host: string): Uint8Array | undefined {
  const address = parseAddress(host);
  return address &&
    Uint8Array.fromHex(
      address.value.toString(16).padStart(address.bits / 4, "0"),
    );
}

/** Takes a canonical host; undefined for a name. */
function parseAddress(host: string): Address | undefined {
  if (!isAddress(host)) return undefined;
  if (!host.includes(":")) {
    const value = host.split(".").reduce((all, n) => all << 8n | BigInt(n), 0n);
    return { bits: 32, value };
  }
  const [head = "", tail] = host.split("::");
  const first = head ? head.split(":") : [];
  const last = tail ? tail.split(":") : [];
  const zeros = Array<string>(8 - first.length - last.length).fill("0");
  const value = [...first, ...zeros, ...last]
    .reduce((all, group) => all << 16n | BigInt(`0x${group}`), 0n);
  return { bits: 128, value };
}
