/** No check that cannot fail: each breakage is one that an oracle is there for, and it is found within a few seeds. */
import test from "ava";
import type { Process, SimNode } from "../../src/simulator/node.ts";
import type { SimOptions } from "../../src/simulator/options.ts";
import { addressOf } from "../../src/simulator/settings.ts";
import { type SimulateOptions, simulate } from "../../src/simulator/simulate.ts";

const calm: Partial<SimOptions> = {
  volumeBytes: 32 * 1024 * 1024,
  placement: "internal",
  volatileCache: true,
  alExtents: 3,
  diskLatency: 0.3,
  slowDisk: 0,
  linkLatency: 0.3,
  linkSpread: 1,
  connectInterval: 1000,
  pingInterval: 1000,
  pingTimeout: 200,
  authenticated: false,
  depth: 8,
  requests: 800,
  duration: 8000,
  faultPause: 900,
  think: 2,
  mix: { read: 20, flush: 10, trim: 2, zero: 2 },
  fuaChance: 0.05,
  hotSpots: 6,
  keeps: 0.5,
};

/** Oracles that found something in any of the seeds. */
function found(seeds: readonly number[], how: SimulateOptions): Set<string> {
  const oracles = new Set<string>();
  for (const seed of seeds) {
    for (const { oracle } of simulate(seed, how).violations) oracles.add(oracle);
    if (oracles.size > 0) break;
  }
  return oracles;
}

/** A pause between faults that is longer than any run. */
const NEVER = 1e9;

const few = [1, 2, 3, 4, 5, 6, 7, 8];

interface Breakage {
  readonly title: string;
  readonly how: SimulateOptions;
  /** Any of these must find it. */
  readonly by: readonly string[];
}

const onBoot = (spoil: (node: SimNode, process: Process) => void) => ({ onBoot: spoil });

const breakages: readonly Breakage[] = [
  {
    title: "a disk that ignores flush and FUA",
    how: {
      fixed: { ...calm, faults: ["power both"], keeps: 0 },
      onStart: ({ nodes }) => {
        for (const { data } of nodes) {
          data.flush = () => undefined;
          const write = data.write.bind(data);
          data.write = (at, length, content) => write(at, length, content, false);
        }
      },
    },
    by: ["durability", "covered", "engine"],
  },
  {
    title: "a network that changes a byte of what is written",
    how: {
      fixed: { ...calm, faults: ["reset"] },
      onStart: (_, wire) => {
        wire.spoil = (bytes) => {
          if (bytes.length < 4096) return bytes;
          const spoilt = bytes.slice();
          spoilt[2000] = (spoilt[2000] ?? 0) ^ 1;
          return spoilt;
        };
      },
    },
    by: ["convergence", "durability", "covered"],
  },
  {
    title: "a disk that reports a write and forgets it",
    how: {
      fixed: { ...calm, faults: ["reset"] },
      onStart: ({ nodes, random }) => {
        const [{ data }] = nodes;
        const write = data.write.bind(data);
        const dice = random.fork("forgets");
        data.write = (at, length, content, stable) => {
          if (at > 24 * 1024 * 1024 || !dice.chance(0.02)) write(at, length, content, stable);
        };
      },
    },
    by: ["convergence", "durability", "covered", "reads"],
  },
  {
    title: "an engine that forgets which blocks are out of sync",
    how: {
      fixed: { ...calm, faults: ["silence", "reset"] },
      ...onBoot((_, { volume }) => {
        volume.setOutOfSync = () => undefined;
      }),
    },
    by: ["convergence", "covered", "durability"],
  },
  {
    title: "an engine without an activity log",
    how: {
      fixed: { ...calm, faults: ["kill", "power"] },
      ...onBoot((_, { volume }) => {
        Object.defineProperty(volume, "activity", { get: () => undefined });
      }),
    },
    by: ["covered", "convergence", "durability"],
  },
  {
    title: "an engine that writes no superblock",
    how: {
      fixed: { ...calm, faults: ["kill", "power"] },
      ...onBoot((_, { volume }) => {
        volume.patchSuperblock = (_patch, done = () => undefined) => done(0);
      }),
    },
    by: ["convergence", "covered", "durability", "split brain", "answers"],
  },
  {
    title: "an engine that does not flush the peer's disk before it answers a barrier",
    how: {
      fixed: { ...calm, faults: ["power both", "power"], keeps: 0, alExtents: 3 },
      ...onBoot((_, { volume }) => {
        Object.defineProperty(volume, "needsBarrierFlush", { get: () => false });
      }),
    },
    by: ["durability", "covered", "convergence"],
  },
  {
    title: "an engine that acknowledges before the peer has written",
    how: {
      fixed: { ...calm, faults: ["reset"], faultPause: NEVER, pingInterval: 3000 },
      // What is on its way when the link falls silent is lost with its sender.
      onStart: (cluster) => {
        const { clock, network } = cluster;
        clock.at(4000, () => {
          network.setLink(addressOf(0), addressOf(1), "silent");
          network.setLink(addressOf(1), addressOf(0), "silent");
        });
        clock.at(4150, () => {
          for (const primary of cluster.primaries) cluster.powerFails(primary);
        });
      },
      ...onBoot((_, { resource, volume }) => {
        const send = resource.connection.sendWrite.bind(resource.connection);
        resource.connection.sendWrite = (id) => {
          send(id);
          volume.app.onPeerAck(id, false);
        };
      }),
    },
    by: ["durability", "reads", "engine", "covered", "convergence"],
  },
  {
    title: "an engine that lets a second Primary be",
    how: {
      fixed: { ...calm, faults: ["kill"], duration: 3000 },
      onStart: ({ clock, nodes }) => {
        const promote = (): void => {
          for (const { process } of nodes) {
            if (process === undefined) continue;
            process.turns.post(() => {
              process.resource.apply(process.volume, { ...process.volume.state, role: 1 }, false);
            });
          }
        };
        clock.at(2000, promote);
      },
    },
    by: ["one Primary"],
  },
  {
    title: "an engine that keeps requests to itself",
    how: {
      fixed: { ...calm, faults: ["reset"] },
      ...onBoot((_, { volume }) => {
        const flush = volume.flush.bind(volume);
        let count = 0;
        volume.flush = (id) => {
          if (++count % 20 !== 0) flush(id);
        };
      }),
    },
    by: ["answers"],
  },
  {
    title: "an engine that loses slots",
    how: {
      fixed: { ...calm, faults: ["reset"], requests: 300, duration: 3000 },
      ...onBoot((_, { volume }) => {
        const release = volume.release.bind(volume);
        let count = 0;
        volume.release = (id) => {
          if (++count % 50 !== 0) release(id);
        };
      }),
    },
    by: ["convergence"],
  },
  {
    title: "a resync that asks for everything",
    how: {
      fixed: { ...calm, faults: ["silence", "reset"], volumeBytes: 8 * 1024 * 1024, alExtents: 67 },
      ...onBoot((_, { volume }) => {
        const begin = volume.beginResync.bind(volume);
        volume.beginResync = (now) => {
          const { bitmap } = volume;
          if (bitmap !== undefined) bitmap.setRange(0 as never, bitmap.bits as never);
          begin(now);
        };
      }),
    },
    by: ["resync"],
  },
];

test("the seeds of this file find nothing in the engine as it is", (t) => {
  t.timeout(170_000);
  t.deepEqual([...found([1, 2, 3], { fixed: { ...calm, faults: ["kill", "power", "power both", "silence"] } })], []);
});

for (const { title, how, by } of breakages) {
  test(`found: ${title}`, (t) => {
    t.timeout(170_000);
    const oracles = [...found(few, how)];
    t.true(
      oracles.some((oracle) => by.includes(oracle)),
      `by ${oracles.join(", ") || "nobody"}`,
    );
  });
}
