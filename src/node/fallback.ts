/** The ports without io_uring: Node's sockets and libuv's thread pool, over memory that is page aligned without an addon's help. */
import { Arena } from "./arena.ts";
import { openFile } from "./disk.ts";
import { EngineLoop } from "./engine-loop.ts";
import { FallbackNetwork } from "./fallback-network.ts";
import { FallbackStream } from "./fallback-stream.ts";
import { FileDisk } from "./file-disk.ts";
import type { Io } from "./io.ts";
import { loadSys } from "./native.ts";
import { ThreadPoolQueue } from "./thread-pool-queue.ts";

/** WebAssembly's page. */
const WASM_PAGE = 64 * 1024;
const PAGE = 4096;

export interface FallbackOptions {
  /** Why there is no ring. */
  readonly reason: string;
  readonly slabBytes: number;
  readonly streams: number;
  /** Size of the arena, a multiple of 64 KiB. */
  readonly bytes: number;
}

export function openFallback(options: FallbackOptions): Io {
  const sys = loadSys();
  const loop = new EngineLoop();
  const { buffer } = new WebAssembly.Memory({ initial: options.bytes / WASM_PAGE, maximum: options.bytes / WASM_PAGE });
  const giveBack = (at: number, length: number): void => {
    const from = Math.ceil(at / PAGE) * PAGE;
    const to = Math.floor((at + length) / PAGE) * PAGE;
    if (from < to) sys.giveBack(new Uint8Array(buffer, from, to - from));
  };
  const arena = new Arena(buffer, options.slabBytes, options.streams, giveBack);
  const queue = new ThreadPoolQueue(loop, arena.bytes, sys);
  const network = new FallbackNetwork(loop, arena, sys);
  return {
    backend: `fallback (${options.reason})`,
    memory: arena.memory,
    loop,
    network,
    openDisk(path, diskOptions, handler) {
      const file = openFile(path, diskOptions);
      return file.refused ? file : new FileDisk(queue, arena, file, handler);
    },
    listenUnix: (path, onStream, onError) => network.listenUnix(path, onStream, onError),
    credentialsOf: (stream) => (stream instanceof FallbackStream ? stream.credentials() : undefined),
    giveBack,
    close: () => loop.close(),
  };
}
