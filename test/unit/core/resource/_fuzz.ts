/**
 * A peer that says anything at any moment: every packet of the table with plausible, wild and mutated contents, on either stream, while
 * applications work, disks fail and connections break. Nothing may throw (an exception ends the engine), and when everything is over no slot
 * and no memory is left behind.
 */
import { DiskState } from "../../../../src/core/state/state.ts";
import { headerBytes, writeHeader } from "../../../../src/core/wire/header.ts";
import { formOf, type PacketRow, packets } from "../../../../src/core/wire/packets.ts";
import { MIB, Rig, type RigOptions, SAME, stateWord } from "./_rig.ts";

const rows: readonly PacketRow[] = Object.values(packets);

/** Chance out of one seed. */
class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** 0 … n-1 */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }
  pick<T>(...from: readonly [T, ...T[]]): T {
    return from[this.below(from.length)] ?? from[0];
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** Block ids the engine has used, so that acks may hit. */
interface Memory {
  ids: { readonly id: bigint; readonly sector: number; readonly length: number; readonly volume: number }[];
}

function wideField(dice: Dice, name: string, rig: Rig, memory: Memory): bigint {
  const known = memory.ids[dice.below(Math.max(1, memory.ids.length))];
  const end = BigInt(rig.volume().size512);
  if (name === "blockId") return dice.pick(known?.id ?? 1n, known?.id ?? 1n, 2n ** 64n - 1n, 5n, 4711n);
  if (name === "sector") {
    return dice.pick(BigInt(known?.sector ?? 0), 0n, 8n, 2040n, end - 1n, end, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n);
  }
  if (name.endsWith("Size")) return dice.pick(end, end, 0n, 1n, 8n, end - 8n, end + 8n, 2n ** 40n, 2n ** 64n - 1n);
  return dice.pick(0n, 4n, SAME, SAME | 1n, 0x5555666677778888n, BigInt(dice.below(2 ** 31)), 2n ** 64n - 1n);
}

function word(dice: Dice, name: string): number {
  const size = dice.pick(512, 4096, 4096, 65536, MIB, 0, 1, 511, MIB + 512, 128 * MIB, 2 ** 31, 2 ** 32 - 512);
  switch (name) {
    case "state":
      return dice.chance(80)
        ? stateWord({ role: 1 + dice.below(2), conn: dice.below(24), disk: dice.below(9), pdsk: dice.below(9) })
        : dice.below(2 ** 32);
    case "mask":
      return dice.pick(3, 0x1e00, 0x1f0, 0xc, 0x1e000, 0x1e03, 0x1fffff, dice.below(2 ** 23));
    case "val":
      return dice.pick(1, 2, 0x10, 0xa0, 0xb0, 0xc0, 0x120, 0x400, 0x1001, dice.below(2 ** 23));
    case "size":
    case "blksize":
      return size;
    case "retcode":
      return dice.pick(1, 2, -10, -19, 0, 2 ** 31 - 1) >>> 0;
    case "setSize":
      return dice.below(4);
    case "protocolMin":
      return 86;
    default:
      return dice.pick(0, 0, 1, 2, 3, dice.below(16), dice.below(2 ** 32), 2 ** 32 - 1);
  }
}

function head(dice: Dice, row: PacketRow, rig: Rig, memory: Memory): Uint8Array {
  const { head: layout } = formOf(row, rig.speech.apv, rig.speech.features);
  const bytes = new Uint8Array(layout.bytes);
  const view = new DataView(bytes.buffer);
  for (const [name, type] of Object.entries(layout.fields)) {
    const at = layout.offset[name] ?? 0;
    if (type.bytes === 8) view.setBigUint64(at, wideField(dice, name, rig, memory));
    else if (type.bytes === 4) view.setUint32(at, word(dice, name));
    else if (type.bytes === 64 && dice.chance(10)) bytes.fill(0x41, at, at + 64);
  }
  return bytes;
}

function tailLength(dice: Dice, row: PacketRow): number {
  switch (row.name) {
    case "P_DATA":
    case "P_DATA_REPLY":
    case "P_RS_DATA_REPLY":
      return dice.pick(512, 4096, 4096, 65536, 0, 100, MIB);
    case "P_BITMAP":
      return dice.pick(512, 504, 8, 0, 4080);
    case "P_COMPRESSED_BITMAP":
      return dice.pick(3, 2, 8, 100);
    case "P_PROTOCOL":
    case "P_PROTOCOL_UPDATE":
      return dice.pick(1, 1, 5);
    case "P_SYNC_PARAM":
      return dice.pick(0, 1);
    default:
      return dice.chance(95) ? 0 : dice.below(64);
  }
}

/** One packet, now and then with bytes changed or missing. */
function anything(dice: Dice, rig: Rig, memory: Memory): { readonly row: PacketRow; readonly bytes: Uint8Array } {
  const row = rows[dice.below(rows.length)] ?? packets.P_PING;
  const body = head(dice, row, rig, memory);
  const tail = new Uint8Array(tailLength(dice, row)).map(() => dice.below(256));
  const { apv } = rig.speech;
  const length = body.length + tail.length;
  const whole = new Uint8Array(headerBytes(apv) + length);
  const volume = dice.chance(95) ? dice.below(rig.resource.volumes.length) : dice.below(65536);
  const declared = apv < 95 ? Math.min(length, 65535) : length;
  const at = writeHeader(new DataView(whole.buffer), 0, apv, row.code, volume, declared);
  whole.set(body, at);
  whole.set(tail, at + body.length);
  if (dice.chance(3)) whole[dice.below(whole.length)] = dice.below(256);
  return { row, bytes: dice.chance(1) ? whole.subarray(0, dice.below(whole.length)) : whole };
}

function remember(rig: Rig, memory: Memory): void {
  for (const { name, values, tail, volume } of rig.received()) {
    const id = values["blockId"];
    if (typeof id !== "bigint" || !name.startsWith("P_DATA")) continue;
    memory.ids.push({ id, sector: Number(values["sector"]), length: tail.length, volume });
    if (memory.ids.length > 20) memory.ids.shift();
  }
}

/** Something that the node's own side does. */
function actOnce(dice: Dice, rig: Rig): void {
  const { commands } = rig.resource;
  const n = dice.below(rig.resource.volumes.length);
  const volume = rig.volume(n);
  const at = dice.below(64) * 4096;
  const done = (): void => undefined;
  switch (dice.below(16)) {
    case 0:
      return void rig.read(at, 4096, n);
    case 1:
      return void rig.flush(n);
    case 2:
    case 3:
    case 4:
      return void rig.write(at, dice.pick(512, 4096, 65536), n, dice.chance(20));
    case 5: {
      const id = rig.client(n).take(0);
      return rig.turn(() => volume.trim(id, at, dice.pick(4096, MIB, 4 * MIB), dice.chance(20)));
    }
    case 6:
      return rig.turn(() => commands.primary(volume, dice.chance(30), done));
    case 7:
      return rig.turn(() => commands.secondary(volume, done));
    case 8:
      return rig.turn(() => (dice.chance(30) ? commands.invalidate : commands.attach).call(commands, volume, done));
    case 9:
      return rig.turn(() => commands.detach(volume, dice.chance(50), done));
    case 10:
      rig.disk(n).holds = dice.chance(50) ? () => false : ({ tag }) => tag % dice.pick(1, 2, 3) === 0;
      return;
    case 11: {
      const failing = dice.pick("read", "write", "flush", "none");
      rig.disk(n).fails = ({ what }) => (what === failing ? -5 : 0);
      return;
    }
    case 12:
      return rig.turn(() => (dice.chance(50) ? commands.pauseSync : commands.resumeSync).call(commands, volume, done));
    case 13:
      return rig.pass(dice.pick(1, 30, 150, 2500));
    case 14:
      if (rig.data !== undefined) rig.data.stream.jammed = dice.chance(30);
      return;
    default:
      return rig.turn(() => rig.disk(n).endAll());
  }
}

function bringUp(dice: Dice, rig: Rig): void {
  if (rig.resource.volumes.every(({ state }) => state.conn === 0)) {
    rig.turn(() => rig.resource.commands.connect(false, () => undefined));
  }
  if (rig.resource.volumes.some(({ state }) => state.conn === 0)) return;
  const { apv, features } = rig.speech;
  try {
    rig.reestablish({ apv, features, futago: dice.chance(50) });
  } catch (error) {
    // It is not looking for us at present: a command has made it stop.
    if (!(error instanceof Error) || error.message !== "the engine does not connect") throw error;
    return;
  }
  const disk = dice.pick(DiskState.UpToDate, DiskState.UpToDate, DiskState.Inconsistent, DiskState.Outdated);
  const changed = dice.chance(50);
  if (dice.chance(95)) {
    rig.describe({
      diskless: dice.chance(10),
      state: dice.chance(90) ? { disk, role: 1 + dice.below(2) } : {},
      ...(changed ? { current: 0x5555666677778888n, bitmap: SAME } : {}),
    });
  }
  if (dice.chance(70)) {
    for (let n = 0; n < rig.resource.volumes.length; n++) rig.sayBitmap(dice.pick(0, 1, 255), n);
    rig.say("P_SYNC_UUID", { uuid: 0x9999aaaabbbbccccn });
  }
}

/** Everything ends: disks work again, the connection goes, applications get their answers. */
function settle(rig: Rig): void {
  for (const disk of [...rig.disks, ...rig.metaDisks]) {
    disk.holds = () => false;
    disk.fails = () => 0;
  }
  if (rig.data !== undefined) rig.data.stream.jammed = false;
  const { commands } = rig.resource;
  rig.turn(() => commands.disconnect(true, () => undefined));
  rig.lose();
  for (let n = 0; n < 50; n++) {
    rig.turn(() => {
      for (const disk of [...rig.disks, ...rig.metaDisks]) disk.endAll();
    });
  }
  rig.pass(60_000);
}

/** One life of a resource; throws if anything is wrong. */
export function session(seed: number, options: RigOptions): void {
  const dice = new Dice(seed);
  const rig = new Rig({ ...options, diskBytes: 16 * MIB });
  const apv = dice.pick(101, 101, 101, 100, 97, 90, 86);
  rig.speech = { apv, features: apv === 101 ? dice.pick(15, 15, 7, 1, 0) : 0 };
  const memory: Memory = { ids: [] };
  for (let n = 0; n < rig.resource.volumes.length; n++) if (dice.chance(80)) rig.attach(n);
  if (dice.chance(50)) rig.primary(0, true);
  for (let n = 0; n < 80; n++) {
    if (rig.data === undefined || rig.data.stream.closed || rig.meta?.stream.closed !== false) bringUp(dice, rig);
    remember(rig, memory);
    if (dice.chance(35)) {
      actOnce(dice, rig);
      continue;
    }
    const { row, bytes } = anything(dice, rig, memory);
    const toMeta =
      row.stream === "control" ? dice.chance(97) : row.stream === "both" ? dice.chance(50) : dice.chance(2);
    (toMeta ? rig.meta : rig.data)?.stream.feed(bytes);
    rig.turn();
  }
  settle(rig);
  const { requests } = rig.resource;
  const left = (["application", "peer", "resync", "control"] as const).map((name) => `${name} ${requests.used(name)}`);
  const memoryLeft = [...requests.memory].filter((at) => at >= 0).length;
  const answered = rig.clients.every(({ twice }) => twice === 0);
  const state = rig.resource.volumes.map((volume) => `${volume.held} ${volume.app.open} ${volume.overlap.members}`);
  const expected = "application 0,peer 0,resync 0,control 0 memory 0 true";
  const found = `${left.join()} memory ${memoryLeft} ${answered}`;
  if (found !== expected || state.some((text) => text !== "false 0 0")) {
    throw new Error(`${found} [${state.join("; ")}]\n${rig.log.slice(-15).join("\n")}`);
  }
}
