/**
 * What the operator asks for (drbd-84 §4.4, §10.6, §10.10). One command runs at a time, in the order they come; each ends with an
 * `Outcome` in DRBD's numbers and words.
 */
import { NO_REQUEST } from "../block-device.ts";
import { wordOf } from "../peer/parameters.ts";
import type { Disk } from "../ports.ts";
import { decideAttach } from "../state/attach.ts";
import { judgeRequest } from "../state/change.ts";
import {
  afterFencing,
  type DisconnectStep,
  nextDisconnectStep,
  nextPromotionStep,
  type Promotion,
  startDisconnect,
  startPromotion,
} from "../state/procedures.ts";
import { isRefusal, type SsCode, ss, ssText } from "../state/ss.ts";
import { Conn, DiskState, initialState, Role, requestOf, type State, type StateChange } from "../state/state.ts";
import { promoted, setPrimaryBit } from "../state/uuids.ts";
import type { Outcome } from "../status.ts";
import { after, bit, type Instant, ms, NEVER } from "../units.ts";
import type { AttachedDisk } from "../volume/attach.ts";
import type { Volume } from "../volume/volume.ts";
import { since } from "../wire/agreement.ts";
import { packets } from "../wire/packets.ts";
import type { Resource } from "./resource.ts";

type Done = (outcome: Outcome) => void;
type Command = (done: Done) => void;

/** Configuration failures of drbdsetup (drbd-84 §10.6) that the engine itself decides. */
export const failures = {
  discardImpossible: { code: 123, text: "Device in Primary role: discard-my-data is not possible" },
  diskConfigured: { code: 124, text: "Device is attached to a disk (use detach first)" },
  netConfigured: { code: 125, text: "Device has a net-config (use disconnect first)" },
  minorInvalid: { code: 127, text: "Unknown volume" },
  pauseSet: { code: 134, text: "Sync-pause flag is already set" },
  pauseCleared: { code: 135, text: "Sync-pause flag is already cleared" },
} as const satisfies Record<string, Outcome>;

export const success: Outcome = { code: ss.SS_SUCCESS, text: ssText(ss.SS_SUCCESS) };
export const outcomeOf = (code: number): Outcome => ({ code, text: ssText(code) });

interface PeerRequest {
  readonly done: (code: SsCode) => void;
}

export class Commands {
  readonly #resource: Resource;
  readonly #queue: { readonly run: Command; readonly done: Done }[] = [];
  #running = false;
  #request: PeerRequest | undefined;
  #wakeUp: (() => void) | undefined;
  deadline: Instant = NEVER;

  constructor(resource: Resource) {
    this.#resource = resource;
  }

  /** A state change request of ours is under way (drbd-84 §4.4). */
  get requestInFlight(): boolean {
    return this.#request !== undefined;
  }

  onTimer(now: Instant): void {
    if (now < this.deadline) return;
    this.deadline = NEVER;
    const wakeUp = this.#wakeUp;
    this.#wakeUp = undefined;
    wakeUp?.();
  }

  /** The peer's answer to our request. */
  onReply(retcode: number): void {
    const request = this.#request;
    if (request === undefined) return this.#resource.say("warn", `state change reply ${retcode} without a request`);
    this.#request = undefined;
    request.done(retcode >= ss.SS_SUCCESS ? ss.SS_CW_SUCCESS : ss.SS_CW_FAILED_BY_PEER);
  }

  /** The connection is gone: a request that waits for the peer is judged anew. */
  onDown(): void {
    const request = this.#request;
    this.#request = undefined;
    request?.done(ss.SS_UNKNOWN_ERROR);
  }

  // ---- the verbs ----

  attach(volume: Volume, done: Done): void {
    this.#enqueue((ended) => this.#attach(volume, ended), done);
  }
  detach(volume: Volume, force: boolean, done: Done): void {
    this.#enqueue((ended) => this.#detach(volume, force, ended), done);
  }
  connect(discardMyData: boolean, done: Done): void {
    this.#enqueue((ended) => this.#connect(discardMyData, ended), done);
  }
  disconnect(force: boolean, done: Done): void {
    this.#enqueue((ended) => this.#disconnect(force, ended), done);
  }
  primary(volume: Volume, force: boolean, done: Done): void {
    this.#enqueue((ended) => this.#promote(volume, startPromotion(force), ended), done);
  }
  secondary(volume: Volume, done: Done): void {
    this.#enqueue((ended) => this.#secondary(volume, ended), done);
  }
  invalidate(volume: Volume, done: Done): void {
    this.#enqueue((ended) => this.#invalidate(volume, ended), done);
  }
  invalidateRemote(volume: Volume, done: Done): void {
    this.#enqueue((ended) => this.#ask(volume, { conn: Conn.StartingSyncS }, (code) => ended(outcomeOf(code))), done);
  }
  outdate(volume: Volume, done: Done): void {
    this.#enqueue(
      (ended) => ended(outcomeOf(this.#resource.change(volume, { disk: DiskState.Outdated }, "soft"))),
      done,
    );
  }
  pauseSync(volume: Volume, done: Done): void {
    this.#enqueue((ended) => ended(this.#setPause(volume, 1)), done);
  }
  resumeSync(volume: Volume, done: Done): void {
    this.#enqueue((ended) => ended(this.#setPause(volume, 0)), done);
  }

  #enqueue(run: Command, done: Done): void {
    this.#queue.push({ run, done });
    this.#next();
  }

  #next(): void {
    if (this.#running) return;
    const command = this.#queue.shift();
    if (command === undefined) return;
    this.#running = true;
    command.run((outcome) => {
      this.#running = false;
      command.done(outcome);
      this.#next();
    });
  }

  #later(span: number, run: () => void): void {
    this.#wakeUp = run;
    this.deadline = after(this.#resource.now, ms(span));
  }

  // ---- disk ----

  #attach(volume: Volume, done: Done): void {
    const resource = this.#resource;
    if (volume.state.disk !== DiskState.Diskless) return done(failures.diskConfigured);
    const disks = resource.ports.openDisks(volume.number);
    if ("code" in disks) return done(disks);
    const { data, meta } = disks;
    resource.change(volume, { disk: DiskState.Attaching }, "hard");
    const fail = (outcome: Outcome) => {
      data.close();
      if (meta !== data) meta.close();
      resource.change(volume, { disk: DiskState.Diskless }, "hard");
      done(outcome);
    };
    volume.readMetadata(data, meta, (found) => {
      if (found.ok) this.#take(volume, data, meta, found, fail, done);
      else
        fail({ code: found.code, text: `${found.text.trimEnd()} (${volume.settings.backingDisk}: ${found.detail})` });
    });
  }

  #take(volume: Volume, data: Disk, meta: Disk, found: AttachedDisk, fail: Done, done: Done): void {
    const resource = this.#resource;
    const { superblock } = found;
    const decide = () =>
      decideAttach({
        flags: superblock.flags,
        cleanMagic: true,
        uuids: superblock,
        state: volume.state,
        fencing: volume.settings.fencing,
        exposedUuid: volume.exposedUuid,
        newSize: found.size,
        lastSize: superblock.laSize,
      });
    const decision = decide();
    if (decision.kind === "refused") return fail({ code: decision.code, text: decision.text });
    for (const line of [...found.log, ...decision.log]) resource.say("info", line);
    if (decision.fullSync) found.bitmap.setRange(bit(0), bit(found.bitmap.bits));
    volume.crashedPrimary = decision.crashedPrimary;
    volume.degraded = decision.degraded;
    volume.negotiatedDisk = decision.negotiating?.disk;
    const { current, bitmap, history1, history2 } = decision.uuids;
    volume.take(
      data,
      meta,
      { ...found, superblock: { ...superblock, current, bitmap, history1, history2 } },
      (errno) => {
        const giveUp = (outcome: Outcome) => {
          volume.drop();
          resource.change(volume, { disk: DiskState.Diskless }, "hard");
          done(outcome);
        };
        if (errno !== 0) {
          return giveUp({
            code: 118,
            text: `IO error(s) occurred during initial access to meta-data (errno ${errno})`,
          });
        }
        // The peer may have come or gone meanwhile: with whom there is to negotiate is judged now.
        const now = decide();
        if (now.kind === "refused") return giveUp({ code: now.code, text: now.text });
        volume.negotiatedDisk = now.negotiating?.disk;
        const code = resource.change(volume, { disk: now.disk, pdsk: now.pdsk }, "soft");
        if (code >= ss.SS_SUCCESS) return done(success);
        giveUp(outcomeOf(code));
      },
    );
  }

  #detach(volume: Volume, force: boolean, done: Done): void {
    const resource = this.#resource;
    const drop = () => {
      volume.drop();
      resource.change(volume, { disk: DiskState.Diskless }, "hard");
      done(success);
    };
    if (volume.state.disk === DiskState.Diskless) return done(outcomeOf(ss.SS_NOTHING_TO_DO));
    if (force) {
      resource.change(volume, { disk: DiskState.Failed }, "hard");
      return drop();
    }
    this.#ask(volume, { disk: DiskState.Failed }, (code) => {
      if (isRefusal(code)) return done(outcomeOf(code));
      volume.writeBitmap(() => volume.whenIdle(drop));
    });
  }

  // ---- connection ----

  #connect(discardMyData: boolean, done: Done): void {
    const { volumes, connection } = this.#resource;
    if (volumes.some((v) => v.state.conn !== Conn.StandAlone)) return done(failures.netConfigured);
    if (discardMyData && volumes.some((v) => v.state.role === Role.Primary)) return done(failures.discardImpossible);
    connection.discardMyData = discardMyData;
    this.#resource.reason = "";
    this.#resource.connect(false);
    done(success);
  }

  #disconnect(force: boolean, done: Done): void {
    const { volumes, connection } = this.#resource;
    if (volumes.every((v) => v.state.conn === Conn.StandAlone)) return done(outcomeOf(ss.SS_NOTHING_TO_DO));
    if (force || !connection.isUp || volumes.some((v) => v.state.conn < Conn.Connected)) return this.#leave(done);
    this.#tryDisconnect(startDisconnect(false), done);
  }

  /** All volumes at once; what a refusal leads to stands in `state/procedures.ts`. */
  #tryDisconnect(step: DisconnectStep, done: Done): void {
    const { volumes } = this.#resource;
    if (step.kind === "done") return this.#leave(done);
    if (step.kind === "refused") return done(outcomeOf(step.code));
    const next = (verdict: SsCode) =>
      this.#tryDisconnect(nextDisconnectStep(step, verdict, volumes[0]?.state ?? initialState), done);
    if (step.mode === "hard") return this.#leave(done);
    for (const volume of volumes) {
      const judged = judgeRequest(volume.state, step.change, this.#resource.contextOf(volume));
      if ("refusal" in judged) return next(judged.refusal);
    }
    this.#askDisconnect(step.change, (verdict) => {
      if (verdict >= ss.SS_SUCCESS && step.change.disk === DiskState.Outdated) {
        for (const volume of volumes) this.#resource.change(volume, { disk: DiskState.Outdated }, "hard");
      }
      next(verdict);
    });
  }

  #askDisconnect(change: StateChange, done: (verdict: SsCode) => void): void {
    const { volumes, connection } = this.#resource;
    const { mask, val } = requestOf(change);
    // A peer that is gone before it could answer has left too.
    this.#request = { done: (code) => done(code === ss.SS_UNKNOWN_ERROR ? ss.SS_SUCCESS : code) };
    const values = { mask: wordOf(mask), val: wordOf(val) };
    if (connection.apv >= since.connStateChange) connection.send(packets.P_CONN_ST_CHG_REQ, 0, values);
    else connection.send(packets.P_STATE_CHG_REQ, volumes[0]?.number ?? 0, values);
  }

  #leave(done: Done): void {
    const { connection, volumes } = this.#resource;
    if (connection.isUp) connection.fail(Conn.Disconnecting, "disconnect requested");
    else {
      connection.stop();
      for (const v of volumes) {
        if (v.state.conn === Conn.StandAlone) continue;
        this.#resource.change(v, { conn: Conn.Disconnecting }, "hard");
        this.#resource.change(v, { conn: Conn.StandAlone }, "hard");
      }
    }
    this.#resource.reason = "";
    done(success);
  }

  // ---- role ----

  /** One try of a promotion (drbd-84 §10.10); what its verdict leads to stands in `state/procedures.ts`. */
  #promote(volume: Volume, promotion: Promotion, done: Done): void {
    const resource = this.#resource;
    const { change } = promotion;
    const judged = judgeRequest(volume.state, change, resource.contextOf(volume));
    if ("nothing" in judged) return done(outcomeOf(ss.SS_NOTHING_TO_DO));
    if ("refusal" in judged) return this.#onVerdict(volume, promotion, judged.refusal, done);
    if (!judged.ask) return this.#becomePrimary(volume, judged.state, promotion.forced, done);
    resource.connection.ping();
    this.#send(volume, change, (code) => {
      // The connection broke meanwhile: the same question has another answer now.
      if (code === ss.SS_UNKNOWN_ERROR) return this.#promote(volume, promotion, done);
      if (isRefusal(code)) return this.#onVerdict(volume, promotion, code, done);
      const again = judgeRequest(volume.state, change, resource.contextOf(volume));
      if ("state" in again) this.#becomePrimary(volume, again.state, promotion.forced, done);
      else done(outcomeOf("refusal" in again ? again.refusal : ss.SS_NOTHING_TO_DO));
    });
  }

  #onVerdict(volume: Volume, promotion: Promotion, verdict: SsCode, done: Done): void {
    const resource = this.#resource;
    const step = nextPromotionStep(promotion, verdict, volume.state);
    switch (step.kind) {
      case "request":
        return this.#promote(volume, step.promotion, done);
      case "wait":
        resource.connection.ping();
        return this.#later(resource.net.pingTimeout + 100, () => this.#promote(volume, step.promotion, done));
      case "fence": {
        // No fence-peer handler is called yet: as with a handler that fails.
        const fenced = afterFencing(step.promotion, step.because, false);
        if (fenced.warning !== undefined) resource.say("warn", fenced.warning);
        return this.#promote(volume, fenced.promotion, done);
      }
      case "done":
        return done(success);
      case "refused":
        return done(outcomeOf(step.code));
      default:
        return step satisfies never;
    }
  }

  /** Writes are started only when the disk says that there is a Primary here: else a crash would not be recognised as one. */
  #becomePrimary(volume: Volume, state: State, forced: boolean, done: Done): void {
    const resource = this.#resource;
    const set = promoted(volume.uuids, state, forced, resource.random.u64());
    if (forced) resource.say("warn", "Forced to consider local data as UpToDate!");
    volume.holdAnswers();
    const ended = (errno: number) => {
      volume.releaseAnswers();
      done(errno === 0 ? success : { code: 118, text: `meta-data could not be written (errno ${errno})` });
    };
    if (volume.superblock === undefined) {
      volume.exposedUuid = resource.connection.peer(volume).uuids?.current ?? volume.exposedUuid;
      resource.apply(volume, state, forced);
      return ended(0);
    }
    resource.noteUuids(volume, forced ? "forced promotion" : "promotion");
    volume.exposedUuid = set.current;
    volume.setUuids(set);
    resource.apply(volume, state, forced);
    volume.patchSuperblock({}, ended);
  }

  /**
   * The disk says Primary until everything that was answered is stable on both sides: a crash after that needs no activity log. Held open,
   * the volume stays Primary anyway.
   */
  #secondary(volume: Volume, done: Done): void {
    const isBusy = volume.state.role === Role.Primary && volume.openCount === 0;
    if (!isBusy) return this.#demote(volume, done);
    volume.whenIdle(() => this.#flushed(volume, () => this.#demote(volume, done)));
  }

  #flushed(volume: Volume, done: () => void): void {
    const id = volume.allocate(
      {
        onDone: (flush) => {
          volume.release(flush);
          done();
        },
        onRoom: () => undefined,
        onShutdown: () => undefined,
      },
      0,
    );
    if (id === NO_REQUEST) done();
    else volume.flush(id);
  }

  #demote(volume: Volume, done: Done): void {
    const resource = this.#resource;
    const code = resource.change(volume, { role: Role.Secondary }, "soft");
    if (code !== ss.SS_SUCCESS || volume.superblock === undefined) return done(outcomeOf(code));
    volume.setUuids(setPrimaryBit(volume.uuids, false), () => done(success));
  }

  // ---- data ----

  #invalidate(volume: Volume, done: Done): void {
    const resource = this.#resource;
    this.#ask(volume, { conn: Conn.StartingSyncT }, (code) => {
      if (code !== ss.SS_NEED_CONNECTION) return done(outcomeOf(code));
      // Without a peer the copy is only marked: the sync follows when there is one.
      const marked = resource.change(volume, { disk: DiskState.Inconsistent }, "soft");
      if (isRefusal(marked)) return done(outcomeOf(marked));
      resource.setAllBits(volume, () => done(success));
    });
  }

  #setPause(volume: Volume, userIsp: 0 | 1): Outcome {
    if (volume.state.userIsp === userIsp) return userIsp === 1 ? failures.pauseSet : failures.pauseCleared;
    return outcomeOf(this.#resource.change(volume, { userIsp }, "soft"));
  }

  // ---- consent of the peer ----

  /** Judges a change, asks the peer where that is needed, and puts it in force; the code is an SS_ one. */
  #ask(volume: Volume, change: StateChange, done: (code: number) => void): void {
    const resource = this.#resource;
    const judged = judgeRequest(volume.state, change, resource.contextOf(volume));
    if ("nothing" in judged) return done(ss.SS_NOTHING_TO_DO);
    if ("refusal" in judged) return done(judged.refusal);
    if (!judged.ask) {
      resource.apply(volume, judged.state, false);
      return done(ss.SS_SUCCESS);
    }
    this.#send(volume, change, (code) => {
      if (code === ss.SS_UNKNOWN_ERROR) return this.#ask(volume, change, done);
      if (isRefusal(code)) return done(code);
      done(resource.change(volume, change, "hard") < ss.SS_SUCCESS ? ss.SS_IN_TRANSIENT_STATE : ss.SS_SUCCESS);
    });
  }

  #send(volume: Volume, change: StateChange, done: (code: SsCode) => void): void {
    const { mask, val } = requestOf(change);
    this.#request = { done };
    const values = { mask: wordOf(mask), val: wordOf(val) };
    this.#resource.connection.send(packets.P_STATE_CHG_REQ, volume.number, values);
  }
}
