import type { Socket } from "node:net";

export interface AgentAnswer {
  /** As a shell tells it: 128 plus the number for a signal. */
  readonly code: number;
  /** The limit was over and the command was killed, with all of its process group. */
  readonly timedOut: boolean;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

interface Pending {
  readonly id: number;
  readonly limitSeconds: number;
  readonly asked: number;
  readonly resolve: (answer: AgentAnswer) => void;
  readonly reject: (cause: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Beyond a command's own limit: an emulated processor on a busy machine may take long to kill it and to answer. */
const grace = 20_000;

/** How a shell tells of SIGKILL, and timeout that it has sent it. */
const killed = 128 + 9;

/** One line that `printf %b` turns back into the script. */
function forPrintf(script: string): string {
  if (script.includes("\0")) throw new Error("a script has no zero byte");
  return script.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

/** One agent in the guest (the protocol is told there, in guest-scripts.ts): one command at a time. */
class Channel {
  private readonly socket: Socket;
  private readonly chunks: Buffer[] = [];
  private pending: Pending | undefined;
  private failure: Error | undefined;
  private greet: () => void = () => {};
  readonly ready: Promise<void>;

  constructor(socket: Socket) {
    this.socket = socket;
    this.ready = new Promise((resolve) => (this.greet = resolve));
    socket.on("data", (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.parse();
    });
    socket.once("close", () => this.fail(new Error("the guest went down")));
  }

  get isUsable(): boolean {
    return this.failure === undefined;
  }

  ask(id: number, script: string, input: Buffer, limitSeconds: number): Promise<AgentAnswer> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      const timer = setTimeout(
        () => this.fail(new Error(`no answer, not even that it was killed: ${script}`)),
        limitSeconds * 1000 + grace,
      );
      this.pending = { id, limitSeconds, asked: performance.now(), resolve, reject, timer };
      this.socket.write(`${id} ${limitSeconds} ${input.length}\n${forPrintf(script)}\n`);
      this.socket.write(input);
    });
  }

  private fail(cause: Error): void {
    this.failure ??= cause;
    if (this.pending === undefined) return;
    clearTimeout(this.pending.timer);
    this.pending.reject(cause);
    this.pending = undefined;
  }

  private parse(): void {
    const [first = Buffer.alloc(0)] = this.chunks;
    const all = this.chunks.length > 1 ? Buffer.concat(this.chunks) : first;
    if (this.chunks.length > 1) this.chunks.splice(0, Number.POSITIVE_INFINITY, all);
    const end = all.indexOf(10);
    if (end < 0) return;
    const line = all.toString("latin1", 0, end);
    if (line === "ready") {
      this.chunks.splice(0, 1, all.subarray(end + 1));
      this.greet();
      return;
    }
    const [id, code, out, err] = line.split(" ").map(Number);
    if (id === undefined || code === undefined || out === undefined || err === undefined || Number.isNaN(err)) {
      this.fail(new Error(`the agent's answer is no answer: ${line}`));
      return;
    }
    const from = end + 1;
    if (all.length < from + out + err) return;
    this.chunks.splice(0, 1, all.subarray(from + out + err));
    const pending = this.pending;
    if (pending?.id !== id) {
      this.fail(new Error(`the agent answers ${id}, not ${pending?.id}`));
      return;
    }
    this.pending = undefined;
    clearTimeout(pending.timer);
    const stdout = all.subarray(from, from + out);
    const late = performance.now() - pending.asked > pending.limitSeconds * 1000;
    pending.resolve({
      code,
      timedOut: late && code === killed,
      stdout,
      stderr: all.subarray(from + out, from + out + err),
    });
  }
}

/** The agents of one guest: a command takes the next free one and waits while none is. */
export class Agents {
  private readonly free: Channel[];
  private readonly waiting: ((channel: Channel) => void)[] = [];
  private readonly channels: readonly Channel[];
  private last = 0;

  constructor(sockets: readonly Socket[]) {
    this.channels = sockets.map((socket) => new Channel(socket));
    this.free = [...this.channels];
  }

  /** Settles when every agent has said that it listens. */
  async ready(): Promise<void> {
    await Promise.all(this.channels.map((channel) => channel.ready));
  }

  async run(script: string, input: Uint8Array, limitSeconds: number): Promise<AgentAnswer> {
    const channel = this.free.shift() ?? (await this.nextFree());
    try {
      return await channel.ask(++this.last, script, Buffer.from(input), limitSeconds);
    } finally {
      this.release(channel);
    }
  }

  private nextFree(): Promise<Channel> {
    if (!this.channels.some((channel) => channel.isUsable)) return Promise.reject(new Error("no agent is left"));
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** A channel that failed is out, unless all are: then it hands its failure to whoever waits. */
  private release(channel: Channel): void {
    if (!channel.isUsable && this.channels.some((other) => other.isUsable)) return;
    const next = this.waiting.shift();
    if (next === undefined) this.free.push(channel);
    else next(channel);
  }
}
