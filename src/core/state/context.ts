/** What, beside the state itself, decides whether a change is legal and what it implies (drbd-84 §4.6, §4.7). */
export type Fencing = "dont-care" | "resource-only" | "resource-and-stonith";

export interface StateContext {
  readonly fencing: Fencing;
  /** `allow-two-primaries`; true also without any net configuration: there is no peer to collide with. */
  readonly twoPrimaries: boolean;
  /** Another volume of the same connection sees its peer as Primary. */
  readonly otherVolumePeerPrimary: boolean;
  /** How many hold the device open. */
  readonly openCount: number;
  /** `verify-alg` is set. */
  readonly verifyAlg: boolean;
  /** Agreed protocol version; 0 while not connected. */
  readonly agreedVersion: number;
  readonly onNoDataAccessible: "io-error" | "suspend-io";
  /** Our first P_STATE of this connection has left and the peer's has not been processed yet (drbd-84 §3.1). */
  readonly stateSent: boolean;
  /**
   * What the disk and the peer's disk will be once the negotiation of a late attach ends (drbd-84 §9.4, 5); undefined
   * when the disk is not Negotiating.
   */
  readonly negotiating:
    | {
        readonly disk: number;
        readonly pdsk: number;
        /** Own Current equals the exposed data UUID: the remembered state may be trusted if the connection breaks. */
        readonly exposed: boolean;
      }
    | undefined;
}

export const defaultContext: StateContext = {
  fencing: "dont-care",
  twoPrimaries: false,
  otherVolumePeerPrimary: false,
  openCount: 0,
  verifyAlg: false,
  agreedVersion: 0,
  onNoDataAccessible: "io-error",
  stateSent: false,
  negotiating: undefined,
};
