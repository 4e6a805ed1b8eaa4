/**
 * SIGKILL at random moments, again and again: whatever was acknowledged under protocol C is there afterwards on whichever node serves
 * the data, both copies become equal, and no more is resynchronised than bitmap and activity log name (drbd-84 §7.1, §9.5).
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readExport } from "./nbd-wire.ts";
import { type EngineNode, Pair, type PairOptions, resyncsOf } from "./pair.ts";
import { type Load, RecordingClient, seeded } from "./recording-client.ts";

const MiB = 1024 * 1024;
const AL_EXTENT = 4 * MiB;
const diskBytes = 32 * MiB;

export interface RoundsOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly backend?: PairOptions["backend"];
  readonly log: (text: string) => void;
}

class Story {
  readonly pair: Pair;
  readonly random: () => number;
  readonly client: RecordingClient;
  /** Serves the data at the start and at the end of each round. */
  primary: EngineNode;
  /** Activity-log extents that writes may have touched, since the node attached its disk as far as it has been Primary since. */
  readonly #extents = new Map<EngineNode, Set<number>>();
  /** Those that a resync of this round may cover. */
  #named = new Set<number>();

  constructor(pair: Pair, size: number, random: () => number) {
    this.pair = pair;
    this.random = random;
    this.client = new RecordingClient(size, random);
    this.primary = pair.host01;
  }

  get secondary(): EngineNode {
    return this.pair.peerOf(this.primary);
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Load on a small part of the volume, so that it can be seen whether a resync touches more. */
  async load(node: EngineNode): Promise<void> {
    const length = 2 * MiB;
    const from = this.below((this.client.size - length) / 4096) * 4096;
    const load: Load = { connections: 3, depth: 8, from, length, largest: 256 * 1024 };
    for (let n = Math.floor(from / AL_EXTENT); n * AL_EXTENT < from + length; n++) {
      this.extentsOf(node).add(n);
      this.#named.add(n);
    }
    await this.client.start(node.nbdSocket, "r0", load);
  }

  /** A round begins: a crash in it finds what was written since the disks were attached. */
  begin(): void {
    this.#named = new Set(this.pair.nodes.flatMap((node) => [...this.extentsOf(node)]));
  }

  /** KiB that a resync of this round may cover. */
  get bound(): number {
    return (this.#named.size * AL_EXTENT) / 1024;
  }

  extentsOf(node: EngineNode): Set<number> {
    const known = this.#extents.get(node) ?? new Set<number>();
    this.#extents.set(node, known);
    return known;
  }

  async up(node: EngineNode): Promise<void> {
    await node.up();
    this.#extents.delete(node);
  }

  /** No load: everything has its reply, and no connection is open. */
  async rest(): Promise<void> {
    await this.client.stop();
    this.client.drop();
    await this.client.broken();
    await this.primary.reaches("without clients", ({ volumes }) => volumes.every(({ openCount }) => openCount === 0));
  }

  /** What the export holds is what the client may expect. */
  async judge(): Promise<void> {
    const wrongs = this.client.settle(await readExport(this.primary.nbdSocket, "r0"));
    if (wrongs.length > 0) throw new Error(`lost or wrong on ${this.primary.name}:\n${wrongs.join("\n")}`);
  }

  complain(): void {
    const [first] = this.client.complaints;
    if (first !== undefined) throw new Error(`${this.client.complaints.length} complaints, the first: ${first}`);
  }

  compareCopies(): void {
    const [one, two] = this.pair.nodes.map((node) => Buffer.from(node.image(this.client.size)));
    if (one === undefined || two === undefined || one.equals(two)) return;
    const differing: number[] = [];
    for (let at = 0; at < this.client.size && differing.length < 10; at += 512) {
      if (!one.subarray(at, at + 512).equals(two.subarray(at, at + 512))) differing.push(at / 512);
    }
    throw new Error(`the copies differ, first in blocks ${differing.join(", ")}`);
  }
}

type Scenario = (story: Story) => Promise<void>;

/** Kills the Primary in the middle of its work. */
async function killPrimary(story: Story): Promise<void> {
  await story.load(story.primary);
  await story.client.replies(1 + story.below(400));
  await story.primary.kill();
  await story.client.broken();
}

const scenarios: Readonly<Record<string, Scenario>> = {
  "Primary killed, failover": async (story) => {
    const dead = story.primary;
    await killPrimary(story);
    story.primary = story.secondary;
    await story.primary.primary();
    await story.judge();
    await story.load(story.primary);
    await story.client.replies(story.below(200));
    await story.up(dead);
    await story.pair.synced();
    await story.rest();
  },
  "Primary killed, restarted beside its peer": async (story) => {
    await killPrimary(story);
    await story.up(story.primary);
    await story.pair.synced();
    await story.primary.primary();
  },
  "Primary killed, restarted and promoted alone, then connected": async (story) => {
    await killPrimary(story);
    await story.primary.start();
    await story.primary.must({ verb: "attach", volume: undefined });
    await story.primary.primary();
    await story.judge();
    await story.load(story.primary);
    await story.client.replies(story.below(200));
    await story.primary.connect();
    await story.pair.synced();
    await story.rest();
  },
  "Secondary killed, the application notices nothing": async (story) => {
    const { secondary } = story;
    await story.load(story.primary);
    await story.client.replies(story.below(300));
    await secondary.kill();
    await story.client.replies(1 + story.below(300));
    await story.up(secondary);
    await story.client.replies(story.below(300));
    await story.rest();
    await story.pair.synced();
  },
  "Secondary killed twice, the second time while it is being synchronised": async (story) => {
    const { secondary } = story;
    await story.load(story.primary);
    await story.client.replies(story.below(200));
    await secondary.kill();
    await story.client.replies(200);
    await story.up(secondary);
    await secondary.reaches("connected", ({ connection }) => connection !== "WFConnection");
    await story.client.replies(story.below(40));
    await secondary.kill();
    await story.client.replies(story.below(100));
    await story.up(secondary);
    await story.pair.synced();
    await story.rest();
  },
  "Secondary silent for longer than ping-int and ping-timeout, then there again": async (story) => {
    const { secondary } = story;
    await story.load(story.primary);
    await story.client.replies(story.below(300));
    secondary.freeze();
    // More than is ever under way: the last of them cannot have waited for the silent one.
    await story.client.replies(100);
    secondary.thaw();
    await story.client.replies(story.below(300));
    await story.rest();
    await story.pair.synced();
  },
  "both killed": async (story) => {
    await story.load(story.primary);
    await story.client.replies(1 + story.below(400));
    for (const node of story.pair.nodes) node.killNow();
    await Promise.all(story.pair.nodes.map((node) => node.kill()));
    await story.client.broken();
    await Promise.all(story.pair.nodes.map((node) => story.up(node)));
    await story.pair.synced();
    await story.primary.primary();
  },
  "Source of a resync killed: its Target is not fit to serve": async (story) => {
    const { primary, secondary } = story;
    await secondary.kill();
    await story.load(primary);
    await story.client.replies(200 + story.below(200));
    await story.up(secondary);
    const met = await secondary.reaches("connected", ({ connection }) => connection !== "WFConnection");
    await primary.kill();
    await story.client.broken();
    const left = await secondary.reaches("alone", ({ connection }) => connection === "WFConnection");
    if (met.connection === "SyncTarget" && left.volumes[0]?.disk === "Inconsistent") {
      const refused = await secondary.execute({ verb: "primary", volume: undefined, force: false });
      // SS_NO_UP_TO_DATE_DISK, drbd-84 §4.5.
      if (refused.code !== -2) throw new Error(`an Inconsistent disk was promoted: (${refused.code}) ${refused.text}`);
    }
    await story.up(primary);
    await story.pair.synced();
    await primary.primary();
  },
};

async function round(story: Story, name: string, scenario: Scenario): Promise<string> {
  story.begin();
  const known = story.pair.nodes.map((node) => resyncsOf(node.log).length);
  await scenario(story);
  story.complain();
  await story.judge();
  await story.pair.synced();
  story.compareCopies();
  const resyncs = story.pair.nodes.flatMap((node, n) => resyncsOf(node.log).slice(known[n]));
  const allowed = story.bound;
  if (resyncs.some((kib) => kib > allowed)) {
    throw new Error(`resync of ${resyncs.join(", ")} KiB where bitmap and activity log name at most ${allowed}`);
  }
  return `${name}: resyncs of ${resyncs.join(", ")} of at most ${allowed} KiB`;
}

/** Throws, with the seed, the round and both logs, at the first thing that must not be. Scenarios take turns. */
export async function crashRounds(options: RoundsOptions): Promise<void> {
  const { rounds, seed, backend, log } = options;
  const scratch = mkdtempSync(join(tmpdir(), "futago-crash-"));
  const pair = new Pair({ scratch, diskBytes, ...(backend === undefined ? {} : { backend }) });
  const names = Object.keys(scenarios);
  try {
    const size = await pair.openSynced();
    const story = new Story(pair, size, seeded(seed));
    for (let n = 0; n < rounds; n++) {
      const name = names[n % names.length] ?? "";
      const started = performance.now();
      try {
        const told = await round(story, name, scenarios[name] ?? (() => Promise.resolve()));
        log(`${n + 1}: ${told}, ${story.client.acknowledged} replies, ${Math.round(performance.now() - started)} ms`);
      } catch (cause) {
        const logs = pair.nodes.map((node) => `-- ${node.name}\n${node.tail(60)}`).join("\n");
        const message = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`seed ${seed}, round ${n + 1} (${name}): ${message}\n${logs}`, { cause });
      }
    }
    log(`${story.client.acknowledged} replies in ${rounds} rounds, seed ${seed}`);
  } finally {
    await pair.close();
  }
}
