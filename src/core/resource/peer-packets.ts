/**
 * Control packets of the peer (drbd-84 §3.4 to §3.6, §4.4, §4.8, §6.2, §7.7): its settings, sizes, UUIDs and states, and the decisions
 * that follow from them. How a resync goes on from there: `resync-course.ts`.
 */

import { determineSize } from "../metadata/geometry.ts";
import type { PacketValues } from "../peer/connection-parts.ts";
import { stateOf } from "../peer/parameters.ts";
import type { PeerSizes } from "../peer/peer-volume.ts";
import { fromCString } from "../peer/send-packet.ts";
import { afterSplitBrainPolicies } from "../state/after-split-brain.ts";
import { answerPeer } from "../state/change.ts";
import { decideSync } from "../state/decide.ts";
import { answersPeerState, applyPeerState, readPeerState, readPeerUuids } from "../state/received.ts";
import { refusalText, ss } from "../state/ss.ts";
import { Conn, connName, DiskState, diskName, Role, type State } from "../state/state.ts";
import { sameGeneration, type UuidSet } from "../state/uuids.ts";
import { after, bit, type Instant, NEVER, sector } from "../units.ts";
import type { Volume } from "../volume/volume.ts";
import { features } from "../wire/agreement.ts";
import { connFlags, wireProtocols } from "../wire/flags.ts";
import { type PacketRow, packets } from "../wire/packets.ts";
import { unpackChange, unpackState } from "../wire/state-word.ts";
import type { Resource } from "./resource.ts";
import type { ResyncCourse } from "./resync-course.ts";

/** DRBD's limit of the option, in 0.1 s; the controller plans as many steps. */
const MAX_PLAN_AHEAD = 300;

/** The kernel's own limit (drbd-84 §9.3). */
const MAX_SECTORS = 2 ** 51;

const number = (values: PacketValues, field: string): number => Number(values[field]);
const uuid = (values: PacketValues, field: string): bigint => values[field] as bigint;

export class PeerPackets {
  readonly #resource: Resource;
  readonly #course: ResyncCourse;
  /** After consent to a disconnect: the peer closes; we do if it does not. */
  deadline: Instant = NEVER;
  #dryRun = false;

  constructor(resource: Resource, course: ResyncCourse) {
    this.#resource = resource;
    this.#course = course;
  }

  reset(): void {
    this.deadline = NEVER;
    this.#dryRun = false;
  }

  onTimer(now: Instant): void {
    if (now < this.deadline) return;
    this.deadline = NEVER;
    this.#resource.connection.fail(Conn.TearDown, "peer asked for disconnect");
  }

  take(row: PacketRow, volume: Volume | undefined, values: PacketValues, tailAt: number, tailLength: number): void {
    const { connection } = this.#resource;
    if (row.scope === "connection") return this.#takeConnectionPacket(row, values, tailAt, tailLength);
    if (volume === undefined) {
      // The peer has a volume more than we do; it finds out by our silence (drbd-84 §2.2).
      const skippable: readonly PacketRow[] = [
        packets.P_SYNC_PARAM,
        packets.P_SYNC_PARAM89,
        packets.P_SIZES,
        packets.P_UUIDS,
        packets.P_STATE,
      ];
      if (skippable.includes(row))
        return this.#resource.say("warn", `${row.name} for a volume that is not configured here`);
      return connection.fail(Conn.ProtocolError, `${row.name}: unknown volume`);
    }
    switch (row) {
      case packets.P_SYNC_PARAM:
      case packets.P_SYNC_PARAM89:
        return this.#onSyncParam(volume, values);
      case packets.P_SIZES:
        return this.#onSizes(volume, values);
      case packets.P_UUIDS:
        return this.#onUuids(volume, values);
      case packets.P_STATE:
        return this.#onStateWord(volume, number(values, "state"));
      case packets.P_STATE_CHG_REQ:
        return this.#onRequest(volume, values);
      case packets.P_STATE_CHG_REPLY:
        return this.#resource.commands.onReply(number(values, "retcode"));
      case packets.P_SYNC_UUID:
        return this.#course.onSyncUuid(volume, uuid(values, "uuid"));
      case packets.P_BITMAP:
      case packets.P_COMPRESSED_BITMAP:
        return this.#course.onBitmap(row, volume, tailAt, tailLength);
      default:
        connection.fail(Conn.ProtocolError, `${row.name} is not supported`);
    }
  }

  #takeConnectionPacket(row: PacketRow, values: PacketValues, tailAt: number, tailLength: number): void {
    switch (row) {
      case packets.P_PROTOCOL:
        return this.#onProtocol(values, tailAt, tailLength);
      case packets.P_CONN_ST_CHG_REQ:
        return this.#onConnectionRequest(values);
      case packets.P_CONN_ST_CHG_REPLY:
        return this.#resource.commands.onReply(number(values, "retcode"));
      default:
        this.#resource.connection.fail(Conn.ProtocolError, `${row.name} is not supported`);
    }
  }

  // ---- settings ----

  /** Each mismatch is fatal (drbd-84 §3.4). */
  #onProtocol(values: PacketValues, tailAt: number, tailLength: number): void {
    const { connection, net } = this.#resource;
    const mine = {
      protocol: wireProtocols[net.protocol] as number,
      "after-sb-0pri": policy(net.after0p),
      "after-sb-1pri": policy(net.after1p),
      "after-sb-2pri": policy(net.after2p),
      "allow-two-primaries": net.allowTwoPrimaries ? 1 : 0,
    };
    const theirs = {
      protocol: number(values, "protocol"),
      "after-sb-0pri": mirrored(number(values, "afterSb0p")),
      "after-sb-1pri": number(values, "afterSb1p"),
      "after-sb-2pri": number(values, "afterSb2p"),
      "allow-two-primaries": number(values, "twoPrimaries"),
    };
    for (const name of Object.keys(mine) as (keyof typeof mine)[]) {
      if (mine[name] === theirs[name]) continue;
      return connection.fail(
        Conn.Disconnecting,
        `incompatible ${name} settings: ${mine[name]} here, ${theirs[name]} at the peer`,
      );
    }
    const flags = number(values, "connFlags");
    if ((flags & connFlags.DISCARD_MY_DATA) !== 0 && connection.discardMyData) {
      return connection.fail(Conn.Disconnecting, "incompatible discard-my-data settings: both nodes want to");
    }
    this.#dryRun = (flags & connFlags.DRY_RUN) !== 0;
    const view = connection.window;
    const algorithm = view === undefined || tailLength === 0 ? "" : fromCString(view, tailAt, tailLength);
    if (algorithm !== net.integrityAlg) {
      connection.fail(
        Conn.Disconnecting,
        `incompatible data-integrity-alg settings: "${net.integrityAlg}" here, "${algorithm}" at the peer`,
      );
    }
  }

  #onSyncParam(volume: Volume, values: PacketValues): void {
    const { connection, net } = this.#resource;
    for (const [field, mine] of [
      ["verifyAlg", net.verifyAlg],
      ["csumsAlg", net.csumsAlg],
    ] as const) {
      const theirs = values[field];
      if (theirs === undefined || theirs === mine || volume.state.conn !== Conn.WFReportParams) continue;
      const name = field === "verifyAlg" ? "verify-alg" : "csums-alg";
      return connection.fail(
        Conn.Disconnecting,
        `incompatible ${name} settings: "${mine}" here, "${theirs}" at the peer`,
      );
    }
    const planAhead = number(values, "cPlanAhead");
    if (planAhead > MAX_PLAN_AHEAD) {
      return connection.fail(
        Conn.ProtocolError,
        `P_SYNC_PARAM89: c-plan-ahead expected:0..${MAX_PLAN_AHEAD} received:${planAhead}`,
      );
    }
    if (volume.disk === undefined) return;
    const rates = { ...volume.settings.rates, resyncRate: number(values, "resyncRate") };
    if (values["cPlanAhead"] === undefined) volume.target.controller.rates = rates;
    else {
      volume.target.controller.rates = {
        ...rates,
        planAhead,
        delayTarget: number(values, "cDelayTarget"),
        fillTarget: number(values, "cFillTarget"),
        maxRate: number(values, "cMaxRate"),
      };
    }
  }

  // ---- sizes ----

  #onSizes(volume: Volume, values: PacketValues): void {
    const { connection } = this.#resource;
    const sizes: PeerSizes = {
      dSize: number(values, "dSize"),
      uSize: number(values, "uSize"),
      cSize: number(values, "cSize"),
      maxBioSize: number(values, "maxBioSize"),
      ddsFlags: number(values, "ddsFlags"),
      logicalBlockSize: Number(values["logicalBlockSize"] ?? 512),
    };
    if (Math.max(sizes.dSize, sizes.uSize, sizes.cSize) > MAX_SECTORS) {
      return connection.fail(Conn.ProtocolError, `P_SIZES: sizes expected:0..${MAX_SECTORS} sectors`);
    }
    connection.peer(volume).sizes = sizes;
    volume.peerLogicalBlock = Math.max(512, sizes.logicalBlockSize);
    if (volume.disk === undefined) return this.#takePeerSize(volume, sizes);
    const limits = [sizes.uSize, volume.settings.userSize].filter((n) => n > 0);
    const { size } = determineSize({
      own: volume.maxSize,
      peer: sector(sizes.dSize),
      lastAgreed: volume.superblock?.laSize ?? sector(0),
      user: sector(limits.length === 0 ? 0 : Math.min(...limits)),
    });
    if (size < volume.size512 && volume.state.disk >= DiskState.Outdated) {
      return connection.fail(
        Conn.Disconnecting,
        `The peer's disk size is too small! (${size} < ${volume.size512} sectors)`,
      );
    }
    if (size !== volume.size512) {
      // Settled before the bitmaps are exchanged (drbd-84 §3.5): they and the requests of a resync lie within the size they began with.
      if (volume.state.conn > Conn.Connected) {
        return connection.fail(
          Conn.ProtocolError,
          `P_SIZES: ${size} sectors instead of ${volume.size512} in connection state ${connName(volume.state.conn)}`,
        );
      }
      volume.resize(size);
    }
    if (volume.state.conn > Conn.WFReportParams && sizes.cSize !== volume.size512) {
      connection.sendSizes(volume, volume.size512, 0);
    }
  }

  #takePeerSize(volume: Volume, sizes: PeerSizes): void {
    const size = sizes.cSize || sizes.uSize || sizes.dSize;
    if (size < volume.size512 && volume.state.role === Role.Primary) {
      return this.#resource.connection.fail(
        Conn.Disconnecting,
        "The peer's disk is smaller than what this Primary shows",
      );
    }
    volume.size512 = sector(size);
  }

  // ---- UUIDs and states ----

  #onUuids(volume: Volume, values: PacketValues): void {
    const { connection } = this.#resource;
    const peer = {
      current: uuid(values, "current"),
      bitmap: uuid(values, "bitmap"),
      history1: uuid(values, "history1"),
      history2: uuid(values, "history2"),
      dirtyBits: number(values, "dirtyBits"),
      flags: number(values, "uuidFlags"),
    };
    connection.peer(volume).uuids = peer;
    const reading = readPeerUuids(volume.state, peer, peer.flags, {
      own: volume.superblock,
      exposedUuid: volume.exposedUuid,
      agreedVersion: connection.apv,
    });
    if (reading.kind === "refuse") connection.fail(Conn.Disconnecting, reading.text);
    else if (reading.kind === "skip initial sync") this.#skipInitialSync(volume, peer.current);
    else this.#noteExposed(volume, peer);
  }

  /**
   * Without an own disk a Primary shows the peer's data: an own disk of an older generation must not come back while the peer is away. The
   * peer may have begun its new generation before our state says that the disk is gone.
   */
  #noteExposed(volume: Volume, peer: UuidSet): void {
    const { state, uuids } = volume;
    if (state.role !== Role.Primary || state.conn < Conn.Connected) return;
    const builtOnOurs = uuids.current !== 0n && sameGeneration(peer.bitmap, uuids.current);
    if (state.disk < DiskState.Inconsistent || builtOnOurs) volume.exposedUuid = peer.current;
  }

  /** `new-current-uuid --clear-bitmap` on the peer (drbd-84 §3.5). */
  #skipInitialSync(volume: Volume, current: bigint): void {
    const { bitmap } = volume;
    if (bitmap === undefined) return;
    this.#resource.say("info", "Accepted new current UUID, preparing to skip initial sync");
    bitmap.clearRange(bit(0), bit(bitmap.bits));
    volume.writeBitmap();
    volume.setUuids({ ...volume.uuids, current, bitmap: 0n });
    this.#resource.change(volume, { disk: DiskState.UpToDate, pdsk: DiskState.UpToDate }, "hard");
  }

  #onStateWord(volume: Volume, word: number): void {
    const violation = unpackState(word);
    if (typeof violation === "string") this.#resource.connection.fail(Conn.ProtocolError, `P_STATE: ${violation}`);
    else this.#onState(volume, stateOf(word));
  }

  /** drbd-84 §3.6, §4.8. */
  #onState(volume: Volume, peer: State): void {
    const { connection } = this.#resource;
    const remembered = connection.peer(volume);
    const reading = readPeerState(volume.state, peer, {
      uuidFlags: remembered.uuids?.flags,
      considerResync: remembered.considerResync,
      bits: volume.bitmap?.count ?? 0,
      failedBits: volume.sourceFailedBits,
    });
    remembered.considerResync = false;
    remembered.stateSent = false;
    if (reading.kind === "end of resync") {
      if (reading.finish) this.#course.finishAsSource(volume);
      else volume.targetIsThrough = true;
    }
    if (reading.kind === "apply") this.#applyState(volume, peer, reading);
  }

  #applyState(volume: Volume, peer: State, reading: { pdsk: number; conn: number; decide: boolean }): void {
    const { connection } = this.#resource;
    const own = volume.state;
    const decided = reading.decide ? this.#decide(volume, peer, reading.pdsk) : reading.conn;
    const conn = typeof decided === "number" ? decided : "refused";
    const after = applyPeerState(own, peer, reading.pdsk, conn, volume.negotiatedDisk ?? own.disk);
    volume.negotiatedDisk = undefined;
    if (after.kind === "drop") return connection.fail(Conn.Disconnecting, String(decided));
    if (after.kind === "fail own disk") {
      this.#resource.say("err", `attach refused: ${decided}`);
      return this.#resource.giveUpDisk(volume);
    }
    const code = this.#resource.change(volume, after.change, after.mode);
    if (code < ss.SS_SUCCESS) {
      return connection.fail(Conn.Disconnecting, `the peer's state cannot be followed: ${refusalText(code)}`);
    }
    // It was asked for this connection; the next one starts without (drbd-84 §5.5, 5).
    if (this.#resource.volumes.every((v) => v.state.conn >= Conn.Connected)) connection.discardMyData = false;
    if (!answersPeerState(own, volume.state, peer)) return;
    connection.sendUuids(volume);
    connection.sendState(volume, volume.state);
  }

  /** The sync decision (drbd-84 §5.5): the connection state to enter, or why there is none. */
  #decide(volume: Volume, peer: State, peerDisk: number): number | string {
    const { connection, net } = this.#resource;
    const { uuids: peerUuids, sentBits } = connection.peer(volume);
    if (peerUuids === undefined) return Conn.Connected;
    const own = volume.state;
    const decision = decideSync({
      self: volume.uuids,
      peer: peerUuids,
      crashedPrimary: volume.crashedPrimary,
      role: own.role,
      peerRole: peer.role,
      resolveConflicts: connection.resolveConflicts,
      agreedVersion: connection.apv,
      wsame: (connection.agreed.features & features.WSAME) !== 0,
      policies: {
        after0p: net.after0p,
        after1p: net.after1p,
        after2p: net.after2p,
        alwaysAsbp: net.alwaysAsbp,
        rrConflict: net.rrConflict,
      },
      disk: own.disk === DiskState.Negotiating ? (volume.negotiatedDisk ?? own.disk) : own.disk,
      attaching: own.disk === DiskState.Negotiating,
      peerDisk,
      sentBits,
      bits: volume.bitmap?.count ?? 0,
      peerBits: peerUuids.dirtyBits,
      peerFlags: peerUuids.flags,
      discardMyData: connection.discardMyData,
      dryRun: this.#dryRun,
      mayDemote: own.role === Role.Primary && volume.openCount === 0,
    });
    for (const line of decision.log) this.#resource.say(line.level, line.text);
    const corrected = decision.comparison.self;
    if (corrected !== volume.uuids && corrected.current !== undefined) this.#correct(volume, corrected);
    connection.peer(volume).uuids = { ...peerUuids, ...decision.comparison.peer };
    if (decision.kind === "refuse") return decision.refuse;
    if (decision.demote) this.#resource.change(volume, { role: Role.Secondary }, "hard");
    if (decision.full) this.#resource.setAllBits(volume, () => undefined);
    return decision.conn;
  }

  #correct(volume: Volume, set: { current: bigint; bitmap: bigint; history1: bigint; history2: bigint }): void {
    const now = volume.uuids;
    const same =
      now.current === set.current &&
      now.bitmap === set.bitmap &&
      now.history1 === set.history1 &&
      now.history2 === set.history2;
    if (!same) volume.setUuids(set);
  }

  // ---- requests of the peer ----

  #onRequest(volume: Volume, values: PacketValues): void {
    const { connection, commands } = this.#resource;
    const asked = readRequest(values);
    if (typeof asked === "string") return connection.fail(Conn.ProtocolError, `P_STATE_CHG_REQ: ${asked}`);
    const { mask, val } = asked;
    const own = { requestInFlight: commands.requestInFlight, resolveConflicts: connection.resolveConflicts };
    const answer = answerPeer(volume.state, mask, val, own, this.#resource.contextOf(volume));
    if (answer.retcode === ss.SS_SUCCESS) this.#resource.apply(volume, answer.state, false);
    connection.sendMetaPacket(packets.P_STATE_CHG_REPLY, volume.number, { retcode: answer.retcode });
    this.#expectClose(volume.state);
  }

  #onConnectionRequest(values: PacketValues): void {
    const { connection, commands, volumes } = this.#resource;
    const asked = readRequest(values);
    if (typeof asked === "string") return connection.fail(Conn.ProtocolError, `P_CONN_ST_CHG_REQ: ${asked}`);
    const { mask, val } = asked;
    const own = { requestInFlight: commands.requestInFlight, resolveConflicts: connection.resolveConflicts };
    let retcode: number = ss.SS_SUCCESS;
    const answers = volumes.map((v) => answerPeer(v.state, mask, val, own, this.#resource.contextOf(v)));
    for (const answer of answers) if (answer.retcode < ss.SS_SUCCESS) retcode = answer.retcode;
    if (retcode >= ss.SS_SUCCESS) {
      volumes.forEach((v, n) => {
        const answer = answers[n];
        if (answer?.retcode === ss.SS_SUCCESS) this.#resource.apply(v, answer.state, false);
      });
    }
    connection.sendMetaPacket(packets.P_CONN_ST_CHG_REPLY, 0, { retcode });
    for (const v of volumes) this.#expectClose(v.state);
  }

  /** The peer leaves in good order: it closes as soon as it has our reply. */
  #expectClose(state: State): void {
    if (state.conn !== Conn.TearDown) return;
    const { net, now } = this.#resource;
    this.deadline = after(now, net.pingTimeout);
  }
}

/** What a peer may ask us to become: its own role and disk, a resync, a verify, the end of the connection (drbd-84 §4.3, §4.4). */
const askedConn: readonly number[] = [
  Conn.StartingSyncS,
  Conn.StartingSyncT,
  Conn.Disconnecting,
  Conn.VerifyS,
  Conn.WFReportParams,
  Conn.Connected,
];

/** Mask and value of a request as the peer sees them, or what is wrong with them. */
function readRequest(values: PacketValues): { readonly mask: State; readonly val: State } | string {
  const violation = unpackChange(number(values, "mask"), number(values, "val"));
  if (typeof violation === "string") return violation;
  const mask = stateOf(number(values, "mask"));
  const val = stateOf(number(values, "val"));
  if (mask.peer !== 0) return "the role of this node cannot be asked for";
  if (mask.pdsk !== 0 && val.pdsk !== DiskState.Outdated) {
    return `the disk of this node expected:Outdated received:${diskName(val.pdsk)}`;
  }
  if (mask.conn !== 0 && !askedConn.includes(val.conn)) return `${connName(val.conn)} cannot be asked for`;
  return { mask, val };
}

const policy = (name: string): number => (afterSplitBrainPolicies as readonly string[]).indexOf(name);

/** discard-local there is discard-remote here. */
function mirrored(value: number): number {
  if (value === policy("discard-local")) return policy("discard-remote");
  if (value === policy("discard-remote")) return policy("discard-local");
  return value;
}
