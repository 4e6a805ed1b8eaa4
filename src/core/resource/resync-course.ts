/**
 * The course of a resync between two nodes (drbd-84 §6.2, §7.1, §7.7): exchange of the bitmaps, P_SYNC_UUID, and the end on either
 * side. The blocks themselves are `volume/resync-target.ts` and `volume/peer-requests.ts`.
 */
import { Conn, DiskState, isPaused, Role } from "../state/state.ts";
import { resyncFinishedSource, resyncFinishedTarget, resyncStartTarget } from "../state/uuids.ts";
import type { Volume } from "../volume/volume.ts";
import { BitmapReceiver, bitmapStats } from "../wire/bitmap-exchange.ts";
import type { PacketRow } from "../wire/packets.ts";
import { bitsOf, wordsOf } from "./bitmap-access.ts";
import type { Resource } from "./resource.ts";

export class ResyncCourse {
  readonly #resource: Resource;
  readonly #bitmaps = new Map<number, BitmapReceiver>();
  /** P_SYNC_UUID that came before this node was ready for it, by volume. */
  readonly #earlySyncUuids = new Map<number, bigint>();

  constructor(resource: Resource) {
    this.#resource = resource;
  }

  /** The connection is gone. */
  reset(): void {
    this.#bitmaps.clear();
    this.#earlySyncUuids.clear();
  }

  /** P_BITMAP or P_COMPRESSED_BITMAP. */
  onBitmap(row: PacketRow, volume: Volume, tailAt: number, tailLength: number): void {
    const { connection } = this.#resource;
    const { bitmap } = volume;
    const { conn } = volume.state;
    const view = connection.window;
    if (bitmap === undefined || view === undefined || (conn !== Conn.WFBitMapS && conn !== Conn.WFBitMapT)) {
      return connection.fail(Conn.ProtocolError, `${row.name} received in connection state ${conn}`);
    }
    let receiver = this.#bitmaps.get(volume.number);
    if (receiver === undefined) {
      receiver = new BitmapReceiver(bitsOf(bitmap), wordsOf(bitmap), connection.apv);
      this.#bitmaps.set(volume.number, receiver);
    }
    const source = new Uint8Array(view.buffer, view.byteOffset + tailAt, tailLength);
    const violation = receiver.take(row.code, source, 0, tailLength);
    if (violation !== undefined) return connection.fail(Conn.ProtocolError, violation);
    if (!receiver.done) return;
    this.#bitmaps.delete(volume.number);
    const stats = bitmapStats("receive", receiver.traffic, connection.apv, bitmap.wordCount);
    if (stats !== undefined) this.#resource.say("info", stats);
    this.#onWholeBitmap(volume, conn);
  }

  /** The bits of both sides are on disk before anything is overwritten or a new sync UUID says that a resync began. */
  #onWholeBitmap(volume: Volume, conn: number): void {
    const { sequence, connection } = this.#resource;
    const { generation } = sequence;
    volume.writeBitmap(() => {
      if (generation !== sequence.generation || volume.state.conn !== conn) return;
      if (conn === Conn.WFBitMapT) {
        this.#resource.sendBitmap(volume);
        this.#resource.change(volume, { conn: Conn.WFSyncUUID }, "hard");
      } else {
        this.#resource.change(volume, { conn: Conn.SyncSource, pdsk: DiskState.Inconsistent }, "hard");
      }
      if (!connection.isUp) return;
      const bits = volume.bitmap?.count ?? 0;
      this.#resource.say("info", `Began resync: will sync ${bits * 4} KB [${bits} bits set].`);
    });
  }

  onSyncUuid(volume: Volume, syncUuid: bigint): void {
    const { conn, role } = volume.state;
    // The Source of an invalidate may be faster with its bits than we are.
    if (conn === Conn.StartingSyncT) {
      this.#earlySyncUuids.set(volume.number, syncUuid);
      return;
    }
    // Connected: new space of an online grow, of which a Primary is the Source (drbd-84 §3.5).
    const grown = conn === Conn.Connected && role !== Role.Primary;
    if (conn !== Conn.WFSyncUUID && conn !== Conn.Behind && !grown) {
      return this.#resource.connection.fail(Conn.ProtocolError, `P_SYNC_UUID received in connection state ${conn}`);
    }
    const { sequence } = this.#resource;
    const { generation } = sequence;
    this.#resource.noteUuids(volume, "resync starts as SyncTarget");
    volume.setUuids(resyncStartTarget(volume.uuids, syncUuid, volume.state.role === Role.Primary), () => {
      if (generation !== sequence.generation) return;
      const paused = isPaused(volume.state) ? Conn.PausedSyncT : Conn.SyncTarget;
      this.#resource.change(volume, { conn: paused, disk: DiskState.Inconsistent }, "hard");
    });
  }

  /** WFSyncUUID was entered after StartingSyncT: the packet may be here already. */
  onWaitingForSyncUuid(volume: Volume): void {
    const syncUuid = this.#earlySyncUuids.get(volume.number);
    this.#earlySyncUuids.delete(volume.number);
    if (syncUuid !== undefined) this.onSyncUuid(volume, syncUuid);
  }

  /** Everything is here: after a ping that overtakes no ack, the data counts as UpToDate (drbd-84 §7.7). */
  finishAsTarget(volume: Volume): void {
    const { sequence, connection } = this.#resource;
    const { generation } = sequence;
    connection.ping(() => {
      if (generation !== sequence.generation || volume.state.conn !== Conn.SyncTarget) return;
      // A pause in between has had it asked for twice.
      if (!volume.target.running) return;
      const peer = connection.peer(volume).uuids;
      const { failedBits } = volume.target;
      this.#sayFinished(volume, failedBits);
      if (failedBits > 0 || peer === undefined) {
        volume.target.stop();
        this.#resource.change(
          volume,
          { conn: Conn.Connected, disk: DiskState.Inconsistent, pdsk: DiskState.UpToDate },
          "hard",
        );
        return;
      }
      volume.target.stop();
      volume.crashedPrimary = false;
      const set = resyncFinishedTarget(volume.uuids, peer, volume.state.role === Role.Primary);
      this.#resource.noteUuids(volume, "resync finished as SyncTarget");
      volume.writeBitmap(() =>
        volume.setUuids(set, () => {
          if (generation !== sequence.generation) return;
          this.#resource.change(
            volume,
            { conn: Conn.Connected, disk: DiskState.UpToDate, pdsk: DiskState.UpToDate },
            "hard",
          );
        }),
      );
    });
  }

  finishAsOldSource(volume: Volume): void {
    if ((volume.bitmap?.count ?? 0) <= volume.sourceFailedBits) this.finishAsSource(volume);
  }

  /** The Target's P_STATE has come, and no bit is left here. */
  finishAsSource(volume: Volume): void {
    const { sequence, connection } = this.#resource;
    const { generation } = sequence;
    volume.targetIsThrough = false;
    connection.ping(() => {
      const { conn } = volume.state;
      if (generation !== sequence.generation || (conn !== Conn.SyncSource && conn !== Conn.PausedSyncS)) return;
      this.#sayFinished(volume, volume.sourceFailedBits);
      const done = () => {
        if (generation !== sequence.generation) return;
        const pdsk = volume.sourceFailedBits > 0 ? DiskState.Inconsistent : DiskState.UpToDate;
        this.#resource.change(volume, { conn: Conn.Connected, disk: DiskState.UpToDate, pdsk }, "hard");
      };
      if (volume.sourceFailedBits > 0) return done();
      volume.crashedPrimary = false;
      this.#resource.noteUuids(volume, "resync finished as SyncSource");
      volume.writeBitmap(() => volume.setUuids(resyncFinishedSource(volume.uuids), done));
    });
  }

  #sayFinished(volume: Volume, failed: number): void {
    const seconds = Math.max(1, Math.round((this.#resource.now - volume.resyncStarted) / 1000));
    const kib = volume.resyncTotal * 4;
    this.#resource.say("info", `Resync done (total ${seconds} sec; paused 0 sec; ${Math.round(kib / seconds)} K/sec)`);
    if (failed > 0) this.#resource.say("err", `            ${failed} failed blocks`);
  }
}
