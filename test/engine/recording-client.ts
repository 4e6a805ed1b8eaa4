import { type Command, NbdWire } from "./nbd-wire.ts";

/**
 * A client that knows what a volume must hold. Every request is noted before it is sent and every reply after it has come, so that
 * after a crash each 512-byte block can be judged: it holds its last acknowledged value, or one that was sent and may have got through.
 *
 * A block's value is the number of the write it comes from (0: zeroes), repeated through the block, so that a torn block shows.
 * Time is a counter: each request and each reply gets the next number.
 */
const SECTOR = 512;
/** The write's number and the block's, 4 bytes each, fill the block. */
const STAMP = 8;
const FOREVER = Number.MAX_SAFE_INTEGER;

interface Request {
  readonly number: number;
  readonly command: Command;
  /** In sectors. */
  readonly at: number;
  readonly count: number;
  readonly fua: boolean;
  readonly sent: number;
  /** When its reply came, or its connection broke; FOREVER while it is under way. */
  end: number;
  acknowledged: boolean;
}

/** Where load goes and how much of it; sizes in bytes. */
export interface Load {
  readonly connections: number;
  /** Requests under way per connection. */
  readonly depth: number;
  readonly from: number;
  readonly length: number;
  readonly largest: number;
}

/** Seeded, so that a failed run's choices (not its timing) can be had again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class RecordingClient {
  readonly size: number;
  readonly #random: () => number;
  /** Values (request numbers) each block may have had when the log was last settled. */
  readonly #base: Uint32Array;
  /** Requests since then that changed each block, in the order in which they were sent. */
  readonly #changes = new Map<number, Request[]>();
  readonly #open = new Map<number, Request>();
  readonly #wires = new Set<NbdWire>();
  #clock = 0;
  #number = 0;
  #load: Load | undefined;
  #waiting: { readonly holds: () => boolean; readonly done: () => void }[] = [];
  /** Replies without error so far, flushes and reads included. */
  acknowledged = 0;
  /** What must never be: replies with an error, reads of impossible values. */
  readonly complaints: string[] = [];

  /** `size` of the volume in bytes; it is taken to be all zeroes. */
  constructor(size: number, random: () => number) {
    this.size = size;
    this.#random = random;
    this.#base = new Uint32Array(size / SECTOR);
  }

  get underWay(): number {
    return this.#open.size;
  }
  get isConnected(): boolean {
    return this.#wires.size > 0;
  }

  /** Opens the connections and keeps `depth` requests under way on each, until `stop` or until they break. */
  async start(path: string, exportName: string, load: Load): Promise<void> {
    this.#load = load;
    for (let n = 0; n < load.connections; n++) await this.#connect(path, exportName, load);
  }

  async #connect(path: string, exportName: string, load: Load): Promise<void> {
    const mine = new Set<number>();
    const wire = await NbdWire.open(path, exportName, {
      onReply: (cookie, errno, data) => {
        mine.delete(cookie);
        this.#replied(cookie, errno, data);
        if (this.#load !== undefined) this.#next(wire, mine);
        this.#look();
      },
      onClosed: () => {
        this.#wires.delete(wire);
        for (const cookie of mine) this.#lost(cookie);
        this.#look();
      },
    });
    this.#wires.add(wire);
    for (let n = 0; n < load.depth; n++) this.#next(wire, mine);
  }

  /** Sends no more; resolves when every request has its reply or has lost its connection. Connections stay open until `drop`. */
  stop(): Promise<void> {
    this.#load = undefined;
    return this.#until(() => this.#open.size === 0);
  }

  /** Resolves when that many more replies have come, or when all connections are broken. */
  replies(count: number): Promise<void> {
    const target = this.acknowledged + count;
    return this.#until(() => this.acknowledged >= target || this.#wires.size === 0);
  }

  /** Resolves when all connections are gone, and with them what was under way. */
  async broken(): Promise<void> {
    await this.#until(() => this.#wires.size === 0);
    this.#load = undefined;
  }

  drop(): void {
    for (const wire of this.#wires) wire.drop();
  }

  #until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((done) => this.#waiting.push({ holds, done }));
  }

  #look(): void {
    const over = this.#waiting.filter(({ holds }) => holds());
    if (over.length === 0) return;
    this.#waiting = this.#waiting.filter((one) => !over.includes(one));
    for (const { done } of over) done();
  }

  // ---- requests ----

  #next(wire: NbdWire, mine: Set<number>): void {
    const load = this.#load;
    if (load === undefined) return;
    const dice = this.#random();
    const fua = this.#random() < 0.1;
    const command: Command =
      dice < 0.7 ? "write" : dice < 0.85 ? "read" : dice < 0.9 ? "zero" : dice < 0.94 ? "trim" : "flush";
    // Mostly small: many of them meet in one 4 KiB block.
    const most = this.#random() < 0.8 ? 8 : load.largest / SECTOR;
    const count = command === "flush" ? 0 : 1 + Math.floor(this.#random() * most);
    const room = load.length / SECTOR - count;
    const at = command === "flush" ? 0 : load.from / SECTOR + Math.floor(this.#random() * room);
    const changes = command !== "read" && command !== "flush";
    const request: Request = {
      number: ++this.#number,
      command,
      at,
      count,
      fua: fua && changes,
      sent: ++this.#clock,
      end: FOREVER,
      acknowledged: false,
    };
    this.#open.set(request.number, request);
    mine.add(request.number);
    if (changes) this.#note(request);
    const data = command === "write" ? stamped(request) : undefined;
    wire.send(command, request.number, at * SECTOR, count * SECTOR, request.fua, data);
  }

  #note(request: Request): void {
    for (let sector = request.at; sector < request.at + request.count; sector++) {
      const list = this.#changes.get(sector);
      if (list === undefined) this.#changes.set(sector, [request]);
      else list.push(request);
    }
  }

  #replied(number: number, errno: number, data: Buffer | undefined): void {
    const request = this.#open.get(number);
    if (request === undefined) {
      this.complaints.push(`a reply to request ${number}, which is not under way`);
      return;
    }
    this.#open.delete(number);
    request.end = ++this.#clock;
    if (errno !== 0) {
      this.complaints.push(`${textOf(request)}: errno ${errno}`);
      return;
    }
    request.acknowledged = true;
    this.acknowledged++;
    if (data !== undefined) this.#judgeRead(request, data);
  }

  /** No reply will come: it may have been carried out, by the end of the engine at the latest. */
  #lost(number: number): void {
    const request = this.#open.get(number);
    if (request === undefined) return;
    this.#open.delete(number);
    request.end = ++this.#clock;
  }

  // ---- judgement ----

  /** A read may return what was the value at any moment between its request and its reply. */
  #judgeRead(read: Request, data: Buffer): void {
    for (let n = 0; n < read.count; n++) {
      const found = stampAt(data, n, read.at + n);
      const wrong = this.#wrong(read.at + n, found, read.sent);
      if (wrong !== undefined) this.complaints.push(`${textOf(read)}: ${wrong}`);
    }
  }

  /**
   * Why a block must not hold `found`; undefined if it may. `before`: only changes acknowledged before that moment have
   * certainly replaced what was there.
   */
  #wrong(sector: number, found: number | string, before: number): string | undefined {
    if (typeof found === "string") return `block ${sector}: ${found}`;
    const changes = this.#changes.get(sector) ?? [];
    let since = -1;
    for (const change of changes) {
      // After a discard the old content may show as well as zeroes.
      if (change.command === "trim" || !change.acknowledged || change.end >= before) continue;
      since = Math.max(since, change.sent);
    }
    if (since < 0 && found === (this.#base[sector] ?? 0)) return undefined;
    const matches = changes.filter((change) => (change.command === "write" ? change.number : 0) === found);
    if (matches.some((change) => change.end > since)) return undefined;
    const history = changes.map((change) => `  ${textOf(change)}`).join("\n");
    return `block ${sector} holds ${found}, base ${this.#base[sector]}, changes:\n${history}`;
  }

  /**
   * Judges a whole image of the volume while nothing is under way. What it holds is from then on the only right value. Returns
   * what is wrong, at most a few; empty if all is well.
   */
  settle(image: Uint8Array): readonly string[] {
    if (this.#open.size > 0) throw new Error(`${this.#open.size} requests are under way`);
    const wrongs: string[] = [];
    if (image.length !== this.size) wrongs.push(`image of ${image.length} bytes, volume of ${this.size}`);
    const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
    for (let sector = 0; sector < this.size / SECTOR && wrongs.length < 5; sector++) {
      const found = stampAt(bytes, sector, sector);
      const wrong = this.#wrong(sector, found, FOREVER);
      if (wrong !== undefined) wrongs.push(wrong);
      if (typeof found === "number") this.#base[sector] = found;
    }
    this.#changes.clear();
    return wrongs;
  }

  /** Numbers of the 4 KiB blocks that requests since the last `settle` have touched. */
  touchedBlocks(): ReadonlySet<number> {
    return new Set([...this.#changes.keys()].map((sector) => Math.floor(sector / 8)));
  }
}

function stamped(request: Request): Uint8Array {
  const data = Buffer.alloc(request.count * SECTOR);
  for (let at = 0; at < data.length; at += STAMP) {
    data.writeUInt32LE(request.number, at);
    data.writeUInt32LE(request.at + Math.floor(at / SECTOR), at + 4);
  }
  return data;
}

/** The number in the `n`th block of `data`, which is block `sector` of the volume; or what is wrong with it. */
function stampAt(data: Buffer, n: number, sector: number): number | string {
  const from = n * SECTOR;
  if (from + SECTOR > data.length) return "not there";
  const number = data.readUInt32LE(from);
  const expected = number === 0 ? 0 : sector;
  for (let at = from; at < from + SECTOR; at += STAMP) {
    const found = data.readUInt32LE(at);
    const place = data.readUInt32LE(at + 4);
    if (found !== number) return `torn: write ${number} at its start, ${found} at byte ${at - from}`;
    if (place !== expected) return `write ${found} of block ${place}`;
  }
  return number;
}

const textOf = ({ number, command, at, count, fua, sent, end, acknowledged }: Request): string =>
  `${command} ${number}${fua ? " FUA" : ""} blocks ${at}+${count} sent ${sent} ${acknowledged ? "acknowledged" : "lost"} ${end}`;
