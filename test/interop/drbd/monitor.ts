import type { Socket } from "node:net";

type Answer = { readonly return: unknown } | { readonly error: { readonly class: string; readonly desc: string } };

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (cause: Error) => void;
  readonly timer: NodeJS.Timeout;
}

const timeout = 30_000;

/** QEMU's machine protocol: one JSON object a line, answers by id. */
export class Monitor {
  private readonly socket: Socket;
  private readonly pending = new Map<number, Pending>();
  private rest = "";
  private last = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("utf8").on("data", (text: string) => this.take(text));
    socket.once("close", () => {
      for (const { reject, timer } of this.pending.values()) {
        clearTimeout(timer);
        reject(new Error("QEMU ended"));
      }
      this.pending.clear();
    });
  }

  static async open(socket: Socket): Promise<Monitor> {
    const monitor = new Monitor(socket);
    await monitor.execute("qmp_capabilities");
    return monitor;
  }

  /** Throws with QEMU's own words when it refuses. */
  execute(command: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new Error(`QEMU did not answer ${command} in ${timeout} ms`));
      }, timeout);
      this.pending.set(id, { resolve, reject: (cause) => reject(new Error(command, { cause })), timer });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: parameters, id })}\n`);
    });
  }

  /** A line of the human monitor, for what the machine protocol lacks. Returns what it printed. */
  async human(line: string): Promise<string> {
    return String(await this.execute("human-monitor-command", { "command-line": line }));
  }

  private take(text: string): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines.filter((found) => found.trim() !== "")) {
      const message = JSON.parse(line) as { readonly id?: number } & Answer;
      // The greeting and the events have no id.
      if (message.id === undefined) continue;
      const pending = this.pending.get(message.id);
      if (pending === undefined) continue;
      this.pending.delete(message.id);
      clearTimeout(pending.timer);
      if ("error" in message) pending.reject(new Error(`${message.error.class}: ${message.error.desc}`));
      else pending.resolve(message.return);
    }
  }
}
