/**
 * One resource: its volumes, its connection and the rules between them. The only place where states change (`change`, `apply`); everything that
 * follows from a change happens here, in DRBD's order (drbd-84 §4.4 to §4.8, §5.2).
 *
 * The shell calls `beginTurn(now)`, delivers what has happened, and calls `endTurn()`; it arms one timer for `deadline`.
 */
import { Connection } from "../peer/connection.ts";
import type { ConnectionOwner, Level, PacketValues } from "../peer/connection-parts.ts";
import { TransferLog } from "../peer/transfer-log.ts";
import type { Digests, Disk, Memory, Network, Random } from "../ports.ts";
import { afterChange, type Effect } from "../state/after-change.ts";
import { changeState } from "../state/change.ts";
import { defaultContext, type StateContext } from "../state/context.ts";
import { considersResync } from "../state/received.ts";
import { ss } from "../state/ss.ts";
import {
  Conn,
  changeText,
  DiskState,
  isPaused,
  isSuspended,
  isSyncState,
  Role,
  type State,
  type StateChange,
} from "../state/state.ts";
import { newCurrent, resyncStartSource } from "../state/uuids.ts";
import type { RoleName } from "../status.ts";
import { roleNames } from "../status.ts";
import { bit, type Instant, instant, NEVER } from "../units.ts";
import type { DiskOperation } from "../volume/parts.ts";
import { Requests } from "../volume/requests.ts";
import { Volume, type VolumeOwner } from "../volume/volume.ts";
import { BitmapSender, bitmapStats } from "../wire/bitmap-exchange.ts";
import { type PacketRow, packets } from "../wire/packets.ts";
import { bitsOf, wordsOf } from "./bitmap-access.ts";
import { Commands } from "./commands.ts";
import { PeerPackets } from "./peer-packets.ts";
import { ResyncCourse } from "./resync-course.ts";
import { Sequence } from "./sequence.ts";
import type { NetSettings, ResourceSettings } from "./settings.ts";

/** Things worth a journal record. */
export type ResourceEvent =
  | {
      readonly kind: "state";
      readonly volume: number;
      readonly text: string;
      readonly old: State;
      readonly state: State;
    }
  | { readonly kind: "uuids"; readonly volume: number; readonly text: string }
  | { readonly kind: "log"; readonly level: Level; readonly text: string };

export interface ResourcePorts {
  readonly memory: Memory;
  readonly network: Network;
  readonly random: Random;
  readonly digests: Digests;
  /** Opens the backing disk of a volume, and its metadata device (the same object if internal), or says why not. */
  openDisks(
    volume: number,
  ): { readonly data: Disk; readonly meta: Disk } | { readonly code: number; readonly text: string };
  onEvent(event: ResourceEvent): void;
  /** Something that `status` shows has changed. */
  onStatusChange(): void;
}

export class Resource implements VolumeOwner, ConnectionOwner {
  readonly settings: ResourceSettings;
  readonly ports: ResourcePorts;
  readonly requests: Requests;
  readonly log: TransferLog;
  readonly volumes: readonly Volume[];
  readonly connection: Connection;
  readonly commands: Commands;
  readonly sequence = new Sequence();
  readonly #packets: PeerPackets;
  readonly #course: ResyncCourse;
  now: Instant = instant(0);
  /** Why the connection is as it is, for `status`. */
  reason = "";
  #epochEnds = false;

  constructor(settings: ResourceSettings, ports: ResourcePorts) {
    this.settings = settings;
    this.ports = ports;
    this.requests = new Requests(settings.slabBytes);
    this.log = new TransferLog(this.requests, {
      onStable: (id) => this.volume(this.requests.volume[id] ?? 0)?.app.onStable(id),
      onLost: (id) => this.volume(this.requests.volume[id] ?? 0)?.app.onLost(id),
    });
    this.connection = new Connection(this);
    this.volumes = settings.volumes.map((volume) => new Volume(this, volume));
    this.#course = new ResyncCourse(this);
    this.#packets = new PeerPackets(this, this.#course);
    this.commands = new Commands(this);
  }

  // ---- the turn ----

  beginTurn(now: Instant): void {
    this.now = now;
  }

  endTurn(): void {
    if (this.#epochEnds) {
      this.#epochEnds = false;
      this.connection.endEpoch();
    }
    this.connection.endTurn();
    // What became due by what happened in this turn is not left to a timer; bounded, so that nothing can hold the loop.
    for (let n = 0; n < 8 && this.deadline <= this.now; n++) this.onTimer(this.now);
  }

  get deadline(): Instant {
    let deadline = Math.min(this.connection.deadline, this.commands.deadline, this.#packets.deadline);
    for (const volume of this.volumes) deadline = Math.min(deadline, volume.target.deadline, volume.bitmapDeadline);
    return deadline as Instant;
  }

  onTimer(now: Instant): void {
    this.connection.onTimer(now);
    this.commands.onTimer(now);
    this.#packets.onTimer(now);
    for (const volume of this.volumes) {
      volume.target.onTimer(now);
      volume.onTimer(now);
    }
  }

  // ---- what volumes and connection ask ----

  get memory(): Memory {
    return this.ports.memory;
  }
  get network(): Network {
    return this.ports.network;
  }
  get random(): Random {
    return this.ports.random;
  }
  get digests(): Digests {
    return this.ports.digests;
  }
  get net(): NetSettings {
    return this.settings.net;
  }
  get link(): Connection {
    return this.connection;
  }
  get apv(): number {
    return this.connection.apv;
  }
  get maxRequest(): number {
    return this.connection.maxRequest;
  }
  /** One role for all volumes: Primary if any is. */
  get role(): RoleName {
    return (
      roleNames[this.volumes.some((v) => v.state.role === Role.Primary) ? Role.Primary : Role.Secondary] ?? "Unknown"
    );
  }

  volume(number: number): Volume | undefined {
    return this.volumes.find((volume) => volume.number === number);
  }

  noteCompletion(id: number): void {
    if (this.log.isInOpenEpoch(id)) this.#epochEnds = true;
  }

  say(level: Level, text: string): void {
    this.ports.onEvent({ kind: "log", level, text });
  }

  // ---- state ----

  contextOf(volume: Volume): StateContext {
    const { net } = this.settings;
    return {
      ...defaultContext,
      fencing: volume.settings.fencing,
      twoPrimaries: net.allowTwoPrimaries,
      otherVolumePeerPrimary: this.volumes.some((v) => v !== volume && v.state.peer === Role.Primary),
      openCount: volume.openCount,
      agreedVersion: this.apv,
      onNoDataAccessible: this.settings.onNoDataAccessible,
      stateSent: this.connection.isUp && this.connection.peer(volume).stateSent,
      negotiating:
        volume.negotiatedDisk === undefined
          ? undefined
          : {
              disk: volume.negotiatedDisk,
              pdsk: DiskState.DUnknown,
              exposed: volume.exposedUuid === 0n || (volume.exposedUuid | 1n) === (volume.uuids.current | 1n),
            },
    };
  }

  /** Judges and applies a change that needs no consent; an SS_ code. */
  change(volume: Volume, change: StateChange, mode: "hard" | "soft"): number {
    const result = changeState(volume.state, change, mode, this.contextOf(volume));
    if ("nothing" in result) return ss.SS_NOTHING_TO_DO;
    if ("refusal" in result) return result.refusal;
    for (const warning of result.warnings) this.say("warn", warning);
    this.apply(volume, result.state, false);
    return ss.SS_SUCCESS;
  }

  /** Puts a judged state in force, and everything that follows from it. */
  apply(volume: Volume, next: State, forced: boolean): void {
    const old = volume.state;
    volume.state = next;
    volume.derive();
    if (considersResync(old, next)) this.connection.peer(volume).considerResync = true;
    const text = changeText(old, next);
    if (text !== "") this.ports.onEvent({ kind: "state", volume: volume.number, text, old, state: next });
    const context = { agreedVersion: this.apv, bitmapUuid: volume.uuids.bitmap, forced };
    for (const effect of afterChange(old, next, context)) this.#perform(effect, volume, next);
    this.#followResync(volume, old, next);
    volume.persistFlags();
    this.ports.onStatusChange();
    volume.resume();
  }

  #followResync(volume: Volume, old: State, next: State): void {
    if (isSyncState(old.conn) && !isSyncState(next.conn)) volume.target.stop();
    const isTarget = next.conn === Conn.SyncTarget;
    if (isTarget && old.conn !== Conn.SyncTarget && old.conn !== Conn.PausedSyncT) this.#startTarget(volume);
    if (next.conn === Conn.PausedSyncT && old.conn !== Conn.PausedSyncT) volume.target.pause();
    if (isTarget && old.conn === Conn.PausedSyncT) volume.target.resume(this.now);
    const isSource = next.conn === Conn.SyncSource || next.conn === Conn.PausedSyncS;
    if (isSource && old.conn !== Conn.SyncSource && old.conn !== Conn.PausedSyncS) volume.beginResync(this.now);
    if (isSuspended(old) !== isSuspended(next) || isPaused(old) !== isPaused(next)) this.ports.onStatusChange();
  }

  /**
   * The first block is requested only when the disk says that it is Inconsistent, since it will be half old, half new, and when every bit is
   * on disk, those of P_OUT_OF_SYNC too: the Source forgets a block when we acknowledge it, stable or not.
   */
  #startTarget(volume: Volume): void {
    volume.beginResync(this.now);
    const { generation } = this.sequence;
    const start = () => {
      if (this.sequence.generation !== generation) return;
      if (volume.state.conn === Conn.SyncTarget || volume.state.conn === Conn.PausedSyncT) {
        volume.target.start(this.now);
        if (volume.state.conn === Conn.PausedSyncT) volume.target.pause();
      }
    };
    volume.writeBitmap(() => volume.persistFlags(start));
  }

  #perform(effect: Effect, volume: Volume, state: State): void {
    switch (effect) {
      case "P_SYNC_UUID":
        return this.sequence.add((done) => this.#sendSyncUuid(volume, done), true);
      case "P_SIZES":
        return this.#later(() => this.connection.sendSizes(volume, 0, 0));
      case "P_UUIDS":
        return this.#later(() => this.connection.sendUuids(volume));
      case "P_STATE":
        return this.#later(() => this.connection.sendState(volume, state));
      case "new-current":
        volume.holdAnswers();
        return this.sequence.add((done) => this.#newCurrent(volume, done), false);
      case "send bitmap":
        return this.#later(() => this.sendBitmap(volume));
      case "set all bits":
        return this.sequence.add((done) => this.#startFullSync(volume, done), true);
      case "write bitmap":
        return volume.writeBitmap();
      case "pri-on-incon-degr":
        return this.say("alert", "pri-on-incon-degr: Primary without access to UpToDate data");
      case "postpone new-current":
      case "pause dependents":
      case "resume dependents":
        return;
      default:
        return effect satisfies never;
    }
  }

  #later(run: () => void): void {
    this.sequence.add((done) => {
      run();
      done();
    }, true);
  }

  #newCurrent(volume: Volume, done: () => void): void {
    const set = newCurrent(volume.uuids, this.random.u64(), volume.state.role === Role.Primary);
    this.noteUuids(volume, "new current UUID");
    volume.setUuids(set, () => {
      volume.releaseAnswers();
      done();
    });
  }

  #sendSyncUuid(volume: Volume, done: () => void): void {
    const { set, syncUuid } = resyncStartSource(volume.uuids, this.random.u64());
    const { generation } = this.sequence;
    volume.setUuids(set, () => {
      if (generation === this.sequence.generation) {
        this.connection.send(packets.P_SYNC_UUID, volume.number, { uuid: syncUuid });
      }
      done();
    });
    this.noteUuids(volume, "resync starts as SyncSource");
  }

  /** StartingSyncS/T (invalidate): no exchange, both sides set every bit (drbd-84 §6.2). */
  #startFullSync(volume: Volume, done: () => void): void {
    const { generation } = this.sequence;
    this.setAllBits(volume, () => {
      const { conn } = volume.state;
      if (generation === this.sequence.generation) {
        if (conn === Conn.StartingSyncT) {
          this.change(volume, { conn: Conn.WFSyncUUID }, "hard");
          this.#course.onWaitingForSyncUuid(volume);
        }
        if (conn === Conn.StartingSyncS) {
          this.change(volume, { conn: Conn.SyncSource, pdsk: DiskState.Inconsistent }, "hard");
        }
      }
      done();
    });
  }

  /** Every block is out of sync: on disk when `done` is called. MDF_FULL_SYNC stands meanwhile, so that a crash loses none of it. */
  setAllBits(volume: Volume, done: () => void): void {
    const { bitmap } = volume;
    if (bitmap === undefined) return done();
    bitmap.setRange(bit(0), bit(bitmap.bits));
    volume.setFullSync(true, () => volume.writeBitmap(() => volume.setFullSync(false, () => done())));
  }

  sendBitmap(volume: Volume): void {
    const { bitmap } = volume;
    if (bitmap === undefined) return;
    const bits = bitsOf(bitmap);
    const words = wordsOf(bitmap);
    const sender = new BitmapSender(bits, words, this.apv, this.settings.net.useRle);
    const payload = new Uint8Array(4096);
    while (!sender.done) {
      const length = sender.nextPayload(payload, 0);
      const row = sender.command === packets.P_BITMAP.code ? packets.P_BITMAP : packets.P_COMPRESSED_BITMAP;
      this.connection.send(row, volume.number, {}, payload.subarray(0, length));
    }
    const stats = bitmapStats("send", sender.traffic, this.apv, words.wordCount);
    if (stats !== undefined) this.say("info", stats);
  }

  noteUuids(volume: Volume, text: string): void {
    this.ports.onEvent({ kind: "uuids", volume: volume.number, text });
  }

  // ---- the connection ----

  /** Every volume leaves StandAlone; the connection starts to look for the peer. */
  connect(pause: boolean): void {
    for (const volume of this.volumes) {
      this.change(volume, { conn: Conn.Unconnected }, "hard");
      this.change(volume, { conn: Conn.WFConnection }, "hard");
    }
    this.connection.start(pause);
  }

  onUp(): void {
    this.reason = "";
    for (const volume of this.volumes) {
      this.connection.sendSyncParam(volume);
      this.connection.sendSizes(volume, volume.size512, 0);
      if (volume.state.disk >= DiskState.Negotiating) this.connection.sendUuids(volume);
      this.connection.sendState(volume, volume.state);
      this.change(volume, { conn: Conn.WFReportParams }, "hard");
      this.connection.peer(volume).stateSent = true;
    }
  }

  onDown(conn: number, text: string): void {
    const inHandshake = this.volumes.every((volume) => volume.state.conn <= Conn.WFReportParams);
    const givesUp = conn === Conn.Disconnecting;
    this.say(givesUp ? "err" : "warn", text);
    this.reason = text;
    this.sequence.reset();
    this.#packets.reset();
    this.#course.reset();
    for (const volume of this.volumes) {
      volume.target.stop();
      this.change(volume, { conn }, "hard");
      volume.writeBitmap();
    }
    if (givesUp) {
      for (const volume of this.volumes) this.change(volume, { conn: Conn.StandAlone }, "hard");
    } else this.connect(inHandshake && conn !== Conn.TearDown);
    // Last: a command that waited for the peer's consent is judged by the state without it.
    this.commands.onDown();
  }

  onPacket(row: PacketRow, volume: Volume | undefined, values: PacketValues, tailAt: number, tailLength: number): void {
    this.#packets.take(row, volume, values, tailAt, tailLength);
  }

  onResyncAnswer(volume: Volume, length: number, failed: boolean): void {
    volume.target.onAnswer(length);
    if (failed) volume.target.onFailed(length);
  }

  onPeerOutOfSync(volume: Volume, at: number, length: number): void {
    volume.setOutOfSync(at, length);
  }

  onAllSynced(volume: Volume): void {
    this.#course.finishAsTarget(volume);
  }

  onSourceProgress(_volume: Volume): void {
    // The Target says when it is through (drbd-84 §7.7); below apv 95 the Source finds out by itself.
    if (this.apv < 95 || _volume.targetIsThrough) this.#course.finishAsOldSource(_volume);
  }

  onBarrierFlushed(volume: Volume, errno: number): void {
    if (errno !== 0) this.onDiskError(volume.number, "flush", errno);
    this.connection.onBarrierFlushed(errno);
  }

  /** drbd-84 §8.7. Metadata errors detach whatever the policy. */
  onDiskError(number: number, operation: DiskOperation, errno: number): void {
    const volume = this.volume(number);
    if (volume === undefined || volume.state.disk <= DiskState.Failed) return;
    this.say("err", `disk( ${volume.settings.backingDisk} ) ${operation} failed with errno ${errno}`);
    if (operation !== "metadata" && volume.settings.onIoError === "pass_on") {
      if (volume.state.disk > DiskState.Inconsistent) this.change(volume, { disk: DiskState.Inconsistent }, "hard");
      return;
    }
    this.giveUpDisk(volume);
  }

  giveUpDisk(volume: Volume): void {
    this.change(volume, { disk: DiskState.Failed }, "hard");
    volume.drop();
    this.change(volume, { disk: DiskState.Diskless }, "hard");
  }
}

/** Used by the shell to know whether a timer is needed at all. */
export const hasDeadline = (resource: Resource): boolean => resource.deadline !== NEVER;
