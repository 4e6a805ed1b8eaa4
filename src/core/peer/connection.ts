/**
 * One connection to the peer: from nothing to two agreed streams and back (drbd-84 §1, §3), and the packets the volumes send.
 *
 *   off ─start─▶ establishing ─▶ handshake ─▶ up ─┐
 *    ▲                ▲                            │ fail: streams closed, writes in the log are lost to the peer
 *    └────stop────────┴────────────────────────────┘
 */
import type { CloseReason, Stream, StreamHandler } from "../ports.ts";
import { Conn, type State } from "../state/state.ts";
import { after, type Instant, ms, NEVER } from "../units.ts";
import type { ReplicationLink, WriteAck } from "../volume/link.ts";
import { requestFlags as flag, requestKinds as kind, NO_SLOT } from "../volume/requests.ts";
import type { Volume } from "../volume/volume.ts";
import { maxBioBytes } from "../wire/agreement.ts";
import { type PacketRow, packets } from "../wire/packets.ts";
import { BarrierReplies } from "./barrier-replies.ts";
import type { ConnectionOwner, Established, PacketValues } from "./connection-parts.ts";
import { Establisher } from "./establish.ts";
import { type Agreed, Handshake, NOTHING_AGREED } from "./handshake.ts";
import { KeepAlive } from "./keep-alive.ts";
import { LeaveTaking } from "./leave-taking.ts";
import { PacketSender } from "./packet-sender.ts";
import { sendProtocol, sendSizes, sendState, sendSyncParam, sendUuids } from "./parameters.ts";
import { newPeerVolume, type PeerVolume } from "./peer-volume.ts";
import { DataReceiver } from "./receive-data.ts";
import { MetaReceiver } from "./receive-meta.ts";
import { sendPacket } from "./send-packet.ts";

/** Pause after an attempt that failed inside the handshake (drbd-84 §1.4). */
const RETRY_PAUSE = ms(1000);
/** How often old requests are looked for. */
const REQUEST_CHECK = ms(1000);

type Phase = "off" | "pausing" | "establishing" | "handshake" | "up";

/** Passes a stream's calls on: to the handshake first, then to the receiver. */
class Relay implements StreamHandler {
  to: StreamHandler;
  constructor(to: StreamHandler) {
    this.to = to;
  }
  onHeader(at: number): void {
    this.to.onHeader(at);
  }
  onPayload(): void {
    this.to.onPayload();
  }
  onSent(token: number): void {
    this.to.onSent(token);
  }
  onClosed(reason: CloseReason, detail: string): void {
    this.to.onClosed(reason, detail);
  }
}

interface Streams {
  readonly data: Stream;
  readonly meta: Stream;
  readonly dataRelay: Relay;
  readonly metaRelay: Relay;
}

interface Up {
  readonly data: Stream;
  readonly meta: Stream;
  readonly dataReceiver: DataReceiver;
  readonly metaReceiver: MetaReceiver;
  readonly keepAlive: KeepAlive;
}

export class Connection implements ReplicationLink {
  readonly #owner: ConnectionOwner;
  readonly #sender: PacketSender;
  readonly #barriers: BarrierReplies;
  readonly #peers = new Map<number, PeerVolume>();
  #phase: Phase = "off";
  #establisher: Establisher | undefined;
  #handshake: Handshake | undefined;
  #up: Up | undefined;
  #streams: Streams | undefined;
  readonly #leaving = new LeaveTaking();
  agreed: Agreed = NOTHING_AGREED;
  /** This node accepted the meta stream: it breaks ties (drbd-84 §1.2). */
  resolveConflicts = false;
  discardMyData = false;
  #retryAt: Instant = NEVER;
  #checkAt: Instant = NEVER;

  constructor(owner: ConnectionOwner) {
    this.#owner = owner;
    this.#sender = new PacketSender(owner, (volume) => this.peer(volume));
    this.#barriers = new BarrierReplies(owner, {
      sendBarrierAck: (barrier, writes) => this.#sender.sendBarrierAck(barrier, writes),
      pauseReading: (paused) => {
        if (this.#up !== undefined) this.#up.dataReceiver.paused = paused;
      },
      onFlushFailed: (errno) => this.fail(Conn.NetworkFailure, `flush failed with errno ${errno}`),
    });
  }

  get isUp(): boolean {
    return this.#phase === "up";
  }
  get apv(): number {
    return this.agreed.apv;
  }
  get maxRequest(): number {
    return maxBioBytes(this.agreed.apv);
  }
  get deadline(): Instant {
    return Math.min(
      this.#establisher?.deadline ?? NEVER,
      this.#handshake?.deadline ?? NEVER,
      this.#up?.keepAlive.deadline ?? NEVER,
      this.#retryAt,
      this.#leaving.deadline,
      this.#barriers.deadline,
      this.#sender.barrierUntil,
      this.#checkAt,
    ) as Instant;
  }

  peer(volume: Volume): PeerVolume {
    let peer = this.#peers.get(volume.number);
    if (peer === undefined) {
      peer = newPeerVolume();
      this.#peers.set(volume.number, peer);
    }
    return peer;
  }

  // ---- life ----

  /** Starts to look for the peer; `pause` after an attempt that failed inside the handshake. */
  start(pause = false): void {
    if (pause) {
      this.#phase = "pausing";
      this.#retryAt = after(this.#owner.now, RETRY_PAUSE);
      return;
    }
    const { net, network, random, now } = this.#owner;
    this.#phase = "establishing";
    this.#establisher = new Establisher({
      network,
      random,
      settings: net,
      onEstablished: (pair) => this.#onEstablished(pair),
      onNote: (text) => this.#owner.say("info", text),
    });
    this.#establisher.start(now);
  }

  /** Closes whatever is open; nothing is reported. */
  stop(): void {
    this.#establisher?.stop();
    this.#establisher = undefined;
    this.#retryAt = NEVER;
    this.#phase = "off";
    this.#close();
  }

  onTimer(now: Instant): void {
    if (now >= this.#retryAt) {
      this.#retryAt = NEVER;
      this.start();
    }
    this.#establisher?.onTimer(now);
    this.#handshake?.onTimer(now);
    this.#up?.keepAlive.onTimer(now);
    this.#leaving.onTimer(now);
    this.#barriers.onTimer(now);
    if (now >= this.#sender.barrierUntil) this.#sender.sendDueBarrier();
    if (now >= this.#checkAt) this.#checkRequests(now);
  }

  /** End of a turn: packets that found no room are tried again. */
  endTurn(): void {
    this.#up?.dataReceiver.retry();
  }

  #onEstablished(pair: { readonly data: Stream; readonly meta: Stream; readonly resolveConflicts: boolean }) {
    const { net, random, digests, now } = this.#owner;
    this.#establisher = undefined;
    this.#phase = "handshake";
    this.resolveConflicts = pair.resolveConflicts;
    const handshake = new Handshake(pair.data, net, random, digests, {
      onAgreed: (agreed) => this.#onAgreed(agreed),
      onFailed: (text, retry) => this.fail(retry ? Conn.NetworkFailure : Conn.Disconnecting, text),
      log: (text) => this.#owner.say("info", text),
    });
    this.#handshake = handshake;
    const data = new Relay({
      onHeader: (at) => {
        if (this.#handshake === handshake) handshake.onHeader(at, this.#owner.now);
      },
      onPayload: () => undefined,
      onSent: () => undefined,
      onClosed: (reason, detail) => this.#onStreamClosed(pair.data, "data", reason, detail),
    });
    const meta = new Relay({
      onHeader: () => undefined,
      onPayload: () => undefined,
      onSent: () => undefined,
      onClosed: (reason, detail) => this.#onStreamClosed(pair.meta, "meta", reason, detail),
    });
    this.#streams = { data: pair.data, meta: pair.meta, dataRelay: data, metaRelay: meta };
    handshake.start(now);
    return { data, meta };
  }

  #onAgreed(agreed: Agreed): void {
    const streams = this.#streams;
    const { net, now } = this.#owner;
    if (streams === undefined) return;
    this.#handshake = undefined;
    this.agreed = agreed;
    for (const peer of this.#peers.values()) Object.assign(peer, newPeerVolume());
    this.#barriers.reset(agreed.futago);
    this.#sender.open(streams.data, streams.meta, agreed);
    const established = this.#established(streams.data, streams.meta, agreed);
    const dataReceiver = new DataReceiver(established);
    const metaReceiver = new MetaReceiver(established);
    const keepAlive = new KeepAlive(
      {
        sendPing: () => this.#sender.sendMeta(packets.P_PING.code),
        onSilence: () => this.fail(Conn.NetworkFailure, "PingAck did not arrive in time."),
      },
      net.pingInterval,
      net.pingTimeout,
      now,
    );
    streams.dataRelay.to = dataReceiver.packets;
    streams.metaRelay.to = metaReceiver.packets;
    this.#up = { data: streams.data, meta: streams.meta, dataReceiver, metaReceiver, keepAlive };
    this.#phase = "up";
    this.#checkAt = after(now, REQUEST_CHECK);
    sendProtocol(streams.data, agreed, net, this.discardMyData);
    this.#owner.onUp();
    dataReceiver.next();
    metaReceiver.packets.next();
  }

  #established(data: Stream, meta: Stream, agreed: Agreed): Established {
    return {
      owner: this.#owner,
      agreed,
      data,
      meta,
      epochs: this.#barriers.epochs,
      peer: (volume) => this.peer(volume),
      heard: () => this.#up?.keepAlive.heard(this.#owner.now),
      fail: (conn, text) => this.fail(conn, text),
      onStreamClosed: (which, reason, detail) =>
        this.#onStreamClosed(which === "data" ? data : meta, which, reason, detail),
      onPing: () => this.#sender.sendMeta(packets.P_PING_ACK.code),
      onPingAck: () => this.#up?.keepAlive.onPingAck(this.#owner.now),
      onBarrier: (barrier) => this.#barriers.onBarrier(barrier),
      onUnplug: () => this.#barriers.onUnplug(),
      onSent: (token) => this.#onSent(token),
      releaseReceiving: (id) => this.#releaseReceiving(id),
    };
  }

  /** A stream has ended by itself, or our `destroy` is through; one of an earlier connection does not count. */
  #onStreamClosed(stream: Stream, which: "data" | "meta", reason: CloseReason, detail: string): void {
    this.#leaving.onClosed(stream);
    if (reason === "local" || (this.#streams?.data !== stream && this.#streams?.meta !== stream)) return;
    const conn = which === "data" ? Conn.BrokenPipe : Conn.NetworkFailure;
    const what = reason === "eof" ? "was closed by peer" : `was closed: ${detail}`;
    this.fail(conn, which === "data" ? `sock ${what}` : `meta connection ${what}`);
  }

  /** Ends the connection for cause; the resource decides what comes next. */
  fail(conn: number, text: string): void {
    if (this.#phase === "off" || this.#phase === "establishing" || this.#phase === "pausing") return;
    this.#phase = "off";
    // What was acknowledged by one side only may not be answered before the new generation is on disk, if there is to be one.
    for (const volume of this.#owner.volumes) volume.holdAnswers();
    this.#close(conn === Conn.Disconnecting);
    this.#owner.onDown(conn, text);
    for (const volume of this.#owner.volumes) volume.releaseAnswers();
  }

  /** Streams down, every request that waited for the peer handed back. `gently`: what is queued for the peer still leaves. */
  #close(gently = false): void {
    const up = this.#up;
    const streams = this.#streams;
    this.#up = undefined;
    this.#streams = undefined;
    this.#handshake = undefined;
    this.agreed = NOTHING_AGREED;
    this.#checkAt = NEVER;
    this.#barriers.reset(false);
    this.#sender.close();
    if (gently && streams !== undefined) {
      const { now, net } = this.#owner;
      this.#leaving.begin(streams.data, streams.meta, after(now, net.pingTimeout));
    }
    if (up === undefined) {
      if (gently) return;
      streams?.data.destroy();
      streams?.meta.destroy();
      return;
    }
    up.keepAlive.stop();
    this.#release(up.dataReceiver.receiving);
    up.dataReceiver.packets.close(gently);
    up.metaReceiver.packets.close(gently);
  }

  /** Slots that the gone connection leaves behind. `receiving` is in the kernel's hands until its stream has closed. */
  #release(receiving: number): void {
    const { requests, log, now } = this.#owner;
    log.lose(now);
    for (const volume of this.#owner.volumes) volume.app.advanceFlushes();
    for (let id = 0; id < requests.capacity; id++) {
      const k = requests.kind[id] ?? 0;
      if (k >= kind.peerWrite && k <= kind.resyncWrite) requests.set(id, flag.orphan);
      else if (k === kind.appRead && id !== receiving && requests.has(id, flag.peerPending)) {
        this.#owner.volume(requests.volume[id] ?? 0)?.app.retryRead(id);
      }
    }
  }

  /** After `onClosed` of a data stream: nobody writes to the slot's memory any more. */
  #releaseReceiving(id: number): void {
    const { requests } = this.#owner;
    if (id === NO_SLOT) return;
    if (requests.kind[id] === kind.appRead) this.#owner.volume(requests.volume[id] ?? 0)?.app.retryRead(id);
    else requests.free(id);
  }

  /** The oldest request sent and not acknowledged bounds how long a peer may be silent on it (drbd-84 §1.4). */
  #checkRequests(now: Instant): void {
    this.#checkAt = after(now, REQUEST_CHECK);
    const { net, requests, log } = this.#owner;
    if (net.koCount === 0) return;
    const limit = now - net.timeout * net.koCount;
    let late = log.oldestSent() < limit;
    log.each((id) => {
      if (requests.has(id, flag.peerPending) && (requests.since[id] ?? 0) < limit) late = true;
    });
    if (late)
      this.fail(
        Conn.Timeout,
        `Remote failed to finish a request within ko-count (${net.koCount}) * timeout (${net.timeout} ms)`,
      );
  }

  /** Asks the peer for a sign of life; `done` after everything it sent on meta before. */
  ping(done?: () => void): void {
    this.#up?.keepAlive.ping(this.#owner.now, done);
  }

  // ---- packets of the control path ----

  /** A packet on the data stream, in order with the writes. */
  send(row: PacketRow, volume: number, values: PacketValues, tail?: Uint8Array): void {
    if (this.#up === undefined) return;
    this.#sender.sendDueBarrier();
    sendPacket(this.#up.data, this.agreed, row, volume, values, tail);
  }

  sendMetaPacket(row: PacketRow, volume: number, values: PacketValues): void {
    if (this.#up !== undefined) sendPacket(this.#up.meta, this.agreed, row, volume, values);
  }

  sendSyncParam(volume: Volume): void {
    if (this.#up !== undefined) sendSyncParam(this.#up.data, this.agreed, this.#owner.net, volume);
  }

  sendSizes(volume: Volume, cSize: number, flags: number): void {
    if (this.#up !== undefined) sendSizes(this.#up.data, this.agreed, volume, cSize, flags);
  }

  sendUuids(volume: Volume): void {
    if (this.#up === undefined) return;
    this.peer(volume).sentBits = sendUuids(this.#up.data, this.agreed, volume, this.discardMyData);
  }

  sendState(volume: Volume, state: State): void {
    if (this.#up === undefined) return;
    sendState(this.#up.data, this.agreed, volume.number, state);
  }

  /** Window of the data stream, for the tail of a control packet. */
  get window(): DataView | undefined {
    return this.#up?.data.window;
  }

  // ---- ReplicationLink ----

  sendWrite(id: number): void {
    this.#sender.sendWrite(id);
  }
  sendOutOfSync(volume: number, at: number, length: number): void {
    this.#sender.sendOutOfSync(volume, at, length);
  }
  sendReadRequest(id: number): void {
    this.#sender.sendReadRequest(id);
  }
  sendResyncRequest(volume: number, at: number, length: number): void {
    this.#sender.sendResyncRequest(volume, at, length);
  }
  sendUnplug(): void {
    this.#sender.sendUnplug();
  }
  closeEpoch(): void {
    this.#sender.closeEpoch();
  }
  /** The epoch ends with this turn because one of its writes was answered. */
  endEpoch(): void {
    this.#sender.endEpoch();
  }
  sendWriteAck(id: number, ack: WriteAck): void {
    this.#sender.sendWriteAck(id, ack);
  }
  peerWriteEnded(id: number): void {
    if (this.#up !== undefined) this.#barriers.onWriteEnded(id);
  }
  sendReadReply(id: number, resync: boolean): void {
    this.#sender.sendReadReply(id, resync);
  }
  sendNegativeReply(id: number, resync: boolean): void {
    this.#sender.sendNegativeReply(id, resync);
  }
  get queued(): number {
    return this.#sender.queued;
  }

  get hasOpenEpochs(): boolean {
    return this.#up !== undefined && this.#barriers.epochs.hasWrites;
  }
  flushBegins(): void {
    this.#barriers.flushBegins();
  }
  onBarrierFlushed(errno: number): void {
    this.#barriers.onFlushed(errno);
  }

  #onSent(token: number): void {
    const { requests } = this.#owner;
    const volume = this.#owner.volume(requests.volume[token] ?? 0);
    if ((requests.kind[token] ?? 0) >= kind.peerWrite) volume?.peer.onSent(token);
    else volume?.app.onSent(token);
  }
}
