/**
 * As much of node-forge's types as `pkcs12.ts` uses; it ships none.
 *
 * @module
 */

/** Text with one byte in each character. */
export interface Binary {
  /** The text. */
  getBytes(): string;
}

/** An element of ASN.1, parsed. */
export interface Asn1 {
  /** Its tag. */
  readonly type: number;
  /** The elements of a SEQUENCE; else text with one byte in each character. */
  readonly value: Asn1[] | string;
}

/** What it makes of a key or a certificate that it knows. */
export type Parsed = object;

/** A SafeBag, decrypted. */
export interface Bag {
  /** Object identifier of its kind. */
  readonly type: string;
  /** A private key of RSA. */
  readonly key?: Parsed | null;
  /** A certificate of RSA. */
  readonly cert?: Parsed | null;
  /** Everything else, as it was. */
  readonly asn1?: Asn1 | null;
}

/** All of it that is used. */
export interface Forge {
  /** Its buffers. */
  readonly util: {
    /** Wraps text with one byte in each character. */
    createBuffer(binary: string): Binary;
  };
  /** Its parser and writer. */
  readonly asn1: {
    /** Parses DER or BER. */
    fromDer(bytes: Binary): Asn1;
    /** Writes DER. */
    toDer(asn1: Asn1): Binary;
  };
  /** PKCS#12. */
  readonly pkcs12: {
    /** Checks the MAC and decrypts. */
    pkcs12FromAsn1(
      asn1: Asn1,
      password: string,
    ): {
      readonly safeContents: readonly { readonly safeBags: readonly Bag[] }[];
    };
  };
  /** Keys and certificates. */
  readonly pki: {
    /** Object identifiers by name. */
    readonly oids: {
      /** Of a bag with a certificate. */
      readonly certBag: string;
      /** Of a bag with a plain key. */
      readonly keyBag: string;
      /** Of a bag with an encrypted key. */
      readonly pkcs8ShroudedKeyBag: string;
    };
    /** PKCS#1. */
    privateKeyToAsn1(key: Parsed): Asn1;
    /** PKCS#1 into PKCS#8. */
    wrapRsaPrivateKey(asn1: Asn1): Asn1;
    /** The certificate as it was. */
    certificateToAsn1(certificate: Parsed): Asn1;
  };
}

/** The library. */
declare const forge: Forge;
export default forge;
