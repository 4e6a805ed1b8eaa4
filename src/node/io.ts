/**
 * The way in: one memory area, one loop, and the ports over it. io_uring where the kernel grants it, else Node's own sockets and
 * thread pool behind the same ports. All handlers are called within a turn of `loop`.
 */
import type { Accept, Closable, DiskHandler, Memory, Network, Stream } from "../core/ports.ts";
import { Arena, arenaBytes } from "./arena.ts";
import { type DiskOptions, type DiskRefusal, type OpenDisk, openFile } from "./disk.ts";
import { EngineLoop } from "./engine-loop.ts";
import { openFallback } from "./fallback.ts";
import { FileDisk } from "./file-disk.ts";
import { createRing, loadSys, type NativeRing, type PeerCredentials } from "./native.ts";
import { errnoText } from "./node-error.ts";
import { RING_ENTRIES, Ring } from "./ring.ts";
import { RingNetwork } from "./ring-network.ts";
import { RingStream } from "./ring-stream.ts";
import { prepareSocketPath, removingSocket } from "./unix-socket.ts";

export interface IoOptions {
  /** Size of `memory`. Pages never touched cost nothing. */
  readonly slabBytes: number;
  /** Streams open at a time; further connections wait. Default 128. */
  readonly streams?: number;
  /** `fallback` leaves io_uring alone; the environment's FUTAGO_BACKEND=fallback has the same effect. Default: `ring`. */
  readonly prefer?: "ring" | "fallback";
}

export interface Io {
  /** `io_uring`, or `fallback (io_uring_setup: EPERM)`: for `status`. */
  readonly backend: string;
  readonly memory: Memory;
  readonly loop: EngineLoop;
  readonly network: Network;
  /** The disk reports to `handler` only. */
  openDisk(path: string, options: DiskOptions, handler: DiskHandler): OpenDisk | DiskRefusal;
  /** Streams come with `{ address: path, port: 0 }`. A stale socket file is replaced, a living one refused through `onError`. */
  listenUnix(path: string, onStream: Accept, onError: (detail: string) => void): Closable;
  /** Who connected to one of our Unix sockets; undefined for TCP, or when the kernel does not say. */
  credentialsOf(stream: Stream): PeerCredentials | undefined;
  /** Pages within the range of `memory` go back to the system and read as zeroes afterwards. */
  giveBack(offset: number, length: number): void;
  /** Ends the loop's hold on the process. Streams, listeners and disks must have been closed before. */
  close(): void;
}

const DEFAULT_STREAMS = 128;
const BACKLOG = 64;

export function openIo(options: IoOptions): Io {
  const streams = options.streams ?? DEFAULT_STREAMS;
  const asked = options.prefer === "fallback" ? "asked for" : undefined;
  const told = process.env["FUTAGO_BACKEND"] === "fallback" ? "FUTAGO_BACKEND=fallback" : undefined;
  const bytes = arenaBytes(options.slabBytes, streams);
  const ring = asked ?? told ?? createRing(bytes, RING_ENTRIES);
  if (typeof ring === "string") return openFallback({ reason: ring, slabBytes: options.slabBytes, streams, bytes });
  return ringIo(ring, options.slabBytes, streams);
}

function ringIo(native: NativeRing, slabBytes: number, streams: number): Io {
  const sys = loadSys();
  const loop = new EngineLoop();
  const ring = new Ring(native, loop);
  const giveBack = (at: number, length: number): void => ring.giveBack(at, length);
  const arena = new Arena(native.arena, slabBytes, streams, giveBack);
  const network = new RingNetwork(ring, arena, sys);
  return {
    backend: "io_uring",
    memory: arena.memory,
    loop,
    network,
    openDisk(path, options, handler) {
      const file = openFile(path, options);
      return file.refused ? file : new FileDisk(ring, arena, file, handler);
    },
    listenUnix(path, onStream, onError) {
      const obstacle = prepareSocketPath(path);
      const fd = obstacle === undefined ? sys.listenUnix(path, BACKLOG) : 0;
      if (obstacle === undefined && fd >= 0) {
        return removingSocket(path, network.listenUnix(fd, path, onStream, onError));
      }
      const detail = obstacle ?? `${path}: ${errnoText(fd)}`;
      loop.settleInNextTurn({ settle: () => onError(detail) });
      return { close() {} };
    },
    credentialsOf(stream) {
      if (!(stream instanceof RingStream)) return undefined;
      const who = sys.peerCredentials(stream.fd);
      return typeof who === "number" || who.pid === 0 ? undefined : who;
    },
    giveBack,
    close() {
      loop.close();
      ring.close();
    },
  };
}
