/**
 * What a volume asks of the connection. All calls queue packets in order on the data or the meta stream; none fails: when the
 * connection breaks the volume is told by `PeerLost`.
 */
export interface ReplicationLink {
  /** P_DATA, P_TRIM or P_ZEROES for the slot, in the open epoch; its memory is in use until `sending` is cleared. */
  sendWrite(id: number): void;
  /** P_OUT_OF_SYNC: the range was written here alone. */
  sendOutOfSync(volume: number, at: number, length: number): void;
  /** P_DATA_REQUEST for an application read. */
  sendReadRequest(id: number): void;
  /** P_UNPLUG_REMOTE: the epochs closed so far are wanted soon. */
  sendUnplug(): void;
  /** Closes the open epoch and sends its P_BARRIER. */
  closeEpoch(): void;
  /** P_WRITE_ACK, P_RECV_ACK, P_RS_WRITE_ACK or P_NEG_ACK for a write of the peer. */
  sendWriteAck(id: number, ack: WriteAck): void;
  /** Ends the receiver's part of a write of the peer: after its last ack. */
  peerWriteEnded(id: number): void;
  /** Writes of the peer are here whose epoch has not been acknowledged. */
  readonly hasOpenEpochs: boolean;
  /** A flush begins that these epochs have to wait for; `onBarrierFlushed` tells of its end. */
  flushBegins(): void;
  /** P_DATA_REPLY or P_RS_DATA_REPLY with the slot's memory. */
  sendReadReply(id: number, resync: boolean): void;
  /** P_NEG_DREPLY or P_NEG_RS_DREPLY. */
  sendNegativeReply(id: number, resync: boolean): void;
  /** P_RS_DATA_REQUEST. */
  sendResyncRequest(volume: number, at: number, length: number): void;
  /** Bytes that wait in the data stream's send queue. */
  readonly queued: number;
}

export type WriteAck = "P_RECV_ACK" | "P_WRITE_ACK" | "P_RS_WRITE_ACK" | "P_NEG_ACK";

/** How a write on the Primary reaches the peer (drbd-84 §8.1 step 4). */
export const mirrorModes = {
  /** Local only: bits are set. */
  none: 0,
  /** Sent and acknowledged. */
  send: 1,
  /** P_OUT_OF_SYNC is sent, bits are set. */
  outOfSync: 2,
} as const;
export type MirrorMode = (typeof mirrorModes)[keyof typeof mirrorModes];
