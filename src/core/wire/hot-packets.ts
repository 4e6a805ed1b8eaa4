/**
 * Writers and readers for the packets of the data path: no object, no bigint, no closure per packet. Offsets come from the
 * layouts. A writer puts header and head at `at` and returns their size; data or digest follow from elsewhere, and `tailBytes`
 * counts them into the header's length. A reader fills a record that the caller keeps.
 *
 * Sectors are numbers up to 2^53; a larger one on the wire reads as at least 2^53 (`readU64`), so a bound check refuses it.
 * A block id is its first and second four bytes, `idHigh` and `idLow`, each read big-endian and written back the same.
 */
import { writeHeader } from "./header.ts";
import { barrierAck, barrierHead, blockAck, blockDesc, blockRequest, dataHead, trimHead } from "./heads.ts";
import { readU64, writeU64 } from "./layout.ts";
import { packets } from "./packets.ts";

const data = dataHead.offset;
const trim = trimHead.offset;
const ack = blockAck.offset;
const request = blockRequest.offset;
const desc = blockDesc.offset;

/** Head of P_DATA, P_DATA_REPLY, P_RS_DATA_REPLY; with `size`, of P_TRIM, P_ZEROES, P_WSAME. */
export interface DataHead {
  sector: number;
  idHigh: number;
  idLow: number;
  seqNum: number;
  dpFlags: number;
  /** Bytes affected; set by {@link readTrim} only. */
  size: number;
}

/** Head of an ack, a negative reply, P_OV_RESULT, P_RS_IS_IN_SYNC or P_RS_CANCEL. `blksize` in bytes. */
export interface BlockAck {
  sector: number;
  idHigh: number;
  idLow: number;
  blksize: number;
  seqNum: number;
}

/** Head of a request for a block, or of P_OV_REPLY. `blksize` in bytes. */
export interface BlockRequest {
  sector: number;
  idHigh: number;
  idLow: number;
  blksize: number;
}

/** Head of P_OUT_OF_SYNC or P_RS_DEALLOCATED. `blksize` in bytes. */
export interface BlockDesc {
  sector: number;
  blksize: number;
}

/** Head of P_BARRIER_ACK; `barrier` is the four bytes sent in P_BARRIER. */
export interface BarrierAck {
  barrier: number;
  setSize: number;
}

// Fields start as a double so that no first large value changes the record's shape.
const UNSET = -0.5;
export const emptyDataHead = (): DataHead => ({
  sector: UNSET,
  idHigh: UNSET,
  idLow: UNSET,
  seqNum: UNSET,
  dpFlags: UNSET,
  size: UNSET,
});
export const emptyBlockAck = (): BlockAck => ({
  sector: UNSET,
  idHigh: UNSET,
  idLow: UNSET,
  blksize: UNSET,
  seqNum: UNSET,
});
export const emptyBlockRequest = (): BlockRequest => ({ sector: UNSET, idHigh: UNSET, idLow: UNSET, blksize: UNSET });
export const emptyBlockDesc = (): BlockDesc => ({ sector: UNSET, blksize: UNSET });
export const emptyBarrierAck = (): BarrierAck => ({ barrier: UNSET, setSize: UNSET });

function putDataHead(
  view: DataView,
  at: number,
  sector: number,
  idHigh: number,
  idLow: number,
  seqNum: number,
  dpFlags: number,
): void {
  writeU64(view, at + data.sector, sector);
  view.setUint32(at + data.blockId, idHigh);
  view.setUint32(at + data.blockId + 4, idLow);
  view.setUint32(at + data.seqNum, seqNum);
  view.setUint32(at + data.dpFlags, dpFlags);
}

/** P_DATA, P_DATA_REPLY or P_RS_DATA_REPLY. `tailBytes`: digest and data. Replies: `seqNum` and `dpFlags` 0. */
export function writeData(
  view: DataView,
  at: number,
  apv: number,
  command: number,
  volume: number,
  tailBytes: number,
  sector: number,
  idHigh: number,
  idLow: number,
  seqNum: number,
  dpFlags: number,
): number {
  const header = writeHeader(view, at, apv, command, volume, dataHead.bytes + tailBytes);
  putDataHead(view, at + header, sector, idHigh, idLow, seqNum, dpFlags);
  return header + dataHead.bytes;
}

/** P_TRIM or P_ZEROES over `size` bytes. */
export function writeTrim(
  view: DataView,
  at: number,
  apv: number,
  command: number,
  volume: number,
  sector: number,
  idHigh: number,
  idLow: number,
  seqNum: number,
  dpFlags: number,
  size: number,
): number {
  const header = writeHeader(view, at, apv, command, volume, trimHead.bytes);
  putDataHead(view, at + header, sector, idHigh, idLow, seqNum, dpFlags);
  view.setUint32(at + header + trim.size, size);
  return header + trimHead.bytes;
}

/** Any packet of the p_block_ack family. */
export function writeBlockAck(
  view: DataView,
  at: number,
  apv: number,
  command: number,
  volume: number,
  sector: number,
  idHigh: number,
  idLow: number,
  blksize: number,
  seqNum: number,
): number {
  const header = writeHeader(view, at, apv, command, volume, blockAck.bytes);
  const head = at + header;
  writeU64(view, head + ack.sector, sector);
  view.setUint32(head + ack.blockId, idHigh);
  view.setUint32(head + ack.blockId + 4, idLow);
  view.setUint32(head + ack.blksize, blksize);
  view.setUint32(head + ack.seqNum, seqNum);
  return header + blockAck.bytes;
}

/** Any packet of the p_block_req family. `tailBytes`: digest of P_CSUM_RS_REQUEST and P_OV_REPLY, else 0. */
export function writeBlockRequest(
  view: DataView,
  at: number,
  apv: number,
  command: number,
  volume: number,
  tailBytes: number,
  sector: number,
  idHigh: number,
  idLow: number,
  blksize: number,
): number {
  const header = writeHeader(view, at, apv, command, volume, blockRequest.bytes + tailBytes);
  const head = at + header;
  writeU64(view, head + request.sector, sector);
  view.setUint32(head + request.blockId, idHigh);
  view.setUint32(head + request.blockId + 4, idLow);
  view.setUint32(head + request.blksize, blksize);
  view.setUint32(head + request.pad, 0);
  return header + blockRequest.bytes;
}

/** P_OUT_OF_SYNC or P_RS_DEALLOCATED. */
export function writeBlockDesc(
  view: DataView,
  at: number,
  apv: number,
  command: number,
  volume: number,
  sector: number,
  blksize: number,
): number {
  const header = writeHeader(view, at, apv, command, volume, blockDesc.bytes);
  writeU64(view, at + header + desc.sector, sector);
  view.setUint32(at + header + desc.blksize, blksize);
  view.setUint32(at + header + desc.pad, 0);
  return header + blockDesc.bytes;
}

/** P_BARRIER: always volume 0. `barrier`: four bytes of our own, any u32. */
export function writeBarrier(view: DataView, at: number, apv: number, barrier: number): number {
  const header = writeHeader(view, at, apv, packets.P_BARRIER.code, 0, barrierHead.bytes);
  view.setUint32(at + header + barrierHead.offset.barrier, barrier);
  view.setUint32(at + header + barrierHead.offset.pad, 0);
  return header + barrierHead.bytes;
}

/** P_BARRIER_ACK: always volume 0. `barrier` as read by {@link readBarrier}; `setSize`: writes in the epoch. */
export function writeBarrierAck(view: DataView, at: number, apv: number, barrier: number, setSize: number): number {
  const header = writeHeader(view, at, apv, packets.P_BARRIER_ACK.code, 0, barrierAck.bytes);
  view.setUint32(at + header + barrierAck.offset.barrier, barrier);
  view.setUint32(at + header + barrierAck.offset.setSize, setSize);
  return header + barrierAck.bytes;
}

/** A packet without payload: P_PING, P_PING_ACK, P_UNPLUG_REMOTE, P_INITIAL_META, P_INITIAL_DATA, the P_BITMAP terminator. */
export function writeEmpty(view: DataView, at: number, apv: number, command: number, volume: number): number {
  return writeHeader(view, at, apv, command, volume, 0);
}

/** Reads the p_data head at `at`, just after the header. */
export function readData(view: DataView, at: number, into: DataHead): void {
  into.sector = readU64(view, at + data.sector);
  into.idHigh = view.getUint32(at + data.blockId);
  into.idLow = view.getUint32(at + data.blockId + 4);
  into.seqNum = view.getUint32(at + data.seqNum);
  into.dpFlags = view.getUint32(at + data.dpFlags);
}

/** Reads the head of P_TRIM, P_ZEROES or P_WSAME. */
export function readTrim(view: DataView, at: number, into: DataHead): void {
  readData(view, at, into);
  into.size = view.getUint32(at + trim.size);
}

export function readBlockAck(view: DataView, at: number, into: BlockAck): void {
  into.sector = readU64(view, at + ack.sector);
  into.idHigh = view.getUint32(at + ack.blockId);
  into.idLow = view.getUint32(at + ack.blockId + 4);
  into.blksize = view.getUint32(at + ack.blksize);
  into.seqNum = view.getUint32(at + ack.seqNum);
}

export function readBlockRequest(view: DataView, at: number, into: BlockRequest): void {
  into.sector = readU64(view, at + request.sector);
  into.idHigh = view.getUint32(at + request.blockId);
  into.idLow = view.getUint32(at + request.blockId + 4);
  into.blksize = view.getUint32(at + request.blksize);
}

export function readBlockDesc(view: DataView, at: number, into: BlockDesc): void {
  into.sector = readU64(view, at + desc.sector);
  into.blksize = view.getUint32(at + desc.blksize);
}

/** The four opaque bytes of P_BARRIER. */
export function readBarrier(view: DataView, at: number): number {
  return view.getUint32(at + barrierHead.offset.barrier);
}

export function readBarrierAck(view: DataView, at: number, into: BarrierAck): void {
  into.barrier = view.getUint32(at + barrierAck.offset.barrier);
  into.setSize = view.getUint32(at + barrierAck.offset.setSize);
}
