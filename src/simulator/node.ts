/** One machine: its disks and, while it runs, the engine's process on it. */
import { createMd } from "../core/metadata/create-md.ts";
import type { SyncDevice } from "../core/metadata/device.ts";
import { type Geometry, geometryOf, maxDataSize, type Placement } from "../core/metadata/geometry.ts";
import { openMetadata, writeSuperblock } from "../core/metadata/open.ts";
import { decodeSuperblock, MDF, SUPERBLOCK_BYTES } from "../core/metadata/superblock.ts";
import { forced } from "../core/metadata/transcript.ts";
import type { Disk, Memory } from "../core/ports.ts";
import { Resource, type ResourceEvent } from "../core/resource/resource.ts";
import { bytes, type Sector, wholeSectors } from "../core/units.ts";
import type { Volume } from "../core/volume/volume.ts";
import type { Clock } from "./clock.ts";
import { SimDigests } from "./digests.ts";
import { SimDisk } from "./disk.ts";
import type { Journal } from "./journal.ts";
import type { ProcessNetwork, SimNetwork } from "./network.ts";
import type { SimOptions } from "./options.ts";
import type { SimRandom } from "./random.ts";
import { addressOf, nameOf, SLAB_BYTES, settingsFor } from "./settings.ts";
import { Turns } from "./turns.ts";
import type { Workload } from "./workload.ts";

const META_BYTES = 4 * 1024 * 1024;
const STALL_MS = 60;

export interface NodeParts {
  readonly index: number;
  readonly clock: Clock;
  readonly network: SimNetwork;
  readonly random: SimRandom;
  readonly options: SimOptions;
  readonly journal: Journal;
  /** After each turn of a living process. */
  readonly onTurnOver: (node: SimNode) => void;
  readonly onEvent: (node: SimNode, event: ResourceEvent) => void;
  /** For tests of the oracles: a chance to spoil a process that has just been made. */
  readonly onBoot: (node: SimNode, process: Process) => void;
}

export interface Process {
  readonly turns: Turns;
  readonly resource: Resource;
  readonly volume: Volume;
  readonly network: ProcessNetwork;
  readonly memory: Memory;
  workload: Workload | undefined;
}

/** A disk reports to the volume of the process that opened it. */
interface Completions {
  volume: Volume | undefined;
  onDisk(tag: number, result: number): void;
}

export class SimNode {
  readonly name: string;
  readonly index: number;
  readonly data: SimDisk;
  /** The same as `data` for internal metadata. */
  readonly meta: SimDisk;
  readonly placement: Placement;
  process: Process | undefined;
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.index = parts.index;
    this.name = nameOf(parts.index);
    const { options, random } = parts;
    this.placement = { kind: options.placement };
    const traits = {
      volatileCache: options.volatileCache,
      canDiscard: options.canDiscard,
      latency: options.diskLatency,
      slowChance: options.slowDisk,
    };
    const internal = options.placement === "internal";
    const size = internal ? options.volumeBytes + META_BYTES : options.volumeBytes;
    this.data = new SimDisk({ ...traits, size }, random.fork("data"));
    this.meta = internal ? this.data : new SimDisk({ ...traits, size: META_BYTES }, random.fork("meta"));
  }

  get disks(): readonly SimDisk[] {
    return this.meta === this.data ? [this.data] : [this.data, this.meta];
  }

  /** `create-md`, and a first generation that both nodes share: as after an initial sync, or after `--clear-bitmap`. */
  format(current: bigint): void {
    const device = syncDeviceOf(this.meta);
    const made = createMd({ device, name: this.name, placement: this.placement }, forced);
    if (made.exitCode !== 0) throw new Error(made.stderr);
    const opened = openMetadata(device, this.placement);
    if (opened.kind !== "found") throw new Error(`no metadata on ${this.name}`);
    const laSize = maxDataSize(opened.geometry, wholeSectors(bytes(this.data.size)));
    const flags = MDF.CONSISTENT | MDF.WAS_UP_TO_DATE | MDF.AL_CLEAN;
    writeSuperblock(device, opened.geometry, { ...opened.superblock, laSize, current, flags });
  }

  /** What a power failure now would leave of the superblock, and where everything lies. */
  stableGeometry(): { readonly geometry: Geometry; readonly laSize: Sector } {
    const capacity = wholeSectors(bytes(this.meta.size));
    const block = this.meta.copy(this.#superblockAt(), SUPERBLOCK_BYTES, "stable");
    const reading = decodeSuperblock(block);
    if (reading.kind !== "v08") throw new Error(`superblock of ${this.name} is ${reading.kind}`);
    const placed = geometryOf(reading.superblock, this.placement, capacity);
    if (!placed.ok) throw new Error(placed.detail);
    return { geometry: placed.geometry, laSize: reading.superblock.laSize };
  }

  #superblockAt(): number {
    return this.placement.kind === "internal" ? this.meta.size - SUPERBLOCK_BYTES : 0;
  }

  // ---- life ----

  boot(): Process {
    const { clock, random, options, network, journal } = this.#parts;
    if (this.process !== undefined) throw new Error(`${this.name} runs already`);
    const pace = { wake: 0.05, stallChance: options.stallChance, stall: STALL_MS };
    const turns = new Turns(clock, random.fork("turns"), pace);
    const slab = new Uint8Array(SLAB_BYTES);
    const memory = { bytes: slab, view: new DataView(slab.buffer) };
    const host = network.host(addressOf(this.index));
    host.powered = true;
    const port = host.open(turns, memory);
    const completions: Completions = {
      volume: undefined,
      onDisk: (tag, result) => completions.volume?.onDisk(tag, result),
    };
    const resource = new Resource(settingsFor(this.index, options), {
      memory,
      network: port,
      random: random.fork("engine"),
      digests: new SimDigests(),
      openDisks: () => this.#openDisks(turns, memory, completions),
      onEvent: (event) => this.#parts.onEvent(this, event),
      onStatusChange: () => undefined,
    });
    const [volume] = resource.volumes;
    if (volume === undefined) throw new Error("no volume");
    completions.volume = volume;
    turns.hooks = {
      onTurnStart: (now) => resource.beginTurn(now),
      onDeadline: (now) => resource.onTimer(now),
      onTurnEnd: () => resource.endTurn(),
      onTurnOver: () => this.#parts.onTurnOver(this),
      get deadline() {
        return resource.deadline;
      },
    };
    const process: Process = { turns, resource, volume, network: port, memory, workload: undefined };
    this.process = process;
    journal.say(this.name, "fault", "process starts");
    this.#parts.onBoot(this, process);
    return process;
  }

  /** The process ends as by kill -9: the kernel closes its connections, caches stay. */
  kill(): void {
    this.#die(false);
    for (const disk of this.disks) disk.killed();
  }

  /** The machine loses its power: nobody is told, and what was not flushed may be lost. */
  powerFails(): void {
    this.#die(true);
    this.#parts.network.host(addressOf(this.index)).powerFails();
    for (const disk of this.disks) disk.powerFailed(this.#parts.options.keeps);
  }

  #die(silently: boolean): void {
    const { process } = this;
    if (process === undefined) return;
    process.turns.alive = false;
    process.network.die(silently);
    process.workload?.abandon();
    this.process = undefined;
  }

  #openDisks(turns: Turns, memory: Memory, completions: Completions) {
    if (this.disks.some((disk) => disk.isOpen)) return { code: 104, text: "the disk is in use" };
    const data: Disk = this.data.open(turns, memory, completions);
    const meta: Disk = this.meta === this.data ? data : this.meta.open(turns, memory, completions);
    return { data, meta };
  }
}

function syncDeviceOf(disk: SimDisk): SyncDevice {
  return {
    size: disk.size,
    read: (at, length) => disk.copy(at, length),
    write: (at, content) => disk.put(at, content.slice()),
    flush: () => undefined,
  };
}
