/** The contract's worlds made of the simulator. */
import type { DiskHandler } from "../../../src/core/ports.ts";
import { Clock } from "../../../src/simulator/clock.ts";
import { SimDisk } from "../../../src/simulator/disk.ts";
import { SimNetwork } from "../../../src/simulator/network.ts";
import { SimRandom } from "../../../src/simulator/random.ts";
import { PROMPT, Turns } from "../../../src/simulator/turns.ts";
import type { DiskWorld, NetworkWorld } from "../../contract/worlds.ts";

const SLAB = 8 * 1024 * 1024;

export function slab() {
  const bytes = new Uint8Array(SLAB);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Virtual time passes until the condition holds. */
export function until(clock: Clock) {
  return async (condition: () => boolean, what: string): Promise<void> => {
    // A condition may want to see that nothing happens any more.
    let idle = 0;
    while (!condition()) {
      if (!clock.step() && ++idle > 1000) throw new Error(`waited in vain until ${what}`);
    }
  };
}

export function simulatedNetwork(seed: number): NetworkWorld {
  const clock = new Clock();
  const random = new SimRandom(seed);
  const network = new SimNetwork(clock, random, { latency: 0.1, spread: 1, window: 4 * 1024 * 1024, segment: 65536 });
  const turns = [new Turns(clock, random, PROMPT), new Turns(clock, random, PROMPT)] as const;
  const side = (turn: Turns, address: string) => {
    const memory = slab();
    return { memory, address, network: network.host(address).open(turn, memory) };
  };
  let port = 1000;
  return {
    near: side(turns[0], "10.0.0.1"),
    far: side(turns[1], "10.0.0.2"),
    run: (work) => turns[0].run(() => turns[1].run(work)),
    until: until(clock),
    freePort: async () => port++,
    close: () => undefined,
  };
}

export function simulatedDisk(volatileCache: boolean): DiskWorld {
  const clock = new Clock();
  const random = new SimRandom(1);
  const turns = new Turns(clock, random, PROMPT);
  const memory = slab();
  let handler: DiskHandler | undefined;
  const traits = { size: SLAB, volatileCache, canDiscard: true, latency: 0.1, slowChance: 0.1 };
  const disk = new SimDisk(traits, random).open(turns, memory, { onDisk: (tag, n) => handler?.onDisk(tag, n) });
  return {
    memory,
    disk,
    setHandler(next) {
      handler = next;
    },
    run: (work) => turns.run(work),
    until: until(clock),
    close: () => undefined,
  };
}
