/** Sends requests and reads their replies, whatever their form; shared by the tests of the transmission phase. */
import { type Connection, READ, Reader, type Reply, type Request, readError, readReplies, request } from "./client.ts";

export const MiB = 1024 * 1024;
export const NONE = new Map<number, number>();
/** Bytes that differ between neighbours and between blocks. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) + seed) & 255;
  return bytes;
}

/** What the reply to one request amounts to, whatever its form. */
interface Outcome {
  readonly error: number;
  readonly text: string;
  readonly data: Uint8Array;
  /** Start of each data chunk. */
  readonly offsets: readonly number[];
  readonly failedAt: number;
}

export function outcomeOf(replies: readonly Reply[], at: number, length: number, cookie = 1): Outcome {
  const data = new Uint8Array(length);
  const offsets: number[] = [];
  let error = 0;
  let text = "";
  let failedAt = -1;
  let isDone = false;
  for (const reply of replies.filter((reply) => reply.cookie === cookie)) {
    if (isDone) throw new Error("a message after the final one");
    if (reply.kind === "simple") {
      error = reply.error;
      data.set(reply.data);
      isDone = true;
      continue;
    }
    isDone = reply.done;
    if (reply.type === 1) {
      const offset = new Reader(reply.data).number(8);
      if (reply.data.length < 9) throw new Error("an empty data chunk");
      offsets.push(offset);
      data.set(reply.data.subarray(8), offset - at);
    } else if (reply.type >= 0x8000) {
      const read = readError(reply.data, reply.type === 0x8002);
      if (error !== 0 || read.error === 0) throw new Error("a second error, or an error of 0");
      error = read.error;
      text = read.text;
      failedAt = read.offset;
    } else if (reply.type !== 0) throw new Error(`chunk type ${reply.type}`);
    else if (!reply.done) throw new Error("NONE without DONE");
  }
  if (!isDone) throw new Error("no final message");
  return { error, text, data, offsets, failedAt };
}

/** Sends one request and answers everything. */
export function ask(connection: Connection, sent: Request): Outcome {
  const at = Number(sent.at ?? 0);
  const length = sent.type === READ ? (sent.length ?? 0) : 0;
  const reads = new Map([[Number(sent.cookie ?? 1), length]]);
  return outcomeOf(connection.replies(reads, request(sent)), at, length, Number(sent.cookie ?? 1));
}

export const both = [{ structured: false }, { structured: true }] as const;

/** The error of a request that is answered at once. */
export function errorNow(connection: Connection, sent: Request): number {
  return outcomeOf(readReplies(connection.exchange(request(sent))), 0, 0, Number(sent.cookie)).error;
}
