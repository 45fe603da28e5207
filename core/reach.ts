/**
 * The ways from a client to the proxy.
 *
 * @module
 */

/** The ways from a client to the proxy. */
export type Reach =
  /** By the proxy's loopback listener. */
  | { readonly by: "loopback" }
  /** By a host name that the engine forwards to the host's loopback. */
  | { readonly by: "name"; readonly name: string }
  /** By a listener on the gateway address of the client's network. */
  | {
    readonly by: "gateway";
    /** An IP address of this host, now or (lazily made bridges) soon. */
    readonly address: string;
    /** The port of the run before the proxy restarted. */
    readonly port?: number;
  }
  /** By a listener at an address of this host that clients cannot choose. */
  | {
    readonly by: "address";
    /** Such as 169.254.170.2. */
    readonly address: string;
    /** Its port. */
    readonly port: number;
  }
  /** By a unix socket that serves this client alone, through a relay on its own loopback. */
  | {
    readonly by: "socket";
    /** Where the proxy makes the socket. */
    readonly path: string;
    /** The port of the relay. */
    readonly port: number;
  };
