/** The contract's worlds made of this machine: loopback and real files, over the ring or the fallback. */

import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import type { Disk, DiskHandler } from "../../src/core/ports.ts";
import type { DiskOptions } from "../../src/node/disk.ts";
import { type Io, type IoOptions, openIo } from "../../src/node/io.ts";
import { type DiskWorld, type NetworkWorld, waitFor } from "./worlds.ts";

export type Backend = NonNullable<IoOptions["prefer"]>;
const SLAB = 8 * 1024 * 1024;

/** Fails where the ring is asked for and refused: a contract run must not test the fallback twice. */
export function open(prefer: Backend): Io {
  const io = openIo({ slabBytes: SLAB, prefer });
  if (prefer === "ring" && io.backend !== "io_uring") throw new Error(`no ring here: ${io.backend}`);
  return io;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/** Two engines in one process, each with its own memory; `run` enters the turns of both. */
export function realNetwork(prefer: Backend): NetworkWorld {
  const near = open(prefer);
  const far = open(prefer);
  return {
    near: { memory: near.memory, network: near.network, address: "127.0.0.1" },
    far: { memory: far.memory, network: far.network, address: "127.0.0.2" },
    run: (work) => near.loop.run(() => far.loop.run(work)),
    until: waitFor,
    freePort,
    close() {
      near.close();
      far.close();
    },
  };
}

export function realDisk(prefer: Backend, path: string, options: DiskOptions): DiskWorld {
  const io = open(prefer);
  let handler: DiskHandler | undefined;
  const opened = io.openDisk(path, options, { onDisk: (tag, result) => handler?.onDisk(tag, result) });
  if ("refused" in opened) throw new Error(opened.text);
  const disk: Disk = opened;
  return {
    memory: io.memory,
    disk,
    setHandler(next) {
      handler = next;
    },
    run: (work) => io.loop.run(work),
    until: waitFor,
    async close() {
      disk.close();
      // What is in flight is reported before the descriptor goes.
      await new Promise((resolve) => setImmediate(resolve));
      io.close();
    },
  };
}
