/** Ports in memory, for one resource whose peer is the test: streams that are fed by hand, disks that complete at once or when told to. */
import type {
  Accept,
  Closable,
  CloseReason,
  Disk,
  Endpoint,
  Memory,
  Network,
  Random,
  Stream,
  StreamHandler,
} from "../../../../src/core/ports.ts";
import { type Bytes, bytes } from "../../../../src/core/units.ts";

/** What is to be reported later: no port calls back from within. */
export type Later = (run: () => void) => void;

const MAX_HEADER = 8192;
const PAGE = 4096;

type Expectation = { readonly into: number; readonly length: number; have: number } | { readonly header: number };

/** A stream as the engine sees it, and its other end as the test sees it. Strict: every call against the contract throws. */
export class TestStream implements Stream {
  readonly window: DataView;
  readonly out: DataView;
  readonly remote = "10.0.0.2:7789";
  handler: StreamHandler | undefined;
  /** While true the kernel takes nothing: memory stays in use. */
  jammed = false;
  closed = false;
  ended = false;
  readonly #memory: Memory;
  readonly #later: Later;
  readonly #in: number[] = [];
  #expectation: Expectation | undefined;
  #outUsed = 0;
  #pieces: { readonly at: number; readonly length: number; readonly token: number }[] = [];
  #taken: Uint8Array[] = [];

  constructor(memory: Memory, later: Later) {
    this.#memory = memory;
    this.#later = later;
    this.window = new DataView(new ArrayBuffer(MAX_HEADER));
    this.out = new DataView(new ArrayBuffer(4 * 1024 * 1024));
  }

  get queued(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  expectHeader(length: number): void {
    if (!(length >= 1 && length <= MAX_HEADER)) throw new RangeError(`expectHeader(${length})`);
    this.#expect({ header: length });
  }
  expectInto(offset: number, length: number): void {
    if (!(offset >= 0 && length > 0 && offset + length <= this.#memory.bytes.length))
      throw new RangeError(`expectInto(${offset}, ${length})`);
    this.#expect({ into: offset, length, have: 0 });
  }
  expectSkip(length: number): void {
    this.#expect({ into: -1, length, have: 0 });
  }

  #expect(expectation: Expectation): void {
    if (this.closed) return;
    if (this.#expectation !== undefined) throw new Error("a second expectation");
    this.#expectation = expectation;
    this.#later(() => this.#pump());
  }

  /** Whether the engine wants to read. */
  get reads(): boolean {
    return this.#expectation !== undefined;
  }
  /** Bytes fed and not read. */
  get unread(): number {
    return this.#in.length;
  }

  feed(data: Uint8Array): void {
    for (const byte of data) this.#in.push(byte);
    this.#later(() => this.#pump());
  }

  #pump(): void {
    const wanted = this.#expectation;
    if (this.closed || wanted === undefined) return;
    if ("header" in wanted) {
      if (this.#in.length < wanted.header) return;
      this.#expectation = undefined;
      // At the very end of the window: reading beyond what was asked for must not be possible unnoticed.
      const at = MAX_HEADER - wanted.header;
      for (const [n, byte] of this.#in.splice(0, wanted.header).entries()) this.window.setUint8(at + n, byte);
      this.handler?.onHeader(at);
      return;
    }
    const part = this.#in.splice(0, wanted.length - wanted.have);
    if (wanted.into >= 0) this.#memory.bytes.set(part, wanted.into + wanted.have);
    wanted.have += part.length;
    if (wanted.have < wanted.length) return;
    this.#expectation = undefined;
    this.handler?.onPayload();
  }

  reserve(length: number): number {
    if (!(length >= 1 && length <= MAX_HEADER)) throw new RangeError(`reserve(${length})`);
    const at = this.#outUsed;
    this.#outUsed += length;
    if (!this.closed) this.#pieces.push({ at: -1 - at, length, token: -1 });
    return at;
  }
  sendMemory(offset: number, length: number, token: number): void {
    this.#pieces.push({ at: offset, length, token });
    if (this.closed) this.#giveBack();
  }

  /** What has left since the last call. */
  sent(): Uint8Array {
    const total = new Uint8Array(this.#taken.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#taken) {
      total.set(part, at);
      at += part.length;
    }
    this.#taken = [];
    return total;
  }

  /** End of a turn. */
  flush(): void {
    if (this.jammed || this.closed) return;
    for (const { at, length, token } of this.#pieces) {
      const source =
        at < 0 ? new Uint8Array(this.out.buffer, -1 - at, length) : this.#memory.bytes.subarray(at, at + length);
      this.#taken.push(source.slice());
      if (token >= 0) this.#later(() => this.handler?.onSent(token));
    }
    this.#pieces = [];
    this.#outUsed = 0;
  }

  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.close("local");
  }

  /** From either side. */
  close(reason: CloseReason): void {
    if (this.closed) return;
    this.closed = true;
    this.#giveBack();
    this.#later(() => {
      this.#expectation = undefined;
      this.handler?.onClosed(reason, "");
    });
  }

  #giveBack(): void {
    for (const { token } of this.#pieces) if (token >= 0) this.#later(() => this.handler?.onSent(token));
    this.#pieces = [];
  }
}

/** Attempts succeed when the test says so. */
export class TestNetwork implements Network {
  readonly #memory: Memory;
  readonly #later: Later;
  #attempt: ((stream: Stream, remote: Endpoint) => StreamHandler) | undefined;

  constructor(memory: Memory, later: Later) {
    this.#memory = memory;
    this.#later = later;
  }

  listen(): Closable {
    return { close: () => undefined };
  }

  connect(_local: Endpoint, _remote: Endpoint, onStream: Accept): Closable {
    this.#attempt = onStream;
    return {
      close: () => {
        if (this.#attempt === onStream) this.#attempt = undefined;
      },
    };
  }

  get connecting(): boolean {
    return this.#attempt !== undefined;
  }

  /** The attempt under way succeeds. */
  accept(): TestStream {
    const attempt = this.#attempt;
    if (attempt === undefined) throw new Error("nobody connects");
    const stream = new TestStream(this.#memory, this.#later);
    this.#attempt = undefined;
    stream.handler = attempt(stream, { address: "10.0.0.2", port: 7789 });
    return stream;
  }
}

export interface Operation {
  readonly what: "read" | "write" | "flush" | "zero" | "discard";
  readonly tag: number;
  readonly at: number;
  readonly length: number;
  readonly fua: boolean;
  /** Reports it, well or with a negative errno. */
  end(result?: number): void;
}

/** A sparse disk. `holds` says which operations wait until the test ends them. */
export class TestDisk implements Disk {
  readonly size: Bytes;
  readonly logicalBlock = 512;
  readonly physicalBlock = 4096;
  hasVolatileCache = true;
  readonly canDiscard = true;
  closed = true;
  /** Reported to nobody yet. */
  inFlight = 0;
  holds: (operation: Operation) => boolean = () => false;
  /** A negative errno for what fails. */
  fails: (operation: Operation) => number = () => 0;
  readonly held: Operation[] = [];
  readonly trace: string[] = [];
  onDone: (tag: number, result: number) => void = () => undefined;
  readonly #pages = new Map<number, Uint8Array>();
  readonly #memory: Memory;
  readonly #later: Later;

  constructor(size: number, memory: Memory, later: Later) {
    this.size = bytes(size);
    this.#memory = memory;
    this.#later = later;
  }

  load(at: number, length: number): Uint8Array {
    const into = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const from = (at + done) % PAGE;
      const count = Math.min(PAGE - from, length - done);
      const page = this.#pages.get(Math.floor((at + done) / PAGE));
      if (page !== undefined) into.set(page.subarray(from, from + count), done);
      done += count;
    }
    return into;
  }

  store(at: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const from = (at + done) % PAGE;
      const count = Math.min(PAGE - from, data.length - done);
      const number = Math.floor((at + done) / PAGE);
      const page = this.#pages.get(number) ?? new Uint8Array(PAGE);
      page.set(data.subarray(done, done + count), from);
      this.#pages.set(number, page);
      done += count;
    }
  }

  read(tag: number, at: number, offset: number, length: number): void {
    this.#submit("read", tag, at, length, false, () => this.#memory.bytes.set(this.load(at, length), offset));
  }
  write(tag: number, at: number, offset: number, length: number, fua: boolean): void {
    this.#submit("write", tag, at, length, fua, () =>
      this.store(at, this.#memory.bytes.slice(offset, offset + length)),
    );
  }
  flush(tag: number): void {
    this.#submit("flush", tag, 0, 0, false, () => undefined);
  }
  zero(tag: number, at: number, length: number): void {
    this.#submit("zero", tag, at, length, false, () => {
      for (const page of this.#pages.keys()) {
        const from = Math.max(at, page * PAGE);
        const to = Math.min(at + length, (page + 1) * PAGE);
        if (from < to) this.store(from, new Uint8Array(to - from));
      }
    });
  }
  discard(tag: number, at: number, length: number): void {
    this.#submit("discard", tag, at, length, false, () => undefined);
  }
  close(): void {
    this.closed = true;
  }

  /** Ends what is held, in order, until nothing more is. */
  endAll(result?: number): void {
    for (const operation of this.held.splice(0)) operation.end(result);
  }

  #submit(what: Operation["what"], tag: number, at: number, length: number, fua: boolean, act: () => void): void {
    if (this.closed) throw new Error(`${what} on a closed disk`);
    if (
      what !== "flush" &&
      !(at >= 0 && length > 0 && at + length <= this.size && at % 512 === 0 && length % 512 === 0)
    )
      throw new RangeError(`${what} of ${length} bytes at ${at}`);
    const moves = what === "read" || what === "write";
    this.inFlight++;
    const operation: Operation = {
      what,
      tag,
      at,
      length,
      fua,
      end: (result = this.fails(operation)) => {
        if (result === 0) act();
        this.trace.push(`${what} ${at}`);
        this.#later(() => {
          this.inFlight--;
          this.onDone(tag, result < 0 ? result : moves ? length : 0);
        });
      },
    };
    if (this.holds(operation)) this.held.push(operation);
    else operation.end();
  }
}

/** Repeats itself: every test is the same every time. */
export class TestRandom implements Random {
  #state = 1;
  fraction(): number {
    this.#state = (Math.imul(this.#state, 1103515245) + 12345) >>> 0;
    return this.#state / 2 ** 32;
  }
  u64(): bigint {
    return (BigInt(Math.floor(this.fraction() * 2 ** 32)) << 32n) | BigInt(Math.floor(this.fraction() * 2 ** 32));
  }
  fill(target: Uint8Array): void {
    for (let at = 0; at < target.length; at++) target[at] = Math.floor(this.fraction() * 256);
  }
}
