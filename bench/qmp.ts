/** One QMP conversation: enough to start a mirror job and to wait for an event. */
import { connect } from "node:net";
import { createInterface } from "node:readline";

interface Message {
  readonly QMP?: unknown;
  readonly event?: string;
  readonly error?: { readonly desc: string };
}

/** Executes `command` on the monitor at `path`, then waits for `event`. Throws what QEMU refuses, or after `limit` ms. */
export async function executeAndAwait(path: string, command: object, event: string, limit: number): Promise<void> {
  const socket = connect(path);
  const timer = setTimeout(() => socket.destroy(new Error(`no ${event} within ${limit} ms`)), limit);
  try {
    const say = (message: object): boolean => socket.write(`${JSON.stringify(message)}\n`);
    // A failing socket ends the lines with its error only where it is listened to.
    let failure: Error | undefined;
    socket.on("error", (error) => (failure = error));
    for await (const line of createInterface({ input: socket })) {
      const message = JSON.parse(line) as Message;
      if (message.error !== undefined) throw new Error(`QMP: ${message.error.desc}`);
      if (message.QMP !== undefined) {
        say({ execute: "qmp_capabilities" });
        say(command);
      }
      if (message.event === event) return;
    }
    throw failure ?? new Error(`QMP: the monitor closed before ${event}`);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
