/** What the connection remembers of the peer's side of one volume, from its last packets (drbd-84 §2.4). */
import type { UuidSet } from "../state/uuids.ts";

export interface PeerUuids extends UuidSet {
  readonly dirtyBits: number;
  readonly flags: number;
}

export interface PeerSizes {
  /** Sectors. */
  readonly dSize: number;
  readonly uSize: number;
  readonly cSize: number;
  /** Bytes. */
  readonly maxBioSize: number;
  readonly ddsFlags: number;
  readonly logicalBlockSize: number;
}

export interface PeerVolume {
  uuids: PeerUuids | undefined;
  sizes: PeerSizes | undefined;
  /** Shared counter of writes and acks we send (drbd-84 §2.5). */
  packetSeq: number;
  /** Our first P_STATE of this connection has left and the peer's has not been processed (drbd-84 §3.1). */
  stateSent: boolean;
  /** The peer was forced to be Primary while both were Inconsistent: its next P_STATE is a decision (drbd-84 §3.6). */
  considerResync: boolean;
  /** Dirty bits as we sent them in our last P_UUIDS. */
  sentBits: number;
}

export const newPeerVolume = (): PeerVolume => ({
  uuids: undefined,
  sizes: undefined,
  packetSeq: 0,
  stateSent: false,
  considerResync: false,
  sentBits: 0,
});
