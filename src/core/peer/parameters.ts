/** The packets that describe this node to the peer (drbd-84 §2.4, §3.1 steps 3 and 4). */
import type { Stream } from "../ports.ts";
import type { NetSettings } from "../resource/settings.ts";
import { afterSplitBrainPolicies } from "../state/after-split-brain.ts";
import { DiskState, type State, stateFields } from "../state/state.ts";
import { UuidFlag } from "../state/uuids.ts";
import type { Volume } from "../volume/volume.ts";
import { features as featureBits, maxBioBytes, since } from "../wire/agreement.ts";
import { connFlags, wireProtocols } from "../wire/flags.ts";
import { packets } from "../wire/packets.ts";
import { stateFields as wordFields } from "../wire/state-word.ts";
import { cString, type Dialect, sendPacket } from "./send-packet.ts";

const policyNumber = (name: string): number => (afterSplitBrainPolicies as readonly string[]).indexOf(name);

export function sendProtocol(stream: Stream, dialect: Dialect, net: NetSettings, discardMyData: boolean): void {
  const tail = dialect.apv >= since.integrityAlg ? cString(net.integrityAlg) : undefined;
  const values = {
    protocol: wireProtocols[net.protocol],
    afterSb0p: policyNumber(net.after0p),
    afterSb1p: policyNumber(net.after1p),
    afterSb2p: policyNumber(net.after2p),
    connFlags: discardMyData ? connFlags.DISCARD_MY_DATA : 0,
    twoPrimaries: net.allowTwoPrimaries ? 1 : 0,
  };
  sendPacket(stream, dialect, packets.P_PROTOCOL, 0, values, tail);
}

/** What a node without a disk says: the built-in defaults (drbd-84 §2.4). */
const disklessRates = { resyncRate: 250, planAhead: 20, delayTarget: 10, fillTarget: 100, maxRate: 102400 };

export function sendSyncParam(stream: Stream, dialect: Dialect, net: NetSettings, volume: Volume): void {
  const rates = volume.disk === undefined ? disklessRates : volume.settings.rates;
  const values = {
    resyncRate: rates.resyncRate,
    verifyAlg: net.verifyAlg,
    csumsAlg: net.csumsAlg,
    cPlanAhead: rates.planAhead,
    cDelayTarget: rates.delayTarget,
    cFillTarget: rates.fillTarget,
    cMaxRate: rates.maxRate,
  };
  const old = dialect.apv < since.syncParam89;
  const tail = old && dialect.apv >= since.verifyAlg ? cString(net.verifyAlg) : undefined;
  sendPacket(stream, dialect, old ? packets.P_SYNC_PARAM : packets.P_SYNC_PARAM89, volume.number, values, tail);
}

/** `cSize` 0 asks for a reply (drbd-84 §3.5). */
export function sendSizes(stream: Stream, dialect: Dialect, volume: Volume, cSize: number, flags: number): void {
  const { disk } = volume;
  sendPacket(stream, dialect, packets.P_SIZES, volume.number, {
    dSize: volume.maxSize,
    uSize: volume.settings.userSize,
    cSize,
    maxBioSize: maxBioBytes(dialect.apv),
    queueOrderType: 0,
    ddsFlags: flags,
    physicalBlockSize: disk?.physicalBlock ?? 512,
    logicalBlockSize: disk?.logicalBlock ?? 512,
    alignmentOffset: 0,
    ioMin: disk?.physicalBlock ?? 512,
    ioOpt: 0,
    discardEnabled: disk?.canDiscard === true ? 1 : 0,
    discardZeroesData: 0,
    writeSameCapable: 0,
  });
}

/** Returns the number of dirty bits sent. */
export function sendUuids(stream: Stream, dialect: Dialect, volume: Volume, discardMyData: boolean): number {
  const { current, bitmap, history1, history2 } = volume.uuids;
  const dirtyBits = volume.bitmap?.count ?? 0;
  const inconsistent = volume.state.disk === DiskState.Negotiating && volume.negotiatedDisk === DiskState.Inconsistent;
  const flags =
    (discardMyData ? UuidFlag.discardMyData : 0) |
    (volume.crashedPrimary ? UuidFlag.crashedPrimary : 0) |
    (inconsistent ? UuidFlag.inconsistent : 0);
  sendPacket(stream, dialect, packets.P_UUIDS, volume.number, {
    current,
    bitmap,
    history1,
    history2,
    dirtyBits,
    uuidFlags: flags,
  });
  return dirtyBits;
}

export function sendState(stream: Stream, dialect: Dialect, volume: number, state: State): void {
  sendPacket(stream, dialect, packets.P_STATE, volume, { state: wordOf(state) });
}

const wordNames = {
  role: "role",
  peer: "peer",
  conn: "conn",
  disk: "disk",
  pdsk: "pdsk",
  susp: "susp",
  aftrIsp: "aftr_isp",
  peerIsp: "peer_isp",
  userIsp: "user_isp",
  suspNod: "susp_nod",
  suspFen: "susp_fen",
} as const satisfies Record<keyof State, keyof typeof wordFields>;

/** The state word of drbd-84 §4.2, unsigned. Also packs a mask. */
export function wordOf(state: State): number {
  let word = 0;
  for (const field of stateFields) word += state[field] * 2 ** wordFields[wordNames[field]].shift;
  return word;
}

export function stateOf(word: number): State {
  const state: Record<keyof State, number> = {
    role: 0,
    peer: 0,
    conn: 0,
    disk: 0,
    pdsk: 0,
    susp: 0,
    aftrIsp: 0,
    peerIsp: 0,
    userIsp: 0,
    suspNod: 0,
    suspFen: 0,
  };
  for (const field of stateFields) {
    const { shift, width } = wordFields[wordNames[field]];
    state[field] = (word >>> shift) & (2 ** width - 1);
  }
  return state;
}

/** Whether queue limits travel in P_SIZES. */
export const hasLimits = (dialect: Dialect): boolean => (dialect.features & featureBits.WSAME) !== 0;
