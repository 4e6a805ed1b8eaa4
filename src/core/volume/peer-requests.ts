/**
 * Writes of the peer and reads for it (drbd-84 §8.2, §8.6, §7.3):
 *
 *   payload received ─▶ enter order ─▶ local disk ─▶ ack ─▶ slot free
 *
 * An incoming write waits for every overlapping one before it, resync writes included, so both copies see one order.
 */
import { EIO } from "../block-device.ts";
import type { VolumeParts } from "./parts.ts";
import { requestFlags as flag, requestKinds as kind, type Requests } from "./requests.ts";

export class PeerRequests {
  readonly #volume: VolumeParts;
  readonly #requests: Requests;
  /** Writes of the peer that are not yet acknowledged (`ua` in /proc/drbd). */
  unacknowledged = 0;

  constructor(volume: VolumeParts) {
    this.#volume = volume;
    this.#requests = volume.host.requests;
  }

  /** A write whose payload, if any, is in the slot's memory. */
  write(id: number): void {
    const r = this.#requests;
    this.unacknowledged++;
    if (r.has(id, flag.wantsReceiveAck)) this.#volume.host.link.sendWriteAck(id, "P_RECV_ACK");
    r.set(id, flag.ordered | flag.waiting);
    if (this.#volume.overlap.enter(id, r.at[id] ?? 0, r.length[id] ?? 0, false)) this.ordered(id);
    else if (r.kind[id] === kind.resyncWrite && this.#volume.host.role === "Primary") this.#withdraw(id);
  }

  /**
   * What a resync brought stands behind a write of this node that may be newer: it must not overwrite it. Its bits stay set, and it is asked
   * for again.
   */
  #withdraw(id: number): void {
    this.unacknowledged--;
    this.#leave(id);
    this.#requests.free(id);
  }

  /** P_DATA_REQUEST: application read of the peer; no order with writes is promised (drbd-84 §8.6). */
  read(id: number): void {
    const r = this.#requests;
    const { disk, dataOffset } = this.#volume;
    if (disk === undefined || !this.#volume.readableLocally(r.at[id] ?? 0, r.length[id] ?? 0)) {
      return this.#readFailed(id);
    }
    r.set(id, flag.localPending);
    disk.read(id, dataOffset + (r.at[id] ?? 0), r.memory[id] ?? 0, r.length[id] ?? 0);
  }

  /** P_RS_DATA_REQUEST: waits for writes to the range, and holds back later ones until the reply is queued. */
  resyncRead(id: number): void {
    const r = this.#requests;
    r.set(id, flag.ordered | flag.waiting);
    if (this.#volume.overlap.enter(id, r.at[id] ?? 0, r.length[id] ?? 0, true)) this.ordered(id);
  }

  /**
   * A Primary without a disk keeps neither bits nor a log, so the Secondary does it for both (drbd-84 §8.7): when the Primary's disk comes
   * back, these blocks are what it lacks.
   */
  ordered(id: number): void {
    const r = this.#requests;
    const { activity, peerDiskless } = this.#volume;
    const k = r.kind[id] ?? 0;
    if (!peerDiskless || activity === undefined || k === kind.resyncRead || k === kind.resyncWrite) {
      return this.active(id);
    }
    r.clear(id, flag.maySetInSync);
    this.#volume.setOutOfSync(r.at[id] ?? 0, r.length[id] ?? 0);
    if (activity.use(id)) this.active(id);
  }

  /** The overlap order lets it start, and its extents are in the activity log if they have to. */
  active(id: number): void {
    const r = this.#requests;
    const { disk, dataOffset } = this.#volume;
    const at = dataOffset + (r.at[id] ?? 0);
    const length = r.length[id] ?? 0;
    r.clear(id, flag.waiting);
    if (disk === undefined || !this.#volume.diskUsable) return this.#ended(id, EIO);
    r.set(id, flag.localPending);
    switch (r.kind[id]) {
      case kind.resyncRead:
        return disk.read(id, at, r.memory[id] ?? 0, length);
      case kind.peerTrim:
      case kind.peerZero:
        this.#volume.counters.dw += length / 1024;
        return disk.zero(id, at, length, r.has(id, flag.mayUnmap), false);
      default:
        this.#volume.counters.dw += length / 1024;
        return disk.write(id, at, r.memory[id] ?? 0, length, r.has(id, flag.fua) && disk.hasVolatileCache);
    }
  }

  onDisk(id: number, result: number): void {
    const r = this.#requests;
    const isRange = r.kind[id] === kind.peerTrim || r.kind[id] === kind.peerZero;
    const isRead = r.kind[id] === kind.peerRead || r.kind[id] === kind.resyncRead;
    if (r.has(id, flag.diskGone) && !isRead) {
      // Whatever became of it, no flush will make it stable.
      r.clear(id, flag.localPending);
      return this.#ended(id, EIO);
    }
    const ok = isRange ? result >= 0 : result === r.length[id];
    if (ok && isRange && r.has(id, flag.fua) && this.#volume.disk?.hasVolatileCache === true) {
      r.clear(id, flag.fua);
      return this.#volume.disk.flush(id);
    }
    r.clear(id, flag.localPending);
    const errno = ok ? 0 : result < 0 ? -result : EIO;
    if (!ok && !r.has(id, flag.diskGone))
      this.#volume.host.onDiskError(this.#volume.number, isRead ? "read" : "write", errno);
    this.#ended(id, errno);
  }

  /** The reply's memory has left. */
  onSent(id: number): void {
    this.#requests.free(id);
  }

  #ended(id: number, errno: number): void {
    const r = this.#requests;
    switch (r.kind[id]) {
      case kind.peerRead:
      case kind.resyncRead:
        return errno === 0 ? this.#reply(id) : this.#readFailed(id);
      default:
        return this.#writeEnded(id, errno);
    }
  }

  #reply(id: number): void {
    const r = this.#requests;
    const resync = r.kind[id] === kind.resyncRead;
    this.#volume.counters.dr += (r.length[id] ?? 0) / 1024;
    if (r.has(id, flag.orphan)) {
      this.#leave(id);
      return r.free(id);
    }
    r.set(id, flag.sending);
    this.#volume.host.link.sendReadReply(id, resync);
    // Only now may a write to the range go out: the reply stands before it in the stream.
    this.#leave(id);
  }

  #readFailed(id: number): void {
    const r = this.#requests;
    if (!r.has(id, flag.orphan)) this.#volume.host.link.sendNegativeReply(id, r.kind[id] === kind.resyncRead);
    this.#leave(id);
    r.free(id);
  }

  #writeEnded(id: number, errno: number): void {
    const r = this.#requests;
    const { link } = this.#volume.host;
    const at = r.at[id] ?? 0;
    const length = r.length[id] ?? 0;
    const isResync = r.kind[id] === kind.resyncWrite;
    this.unacknowledged--;
    if (r.has(id, flag.active)) this.#volume.activity?.unuse(id);
    if (errno !== 0) this.#volume.setOutOfSync(at, length);
    if (errno !== 0 && isResync) this.#volume.onResyncWriteFailed(length);
    const setInSync = errno === 0 && (isResync || r.has(id, flag.maySetInSync));
    if (setInSync) this.#volume.setInSync(at, length);
    if (!r.has(id, flag.orphan)) {
      if (errno !== 0) link.sendWriteAck(id, "P_NEG_ACK");
      else if (setInSync) link.sendWriteAck(id, "P_RS_WRITE_ACK");
      else if (r.has(id, flag.wantsWriteAck)) link.sendWriteAck(id, "P_WRITE_ACK");
      link.peerWriteEnded(id);
    }
    this.#leave(id);
    r.free(id);
  }

  #leave(id: number): void {
    if (!this.#requests.has(id, flag.ordered)) return;
    this.#requests.clear(id, flag.ordered);
    this.#volume.overlap.leave(id);
  }
}
