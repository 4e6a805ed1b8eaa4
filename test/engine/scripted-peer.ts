/** A DRBD peer that does what a test says, byte by byte: offsets and numbers are drbd-84 §1.2, §2.1, §3. */
import { createConnection, createServer, type Server, type Socket } from "node:net";

const FIRST_PACKET_BYTES = 8;
export const P_INITIAL_DATA = Buffer.from("83740267fff20000", "hex");
const P_INITIAL_META = Buffer.from("83740267fff10000", "hex");
const FEATURES_BYTES = 80;
/** Versions 86 … 101, features 0x0f. */
export const P_CONNECTION_FEATURES = Buffer.concat([
  Buffer.from("83740267fffe0048", "hex"),
  Buffer.from("000000560000000f0000006500000000", "hex"),
  Buffer.alloc(56),
]);
/** Header of form 100 and 64 bytes. */
export const CHALLENGE_BYTES = 16 + 64;

/** One stream, read in exact pieces. */
export class PeerStream {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #waiting: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (part: Buffer) => {
      this.#received = Buffer.concat([this.#received, part]);
      this.#waiting?.();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#ended = true;
      this.#waiting?.();
    });
  }

  /** Rejects when the stream ends before. */
  async read(length: number): Promise<Buffer> {
    while (this.#received.length < length) {
      if (this.#ended) throw new Error(`closed after ${this.#received.length} of ${length} bytes`);
      await this.#more();
    }
    const piece = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return piece;
  }

  /** Resolves when the other side has closed. */
  async closed(): Promise<void> {
    while (!this.#ended) await this.#more();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}

/** A stream to `port` of `address`, from `own`. */
export function connectFrom(own: string, address: string, port: number): Promise<PeerStream> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: address, port, localAddress: own });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new PeerStream(socket));
    });
  });
}

export class ScriptedPeer {
  readonly #server: Server;
  readonly #streams: PeerStream[] = [];
  #arrived: (() => void) | undefined;
  readonly #own: string;
  readonly #port: number;

  private constructor(own: string, port: number) {
    this.#own = own;
    this.#port = port;
    this.#server = createServer((socket) => {
      this.#streams.push(new PeerStream(socket));
      this.#arrived?.();
    });
  }

  static async listen(own: string, port: number): Promise<ScriptedPeer> {
    const peer = new ScriptedPeer(own, port);
    await new Promise<void>((resolve, reject) => {
      peer.#server.once("error", reject);
      peer.#server.listen(port, own, resolve);
    });
    return peer;
  }

  async #accept(): Promise<PeerStream> {
    for (;;) {
      const stream = this.#streams.shift();
      if (stream !== undefined) return stream;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  /** Takes the data stream that the node at `address` opens, and opens the meta stream (drbd-84 §1.2). */
  async establish(address: string): Promise<{ readonly data: PeerStream; readonly meta: PeerStream }> {
    for (;;) {
      const data = await this.#accept();
      const first = await data.read(FIRST_PACKET_BYTES);
      if (!first.equals(P_INITIAL_DATA)) throw new Error(`first packet ${first.toString("hex")}`);
      const meta = await connectFrom(this.#own, address, this.#port);
      meta.socket.write(P_INITIAL_META);
      return { data, meta };
    }
  }

  /** As `establish`, up to and with the exchange of versions and features. */
  async agree(address: string): Promise<{ readonly data: PeerStream; readonly meta: PeerStream }> {
    const streams = await this.establish(address);
    await streams.data.read(FEATURES_BYTES);
    streams.data.socket.write(P_CONNECTION_FEATURES);
    return streams;
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.#streams) socket.destroy();
  }
}
