/** The journal's files, for its writer (`journal.ts`) and its readers; the format is described there. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Packr } from "msgpackr";

export const SEGMENT_MAGIC = Buffer.from("FUTAGOJ1", "latin1");
const HEAD_BYTES = 8;

export interface JournalRecord {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly kind: string;
  readonly [field: string]: unknown;
}

const packr = new Packr({ useRecords: false, largeBigIntToFloat: false });

/** Length, CRC and body of one record. A value msgpack cannot hold is replaced by its text: a record is never refused. */
export function encodeRecord(record: JournalRecord): Uint8Array {
  const body = pack(record);
  const out = Buffer.alloc(HEAD_BYTES + body.length);
  out.writeUInt32LE(body.length, 0);
  out.writeUInt32LE(crc32(body), 4);
  out.set(body, HEAD_BYTES);
  return out;
}

function pack(record: JournalRecord): Uint8Array {
  try {
    return packr.pack(record);
  } catch {
    const texts = Object.entries(record).map(([key, value]) => [
      key,
      typeof value === "number" ? value : String(value),
    ]);
    return packr.pack(Object.fromEntries(texts));
  }
}

/** Where and why a segment stops making sense. */
export interface JournalDamage {
  readonly segment: string;
  /** Byte offset of the first record that is not whole. */
  readonly offset: number;
  readonly reason: string;
}

export interface SegmentContents {
  readonly records: readonly JournalRecord[];
  readonly damage: JournalDamage | undefined;
  /** Bytes up to the end of the last whole record. */
  readonly size: number;
}

const segmentPattern = /^(\d{8,15})\.journal$/;

export const segmentName = (number: number): string => `${String(number).padStart(8, "0")}.journal`;

/** Numbers of the segments in a folder, oldest first; empty if the folder does not exist. */
export async function segmentNumbers(folder: string): Promise<number[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return names
    .map((name) => segmentPattern.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/** Every whole record of one segment, and what is wrong behind the last one. Throws only if the file cannot be read. */
export async function readSegment(path: string): Promise<SegmentContents> {
  return parseSegment(path, await readFile(path));
}

/** As `readSegment`, of a segment's bytes; `path` is for the damage report. */
export function parseSegment(path: string, data: Buffer): SegmentContents {
  const records: JournalRecord[] = [];
  const stop = (offset: number, reason: string | undefined): SegmentContents => ({
    records,
    damage: reason === undefined ? undefined : { segment: path, offset, reason },
    size: offset,
  });
  if (!data.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC)) {
    return stop(0, data.length < SEGMENT_MAGIC.length ? "torn before its first record" : "not a journal segment");
  }
  let at = SEGMENT_MAGIC.length;
  while (at < data.length) {
    if (at + HEAD_BYTES > data.length) return stop(at, "torn within the head of a record");
    const length = data.readUInt32LE(at);
    const body = data.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length);
    if (body.length < length) return stop(at, `torn: record of ${length} bytes, ${body.length} present`);
    const sum = crc32(body);
    if (sum !== data.readUInt32LE(at + 4)) return stop(at, "checksum of a record does not match");
    const record = unpack(body);
    if (record === undefined) return stop(at, "a record is not a map with time and kind");
    records.push(record);
    at += HEAD_BYTES + length;
  }
  return stop(at, undefined);
}

function unpack(body: Uint8Array): JournalRecord | undefined {
  try {
    const value: unknown = packr.unpack(body);
    if (typeof value !== "object" || value === null) return undefined;
    const { time, kind } = value as Partial<JournalRecord>;
    return typeof time === "number" && typeof kind === "string" ? (value as JournalRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** Everything a journal folder holds, oldest first: records, and in their place the damages found on the way. */
export async function* readJournal(folder: string): AsyncGenerator<JournalRecord | JournalDamage> {
  for (const number of await segmentNumbers(folder)) {
    const path = join(folder, segmentName(number));
    let contents: SegmentContents;
    try {
      contents = await readSegment(path);
    } catch (error) {
      // A segment deleted while we read is the engine going on with its work.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      yield { segment: path, offset: 0, reason: (error as Error).message };
      continue;
    }
    yield* contents.records;
    if (contents.damage !== undefined) yield contents.damage;
  }
}
