/** An application on a Primary: submits requests straight to the volume, writes down each before, and judges each answer. */
import { type BlockClient, NO_REQUEST } from "../core/block-device.ts";
import type { Volume } from "../core/volume/volume.ts";
import type { History, ReadExpectation } from "./history.ts";
import type { Journal } from "./journal.ts";
import type { SimOptions } from "./options.ts";
import type { SimRandom } from "./random.ts";
import { readStamp, stamp, wordsOf } from "./stamps.ts";
import type { Turns } from "./turns.ts";

const SECTOR = 512;
const WORDS = SECTOR / 4;
/** Favoured places are this long, in sectors. */
const SPOT_SECTORS = 512;
const LONGEST_RANGE = 2048;
/** Longest pause of a worker that has been too fast. */
const PAUSE_MS = 100;

type Kind = "read" | "write" | "flush" | "trim" | "zero";

interface Request {
  readonly kind: Kind;
  readonly number: number;
  /** In sectors. */
  readonly at: number;
  readonly count: number;
  readonly fua: boolean;
  readonly read: ReadExpectation | undefined;
  readonly covers: readonly number[];
}

/** What the requests of a whole run share. */
export interface WorkloadShare {
  readonly options: SimOptions;
  readonly journal: Journal;
  /** Requests left to be made. */
  budget: number;
  /** Number of the last request. */
  number: number;
  /** Whether an error may be answered now: a disk was broken, and the peer may be away. */
  errorsAllowed: boolean;
  /** 4 KiB blocks written since the nodes connected last. */
  readonly written: Set<number>;
  /** First sectors of the favoured places. */
  readonly spots: readonly number[];
}

export class Workload implements BlockClient {
  readonly history: History;
  readonly #name: string;
  readonly #volume: Volume;
  readonly #words: Uint32Array;
  readonly #turns: Turns;
  readonly #random: SimRandom;
  readonly #share: WorkloadShare;
  readonly #open = new Map<number, Request>();
  #starved = 0;
  #stopping = false;
  #stopped: (() => void) | undefined;
  /** After every answer. */
  onAnswer: () => void = () => undefined;

  constructor(parts: {
    readonly name: string;
    readonly volume: Volume;
    readonly memory: Uint8Array;
    readonly turns: Turns;
    readonly random: SimRandom;
    readonly share: WorkloadShare;
    readonly history: History;
  }) {
    this.#name = parts.name;
    this.#volume = parts.volume;
    this.#words = wordsOf(parts.memory);
    this.#turns = parts.turns;
    this.#random = parts.random;
    this.#share = parts.share;
    this.history = parts.history;
  }

  /** Requests without an answer. */
  get open(): number {
    return this.#open.size;
  }

  start(): void {
    this.#volume.opened(this);
    for (let n = 0; n < this.#share.options.depth; n++) this.#think();
  }

  /** No more requests; `done` when everything is answered. */
  stop(done: () => void): void {
    this.#stopping = true;
    this.#stopped = done;
    this.#turns.post(() => this.#ended());
  }

  /** Its process is dead: what is open will never be answered. */
  abandon(): void {
    for (const request of this.#open.values()) if (request.read !== undefined) this.history.readEnded();
    this.#open.clear();
  }

  // ---- requests ----

  #think(): void {
    const { think } = this.#share.options;
    this.#turns.clock.after(think === 0 ? 0.01 : this.#random.wait(think), () => {
      this.#turns.post(() => this.#next());
    });
  }

  #next(): void {
    if (this.#stopping || this.#share.budget <= 0) return;
    if (this.#isAhead()) {
      this.#turns.clock.after(PAUSE_MS * this.#random.fraction(), () => this.#think());
      return;
    }
    const kind = this.#kind();
    const { at, count } = this.#range(kind);
    const hasMemory = kind === "read" || kind === "write";
    const id = this.#volume.allocate(this, hasMemory ? count * SECTOR : 0);
    if (id === NO_REQUEST) {
      this.#starved++;
      return;
    }
    this.#share.budget--;
    this.#submit(id, kind, at, count);
  }

  /** Requests come in bursts over the whole safety phase, so that every fault meets some. */
  #isAhead(): boolean {
    const { options, budget } = this.#share;
    const made = options.requests - budget;
    return made > options.requests * (this.#turns.clock.now / options.duration);
  }

  #kind(): Kind {
    const { mix } = this.#share.options;
    let roll = this.#random.fraction() * 100;
    for (const kind of ["read", "flush", "trim", "zero"] as const) {
      roll -= mix[kind];
      if (roll < 0) return kind;
    }
    return "write";
  }

  #range(kind: Kind): { readonly at: number; readonly count: number } {
    const r = this.#random;
    const { options, spots } = this.#share;
    const most = kind === "trim" || kind === "zero" ? r.pick([options.sectors, LONGEST_RANGE]) : options.sectors;
    let count = r.between(1, most);
    let at = (spots[Math.floor(r.fraction() * spots.length)] ?? 0) + r.between(0, SPOT_SECTORS);
    if (r.chance(0.6)) {
      at -= at % 8;
      count = Math.max(8, count - (count % 8));
    }
    const size = this.#volume.size / SECTOR;
    return { at: Math.max(0, Math.min(at, size - count)), count };
  }

  #submit(id: number, kind: Kind, at: number, count: number): void {
    const { journal, options } = this.#share;
    const number = ++this.#share.number;
    const fua = kind !== "read" && kind !== "flush" && this.#random.chance(options.fuaChance);
    const volume = this.#volume;
    const range = `${at}+${count}`;
    const read = kind === "read" ? this.history.readSent(at, count) : undefined;
    const covers = kind === "flush" ? this.history.flushSent() : [];
    if (kind === "write" || kind === "trim" || kind === "zero") {
      this.history.sent(number, at, count, kind !== "write");
      for (let block = Math.floor(at / 8); block <= Math.floor((at + count - 1) / 8); block++) {
        this.#share.written.add(block);
      }
    }
    this.#open.set(id, { kind, number, at, count, fua, read, covers });
    if (journal.isRead)
      journal.say(this.#name, "op", `-> ${number} ${kind}${kind === "flush" ? "" : ` ${range}`}${fua ? " fua" : ""}`);
    switch (kind) {
      case "read":
        return volume.read(id, at * SECTOR, count * SECTOR);
      case "write":
        stamp(this.#words, volume.memoryOf(id) / 4, number, at, count);
        return volume.write(id, at * SECTOR, count * SECTOR, fua);
      case "flush":
        return volume.flush(id);
      case "trim":
        return volume.trim(id, at * SECTOR, count * SECTOR, fua);
      case "zero":
        return volume.writeZeroes(id, at * SECTOR, count * SECTOR, fua, this.#random.chance(0.5), false);
      default:
        return kind satisfies never;
    }
  }

  // ---- BlockClient ----

  onDone(id: number, errno: number): void {
    const request = this.#open.get(id);
    const { journal } = this.#share;
    if (request === undefined)
      return journal.fail("answers", `${this.#name} answered request ${id}, which is not open`);
    this.#open.delete(id);
    const { kind, number } = request;
    if (journal.isRead) journal.say(this.#name, "op", `<- ${number} ${kind}${errno === 0 ? "" : ` errno ${errno}`}`);
    if (request.read !== undefined) this.history.readEnded();
    if (errno !== 0) this.#failed(request, errno);
    else if (kind === "read") this.#judgeRead(request, this.#volume.memoryOf(id));
    else if (kind === "flush") this.history.flushAcknowledged(request.covers);
    else this.history.acknowledged(number, request.fua);
    if (this.#random.chance(0.5)) this.#volume.release(id);
    else this.#turns.post(() => this.#volume.release(id));
    this.onAnswer();
    if (this.#stopping) this.#ended();
    else this.#think();
  }

  #failed(request: Request, errno: number): void {
    if (this.#share.errorsAllowed) return;
    this.#share.journal.fail(
      "errors",
      `${this.#name}: request ${request.number} (${request.kind}) failed with ${errno}`,
    );
  }

  #judgeRead(request: Request, memory: number): void {
    const { at, count, read, number } = request;
    for (let n = 0; n < count; n++) {
      const found = readStamp(this.#words, memory / 4 + n * WORDS, at + n);
      if (this.history.mayRead(at + n, found, read?.oldest[n] ?? 0)) continue;
      this.#share.journal.fail(
        "reads",
        `${this.#name}: read ${number} found ${found} in sector ${at + n}; ${this.history.describe(at + n)}, at least ${read?.oldest[n]}`,
      );
      return;
    }
  }

  onRoom(): void {
    const waiting = this.#starved;
    this.#starved = 0;
    for (let n = 0; n < waiting; n++) this.#think();
  }

  onShutdown(): void {
    this.stop(() => undefined);
  }

  #ended(): void {
    const done = this.#stopped;
    if (done === undefined || this.#open.size > 0) return;
    this.#stopped = undefined;
    this.#volume.closed(this);
    done();
  }
}
