/** The data stream, receiving (drbd-84 §2.3, §7.3, §8.2). Payload goes straight to slab memory; packets on the control path to the resource. */

import { MAX_RANGE_BYTES } from "../block-device.ts";
import type { CloseReason } from "../ports.ts";
import { Conn, isSyncState } from "../state/state.ts";
import { SECTOR_BYTES } from "../units.ts";
import { requestFlags as flag, requestKinds as kind, NO_SLOT, type RequestKind } from "../volume/requests.ts";
import type { Volume } from "../volume/volume.ts";
import { MAX_BIO_BYTES, maxBioBytes, since } from "../wire/agreement.ts";
import { dpFlags } from "../wire/flags.ts";
import { dataHead } from "../wire/heads.ts";
import {
  emptyBlockDesc,
  emptyBlockRequest,
  emptyDataHead,
  readBarrier,
  readBlockDesc,
  readBlockRequest,
  readData,
  readTrim,
} from "../wire/hot-packets.ts";
import { dataBytes, findPacket, formOf, packetName, packets } from "../wire/packets.ts";
import type { Established } from "./connection-parts.ts";
import { type PacketOwner, PacketStream } from "./streams.ts";

const P_DATA = packets.P_DATA.code;
const P_TRIM = packets.P_TRIM.code;
const P_ZEROES = packets.P_ZEROES.code;
const P_DATA_REPLY = packets.P_DATA_REPLY.code;
const P_RS_DATA_REPLY = packets.P_RS_DATA_REPLY.code;
const P_DATA_REQUEST = packets.P_DATA_REQUEST.code;
const P_RS_DATA_REQUEST = packets.P_RS_DATA_REQUEST.code;
const P_RS_THIN_REQ = packets.P_RS_THIN_REQ.code;
const P_BARRIER = packets.P_BARRIER.code;
const P_UNPLUG_REMOTE = packets.P_UNPLUG_REMOTE.code;
const P_OUT_OF_SYNC = packets.P_OUT_OF_SYNC.code;

export class DataReceiver implements PacketOwner {
  readonly packets: PacketStream;
  readonly #connection: Established;
  readonly #head = emptyDataHead();
  readonly #request = emptyBlockRequest();
  readonly #desc = emptyBlockDesc();
  /** The slot whose payload is arriving, or NO_SLOT. */
  #receiving = NO_SLOT;
  #receivingBytes = 0;
  #volume: Volume | undefined;
  /** A packet that waits for a slot or for memory: its command, and the size of its payload or, for a read request, its volume. */
  #stalledCommand = -1;
  #stalledSize = 0;
  #paused = false;
  #waitsForNext = false;

  constructor(connection: Established) {
    this.#connection = connection;
    this.packets = new PacketStream(connection.data, "data", connection.agreed, this);
  }

  /** The slot that a broken connection leaves with its memory still in the kernel's hands, until `onClosed`. */
  get receiving(): number {
    return this.#receiving;
  }

  /** No packet is read while true (a kernel Primary's barrier, drbd-84 §8.3). */
  set paused(value: boolean) {
    this.#paused = value;
    if (value || !this.#waitsForNext) return;
    this.#waitsForNext = false;
    this.packets.next();
  }

  /** Memory may have been given back: a stalled packet is tried again. */
  retry(): void {
    const command = this.#stalledCommand;
    if (command === -1) return;
    if (command === P_DATA_REQUEST || command === P_RS_DATA_REQUEST || command === P_RS_THIN_REQ)
      this.#onRequest(command, this.#stalledSize);
    else this.#take(command, this.#stalledSize);
  }

  next(): void {
    if (this.#paused) this.#waitsForNext = true;
    else this.packets.next();
  }

  onHeard(): void {
    this.#connection.heard();
  }

  wantedBytes(command: number, length: number): number {
    if (command === P_DATA || command === P_RS_DATA_REPLY || command === P_DATA_REPLY) return dataHead.bytes;
    return length;
  }

  onPacket(command: number, volume: number, at: number, length: number): void {
    const { window } = this.#connection.data;
    switch (command) {
      case P_DATA:
      case P_RS_DATA_REPLY:
      case P_DATA_REPLY:
        readData(window, at, this.#head);
        return this.#onData(command, volume, length);
      case P_TRIM:
      case P_ZEROES:
        readTrim(window, at, this.#head);
        return this.#onRange(command, volume);
      case P_BARRIER:
        this.#connection.onBarrier(readBarrier(window, at));
        return this.next();
      case packets.P_DELAY_PROBE.code:
        return this.next();
      case P_UNPLUG_REMOTE:
        this.#connection.onUnplug();
        return this.next();
      case P_DATA_REQUEST:
      case P_RS_DATA_REQUEST:
      case P_RS_THIN_REQ:
        readBlockRequest(window, at, this.#request);
        return this.#onRequest(command, volume);
      case P_OUT_OF_SYNC:
        readBlockDesc(window, at, this.#desc);
        return this.#onOutOfSync(volume);
      default:
        return this.#onControl(command, volume, at, length);
    }
  }

  onPayload(): void {
    const id = this.#receiving;
    this.#receiving = NO_SLOT;
    const { requests } = this.#connection.owner;
    const volume = this.#volume;
    if (volume === undefined) throw new Error("payload for no volume");
    switch (requests.kind[id]) {
      case kind.appRead:
        volume.counters.nr += this.#receivingBytes / 1024;
        requests.clear(id, flag.receiving);
        volume.app.onPeerRead(id, true);
        break;
      default:
        volume.counters.nr += (requests.length[id] ?? 0) / 1024;
        if (requests.kind[id] === kind.resyncWrite) {
          this.#connection.owner.onResyncAnswer(volume, requests.length[id] ?? 0, false);
          if (!volume.target.mayWrite(requests.at[id] ?? 0)) {
            requests.free(id);
            break;
          }
        }
        volume.peer.write(id);
    }
    this.next();
  }

  onSent(token: number): void {
    this.#connection.onSent(token);
  }

  onViolation(text: string): void {
    this.#connection.fail(Conn.ProtocolError, text);
  }

  onClosed(reason: CloseReason, detail: string): void {
    const receiving = this.#receiving;
    this.#connection.onStreamClosed("data", reason, detail);
    this.#receiving = NO_SLOT;
    this.#connection.releaseReceiving(receiving);
  }

  /** The volume of a data packet, with the range checked against its size; undefined after a violation was reported. */
  #checked(command: number, number: number, at: number, size: number): Volume | undefined {
    const volume = this.#connection.owner.volume(number);
    if (volume === undefined) this.onViolation(`${packetName(command)}: unknown volume ${number}`);
    else if (size <= 0 || size % SECTOR_BYTES !== 0 || at + size > volume.size) {
      this.onViolation(
        `${packetName(command)}: range expected:within ${volume.size} bytes received:sector ${at / SECTOR_BYTES}, ${size} bytes`,
      );
    } else return volume;
    return undefined;
  }

  #onData(command: number, number: number, length: number): void {
    const size = dataBytes(packetName(command), length, 0);
    if (typeof size === "string") return this.onViolation(size);
    const at = this.#head.sector * SECTOR_BYTES;
    const volume = this.#checked(command, number, at, size);
    if (volume === undefined) return;
    this.#volume = volume;
    if (command === P_DATA_REPLY) return this.#onReadReply(size);
    this.#take(command, size);
  }

  #onReadReply(size: number): void {
    const { requests } = this.#connection.owner;
    const id = this.#head.idLow;
    const known =
      id < requests.capacity &&
      requests.kind[id] === kind.appRead &&
      requests.generation[id] === this.#head.idHigh &&
      requests.volume[id] === this.#volume?.number &&
      requests.has(id, flag.peerPending);
    const length = requests.length[id] ?? 0;
    const most = maxBioBytes(this.#connection.agreed.apv);
    const from = this.#head.sector * SECTOR_BYTES - (requests.at[id] ?? 0);
    const asked = from >= 0 && from < length && from % most === 0 && size === Math.min(most, length - from);
    if (!known || !asked) {
      return this.onViolation(`P_DATA_REPLY: no read is waiting for sector ${this.#head.sector}, ${size} bytes`);
    }
    // From here on only the end of the payload, or of the stream, ends the read: the kernel writes into its memory.
    requests.set(id, flag.receiving);
    this.#receiving = id;
    this.#receivingBytes = size;
    this.#connection.data.expectInto((requests.memory[id] ?? 0) + from, size);
  }

  #onRange(command: number, number: number): void {
    const volume = this.#checked(command, number, this.#head.sector * SECTOR_BYTES, this.#head.size);
    if (volume === undefined) return;
    if (this.#head.size > MAX_RANGE_BYTES) {
      return this.onViolation(
        `${packetName(command)}: size expected:512..${MAX_RANGE_BYTES} received:${this.#head.size}`,
      );
    }
    this.#volume = volume;
    this.#take(command, this.#head.size);
  }

  /** Gives the packet a slot and lets its payload come; without room the stream stands still until `retry`. */
  #take(command: number, size: number): void {
    const { requests } = this.#connection.owner;
    const isResync = command === P_RS_DATA_REPLY;
    const isRange = command === P_TRIM || command === P_ZEROES;
    const requestKind = isResync ? kind.resyncWrite : isRange ? rangeKind(command) : kind.peerWrite;
    const id = requests.acquire(isResync ? "resync" : "peer", requestKind, isRange ? 0 : size);
    const volume = this.#volume;
    if (id === NO_SLOT || volume === undefined) {
      this.#stalledCommand = command;
      this.#stalledSize = size;
      return;
    }
    this.#stalledCommand = -1;
    requests.volume[id] = volume.number;
    requests.at[id] = this.#head.sector * SECTOR_BYTES;
    requests.length[id] = size;
    requests.peerHigh[id] = this.#head.idHigh;
    requests.peerLow[id] = this.#head.idLow;
    requests.set(id, this.#flagsOf(volume, isResync));
    if (!isResync) requests.epoch[id] = this.#connection.epochs.add();
    if (isRange) {
      volume.peer.write(id);
      return this.next();
    }
    this.#receiving = id;
    this.#connection.data.expectInto(requests.memory[id] ?? 0, size);
  }

  #flagsOf(volume: Volume, isResync: boolean): number {
    if (isResync) return 0;
    const bits = this.#head.dpFlags;
    const { agreed, owner } = this.#connection;
    let flags = (bits & dpFlags.FUA) !== 0 ? flag.fua : 0;
    if ((bits & dpFlags.DISCARD) !== 0) flags |= flag.mayUnmap;
    if ((bits & dpFlags.MAY_SET_IN_SYNC) !== 0 && isSyncState(volume.state.conn)) flags |= flag.maySetInSync;
    if (agreed.apv >= since.ackFlags) {
      if ((bits & dpFlags.SEND_RECEIVE_ACK) !== 0) flags |= flag.wantsReceiveAck;
      if ((bits & dpFlags.SEND_WRITE_ACK) !== 0) flags |= flag.wantsWriteAck;
    } else if (owner.net.protocol === "B") flags |= flag.wantsReceiveAck;
    else if (owner.net.protocol === "C") flags |= flag.wantsWriteAck;
    return flags;
  }

  #onRequest(command: number, number: number): void {
    const { owner } = this.#connection;
    const at = this.#request.sector * SECTOR_BYTES;
    const volume = this.#checked(command, number, at, this.#request.blksize);
    if (volume === undefined) return;
    // Before apv 95 the length of a reply has 16 bits (drbd-84 §2.1); later peers may ask for more than they are asked for.
    const { apv } = this.#connection.agreed;
    const most = apv < since.header95 ? maxBioBytes(apv) : MAX_BIO_BYTES;
    if (this.#request.blksize > most) {
      return this.onViolation(
        `${packetName(command)}: blksize expected:512..${most} received:${this.#request.blksize}`,
      );
    }
    // A thin request may be answered with data like any other.
    const resync = command !== P_DATA_REQUEST;
    const id = owner.requests.acquire(
      resync ? "resync" : "peer",
      resync ? kind.resyncRead : kind.peerRead,
      this.#request.blksize,
    );
    if (id === NO_SLOT) {
      // Remembered as a whole: `retry` comes back here.
      this.#stalledCommand = command;
      this.#stalledSize = number;
      return;
    }
    this.#stalledCommand = -1;
    const { requests } = owner;
    requests.volume[id] = volume.number;
    requests.at[id] = at;
    requests.length[id] = this.#request.blksize;
    requests.peerHigh[id] = this.#request.idHigh;
    requests.peerLow[id] = this.#request.idLow;
    if (resync) volume.peer.resyncRead(id);
    else volume.peer.read(id);
    this.next();
  }

  #onOutOfSync(number: number): void {
    const at = this.#desc.sector * SECTOR_BYTES;
    const volume = this.#checked(P_OUT_OF_SYNC, number, at, this.#desc.blksize);
    if (volume === undefined) return;
    this.#connection.owner.onPeerOutOfSync(volume, at, this.#desc.blksize);
    this.next();
  }

  #onControl(command: number, number: number, at: number, length: number): void {
    const { owner, agreed, data } = this.#connection;
    const row = findPacket(command);
    if (row === undefined) return this.onViolation(`unexpected packet ${packetName(command)}`);
    const { head } = formOf(row, agreed.apv, agreed.features);
    const values = head.decode(data.window, at);
    owner.onPacket(row, owner.volume(number), values, at + head.bytes, length - head.bytes);
    // The packet may have ended the connection: a closed stream ignores this.
    this.next();
  }
}

const rangeKind = (command: number): RequestKind => (command === P_TRIM ? kind.peerTrim : kind.peerZero);
