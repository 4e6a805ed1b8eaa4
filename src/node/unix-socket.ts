/** Unix sockets for NBD and control: the path's limit, and what to do about a socket file that is there already. */
import { lstatSync, mkdirSync, rmSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import type { Closable } from "../core/ports.ts";
import { loadSys } from "./native.ts";
import { ECONNREFUSED, errnoText } from "./node-error.ts";

/** unix(7): sun_path has 108 bytes, the last one is the terminator. */
export const LONGEST_SOCKET_PATH = 107;

/** Why `path` cannot be listened on, or undefined. A socket file that nobody listens on is removed; anything else is left alone. */
export function prepareSocketPath(path: string): string | undefined {
  const length = Buffer.byteLength(path);
  if (length > LONGEST_SOCKET_PATH) {
    return `${path}: ${length} bytes are too long for a Unix socket, at most ${LONGEST_SOCKET_PATH} fit`;
  }
  mkdirSync(dirname(path), { recursive: true });
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return undefined;
  if (!there.isSocket()) return `${path} exists and is not a socket`;
  const answer = loadSys().probeUnix(path);
  if (answer === 0) return `${path}: another process listens there`;
  if (answer !== ECONNREFUSED) return `${path}: ${errnoText(answer)}`;
  unlinkSync(path);
  return undefined;
}

/** Closing `listener` also removes its socket file. */
export function removingSocket(path: string, listener: Closable): Closable {
  let open = true;
  return {
    close() {
      if (open) rmSync(path, { force: true });
      open = false;
      listener.close();
    },
  };
}
