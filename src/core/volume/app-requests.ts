/**
 * The application's requests on one volume (drbd-84 §8.1, §8.6):
 *
 *   enter order ─▶ activity log ─▶ (held?) ─▶ start ─┬─▶ local disk ─┬─▶ answer ─▶ (epoch's barrier ack) ─▶ slot free
 *                                                    └─▶ peer ───────┘
 *
 * A write is answered when it is written here and the peer has acknowledged it; if one side fails, the other suffices, and the range
 * is out of sync before the answer. Nothing here allocates per request.
 */
import { type BlockClient, EIO, EOPNOTSUPP, EPERM, ESHUTDOWN, MAX_REQUEST_BYTES, NO_REQUEST } from "../block-device.ts";
import { mirrorModes } from "./link.ts";
import type { VolumeParts } from "./parts.ts";
import { requestFlags as flag, requestKinds as kind, NO_SLOT, RequestList, type Requests } from "./requests.ts";

export class AppRequests {
  readonly #volume: VolumeParts;
  readonly #requests: Requests;
  readonly #held: RequestList;
  readonly #unanswered: RequestList;
  readonly #flushes: RequestList;
  readonly #waitingForRoom = new Set<BlockClient>();
  #completionsHeld = false;
  /** Application requests that are open (`ap` in /proc/drbd). */
  open = 0;
  /** Called once when the last open request is answered. */
  onIdle: (() => void) | undefined;

  constructor(volume: VolumeParts) {
    this.#volume = volume;
    this.#requests = volume.host.requests;
    this.#held = new RequestList(this.#requests);
    this.#unanswered = new RequestList(this.#requests);
    this.#flushes = new RequestList(this.#requests);
  }

  allocate(client: BlockClient, length: number): number {
    if (length > MAX_REQUEST_BYTES) throw new RangeError(`request of ${length} bytes`);
    const id = this.#requests.acquire("application", kind.appRead, length);
    if (id === NO_SLOT) {
      this.#waitingForRoom.add(client);
      return NO_REQUEST;
    }
    this.#requests.volume[id] = this.#volume.number;
    this.#requests.client[id] = client;
    return id;
  }

  /** The session needs neither the slot nor its memory any more. */
  release(id: number): void {
    this.#requests.set(id, flag.released);
    if (!this.#requests.has(id, flag.answered | flag.localPending | flag.peerPending | flag.waiting)) {
      this.#requests.set(id, flag.answered);
    }
    this.reap(id);
  }

  read(id: number, at: number, length: number): void {
    const r = this.#requests;
    this.#begin(id, kind.appRead, at, length);
    if (this.#volume.refuses) return this.#fail(id, ESHUTDOWN);
    if (this.#volume.host.role !== "Primary") return this.#fail(id, EPERM);
    r.set(id, flag.waiting);
    this.#ready(id);
  }

  write(id: number, at: number, length: number, fua: boolean): void {
    this.#change(id, kind.appWrite, at, length, fua ? flag.fua : 0);
  }

  trim(id: number, at: number, length: number, fua: boolean): void {
    this.#change(id, kind.appTrim, at, length, flag.mayUnmap | (fua ? flag.fua : 0));
  }

  /** `fastOnly` is judged before anything is changed: a refusal after the peer has zeroed its copy would leave the two apart. */
  writeZeroes(id: number, at: number, length: number, fua: boolean, mayUnmap: boolean, fastOnly: boolean): void {
    if (fastOnly && !(mayUnmap && this.#volume.disk?.canDiscard === true)) {
      this.#begin(id, kind.appZero, at, length);
      return this.#fail(id, EOPNOTSUPP);
    }
    const bits = (fua ? flag.fua : 0) | (mayUnmap ? flag.mayUnmap : 0);
    this.#change(id, kind.appZero, at, length, bits);
  }

  /**
   * Answered when the local disk is flushed and the peer has acknowledged the barrier of every epoch closed so far: stronger than the
   * kernel's (drbd-84 §8.3), with the same packets.
   */
  flush(id: number): void {
    const r = this.#requests;
    const { host } = this.#volume;
    this.#begin(id, kind.appFlush, 0, 0);
    if (this.#volume.refuses) return this.#fail(id, ESHUTDOWN);
    host.link.closeEpoch();
    r.epoch[id] = host.log.closedCount;
    r.set(id, flag.localPending);
    if (!host.log.isStable(host.log.closedCount)) {
      r.set(id, flag.peerPending);
      this.#flushes.push(id);
      host.link.sendUnplug();
    }
    const disk = this.#volume.disk;
    if (disk === undefined || !this.#volume.diskUsable) this.#localEnded(id, false);
    else if (disk.hasVolatileCache) disk.flush(id);
    else this.#localEnded(id, true);
  }

  /** The overlap order lets a request that waited start. */
  ordered(id: number): void {
    const { activity } = this.#volume;
    if (activity === undefined || activity.use(id)) this.active(id);
  }

  /** Its activity-log extents are on disk. */
  active(id: number): void {
    this.#ready(id);
  }

  /** Something that held requests back has changed: tries them again in order. */
  resume(): void {
    for (let left = this.#held.count; left > 0; left--) this.#ready(this.#held.shift());
  }

  /** While true no application request is answered: a new current UUID is being written (drbd-84 §5.2). */
  set completionsHeld(value: boolean) {
    this.#completionsHeld = value;
    if (value) return;
    for (let left = this.#unanswered.count; left > 0; left--) this.#answer(this.#unanswered.shift());
  }

  /** Disk completion of a slot of the application. */
  onDisk(id: number, result: number): void {
    const r = this.#requests;
    const isGone = r.has(id, flag.diskGone);
    r.clear(id, flag.diskGone);
    if (isGone && r.kind[id] !== kind.appRead) {
      // Written to a disk that has been let go since: as good as failed, and its error is known.
      if (r.errno[id] === 0) r.errno[id] = EIO;
      return this.#localEnded(id, false);
    }
    const ok = result >= 0 && (r.kind[id] === kind.appFlush || this.#isRange(id) || result === r.length[id]);
    if (r.kind[id] === kind.appRead) return this.#readEnded(id, ok, ok ? 0 : result < 0 ? -result : EIO, isGone);
    if (!ok) {
      const errno = result < 0 ? -result : EIO;
      r.errno[id] = errno;
      this.#volume.host.onDiskError(this.#volume.number, r.kind[id] === kind.appFlush ? "flush" : "write", errno);
    } else if (this.#isRange(id) && r.has(id, flag.fua) && this.#volume.disk?.hasVolatileCache === true) {
      r.clear(id, flag.fua);
      return this.#volume.disk.flush(id);
    }
    this.#localEnded(id, ok);
  }

  /** P_WRITE_ACK, P_RECV_ACK under B, P_RS_WRITE_ACK. `setInSync`: both copies are now equal. */
  onPeerAck(id: number, setInSync: boolean): void {
    const r = this.#requests;
    if (!this.#isLastPart(id)) return;
    if (r.has(id, flag.partFailed)) return this.#peerEnded(id);
    r.set(id, flag.peerDone);
    if (setInSync) r.set(id, flag.maySetInSync);
    // Under protocol B this ack follows P_RECV_ACK, with which the write was answered (drbd-84 §8.2).
    if (setInSync && r.has(id, flag.answered) && r.has(id, flag.localDone)) {
      this.#volume.setInSync(r.at[id] ?? 0, r.length[id] ?? 0);
    }
    this.#peerEnded(id);
  }

  /** P_NEG_ACK, also after the request was answered: the peer does not have it. */
  onPeerNegativeAck(id: number): void {
    const r = this.#requests;
    r.clear(id, flag.peerDone | flag.maySetInSync);
    r.set(id, flag.partFailed);
    this.#markOutOfSync(id);
    if (this.#isLastPart(id)) this.#peerEnded(id);
  }

  /** Counts an answer of the peer; true if it is the one to a request sent whole, or the last of several. */
  #isLastPart(id: number): boolean {
    const { parts } = this.#requests;
    if ((parts[id] ?? 0) <= 1) return true;
    parts[id] = (parts[id] ?? 0) - 1;
    return false;
  }

  /** P_DATA_REPLY arrived whole, or P_NEG_DREPLY. */
  onPeerRead(id: number, ok: boolean): void {
    const r = this.#requests;
    if (!ok) r.set(id, flag.partFailed);
    if (!this.#isLastPart(id)) return;
    r.clear(id, flag.peerPending);
    if (!r.has(id, flag.partFailed)) r.errno[id] = 0;
    else if (r.errno[id] === 0) r.errno[id] = EIO;
    this.#finish(id);
  }

  /** The connection broke while a read waited for the peer: tries again, locally or when the peer is back. */
  retryRead(id: number): void {
    this.#requests.clear(id, flag.peerPending | flag.receiving);
    this.#requests.set(id, flag.waiting);
    this.#ready(id);
  }

  /** From the transfer log: its epoch is stable on the peer. */
  onStable(id: number): void {
    const r = this.#requests;
    r.clear(id, flag.logged);
    // The peer may be faster than the own disk: the extents stay active until the answer.
    if (r.has(id, flag.answered)) this.#dropActivity(id);
    this.reap(id);
  }

  /** From the transfer log: the connection broke before that. */
  onLost(id: number): void {
    const r = this.#requests;
    r.clear(id, flag.logged | flag.peerDone | flag.maySetInSync);
    this.#markOutOfSync(id);
    if (r.has(id, flag.peerPending)) this.#peerEnded(id);
    else {
      if (r.has(id, flag.answered)) this.#dropActivity(id);
      this.reap(id);
    }
  }

  /** Barrier acks have come, or the log was given up: flushes that waited for them may end. */
  advanceFlushes(): void {
    const r = this.#requests;
    while (this.#flushes.head !== NO_SLOT && this.#volume.host.log.isStable(r.epoch[this.#flushes.head] ?? 0)) {
      const id = this.#flushes.shift();
      r.set(id, flag.peerDone);
      this.#peerEnded(id);
    }
  }

  onSent(id: number): void {
    const { sends } = this.#requests;
    const left = (sends[id] ?? 1) - 1;
    sends[id] = left;
    if (left > 0) return;
    this.#requests.clear(id, flag.sending);
    this.reap(id);
  }

  /** Gives back what nobody needs any more. */
  reap(id: number): void {
    const r = this.#requests;
    const bits = r.flags[id] ?? 0;
    if ((bits & flag.released) === 0 || (bits & flag.answered) === 0) return;
    if ((bits & (flag.sending | flag.localPending)) !== 0) return;
    const hadMemory = (r.memory[id] ?? -1) >= 0;
    if ((bits & flag.logged) !== 0) {
      r.freeMemory(id);
      if (hadMemory) this.#room();
      return;
    }
    r.free(id);
    this.#room();
  }

  #room(): void {
    if (this.#waitingForRoom.size === 0) return;
    const clients = [...this.#waitingForRoom];
    this.#waitingForRoom.clear();
    for (const client of clients) client.onRoom();
  }

  #begin(id: number, requestKind: number, at: number, length: number): void {
    const r = this.#requests;
    r.kind[id] = requestKind;
    r.at[id] = at;
    r.length[id] = length;
    this.open++;
  }

  #isRange(id: number): boolean {
    const k = this.#requests.kind[id];
    return k === kind.appTrim || k === kind.appZero;
  }

  #change(id: number, requestKind: number, at: number, length: number, bits: number): void {
    const r = this.#requests;
    this.#begin(id, requestKind, at, length);
    if (this.#volume.refuses) return this.#fail(id, ESHUTDOWN);
    if (this.#volume.host.role !== "Primary") return this.#fail(id, EPERM);
    r.set(id, bits | flag.ordered | flag.waiting);
    if (this.#volume.overlap.enter(id, at, length, false)) this.ordered(id);
  }

  #ready(id: number): void {
    if (this.#volume.held) {
      this.#held.push(id);
      return;
    }
    this.#requests.clear(id, flag.waiting);
    if (this.#requests.kind[id] === kind.appRead) this.#startRead(id);
    else this.#startChange(id);
  }

  #startRead(id: number): void {
    const r = this.#requests;
    const volume = this.#volume;
    const at = r.at[id] ?? 0;
    const length = r.length[id] ?? 0;
    if (volume.disk !== undefined && volume.readableLocally(at, length)) {
      r.set(id, flag.localPending);
      volume.disk.read(id, volume.dataOffset + at, r.memory[id] ?? 0, length);
    } else if (volume.peerReadable) {
      r.set(id, flag.peerPending);
      volume.host.link.sendReadRequest(id);
    } else {
      this.#fail(id, r.errno[id] || EIO);
    }
  }

  #readEnded(id: number, ok: boolean, errno: number, isGone: boolean): void {
    const r = this.#requests;
    r.clear(id, flag.localPending);
    if (ok) {
      this.#volume.counters.dr += (r.length[id] ?? 0) / 1024;
      return this.#finish(id);
    }
    // The range must not be served again from here, and may be repaired by a later resync (drbd-84 §8.6).
    r.errno[id] = errno;
    if (!isGone) {
      this.#markOutOfSync(id);
      this.#volume.host.onDiskError(this.#volume.number, "read", errno);
    }
    if (!this.#volume.peerReadable) return this.#finish(id);
    r.set(id, flag.peerPending);
    this.#volume.host.link.sendReadRequest(id);
  }

  #startChange(id: number): void {
    const r = this.#requests;
    const volume = this.#volume;
    const { host, disk, mirror } = volume;
    if (!volume.diskUsable && !volume.peerReadable && mirror !== mirrorModes.send) return this.#fail(id, EIO);
    const local = disk !== undefined && volume.diskUsable;
    if (local) r.set(id, flag.localPending);
    if (mirror === mirrorModes.send) {
      r.set(id, flag.peerPending | flag.logged);
      r.since[id] = host.now;
      host.log.add(id);
      host.link.sendWrite(id);
    } else {
      this.#markOutOfSync(id);
      if (mirror === mirrorModes.outOfSync) {
        host.link.sendOutOfSync(volume.number, r.at[id] ?? 0, r.length[id] ?? 0);
      }
    }
    if (local) {
      volume.overtakeResync(r.at[id] ?? 0, r.length[id] ?? 0);
      volume.counters.dw += (r.length[id] ?? 0) / 1024;
      this.#submitLocal(id);
    } else {
      this.#markOutOfSync(id);
      // A mirrored one ends with the peer's ack; under protocol A that counts as given with the sending, and it has ended.
      if (mirror !== mirrorModes.send) this.#finish(id);
    }
  }

  #submitLocal(id: number): void {
    const r = this.#requests;
    const { disk, dataOffset } = this.#volume;
    const at = dataOffset + (r.at[id] ?? 0);
    const length = r.length[id] ?? 0;
    const fua = r.has(id, flag.fua);
    if (this.#isRange(id)) disk?.zero(id, at, length, r.has(id, flag.mayUnmap), false);
    else disk?.write(id, at, r.memory[id] ?? 0, length, fua && disk.hasVolatileCache);
  }

  #localEnded(id: number, ok: boolean): void {
    const r = this.#requests;
    r.clear(id, flag.localPending);
    if (ok) r.set(id, flag.localDone);
    else if (r.kind[id] !== kind.appFlush) this.#markOutOfSync(id);
    if (!r.has(id, flag.peerPending)) this.#finish(id);
    else this.reap(id);
  }

  #peerEnded(id: number): void {
    const r = this.#requests;
    const wasPending = r.has(id, flag.peerPending);
    r.clear(id, flag.peerPending);
    if (!wasPending) return;
    if (!r.has(id, flag.localPending)) this.#finish(id);
  }

  #fail(id: number, errno: number): void {
    this.#requests.errno[id] = errno;
    this.#finish(id);
  }

  #finish(id: number): void {
    if (this.#completionsHeld && this.#requests.kind[id] !== kind.appRead) this.#unanswered.push(id);
    else this.#answer(id);
  }

  #answer(id: number): void {
    const r = this.#requests;
    const bits = r.flags[id] ?? 0;
    const isRead = r.kind[id] === kind.appRead;
    let errno = r.errno[id] ?? 0;
    const wasTried = errno === 0 || (bits & (flag.localDone | flag.peerDone)) !== 0;
    if (!isRead && wasTried) errno = this.#isKept(id, bits) ? 0 : errno || EIO;
    const both = flag.localDone | flag.peerDone;
    if ((bits & flag.maySetInSync) !== 0 && (bits & both) === both) {
      this.#volume.setInSync(r.at[id] ?? 0, r.length[id] ?? 0);
    }
    if ((bits & flag.logged) !== 0) this.#volume.host.noteCompletion(id);
    else this.#dropActivity(id);
    if ((bits & flag.ordered) !== 0) {
      r.clear(id, flag.ordered);
      this.#volume.overlap.leave(id);
    }
    r.set(id, flag.answered);
    this.open--;
    r.client[id]?.onDone(id, errno);
    if (this.open > 0 || this.onIdle === undefined) return;
    const idle = this.onIdle;
    this.onIdle = undefined;
    idle();
  }

  /**
   * Done on one side at least, and on one whose data counts: what a Primary has only on its Inconsistent disk, because the peer went away
   * in the middle of a resync, the next resync overwrites. The kernel answers such writes with success (drbd-84 §8.6).
   */
  #isKept(id: number, bits: number): boolean {
    const { diskUpToDate, peerReadable } = this.#volume;
    if (diskUpToDate && (bits & flag.localDone) !== 0) return true;
    // What a flush covers may have been acknowledged by the peer alone, and long ago.
    return this.#requests.kind[id] === kind.appFlush ? peerReadable : (bits & flag.peerDone) !== 0;
  }

  #dropActivity(id: number): void {
    if (!this.#requests.has(id, flag.active)) return;
    this.#volume.activity?.unuse(id);
  }

  #markOutOfSync(id: number): void {
    const r = this.#requests;
    this.#volume.setOutOfSync(r.at[id] ?? 0, r.length[id] ?? 0);
  }
}
