/**
 * As much of node-forge's types as the tests use; it ships none.
 *
 * @module
 */

/** An element of ASN.1, parsed. */
export interface Asn1 {
  /** Its tag. */
  readonly type: number;
  /** Of a primitive one: text with one byte in each character. */
  readonly value: string;
}

/** All of it that is used. */
export interface Forge {
  /** Its reader of DER. */
  readonly asn1: {
    /** Tags. */
    readonly Type: { readonly UTCTIME: number };
    /** Reads one element that takes all bytes. */
    fromDer(bytes: string): Asn1;
    /** Reads the content of an OBJECT IDENTIFIER. */
    derToOid(bytes: string): string;
    /** Reads the content of a UTCTime. */
    utcTimeToDate(text: string): Date;
    /** Reads the content of a GeneralizedTime. */
    generalizedTimeToDate(text: string): Date;
  };
}

declare const forge: Forge;
export default forge;
