/** What the pieces of a connection see of each other and of the resource. */
import type { CloseReason, Digests, Memory, Network, Random, Stream } from "../ports.ts";
import type { NetSettings } from "../resource/settings.ts";
import type { Instant } from "../units.ts";
import type { Requests } from "../volume/requests.ts";
import type { Volume } from "../volume/volume.ts";
import type { PacketRow } from "../wire/packets.ts";
import type { Agreed } from "./handshake.ts";
import type { PeerVolume } from "./peer-volume.ts";
import type { ReceiverEpochs } from "./receiver-epochs.ts";
import type { TransferLog } from "./transfer-log.ts";

export type Level = "info" | "warn" | "err" | "alert";

/** The resource, as its connection sees it. */
export interface ConnectionOwner {
  readonly requests: Requests;
  readonly memory: Memory;
  readonly network: Network;
  readonly random: Random;
  readonly digests: Digests;
  readonly net: NetSettings;
  readonly log: TransferLog;
  readonly now: Instant;
  readonly volumes: readonly Volume[];
  volume(number: number): Volume | undefined;
  say(level: Level, text: string): void;
  /** Both streams carry packets now: enter WFReportParams and describe the volumes. */
  onUp(): void;
  /** The connection is gone; `conn` is one of Timeout … TearDown, or Disconnecting for a refusal (drbd-84 §1.4). */
  onDown(conn: number, text: string): void;
  /** A control packet; `values` are the fields of its head, the tail stands at `tailAt` of the data stream's window. */
  onPacket(row: PacketRow, volume: Volume | undefined, values: PacketValues, tailAt: number, tailLength: number): void;
  /** P_RS_DATA_REPLY, or its negative, has come for the range. */
  onResyncAnswer(volume: Volume, length: number, failed: boolean): void;
  /** P_OUT_OF_SYNC */
  onPeerOutOfSync(volume: Volume, at: number, length: number): void;
}

export type PacketValues = Readonly<Record<string, unknown>>;

/** The established connection, as its receivers see it. */
export interface Established {
  readonly owner: ConnectionOwner;
  readonly agreed: Agreed;
  readonly data: Stream;
  readonly meta: Stream;
  readonly epochs: ReceiverEpochs;
  peer(volume: Volume): PeerVolume;
  heard(): void;
  fail(conn: number, text: string): void;
  onStreamClosed(which: "data" | "meta", reason: CloseReason, detail: string): void;
  onPing(): void;
  onPingAck(): void;
  onBarrier(barrier: number): void;
  onUnplug(): void;
  onSent(token: number): void;
  /** The stream is closed: nobody writes to the memory of the slot whose payload was arriving. */
  releaseReceiving(id: number): void;
}
