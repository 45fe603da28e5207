/**
 * What there is to say of each resource, once its client may ask.
 *
 * @module
 */

import { toMoatError } from "$core/errors.ts";
import type { MetadataClient } from "$core/metadata.ts";
import type { Clock } from "$core/clock.ts";
import type { Session } from "../session.ts";
import { readSettings } from "../settings.ts";
import type { Access, Accesses } from "./access.ts";
import {
  availabilityZone,
  type Content,
  identityDocument,
  type Shapes,
  VERSION_LIST,
} from "./answers.ts";
import type { Resource } from "./paths.ts";
import { NO_GRANT, NOT_FOUND, OTHER_ROLE, toRefusal } from "./refusal.ts";

/** Gives what there is to say, at once if nothing has to be asked; the same object as long as it says the same. */
export type Say = () => Content | Promise<Content>;

/** A client, as long as it is current. */
export interface ClientAccess {
  /** Once it was found. */
  access?: Access;
  /** While it is looked for. */
  finding?: Promise<Access>;
  /** Whether its first session was asked for. */
  isPrefetched?: boolean;
}

/** What {@link Contents} needs. */
export interface ContentsOptions {
  /** Tells when a session was obtained. */
  readonly clock: Pick<Clock, "now">;
  /** Whose words to use. */
  readonly shapes: Shapes;
  /** Finds what clients may have. */
  readonly accesses: Accesses;
  /** This host's architecture, as Deno names it. */
  readonly arch: string;
}

/** What there is to say. */
export class Contents {
  readonly #options: ContentsOptions;
  /** When each session was first seen, which is when it was obtained. */
  readonly #since = new WeakMap<Session, number>();

  /** Begins with nothing said. */
  constructor(options: ContentsOptions) {
    this.#options = options;
  }

  /**
   * Prepares what a resource says to a client.
   *
   * @param client Who asks.
   * @param state What is known of it.
   * @param resource What it asks for.
   * @returns What gives it, or throws a `Refusal` or `MoatError`.
   * @throws {Refusal} If there is nothing to read, such as of a token.
   */
  say(
    client: MetadataClient,
    state: ClientAccess,
    resource: Resource,
  ): Say {
    const { grant } = client;
    switch (resource.kind) {
      case "token":
        throw NOT_FOUND;
      case "versions":
        return () => VERSION_LIST;
      case "region":
      case "availability-zone": {
        if (!grant) throw NO_GRANT;
        const { region } = readSettings(grant);
        const isZone = resource.kind === "availability-zone";
        const line = isZone ? availabilityZone(region) : region;
        const content = this.#options.shapes.text(line);
        return () => content;
      }
      case "identity-document":
        return this.#withAccess(client, state, this.#document(client));
      case "role-name":
        return this.#withAccess(client, state, this.#roleName(client, state));
      case "info":
        return this.#withAccess(client, state, this.#info());
      case "credentials":
        return this.#withAccess(
          client,
          state,
          this.#credentials(resource.role),
        );
    }
  }

  /** At once, once it is known what the client may have. */
  #withAccess(
    client: MetadataClient,
    state: ClientAccess,
    use: (access: Access) => Content | Promise<Content>,
  ): Say {
    return () => {
      const { access } = state;
      return access
        ? use(access)
        : this.#find(client, state).then((access) => use(access));
    };
  }

  #find(client: MetadataClient, state: ClientAccess): Promise<Access> {
    state.finding ??= this.#options.accesses.find(client)
      .then((access) => state.access = access)
      .finally(() => delete state.finding);
    return state.finding;
  }

  /**
   * Asks for a client's first session, so that it is there when the client
   * comes for it.
   *
   * @param client Who will ask.
   * @param state What is known of it.
   */
  prefetch(client: MetadataClient, state: ClientAccess): void {
    if (state.isPrefetched) return;
    state.isPrefetched = true;
    const ask = async () => {
      const { session } = state.access ?? await this.#find(client, state);
      await session();
    };
    // Whoever asks for it is told what failed.
    ask().catch(() => {});
  }

  #document(client: MetadataClient): (access: Access) => Content {
    let content: Content | undefined;
    return ({ role: { account } }) =>
      content ??= identityDocument({
        account,
        region: client.grant ? readSettings(client.grant).region : "",
        container: client.container,
        address: client.address,
        arch: this.#options.arch,
      });
  }

  #roleName(
    client: MetadataClient,
    state: ClientAccess,
  ): (access: Access) => Content {
    let content: Content | undefined;
    return ({ role: { name } }) => {
      this.prefetch(client, state);
      return content ??= this.#options.shapes.text(name);
    };
  }

  #info(): (access: Access) => Content | Promise<Content> {
    const format = once((session: Session, { role }: Access) =>
      this.#options.shapes.info(role, session, this.#sinceOf(session))
    );
    return (access) =>
      this.#withSession(access, (session) => format(session, access));
  }

  #credentials(
    wanted: string,
  ): (access: Access) => Content | Promise<Content> {
    const format = once((session: Session) =>
      this.#options.shapes.credentials(session, this.#sinceOf(session))
    );
    return (access) => {
      if (access.role.name !== wanted) throw OTHER_ROLE;
      return this.#withSession(access, (session) => {
        access.recorder.vended(session);
        return format(session, access);
      });
    };
  }

  #withSession(
    access: Access,
    use: (session: Session) => Content,
  ): Content | Promise<Content> {
    const session = access.session();
    if (!(session instanceof Promise)) return use(session);
    return session.then(use, (thrown) => {
      const error = toMoatError(thrown);
      access.recorder.refused(error);
      throw toRefusal(error);
    });
  }

  #sinceOf(session: Session): number {
    const { clock } = this.#options;
    const since = this.#since.get(session) ?? clock.now();
    this.#since.set(session, since);
    return since;
  }
}

/** Formats each session once in a row. */
function once(
  format: (session: Session, access: Access) => Content,
): (session: Session, access: Access) => Content {
  let last: { session: Session; content: Content } | undefined;
  return (session, access) => {
    if (last?.session !== session) {
      last = { session, content: format(session, access) };
    }
    return last.content;
  };
}
