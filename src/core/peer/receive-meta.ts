/** The meta stream, receiving: acks, negative replies, pings and replies to state changes (drbd-84 §2.3, §8.2). */
import type { CloseReason } from "../ports.ts";
import { Conn } from "../state/state.ts";
import { SECTOR_BYTES } from "../units.ts";
import { requestFlags as flag, requestKinds as kind } from "../volume/requests.ts";
import type { Volume } from "../volume/volume.ts";
import { ID_SYNCER_HALF } from "../wire/flags.ts";
import { blockAck } from "../wire/heads.ts";
import { emptyBarrierAck, emptyBlockAck, readBarrierAck, readBlockAck } from "../wire/hot-packets.ts";
import { findPacket, formOf, packetName, packets } from "../wire/packets.ts";
import type { Established } from "./connection-parts.ts";
import { type PacketOwner, PacketStream } from "./streams.ts";

export class MetaReceiver implements PacketOwner {
  readonly packets: PacketStream;
  readonly #connection: Established;
  readonly #ack = emptyBlockAck();
  readonly #barrierAck = emptyBarrierAck();

  constructor(connection: Established) {
    this.#connection = connection;
    this.packets = new PacketStream(connection.meta, "control", connection.agreed, this);
  }

  onHeard(): void {
    this.#connection.heard();
  }

  wantedBytes(_command: number, length: number): number {
    return length;
  }

  onPacket(command: number, volume: number, at: number, _length: number): void {
    switch (command) {
      case packets.P_PING.code:
        this.#connection.onPing();
        break;
      case packets.P_PING_ACK.code:
        this.#connection.onPingAck();
        break;
      case packets.P_BARRIER_ACK.code:
        readBarrierAck(this.#connection.meta.window, at, this.#barrierAck);
        this.#onBarrierAck();
        break;
      case packets.P_STATE_CHG_REPLY.code:
      case packets.P_CONN_ST_CHG_REPLY.code:
        this.#onReply(command, volume, at);
        break;
      case packets.P_DELAY_PROBE.code:
        break;
      default:
        if (!isBlockAck(command)) {
          return this.onViolation(`unexpected packet ${packetName(command)} on the control stream`);
        }
        readBlockAck(this.#connection.meta.window, at, this.#ack);
        this.#onBlockAck(command, volume);
    }
    this.packets.next();
  }

  onPayload(): void {
    throw new Error("the meta stream carries no payload");
  }

  onSent(token: number): void {
    this.#connection.onSent(token);
  }

  /** An unknown number here is fatal (drbd-84 §1.4); a known packet of the wrong size is a network failure. */
  onViolation(text: string): void {
    this.#connection.fail(text.startsWith("unexpected packet") ? Conn.Disconnecting : Conn.NetworkFailure, text);
  }

  onClosed(reason: CloseReason, detail: string): void {
    this.#connection.onStreamClosed("meta", reason, detail);
  }

  #onBarrierAck(): void {
    const { owner } = this.#connection;
    const wrong = owner.log.acknowledge(this.#barrierAck.barrier, this.#barrierAck.setSize);
    if (wrong !== undefined) return this.#connection.fail(Conn.ProtocolError, `BAD! ${wrong}`);
    for (const volume of owner.volumes) volume.app.advanceFlushes();
  }

  #onReply(command: number, number: number, at: number): void {
    const { owner, agreed, meta } = this.#connection;
    const row = findPacket(command);
    if (row === undefined) return;
    const values = formOf(row, agreed.apv, agreed.features).head.decode(meta.window, at);
    owner.onPacket(row, owner.volume(number), values, 0, 0);
  }

  #onBlockAck(command: number, number: number): void {
    const volume = this.#connection.owner.volume(number);
    if (volume === undefined)
      return this.#connection.fail(Conn.ProtocolError, `${packetName(command)}: unknown volume ${number}`);
    const at = this.#ack.sector * SECTOR_BYTES;
    const length = this.#ack.blksize;
    if (at + length > volume.size) {
      return this.#connection.fail(
        Conn.NetworkFailure,
        `${packetName(command)}: sector ${this.#ack.sector} beyond the end`,
      );
    }
    if (command === packets.P_NEG_RS_DREPLY.code || command === packets.P_RS_CANCEL.code) {
      // What the Source cancels is asked for again later: no failure (drbd-84 §7.3).
      return this.#connection.owner.onResyncAnswer(volume, length, command === packets.P_NEG_RS_DREPLY.code);
    }
    if (this.#ack.idHigh === ID_SYNCER_HALF && this.#ack.idLow === ID_SYNCER_HALF) {
      return this.#onResyncAck(command, volume, at, length);
    }
    this.#onRequestAck(command, volume, at);
  }

  /** We are the Source: the Target has written what we sent, or could not. */
  #onResyncAck(command: number, volume: Volume, at: number, length: number): void {
    if (command === packets.P_NEG_ACK.code) volume.onSourceFailed(length);
    else volume.setInSync(at, length);
  }

  #onRequestAck(command: number, volume: Volume, at: number): void {
    const { requests } = this.#connection.owner;
    const id = this.#ack.idLow;
    const known =
      id < requests.capacity &&
      requests.generation[id] === this.#ack.idHigh &&
      requests.volume[id] === volume.number &&
      at >= (requests.at[id] ?? 0) &&
      at < (requests.at[id] ?? 0) + (requests.length[id] ?? 0) &&
      requests.has(id, flag.logged | flag.peerPending);
    if (!known) {
      // The kernel sends P_NEG_ACK also for what was already completed; then only the range matters (drbd-84 §8.2).
      if (command === packets.P_NEG_ACK.code) return volume.setOutOfSync(at, this.#ack.blksize);
      return this.#connection.fail(Conn.NetworkFailure, `${packetName(command)}: no request is waiting for it`);
    }
    const isRead = requests.kind[id] === kind.appRead;
    switch (command) {
      case packets.P_WRITE_ACK.code:
      case packets.P_RECV_ACK.code:
        if (isRead) break;
        return volume.app.onPeerAck(id, false);
      case packets.P_RS_WRITE_ACK.code:
        if (isRead) break;
        return volume.app.onPeerAck(id, true);
      case packets.P_NEG_ACK.code:
        if (isRead) break;
        return volume.app.onPeerNegativeAck(id);
      case packets.P_NEG_DREPLY.code:
        // The answer that is arriving is the last one: this is one too many.
        if (!isRead || (requests.has(id, flag.receiving) && requests.parts[id] === 1)) break;
        return volume.app.onPeerRead(id, false);
    }
    this.#connection.fail(Conn.ProtocolError, `${packetName(command)} is not expected here`);
  }
}

const isBlockAck = (command: number): boolean => findPacket(command)?.forms[0].head === blockAck;
