/** What a packet says, in the words of the vectors' independent decode: values decoded by us, compared with values decoded by others. */
import { decodeRuns } from "../../../../src/core/wire/bitmap-code.ts";
import { dpFlags, flagNames, nameOf, wireProtocols } from "../../../../src/core/wire/flags.ts";
import {
  barrierAck,
  barrierHead,
  blockAck,
  blockDesc,
  blockRequest,
  connectionFeatures,
  dataHead,
  protocolHead,
  sizesHead,
  sizesWithLimits,
  stateHead,
  stateReply,
  stateRequest,
  syncParam,
  syncParam89,
  syncParam95,
  syncUuid,
  trimHead,
  uuidsHead,
} from "../../../../src/core/wire/heads.ts";
import { readText } from "../../../../src/core/wire/layout.ts";
import { formOf } from "../../../../src/core/wire/packets.ts";
import { showChange, showState } from "../../../../src/core/wire/state-word.ts";
import type { CapturedPacket } from "./captured.ts";

const hex = (value: number | bigint, digits: number) => value.toString(16).padStart(digits, "0");
const hexBytes = (packet: CapturedPacket, from: number, to?: number) =>
  Buffer.from(packet.raw.buffer, packet.raw.byteOffset, packet.raw.byteLength).subarray(from, to).toString("hex");
const idNames = new Map([
  [0xffffffffffffffffn, "ID_SYNCER"],
  [4711n, "ID_IN_SYNC"],
  [4712n, "ID_OUT_OF_SYNC"],
]);
const id = (blockId: bigint) => idNames.get(blockId) ?? hex(blockId, 16);

function popcount(bytes: string): number {
  return [...bytes].reduce(
    (sum, digit) => sum + [...Number.parseInt(digit, 16).toString(2)].filter((b) => b === "1").length,
    0,
  );
}

/** Runs as the decode prints them. */
function runsOf(packet: CapturedPacket): string {
  const runs: string[] = [];
  const bytes = new Uint8Array(packet.raw.buffer, packet.raw.byteOffset, packet.raw.byteLength);
  const length = bytes.length - packet.headerBytes;
  const end = decodeRuns(Number.MAX_SAFE_INTEGER, 0, bytes, packet.headerBytes, length, (from, to, set) =>
    runs.push(`${set ? "set" : "clr"}:${to - from}`),
  );
  if (typeof end === "string") throw new Error(`${packet.where}: ${end}`);
  return runs.join(" ");
}

/** A packet's fields in the words of the independent decode, without its excerpt of the data. */
const inWordsOfDecode: Readonly<Record<string, (packet: CapturedPacket, at: number) => string>> = {
  P_DATA: (packet, at) => {
    const { sector, blockId, seqNum, dpFlags: flags } = dataHead.decode(packet.raw, at);
    return `sector=${sector} block_id=${id(blockId)} seq=${seqNum} flags=${flagNames(dpFlags, flags)} ${dataPart(packet)}`;
  },
  P_DATA_REPLY: dataReply,
  P_RS_DATA_REPLY: dataReply,
  P_TRIM: trim,
  P_ZEROES: trim,
  P_BARRIER: (packet, at) => {
    const { barrier, pad } = barrierHead.decode(packet.raw, at);
    return `barrier=0x${hex(barrier, 8)} pad=${pad}`;
  },
  P_BARRIER_ACK: (packet, at) => {
    const { barrier, setSize } = barrierAck.decode(packet.raw, at);
    return `barrier=0x${hex(barrier, 8)} set_size=${setSize}`;
  },
  P_OUT_OF_SYNC: desc,
  P_RS_DEALLOCATED: desc,
  P_BITMAP: (packet, at) => {
    const payload = hexBytes(packet, at);
    return `bytes=${payload.length / 2} popcount=${popcount(payload)} ${payload.slice(0, 64)}`.trimEnd();
  },
  P_COMPRESSED_BITMAP: (packet, at) => {
    const byte = packet.raw.getUint8(at);
    const start = byte >= 128 ? "set" : "clr";
    return `enc=0x${hex(byte, 2)} (code=${byte % 16} pad=${(byte >> 4) % 8} start=${start}) runs: ${runsOf(packet)}`;
  },
  P_SYNC_PARAM: (packet, at) => {
    const alg = readText(packet.raw, at + 4, packet.raw.byteLength - at - 4);
    return `rate=${syncParam.decode(packet.raw, at).resyncRate} verify_alg="${alg}"`;
  },
  P_SYNC_PARAM89: (packet, at) => {
    const { resyncRate, verifyAlg, csumsAlg } = syncParam89.decode(packet.raw, at);
    const shown = `rate=${resyncRate} verify="${verifyAlg}" csums="${csumsAlg}"`;
    if (packet.apv < 95) return shown;
    const { cPlanAhead, cDelayTarget, cFillTarget, cMaxRate } = syncParam95.decode(packet.raw, at);
    return `${shown} plan_ahead=${cPlanAhead} delay_target=${cDelayTarget} fill_target=${cFillTarget} max_rate=${cMaxRate}`;
  },
  P_PROTOCOL: protocol,
  P_PROTOCOL_UPDATE: protocol,
  P_UUIDS: (packet, at) => {
    const v = uuidsHead.decode(packet.raw, at);
    const uuids = `current=${hex(v.current, 16)} bitmap=${hex(v.bitmap, 16)} h0=${hex(v.history1, 16)} h1=${hex(v.history2, 16)}`;
    return `${uuids} bits_set=${v.dirtyBits} flags=${v.uuidFlags}`;
  },
  P_SIZES: (packet, at) => {
    const v = sizesHead.decode(packet.raw, at);
    const shown = `d_size=${v.dSize} u_size=${v.uSize} c_size=${v.cSize} max_bio=${v.maxBioSize} qot=${v.queueOrderType} dds_flags=${v.ddsFlags}`;
    if ((packet.features & 4) === 0) return shown;
    const q = sizesWithLimits.decode(packet.raw, at);
    const blocks = `phys=${q.physicalBlockSize} log=${q.logicalBlockSize} align=${q.alignmentOffset}`;
    const rest = `io_min=${q.ioMin} io_opt=${q.ioOpt} discard=${q.discardEnabled} dzd=${q.discardZeroesData} wsame=${q.writeSameCapable}`;
    return `${shown} qlim{${blocks} ${rest}}`;
  },
  P_STATE: (packet, at) => {
    const { state } = stateHead.decode(packet.raw, at);
    return `0x${hex(state, 8)} ${showState(state)}`;
  },
  P_STATE_CHG_REQ: request,
  P_CONN_ST_CHG_REQ: request,
  P_STATE_CHG_REPLY: (packet, at) => `retcode=${stateReply.decode(packet.raw, at).retcode}`,
  P_CONN_ST_CHG_REPLY: (packet, at) => `retcode=${stateReply.decode(packet.raw, at).retcode}`,
  P_SYNC_UUID: (packet, at) => `uuid=${hex(syncUuid.decode(packet.raw, at).uuid, 16)}`,
  P_AUTH_CHALLENGE: (packet, at) => hexBytes(packet, at),
  P_AUTH_RESPONSE: (packet, at) => hexBytes(packet, at),
  P_CONNECTION_FEATURES: (packet, at) => {
    const v = connectionFeatures.decode(packet.raw, at);
    const rest = v.pad === 0 && v.reserved.every((byte) => byte === 0) ? "zero" : "set";
    return `min=${v.protocolMin} max=${v.protocolMax} features=0x${hex(v.featureFlags, 1)} rest=${rest}`;
  },
};

function dataPart(packet: CapturedPacket): string {
  const at = packet.headerBytes + dataHead.bytes;
  const size = packet.raw.byteLength - at - packet.digestBytes;
  return packet.digestBytes === 0
    ? `size=${size}`
    : `digest=${hexBytes(packet, at, at + packet.digestBytes)} size=${size}`;
}

function dataReply(packet: CapturedPacket, at: number): string {
  const { sector, blockId, seqNum, dpFlags: flags } = dataHead.decode(packet.raw, at);
  if (seqNum !== 0 || flags !== 0) return "seq_num and dp_flags of a reply are 0";
  return `sector=${sector} block_id=${id(blockId)} ${dataPart(packet)}`;
}

function trim(packet: CapturedPacket, at: number): string {
  const { sector, blockId, seqNum, dpFlags: flags, size } = trimHead.decode(packet.raw, at);
  return `sector=${sector} block_id=${id(blockId)} seq=${seqNum} flags=${flagNames(dpFlags, flags)} size=${size}`;
}

function desc(packet: CapturedPacket, at: number): string {
  const { sector, blksize, pad } = blockDesc.decode(packet.raw, at);
  return `sector=${sector} blksize=${blksize} pad=${pad}`;
}

function protocol(packet: CapturedPacket, at: number): string {
  const v = protocolHead.decode(packet.raw, at);
  const text = at + protocolHead.bytes;
  const policies = `${v.afterSb0p}/${v.afterSb1p}/${v.afterSb2p}`;
  const alg = readText(packet.raw, text, packet.raw.byteLength - text);
  const name = nameOf(wireProtocols, v.protocol);
  return `protocol=${name} after_sb=${policies} conn_flags=${v.connFlags} two_primaries=${v.twoPrimaries} integrity_alg="${alg}"`;
}

function request(packet: CapturedPacket, at: number): string {
  const { mask, val } = stateRequest.decode(packet.raw, at);
  return `mask=0x${hex(mask, 1)} val=0x${hex(val, 1)} {${showChange(mask, val)}}`;
}

/** Everything after `len=`, without the excerpt of the data. */
export function fieldsOf(packet: CapturedPacket): string {
  const at = packet.headerBytes;
  const own = inWordsOfDecode[packet.row.name];
  if (own !== undefined) return own(packet, at);
  const { head } = formOf(packet.row, packet.apv, packet.features);
  if ((head as unknown) === blockAck) {
    const { sector, blockId, blksize, seqNum } = blockAck.decode(packet.raw, at);
    return `sector=${sector} block_id=${id(blockId)} blksize=${blksize} seq=${seqNum}`;
  }
  if ((head as unknown) === blockRequest) {
    const { sector, blockId, blksize, pad } = blockRequest.decode(packet.raw, at);
    const digest = hexBytes(packet, at + blockRequest.bytes);
    // The decode does not show the pad word of a packet with a digest.
    const rest = digest !== "" ? ` digest=${digest}` : pad === 0 ? "" : ` pad=0x${hex(pad, 1)}`;
    return `sector=${sector} block_id=${id(blockId)} blksize=${blksize}${rest}`;
  }
  return "";
}
