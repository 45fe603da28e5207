/**
 * Credentials among npm's settings, in each of the forms that npm sends.
 *
 * @module
 * @see {@link https://github.com/npm/npm-registry-fetch/blob/main/lib/auth.js | npm-registry-fetch}
 */

import { Buffer } from "node:buffer";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { parseToken } from "../tokens/token.ts";
import type { Setting } from "./npm_config.ts";
import { keyOf, parseKey, type Place } from "./place.ts";

/** A credential and the requests that it is for. */
export interface Credential {
  /** At it and below. */
  readonly place: Place;
  /** How it is sent. */
  readonly kind: "bearer" | "basic";
  /** The whole value of Authorization. */
  readonly authorization: Secret;
}

/** What was found, and what was left out. */
export interface Found {
  /** One for each place. */
  readonly credentials: readonly Credential[];
  /** Sentences about settings that were left out. */
  readonly skipped: readonly string[];
}

/** Settings that npm has been refusing without a registry since version 9. */
const UNPLACED = ["_auth", "_authToken", "_password", "username"];

/** `//HOST/PATH/:FIELD`, also without the slash before the colon. */
const PLACED =
  /^(\/\/[^]+):(_authToken|_auth|_password|username|certfile|keyfile)$/;

/** With or without padding. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

type Fields = Map<string, Setting>;

/**
 * Finds the credentials.
 *
 * @param settings npm's settings by key.
 * @param registries Registries in use, which tell the scheme of a place.
 * @returns What was found.
 * @throws {MoatError} `bad-npmrc` or `bad-token` with file and line, never
 * with what is there.
 */
export function findCredentials(
  settings: ReadonlyMap<string, Setting>,
  registries: readonly Place[],
): Found {
  const places = new Map<string, { place: Place; fields: Fields }>();
  const skipped: string[] = [];
  for (const [key, setting] of settings) {
    if (UNPLACED.includes(key)) throw unplaced(setting);
    const [, start, field] = PLACED.exec(key) ?? [];
    if (start === undefined || field === undefined) continue;
    if (setting.unset !== undefined) {
      skipped.push(`${at(setting)} ${unset(setting, setting.unset)}`);
      continue;
    }
    // npm takes an empty one for none.
    if (setting.value === "") continue;
    const place = parseKey(start, registries);
    if (!place) throw fault(setting, "wanted //HOST/PATH/ before the colon");
    const { fields } = getOrMake(places, place);
    fields.set(field, setting);
  }
  const credentials = [...places.values()].flatMap(({ place, fields }) => {
    skipped.push(...withoutInjection(fields));
    return read(place, fields) ?? [];
  });
  return { credentials, skipped };
}

function getOrMake(
  places: Map<string, { place: Place; fields: Fields }>,
  place: Place,
) {
  const key = keyOf(place);
  let entry = places.get(key);
  if (!entry) places.set(key, entry = { place, fields: new Map() });
  return entry;
}

/** A certificate is shown by whoever makes the connection, to nobody's request. */
function withoutInjection(fields: Fields): string[] {
  const setting = fields.get("certfile") ?? fields.get("keyfile");
  return setting
    ? [`${at(setting)} names a client certificate, which moat cannot use`]
    : [];
}

/** The first form that npm would send counts. */
function read(place: Place, fields: Fields): Credential | undefined {
  const token = fields.get("_authToken");
  if (token) {
    const value = parseToken(token.value, at(token)).reveal();
    return {
      place,
      kind: "bearer",
      authorization: new Secret(`Bearer ${value}`),
    };
  }
  const pair = readPair(fields);
  return pair === undefined ? undefined : {
    place,
    kind: "basic",
    authorization: new Secret(`Basic ${Buffer.from(pair).toString("base64")}`),
  };
}

/** `USER:PASSWORD`. */
function readPair(fields: Fields): string | undefined {
  const auth = fields.get("_auth");
  if (auth) {
    const pair = decode(auth);
    if (pair === undefined || !/^[^:]+:[^]/.test(pair)) {
      throw fault(auth, "wanted the base64 of USER:PASSWORD in _auth");
    }
    return pair;
  }
  const user = fields.get("username");
  const password = fields.get("_password");
  if (!user || !password) return undefined;
  const secret = decode(password);
  if (!secret) throw fault(password, "wanted base64 in _password");
  if (!/^[!-9;-~]+$/.test(user.value)) {
    throw fault(user, "wanted visible ASCII characters without a colon");
  }
  return `${user.value}:${secret}`;
}

function decode({ value }: Setting): string | undefined {
  if (!BASE64.test(value)) return undefined;
  const bytes = Buffer.from(value, "base64");
  const isWhole = bytes.toString("base64").replace(/=+$/, "") ===
    value.replace(/=+$/, "");
  return isWhole ? bytes.toString("utf8") : undefined;
}

function at({ origin, line }: Setting): string {
  return line > 0 ? `${origin}:${line}` : origin;
}

function unset({ isProject }: Setting, name: string): string {
  const variable = name ? `the variable ${name}` : "a variable";
  return isProject
    ? `needs ${variable}, which a project's file could send anywhere: give it with --registry URL`
    : `needs ${variable}, which is not set`;
}

function unplaced(setting: Setting): MoatError {
  return new MoatError(
    "bad-npmrc",
    `Cannot use ${
      at(setting)
    }: wanted //HOST/PATH/: before a credential, found one for no registry`,
    { hint: "npm config fix" },
  );
}

function fault(setting: Setting, wanted: string): MoatError {
  return new MoatError("bad-npmrc", `Cannot use ${at(setting)}: ${wanted}`, {
    hint: "npm login --registry URL writes it anew",
  });
}
