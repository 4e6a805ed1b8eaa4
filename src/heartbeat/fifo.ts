/**
 * The named pipe through which scripts of this host speak: hb_standby, hb_takeover and ha_clustermsg write one classic
 * message without envelope or signature (heartbeat §12.1). Mode 0600: only root can.
 */
import { spawnSync } from "node:child_process";
import { constants, lstatSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { decodeClassic } from "./core/wire/classic.ts";
import { isViolation, type Message } from "./core/wire/message.ts";

/** A writer that never ends a message must not fill the memory. */
const LONGEST = 256 * 1024;

/** Throws if the pipe cannot be made. Returns what closes it. */
export function openFifo(
  path: string,
  onMessage: (message: Message) => void,
  onTrouble: (text: string) => void,
): () => void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) {
    rmSync(path, { force: true });
    const made = spawnSync("mkfifo", ["-m", "600", path], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`mkfifo ${path}: ${made.stderr || made.error?.message}`);
  }
  // Open for writing as well, so that the end of one writer is not the end of the pipe.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  let pending = Buffer.alloc(0);
  const stream = new Socket({ fd, readable: true, writable: false });
  stream.on("error", (error) => onTrouble(`${path}: ${error.message}`));
  stream.on("data", (chunk) => {
    pending = Buffer.concat([pending, Buffer.from(chunk)]);
    for (let end = pending.indexOf("<<<\n"); end >= 0; end = pending.indexOf("<<<\n")) {
      const decoded = decodeClassic(pending.subarray(0, end + 4));
      pending = pending.subarray(end + 4);
      if (isViolation(decoded)) onTrouble(`${path}: ${decoded.violation}`);
      else onMessage(decoded.message);
    }
    if (pending.length > LONGEST) pending = Buffer.alloc(0);
  });
  return () => {
    stream.destroy();
  };
}
