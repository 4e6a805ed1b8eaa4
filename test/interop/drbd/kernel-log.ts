import { existsSync, readFileSync } from "node:fs";

export interface KernelMessage {
  /** syslog's: 0 emergency … 7 debug. */
  readonly level: number;
  /** Since the guest's boot. */
  readonly microseconds: number;
  readonly text: string;
}

/** The records of /dev/kmsg: `prefix,sequence,microseconds,flags[,…];text`, then lines of a dictionary, indented. */
export function parseKernelLog(text: string): readonly KernelMessage[] {
  return [...text.matchAll(/^(\d+),\d+,(\d+),[^;\n]*;(.*)$/gm)].map(([, prefix, microseconds, message]) => ({
    level: Number(prefix) & 7,
    microseconds: Number(microseconds),
    text: message ?? "",
  }));
}

/** The kernel's log as it arrives on the virtio console: complete up to the last moment, also of a guest that died. */
export class KernelLog {
  private readonly file: string;
  private offset = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** Has this text arrived since the last `take`? */
  shows(text: string): boolean {
    return this.unread().includes(text);
  }

  /** What came since the last call; whole lines only, without our own marks. */
  take(): readonly KernelMessage[] {
    const fresh = this.unread();
    const end = fresh.lastIndexOf("\n") + 1;
    this.offset += end;
    return parseKernelLog(fresh.subarray(0, end).toString()).filter(({ text }) => !text.startsWith(mark));
  }

  private unread(): Buffer {
    return existsSync(this.file) ? readFileSync(this.file).subarray(this.offset) : Buffer.alloc(0);
  }
}

/** The beginning of a line that the harness writes into the log, to know that all before it has arrived. */
export const mark = "futago-mark ";

/** What the kernel says when something is wrong with itself, or with its peer. */
const complaints: readonly RegExp[] = [
  /\bBUG\b/,
  /\bASSERT/,
  /\bOops\b/,
  /general protection fault/,
  /\bWARNING: CPU/,
  /kernel panic/i,
  /task .* blocked for more than/,
  /Out of memory/,
  /ProtocolError/,
];

/**
 * Throws with the lines that tell of a bug in the kernel or of a peer that broke the protocol, and with what was logged
 * around them. `expected` are lines that the test provoked.
 */
export function assertCleanLog(log: readonly KernelMessage[], expected: readonly RegExp[] = []): void {
  const isBad = ({ text }: KernelMessage): boolean =>
    complaints.some((pattern) => pattern.test(text)) && !expected.some((pattern) => pattern.test(text));
  const bad = log.flatMap((message, index) => (isBad(message) ? [index] : []));
  const [first] = bad;
  if (first === undefined) return;
  const last = bad.at(-1) ?? first;
  const around = log.slice(Math.max(0, first - 10), last + 11);
  const lines = around.map((message) => `${isBad(message) ? "!" : " "} ${message.text}`);
  throw new Error(`the kernel complained:\n${lines.join("\n")}`);
}
