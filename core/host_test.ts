import assert from "node:assert/strict";
import { BlockList, isIPv6 } from "node:net";
import fc from "fast-check";
import { testUnless } from "../tests/support/conditional.ts";
import {
  addressBytes,
  type AddressKind,
  addressKind,
  type Authority,
  canonicalHost,
  defaultPort,
  formatAuthority,
  isAddress,
  parseAuthority,
} from "./host.ts";

const LABEL = "a".repeat(63);
const LONGEST = `${LABEL}.${LABEL}.${LABEL}.${"a".repeat(61)}`;

const CANONICAL: [text: string, host: string][] = [
  ["api.github.com", "api.github.com"],
  ["API.GitHub.COM", "api.github.com"],
  ["api.github.com.", "api.github.com"],
  ["localhost", "localhost"],
  ["LOCALHOST.", "localhost"],
  ["_acme.a_b.example", "_acme.a_b.example"],
  ["-a.b-.example", "-a.b-.example"],
  ["ab--cd.example", "ab--cd.example"],
  ["1e100.net", "1e100.net"],
  [LONGEST, LONGEST],
  ["bücher.example", "xn--bcher-kva.example"],
  ["BÜCHER.example", "xn--bcher-kva.example"],
  ["xn--bcher-kva.example", "xn--bcher-kva.example"],
  ["XN--BCHER-KVA.example", "xn--bcher-kva.example"],
  ["faß.example", "xn--fa-hia.example"],
  ["git\u00adhub.com", "github.com"],
  ["ｇｉｔｈｕｂ.com", "github.com"],
  ["github。com", "github.com"],
  // Every form in which inet_aton takes 127.0.0.1.
  ["127.0.0.1", "127.0.0.1"],
  ["127.0.0.1.", "127.0.0.1"],
  ["127.1", "127.0.0.1"],
  ["127.0.1", "127.0.0.1"],
  ["0x7f.1", "127.0.0.1"],
  ["0X7F.0.0.1", "127.0.0.1"],
  ["0x7f000001", "127.0.0.1"],
  ["2130706433", "127.0.0.1"],
  ["017700000001", "127.0.0.1"],
  ["0177.0.0.01", "127.0.0.1"],
  ["00000177.0.0.1", "127.0.0.1"],
  ["１２７.0.0.1", "127.0.0.1"],
  ["127。0。0。1", "127.0.0.1"],
  ["①27.0.0.1", "127.0.0.1"],
  ["0", "0.0.0.0"],
  ["0x", "0.0.0.0"],
  ["0xa9fea9fe", "169.254.169.254"],
  ["::1", "::1"],
  ["[::1]", "::1"],
  ["[0:0:0:0:0:0:0:1]", "::1"],
  ["0000:0000::0001", "::1"],
  ["::", "::"],
  ["FE80::A", "fe80::a"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["::ffff:127.0.0.1", "::ffff:7f00:1"],
  ["[::FFFF:7F00:1]", "::ffff:7f00:1"],
];
for (const [text, host] of CANONICAL) {
  Deno.test(`canonicalHost() spells ${text.slice(0, 40)}`, () => {
    assert.equal(canonicalHost(text), host);
  });
}

const NO_HOSTS: [name: string, text: string][] = [
  ["nothing", ""],
  ["a dot", "."],
  ["an empty label", "a..b"],
  ["two final dots", "a.b.."],
  ["a leading dot", ".a"],
  ["a blank", "a b"],
  ["a leading blank", " a"],
  ["a line feed", "a\nb"],
  ["a tab", "a\tb"],
  ["a carriage return", "a.b\r"],
  ["a NUL", "a\0.example"],
  ["DEL", "a\x7f"],
  ["a C1 control", "a\x85b"],
  ["a no-break space", "a\u00a0b"],
  ["an ideographic space", "\u3000a"],
  ["an escape", "a%2eb"],
  ["an escaped address", "%31%32%37.0.0.1"],
  ["a wide escape", "a％2eb"],
  ["a star", "*.example.com"],
  ["a user", "user@example.com"],
  ["a port", "example.com:80"],
  ["an empty port", "example.com:"],
  ["a path", "example.com/"],
  ["a wide slash", "example.com／x"],
  ["a backslash", "example.com\\x"],
  ["a query", "example.com?x"],
  ["a fragment", "example.com#x"],
  ["a quote", 'a"b'],
  ["a caret", "a^b"],
  ["a plus", "a+b"],
  ["a long label", `a${LABEL}.example`],
  ["a long name", `a${LONGEST}`],
  ["a very long text", "a.".repeat(400) + "a"],
  ["broken punycode", "xn--a.example"],
  ["punycode of ASCII", "xn--abc-.example"],
  ["a number that ends a name", "example.1"],
  ["a hexadecimal that ends a name", "example.0x1f"],
  ["an octal with a 9", "1.2.3.09"],
  ["five parts", "1.2.3.4.5"],
  ["a part over 255", "256.1.1.1"],
  ["a number over 32 bits", "4294967296"],
  ["a negative number", "-1.2.3.4"],
  ["a zone", "fe80::1%eth0"],
  ["an escaped zone", "[fe80::1%25eth0]"],
  ["a bracket alone", "["],
  ["an open bracket", "[::1"],
  ["a closing bracket", "::1]"],
  ["empty brackets", "[]"],
  ["brackets around a name", "[localhost]"],
  ["brackets around IPv4", "[127.0.0.1]"],
  ["IPv6 and a port", "[::1]:80"],
  ["text after brackets", "[::1]x"],
  ["two brackets", "[[::1]]"],
  ["two gaps", "1::2::3"],
  ["nine groups", "1:2:3:4:5:6:7:8:9"],
  ["seven groups", "1:2:3:4:5:6:7"],
  ["a group of five", "::12345"],
  ["short IPv4 in IPv6", "::ffff:127.1"],
  ["octal IPv4 in IPv6", "::ffff:0177.0.0.1"],
  ["an IPvFuture", "[v1.fe80::a]"],
];
for (const [name, text] of NO_HOSTS) {
  Deno.test(`canonicalHost() refuses ${name}`, () => {
    assert.equal(canonicalHost(text), undefined);
  });
}

/** Anything, and what looks like a host. */
const hostLike = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.string({ unit: fc.constantFrom(..."01x7f.:[]%-_aB。１") }),
  fc.domain(),
  fc.ipV4Extended(),
  fc.ipV6(),
);

Deno.test("canonicalHost() leaves what it made as it is", () => {
  fc.assert(fc.property(hostLike, (text) => {
    const host = canonicalHost(text);
    assert.equal(host && canonicalHost(host), host);
  }));
});

Deno.test("canonicalHost() gives only names and addresses", () => {
  fc.assert(fc.property(hostLike, (text) => {
    const host = canonicalHost(text);
    if (host === undefined) return;
    const isName = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host);
    assert(isIPv6(host) || (isName && host.length <= 253), host);
  }));
});

Deno.test("canonicalHost() takes every URL's host as that URL means it", () => {
  fc.assert(fc.property(fc.webUrl({ withFragments: true }), (text) => {
    const { hostname } = new URL(text);
    assert.equal(canonicalHost(hostname), hostname.replace(/^\[|\]$|\.$/g, ""));
  }));
});

/** Each part as inet_aton would take it. */
const inetAton = fc.tuple(
  fc.nat(255),
  fc.nat(255),
  fc.nat(255),
  fc.nat(255),
  fc.constantFrom(1, 2, 3, 4),
  fc.array(fc.constantFrom(8, 10, 16), { minLength: 4, maxLength: 4 }),
).map(([a, b, c, d, count, bases]) => {
  const bytes = [a, b, c, d];
  const tail = bytes.slice(count - 1).reduce((all, n) => all * 256 + n, 0);
  const text = [...bytes.slice(0, count - 1), tail].map((n, i) => {
    const base = bases[i] ?? 10;
    return { 8: "0", 10: "", 16: "0x" }[base] + n.toString(base);
  }).join(".");
  return { text, dotted: bytes.join(".") };
});

Deno.test("canonicalHost() takes IPv4 as inet_aton does", () => {
  fc.assert(fc.property(inetAton, ({ text, dotted }) => {
    assert.equal(canonicalHost(text), dotted);
  }));
});

/** Python's `ipaddress`, asked once for many. */
async function askPython(script: string, input: string): Promise<string[]> {
  const child = new Deno.Command("python3", {
    args: ["-c", script],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { stdout } = await child.output();
  return new TextDecoder().decode(stdout).trimEnd().split("\n");
}

function hasPython(): boolean {
  try {
    return new Deno.Command("python3", { args: ["--version"] }).outputSync()
      .success;
  } catch {
    return false;
  }
}
const noPython = hasPython() ? undefined : "python3 is not installed";

testUnless(
  noPython,
  "canonicalHost() spells IPv6 as Python's ipaddress does",
  async () => {
    const texts = fc.sample(fc.ipV6(), 2000);
    // Python writes IPv4 in mapped addresses as dotted quads since 3.13.
    const found = await askPython(
      "import sys,ipaddress\nfor l in sys.stdin: print(int(ipaddress.ip_address(l.strip())))",
      texts.map((text) => `${canonicalHost(text)}\n`).join(""),
    );
    const wanted = await askPython(
      "import sys,ipaddress\nfor l in sys.stdin: print(int(ipaddress.ip_address(l.strip())))",
      texts.join("\n"),
    );
    assert.deepEqual(found, wanted);
  },
);

const AUTHORITIES: [
  text: string,
  port: number | undefined,
  authority: Authority,
][] = [
  ["example.com:8443", undefined, { host: "example.com", port: 8443 }],
  ["Example.com.:1", undefined, { host: "example.com", port: 1 }],
  ["example.com:65535", 443, { host: "example.com", port: 65535 }],
  ["example.com", 443, { host: "example.com", port: 443 }],
  ["[::1]:80", undefined, { host: "::1", port: 80 }],
  ["[::1]", 443, { host: "::1", port: 443 }],
  ["0x7f.1:80", undefined, { host: "127.0.0.1", port: 80 }],
];
for (const [text, port, authority] of AUTHORITIES) {
  Deno.test(`parseAuthority() reads ${text}`, () => {
    assert.deepEqual(parseAuthority(text, port), authority);
  });
}

const NO_AUTHORITIES: [name: string, text: string, port?: number][] = [
  ["no port", "example.com"],
  ["an empty port", "example.com:", 443],
  ["port 0", "example.com:0", 443],
  ["port 65536", "example.com:65536", 443],
  ["a long port", "example.com:0000000443"],
  ["a leading zero", "example.com:0443"],
  ["a signed port", "example.com:+443"],
  ["a name of a port", "example.com:https"],
  ["two ports", "example.com:80:80"],
  ["IPv6 without brackets", "::1:80"],
  ["no host", ":443"],
  ["a user", "user@example.com:443"],
  ["a path", "example.com:443/x"],
  ["a blank", "example.com:443 "],
  ["a line feed", "example.com:443\n"],
  ["a scheme", "https://example.com:443"],
  ["nothing", "", 443],
];
for (const [name, text, port] of NO_AUTHORITIES) {
  Deno.test(`parseAuthority() refuses ${name}`, () => {
    assert.equal(parseAuthority(text, port), undefined);
  });
}

Deno.test("formatAuthority() leaves the default port out", () => {
  assert.equal(formatAuthority({ host: "::1", port: 443 }, 443), "[::1]");
});

Deno.test("formatAuthority() writes what parseAuthority() reads", () => {
  const port = fc.integer({ min: 1, max: 65535 });
  fc.assert(fc.property(hostLike, port, (text, port) => {
    const host = canonicalHost(text);
    if (host === undefined) return;
    const authority = { host, port };
    assert.deepEqual(parseAuthority(formatAuthority(authority)), authority);
  }));
});

const KINDS: Record<AddressKind, string[]> = {
  public: [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00::1",
    "::ffff:8.8.8.8",
  ],
  loopback: [
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.255",
    "127.1",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "[::ffff:127.0.0.1]",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
    "::ffff:0:127.0.0.1",
  ],
  private: [
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "fc00::",
    "fdff::1",
    "fec0::1",
    "feff::1",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:c0a8:101::1",
    "2001:0:808:808:0:0:f5ff:fffe", // Teredo of 10.0.0.1
  ],
  shared: ["100.64.0.0", "100.127.255.255", "::ffff:100.64.0.1"],
  "link-local": [
    "169.254.0.0",
    "169.254.255.255",
    "fe80::1",
    "febf::1",
    "::ffff:169.254.1.1",
  ],
  metadata: [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "169.254.42.42",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "2001:0:808:808:0:0:5601:5601", // Teredo of 169.254.169.254
  ],
  unspecified: ["0.0.0.0", "0", "0.255.255.255", "::", "::ffff:0.0.0.0"],
  multicast: ["224.0.0.1", "239.255.255.255", "ff00::1", "ff02::1"],
  reserved: [
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.255",
    "100::1",
    "2001:10::1",
    "2001:1ff::1",
    "2001:db8::1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fe00::1",
  ],
  translated: [
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::a9fe:a9fe",
    "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
  ],
};
for (const [kind, addresses] of Object.entries(KINDS)) {
  for (const address of addresses) {
    Deno.test(`addressKind() of ${address} is ${kind}`, () => {
      assert.equal(addressKind(address), kind);
    });
  }
}

for (const text of ["localhost", "", "fe80::1%1", "1.2.3.4.5", "*"]) {
  Deno.test(`addressKind() knows no address ${JSON.stringify(text)}`, () => {
    assert.equal(addressKind(text), undefined);
  });
}

/** What node:net finds special, as an independent judge. */
function specialBlocks(): BlockList {
  const list = new BlockList();
  const blocks = [
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16",
    "172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16",
    "198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4",
    "168.63.129.16/32",
    // All but 2000::/3, and what is special in it.
    "4000::/2 8000::/1 ::/3 2001::/23 2001:db8::/32 2002::/16 3fff::/20",
  ].join(" ").split(" ");
  for (const block of blocks) {
    const [net = "", bits] = block.split("/");
    list.addSubnet(net, Number(bits), isIPv6(net) ? "ipv6" : "ipv4");
  }
  return list;
}

/** Any address, many of them near the blocks' ends. */
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.tuple(
    fc.constantFrom(0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 240),
    fc.constantFrom(0, 15, 16, 18, 31, 51, 63, 64, 88, 127, 128, 168, 254),
    fc.constantFrom(0, 2, 99, 100, 113, 169, 170, 255),
    fc.nat(255),
  ).map((bytes) => bytes.join(".")),
  fc.tuple(
    fc.constantFrom("2000", "2001", "2002", "3fff", "64", "fe80", "fd00", "0"),
    fc.constantFrom("0", "1ff", "200", "db8", "fff", "1000", "ff9b"),
    fc.ipV4(),
  ).map(([a, b, ipv4]) => `${a}:${b}::${ipv4}`),
);

Deno.test("addressKind() finds special what node:net's lists do", () => {
  const special = specialBlocks();
  fc.assert(
    fc.property(address, (text) => {
      const host = canonicalHost(text) ?? "";
      // Mapped ones are IPv4, which the list knows by itself.
      const mapped = /^::ffff:(?=[0-9a-f]+:[0-9a-f]+$)/.test(host);
      if (mapped) return;
      const family = host.includes(":") ? "ipv6" : "ipv4";
      assert.equal(
        addressKind(text) === "public",
        !special.check(host, family),
      );
    }),
    { numRuns: 5000 },
  );
});

testUnless(
  noPython,
  "addressKind() finds nothing public that Python's ipaddress does not",
  async () => {
    const texts = fc.sample(address, 4000).map((text) =>
      canonicalHost(text) ?? ""
    ).filter((text) => addressKind(text) === "public");
    const answers = await askPython(
      "import sys,ipaddress\nfor l in sys.stdin:\n a=ipaddress.ip_address(l.strip())\n a=getattr(a,'ipv4_mapped',None) or a\n print(a.is_global and not a.is_multicast)",
      texts.join("\n"),
    );
    // Older Pythons do not know 3fff::/20 yet, which moat finds reserved.
    assert.deepEqual(texts.filter((_, i) => answers[i] !== "True"), []);
  },
);

Deno.test("addressKind() judges mapped IPv4 as itself", () => {
  fc.assert(fc.property(fc.ipV4(), (ipv4) => {
    assert.equal(addressKind(`::ffff:${ipv4}`), addressKind(ipv4));
  }));
});

for (const prefix of ["64:ff9b::", "::ffff:0:", "64:ff9b:1::", "::"]) {
  Deno.test(`addressKind() finds nothing public in ${prefix}`, () => {
    fc.assert(fc.property(fc.ipV4(), (ipv4) => {
      assert.notEqual(addressKind(prefix + ipv4), "public");
    }));
  });
}

Deno.test("isAddress() tells addresses from names", () => {
  const found = ["::1", "10.0.0.1", "a.b", "1e100.net"].map(isAddress);
  assert.deepEqual(found, [true, true, false, false]);
});

const BYTES: [host: string, bytes: string | undefined][] = [
  ["0.0.0.1", "00000001"],
  ["192.0.2.7", "c0000207"],
  ["::", "0".repeat(32)],
  ["2001:db8::7", "20010db8" + "0".repeat(23) + "7"],
  ["a.test", undefined],
];
for (const [host, bytes] of BYTES) {
  Deno.test(`addressBytes() gives the bytes of ${host}`, () => {
    assert.equal(addressBytes(host)?.toHex(), bytes);
  });
}

Deno.test("defaultPort() is 80 for http, and 443 for https", () => {
  assert.deepEqual([defaultPort("http"), defaultPort("https")], [80, 443]);
});
