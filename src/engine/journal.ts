/**
 * The flight recorder of a resource: what happened to it, in order, on disk, bounded. Eight segments of at most 4 MiB; when
 * a ninth is needed the oldest is deleted. It serves people and tests; nothing reads it to decide.
 *
 * A segment file `00000017.journal` is the 8 bytes `FUTAGOJ1` followed by records:
 *
 *   u32 length of the body, little endian │ u32 CRC-32 of the body │ body: one msgpack map with at least `time` and `kind`
 *
 * Each record stands for itself (no shared structures), so one torn by a crash spoils nothing before it. A segment whose
 * tail is torn is left as it is, and a new one is begun: what a crash left behind is evidence.
 *
 * The journal never stops anything. A record waits in memory until the previous write is done; if too much waits, or the
 * disk is full, records are dropped and counted, one warning is given, and when writing works again a `lost` record says how many.
 */
import { type FileHandle, mkdir, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import {
  encodeRecord,
  type JournalRecord,
  readSegment,
  SEGMENT_MAGIC,
  segmentName,
  segmentNumbers,
} from "./journal-format.ts";

export const SEGMENT_BYTES = 4 * 1024 * 1024;
export const SEGMENT_COUNT = 8;
/** Records waiting for the disk take at most this much memory. */
const MAX_WAITING_BYTES = 256 * 1024;
const RETRY_MS = 30_000;

/** Records whose loss in a power failure would make the rest hard to understand. */
const durableKinds: ReadonlySet<string> = new Set(["role", "uuid", "split-brain"]);

export interface JournalOptions {
  /** Created if missing. */
  readonly folder: string;
  /** Milliseconds since 1970, for `time`. */
  now(): number;
  /** Called once per run of failures. */
  onWarning(text: string): void;
  readonly segmentBytes?: number;
  readonly segmentCount?: number;
  /** After a failure the next attempt waits this long, so that a full disk is not asked for every record. */
  readonly retryMs?: number;
}

export interface Journal {
  /** Never blocks, throws or fails; `time` is added. Values are those msgpack knows, bigint included. */
  append(kind: string, fields: Readonly<Record<string, unknown>>): void;
  /** Resolves when everything appended so far is on stable storage or given up. */
  flush(): Promise<void>;
  /** Flushes and closes; later records are dropped. */
  close(): Promise<void>;
}

/** Starts a journal in `folder`. Opening happens in the background: the engine does not wait for it. */
export function openJournal(options: JournalOptions): Journal {
  return new SegmentedJournal(options);
}

class SegmentedJournal implements Journal {
  readonly #options: JournalOptions;
  readonly #segmentBytes: number;
  readonly #segmentCount: number;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #waitingDurable = false;
  #lost = 0;
  /** Told by `lost` records that are not written yet. */
  #lostAnnounced = 0;
  #warned = false;
  /** On the monotonic clock: a step of the system's clock must not silence the journal. */
  #retryAt = 0;
  #closed = false;
  #file: FileHandle | undefined;
  #number = 0;
  #size = 0;
  #work: Promise<void> | undefined;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#segmentCount = options.segmentCount ?? SEGMENT_COUNT;
  }

  append(kind: string, fields: Readonly<Record<string, unknown>>): void {
    const now = this.#options.now();
    const body = encodeRecord({ ...fields, time: now, kind });
    const room = this.#waitingBytes + body.length <= MAX_WAITING_BYTES;
    if (this.#closed || !room || performance.now() < this.#retryAt || body.length > this.#segmentBytes / 2) {
      this.#lost += 1;
      if (!room) this.#warn("the disk is too slow for it");
      return;
    }
    if (this.#lost > 0) {
      this.#push(encodeRecord({ time: now, kind: "lost", records: this.#lost }));
      // Counted as waiting with its own place, so that a failure restores the sum and not the record that told it.
      this.#lostAnnounced += this.#lost - 1;
      this.#lost = 0;
    }
    this.#push(body);
    this.#waitingDurable ||= durableKinds.has(kind);
    this.#work ??= this.#drain();
  }

  async flush(): Promise<void> {
    while (this.#work !== undefined) await this.#work;
    await this.#file?.datasync().catch((error: Error) => this.#warn(error.message));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
    await this.#file?.close().catch(() => {});
    this.#file = undefined;
  }

  #push(record: Uint8Array): void {
    this.#waiting.push(record);
    this.#waitingBytes += record.length;
  }

  #warn(text: string): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#options.onWarning(`journal in ${this.#options.folder}: ${text}; records are lost, nothing else is affected`);
  }

  async #drain(): Promise<void> {
    // One turn later, so that what is appended together is written together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const records = this.#waiting;
      const durable = this.#waitingDurable;
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#waitingDurable = false;
      try {
        await this.#write(records);
        if (durable) await this.#file?.datasync();
        this.#warned = false;
        this.#lostAnnounced = 0;
      } catch (error) {
        this.#lost += records.length + this.#lostAnnounced;
        this.#lostAnnounced = 0;
        this.#retryAt = performance.now() + (this.#options.retryMs ?? RETRY_MS);
        this.#warn(error instanceof Error ? error.message : String(error));
        await this.#abandon();
      }
    }
    this.#work = undefined;
  }

  /** Takes back what this write left half done, so that a disk that is full for long does not fill the journal with torn tails. */
  async #abandon(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.truncate(this.#size).catch(() => {});
    await file?.close().catch(() => {});
  }

  /** Writes batches that fit the current segment; a batch that begins in one segment never continues in the next. */
  async #write(records: readonly Uint8Array[]): Promise<void> {
    let from = 0;
    while (from < records.length) {
      const first = records[from]?.length ?? 0;
      const file = await this.#fileWithRoom(first);
      let to = from;
      let size = 0;
      for (; to < records.length; to++) {
        const next = records[to]?.length ?? 0;
        if (to > from && this.#size + size + next > this.#segmentBytes) break;
        size += next;
      }
      const batch = Buffer.concat(records.slice(from, to));
      await writeAll(file, batch, this.#size);
      this.#size += size;
      from = to;
    }
  }

  async #fileWithRoom(length: number): Promise<FileHandle> {
    if (this.#file !== undefined && this.#size + length <= this.#segmentBytes) return this.#file;
    if (this.#file !== undefined) {
      await this.#file.datasync();
      await this.#file.close();
      this.#file = undefined;
      return this.#begin();
    }
    return (await this.#resume(length)) ?? this.#begin();
  }

  /** Goes on in the newest segment if that one is whole and has room. */
  async #resume(length: number): Promise<FileHandle | undefined> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#number = (await segmentNumbers(folder)).at(-1) ?? 0;
    if (this.#number === 0) return undefined;
    const { damage, size } = await readSegment(join(folder, segmentName(this.#number)));
    if (damage !== undefined || size + length > this.#segmentBytes) return undefined;
    this.#file = await open(join(folder, segmentName(this.#number)), "r+");
    this.#size = size;
    return this.#file;
  }

  async #begin(): Promise<FileHandle> {
    const { folder } = this.#options;
    const present = await segmentNumbers(folder);
    // The oldest goes first, so that the journal never takes more than its share of a small disk.
    for (const number of present.slice(0, Math.max(0, present.length - this.#segmentCount + 1))) {
      await unlink(join(folder, segmentName(number)));
    }
    const path = join(folder, segmentName(this.#number + 1));
    const file = await open(path, "wx", 0o600);
    try {
      await writeAll(file, SEGMENT_MAGIC, 0);
    } catch (error) {
      // An empty segment would push a full one out.
      await file.close();
      await unlink(path);
      throw error;
    }
    this.#number += 1;
    this.#size = SEGMENT_MAGIC.length;
    this.#file = file;
    await syncFolder(folder);
    return file;
  }
}

async function writeAll(file: FileHandle, data: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, at + done);
    done += bytesWritten;
  }
}

/** A new file's name is durable only once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export type { JournalRecord };
