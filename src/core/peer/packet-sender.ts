/**
 * Packets of the data path, sending (drbd-84 §2.4, §8): in order on the data stream, acks on the meta stream. Everything is dropped while no
 * connection is up.
 */
import type { Stream } from "../ports.ts";
import { isSyncState } from "../state/state.ts";
import { after, type Instant, ms, NEVER, SECTOR_BYTES } from "../units.ts";
import type { WriteAck } from "../volume/link.ts";
import { requestFlags as flag, requestKinds as kind, NO_SLOT } from "../volume/requests.ts";
import type { Volume } from "../volume/volume.ts";
import { features, maxBioBytes, maxTrimBytes, since } from "../wire/agreement.ts";
import { dpFlags, ID_SYNCER_HALF } from "../wire/flags.ts";
import { headerBytes } from "../wire/header.ts";
import { barrierAck, barrierHead, blockAck, blockDesc, blockRequest, dataHead, trimHead } from "../wire/heads.ts";
import {
  writeBarrier,
  writeBarrierAck,
  writeBlockAck,
  writeBlockDesc,
  writeBlockRequest,
  writeData,
  writeEmpty,
  writeTrim,
} from "../wire/hot-packets.ts";
import { packets } from "../wire/packets.ts";
import type { ConnectionOwner } from "./connection-parts.ts";
import { type Agreed, NOTHING_AGREED } from "./handshake.ts";
import type { PeerVolume } from "./peer-volume.ts";

/** Of the zeroes that a peer without P_TRIM gets instead: what one packet could carry at every version. */
const ZERO_BLOCK_BYTES = 32 * 1024;

/** The barrier of a closed epoch goes with the next packet, or after this. */
const BARRIER_LINGER = ms(10);

const writeAckCodes: Readonly<Record<WriteAck, number>> = {
  P_RECV_ACK: packets.P_RECV_ACK.code,
  P_WRITE_ACK: packets.P_WRITE_ACK.code,
  P_RS_WRITE_ACK: packets.P_RS_WRITE_ACK.code,
  P_NEG_ACK: packets.P_NEG_ACK.code,
};

export class PacketSender {
  readonly #owner: ConnectionOwner;
  readonly #peer: (volume: Volume) => PeerVolume;
  #streams: { readonly data: Stream; readonly meta: Stream } | undefined;
  #agreed: Agreed = NOTHING_AGREED;
  /** Memory of the zero block once it was needed. */
  #zeroes: number | undefined;
  /** When the barrier that is due goes out by itself. */
  barrierUntil: Instant = NEVER;

  constructor(owner: ConnectionOwner, peer: (volume: Volume) => PeerVolume) {
    this.#owner = owner;
    this.#peer = peer;
  }

  /** Bytes that wait in the data stream's send queue. */
  get queued(): number {
    return this.#streams?.data.queued ?? 0;
  }

  open(data: Stream, meta: Stream, agreed: Agreed): void {
    this.#streams = { data, meta };
    this.#agreed = agreed;
  }

  close(): void {
    this.#streams = undefined;
    this.#agreed = NOTHING_AGREED;
    this.barrierUntil = NEVER;
  }

  sendWrite(id: number): void {
    const up = this.#streams;
    if (up === undefined) return;
    const { requests, net } = this.#owner;
    const volume = this.#owner.volume(requests.volume[id] ?? 0);
    if (volume === undefined) return;
    this.sendDueBarrier();
    const { apv, features: agreedFeatures } = this.#agreed;
    const length = requests.length[id] ?? 0;
    const isWrite = requests.kind[id] === kind.appWrite;
    // Before the flags of a P_TRIM could say what it is, or towards a peer that knows none, zeroes are data.
    const asZeroes = !isWrite && (apv < since.dpFlags || (agreedFeatures & features.TRIM) === 0);
    const isData = isWrite || asZeroes;
    const most = isWrite ? maxBioBytes(apv) : asZeroes ? ZERO_BLOCK_BYTES : maxTrimBytes(agreedFeatures);
    const parts = Math.ceil(length / most);
    requests.parts[id] = parts;
    requests.sends[id] = isData ? parts : 0;
    if (isData) requests.set(id, flag.sending);
    if (parts > 1) this.#owner.log.addParts(parts - 1);
    const memory = isWrite ? (requests.memory[id] ?? 0) : isData ? this.#zeroBlock() : 0;
    for (let from = 0; from < length; from += most) {
      const offset = isWrite ? memory + from : memory;
      if (isData) this.#sendData(up.data, volume, id, from, Math.min(most, length - from), offset);
      else this.#sendRange(up.data, volume, id, from, Math.min(most, length - from));
    }
    volume.counters.ns += length / 1024;
    // Before apv 100 a write cannot ask for an ack of its own, during a resync either.
    const acknowledged = isSyncState(volume.state.conn) && apv >= since.ackFlags;
    if (net.protocol === "A" && !acknowledged) {
      requests.parts[id] = 1;
      volume.app.onPeerAck(id, false);
    }
    if (this.#owner.log.openWrites >= net.maxEpochSize) this.closeEpoch();
  }

  /** `from` and `length` in bytes of the request: the whole, or as much as a packet may carry. `memory`: where the payload stands. */
  #sendData(data: Stream, volume: Volume, id: number, from: number, length: number, memory: number): void {
    const { requests } = this.#owner;
    const { apv } = this.#agreed;
    const sector = ((requests.at[id] ?? 0) + from) / SECTOR_BYTES;
    const generation = requests.generation[id] ?? 0;
    const code = packets.P_DATA.code;
    const sequence = this.#sequence(volume);
    const flags = this.#dpFlags(id, volume, true);
    const at = data.reserve(headerBytes(apv) + dataHead.bytes);
    writeData(data.out, at, apv, code, volume.number, length, sector, generation, id, sequence, flags);
    data.sendMemory(memory, length, id);
  }

  /** It may stand in the send queue of a stream that has ended, so it is never given back. */
  #zeroBlock(): number {
    if (this.#zeroes === undefined) {
      const { requests, memory } = this.#owner;
      const id = requests.acquire("control", kind.zeroBlock, ZERO_BLOCK_BYTES);
      if (id === NO_SLOT) throw new Error("no control memory for a block of zeroes");
      this.#zeroes = requests.memory[id] ?? 0;
      memory.bytes.fill(0, this.#zeroes, this.#zeroes + ZERO_BLOCK_BYTES);
    }
    return this.#zeroes;
  }

  /** Without P_ZEROES a P_TRIM zeroes, too (drbd-84 §2.4). */
  #sendRange(data: Stream, volume: Volume, id: number, from: number, length: number): void {
    const { requests } = this.#owner;
    const { apv, features: agreedFeatures } = this.#agreed;
    const zeroes = requests.kind[id] === kind.appZero && (agreedFeatures & features.WZEROES) !== 0;
    const code = zeroes ? packets.P_ZEROES.code : packets.P_TRIM.code;
    const sector = ((requests.at[id] ?? 0) + from) / SECTOR_BYTES;
    const generation = requests.generation[id] ?? 0;
    const sequence = this.#sequence(volume);
    const flags = this.#dpFlags(id, volume, false);
    const at = data.reserve(headerBytes(apv) + trimHead.bytes);
    writeTrim(data.out, at, apv, code, volume.number, sector, generation, id, sequence, flags, length);
  }

  #dpFlags(id: number, volume: Volume, isData: boolean): number {
    const { requests, net } = this.#owner;
    const { apv } = this.#agreed;
    if (apv < since.dpFlags) return dpFlags.RW_SYNC;
    let flags = dpFlags.RW_SYNC as number;
    if (requests.has(id, flag.fua)) flags |= dpFlags.FUA;
    const zeroes = (this.#agreed.features & features.WZEROES) !== 0;
    if (!isData && requests.kind[id] === kind.appTrim) flags |= dpFlags.DISCARD;
    if (!isData && requests.kind[id] === kind.appZero && !zeroes) flags |= dpFlags.DISCARD;
    if (!isData && requests.kind[id] === kind.appZero && zeroes) {
      flags |= dpFlags.ZEROES | (requests.has(id, flag.mayUnmap) ? dpFlags.DISCARD : 0);
    }
    const syncing = isSyncState(volume.state.conn);
    if (syncing) flags |= dpFlags.MAY_SET_IN_SYNC;
    if (apv < since.ackFlags) return flags;
    if (net.protocol === "B") flags |= dpFlags.SEND_RECEIVE_ACK;
    if (net.protocol === "C" || syncing) flags |= dpFlags.SEND_WRITE_ACK;
    return flags;
  }

  sendOutOfSync(volume: number, at: number, length: number): void {
    const up = this.#streams;
    const { apv } = this.#agreed;
    if (up === undefined || apv < since.outOfSync) return;
    this.sendDueBarrier();
    const offset = up.data.reserve(headerBytes(apv) + blockDesc.bytes);
    writeBlockDesc(up.data.out, offset, apv, packets.P_OUT_OF_SYNC.code, volume, at / SECTOR_BYTES, length);
  }

  sendReadRequest(id: number): void {
    const { requests } = this.#owner;
    const { apv } = this.#agreed;
    const at = requests.at[id] ?? 0;
    const length = requests.length[id] ?? 0;
    const most = maxBioBytes(apv);
    requests.parts[id] = Math.ceil(length / most);
    requests.clear(id, flag.partFailed);
    for (let from = 0; from < length; from += most) {
      const size = Math.min(most, length - from);
      const generation = requests.generation[id] ?? 0;
      const volume = requests.volume[id] ?? 0;
      this.#sendBlockRequest(packets.P_DATA_REQUEST.code, volume, at + from, generation, id, size);
    }
  }

  sendResyncRequest(volume: number, at: number, length: number): void {
    this.#sendBlockRequest(packets.P_RS_DATA_REQUEST.code, volume, at, ID_SYNCER_HALF, ID_SYNCER_HALF, length);
  }

  #sendBlockRequest(code: number, volume: number, at: number, high: number, low: number, length: number): void {
    const up = this.#streams;
    const { apv } = this.#agreed;
    if (up === undefined) return;
    this.sendDueBarrier();
    const offset = up.data.reserve(headerBytes(apv) + blockRequest.bytes);
    writeBlockRequest(up.data.out, offset, apv, code, volume, 0, at / SECTOR_BYTES, high, low, length);
  }

  sendUnplug(): void {
    const up = this.#streams;
    if (up === undefined || !this.#agreed.futago) return;
    const { apv } = this.#agreed;
    writeEmpty(up.data.out, up.data.reserve(headerBytes(apv)), apv, packets.P_UNPLUG_REMOTE.code, 0);
  }

  /** An application flush waits for the ack, so its barrier goes at once. */
  closeEpoch(): void {
    this.#owner.log.close(this.#owner.now);
    this.sendDueBarrier();
  }

  /** The epoch ends with this turn because one of its writes was answered; its barrier goes with the next packet, or a little later. */
  endEpoch(): void {
    const { log, now } = this.#owner;
    log.close(now);
    if (log.barrierDue) this.barrierUntil = after(now, BARRIER_LINGER);
  }

  sendDueBarrier(): void {
    this.barrierUntil = NEVER;
    const { log } = this.#owner;
    if (!log.barrierDue) return;
    const number = log.barrier();
    const up = this.#streams;
    if (up === undefined) return;
    const { apv } = this.#agreed;
    const at = up.data.reserve(headerBytes(apv) + barrierHead.bytes);
    writeBarrier(up.data.out, at, apv, number);
  }

  sendWriteAck(id: number, ack: WriteAck): void {
    const { requests } = this.#owner;
    this.#sendBlockAck(
      writeAckCodes[ack],
      requests.volume[id] ?? 0,
      requests.at[id] ?? 0,
      requests.peerHigh[id] ?? 0,
      requests.peerLow[id] ?? 0,
      requests.length[id] ?? 0,
    );
  }

  sendReadReply(id: number, resync: boolean): void {
    const up = this.#streams;
    const { requests } = this.#owner;
    const volume = this.#owner.volume(requests.volume[id] ?? 0);
    if (up === undefined || volume === undefined) return;
    const { apv } = this.#agreed;
    const length = requests.length[id] ?? 0;
    const code = resync ? packets.P_RS_DATA_REPLY.code : packets.P_DATA_REPLY.code;
    this.sendDueBarrier();
    const at = up.data.reserve(headerBytes(apv) + dataHead.bytes);
    const sector = (requests.at[id] ?? 0) / SECTOR_BYTES;
    const high = requests.peerHigh[id] ?? 0;
    const low = requests.peerLow[id] ?? 0;
    writeData(up.data.out, at, apv, code, volume.number, length, sector, high, low, 0, 0);
    up.data.sendMemory(requests.memory[id] ?? 0, length, id);
    volume.counters.ns += length / 1024;
  }

  sendNegativeReply(id: number, resync: boolean): void {
    const { requests } = this.#owner;
    this.#sendBlockAck(
      resync ? packets.P_NEG_RS_DREPLY.code : packets.P_NEG_DREPLY.code,
      requests.volume[id] ?? 0,
      requests.at[id] ?? 0,
      requests.peerHigh[id] ?? 0,
      requests.peerLow[id] ?? 0,
      requests.length[id] ?? 0,
    );
  }

  #sendBlockAck(code: number, number: number, at: number, high: number, low: number, length: number): void {
    const up = this.#streams;
    const volume = this.#owner.volume(number);
    if (up === undefined || volume === undefined) return;
    const { apv } = this.#agreed;
    const offset = up.meta.reserve(headerBytes(apv) + blockAck.bytes);
    const sequence = this.#sequence(volume);
    writeBlockAck(up.meta.out, offset, apv, code, number, at / SECTOR_BYTES, high, low, length, sequence);
  }

  #sequence(volume: Volume): number {
    const peer = this.#peer(volume);
    peer.packetSeq = (peer.packetSeq + 1) >>> 0;
    return peer.packetSeq;
  }

  /** P_PING or P_PING_ACK. */
  sendMeta(code: number): void {
    const up = this.#streams;
    if (up === undefined) return;
    const { apv } = this.#agreed;
    writeEmpty(up.meta.out, up.meta.reserve(headerBytes(apv)), apv, code, 0);
  }

  sendBarrierAck(barrier: number, writes: number): void {
    const up = this.#streams;
    if (up === undefined) return;
    const { apv } = this.#agreed;
    writeBarrierAck(up.meta.out, up.meta.reserve(headerBytes(apv) + barrierAck.bytes), apv, barrier, writes);
  }
}
