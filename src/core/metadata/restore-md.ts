/** `restore-md`: metadata from the text of a dump (drbd-84 §9.7). */
import { type Sector, sector } from "../units.ts";
import { parseDump, type WordRun } from "./dump-reader.ts";
import type { AlLayout, Geometry } from "./geometry.ts";
import { checkAlLayout, layOut, maxDataSize } from "./geometry.ts";
import { capacityOf, openMetadata, placeFields, SECTOR, type Target, tooSmall, writeSuperblock } from "./open.ts";
import { createdSuperblock } from "./superblock.ts";
import { type CommandResult, type Consent, Transcript } from "./transcript.ts";

export interface RestoreOptions {
  /** Another activity log than the dump's. */
  readonly alStripes?: number;
  /** KiB */
  readonly alStripeSizeKb?: number;
}

const EXIT_BAD = 10;
const CHUNK_WORDS = 128 * 1024;

/**
 * As with drbdmeta the result needs `apply-al` before it can be attached: a dump holds no flags, so the disk is Inconsistent, and no activity log.
 * The dump is parsed before anything is written.
 */
export function restoreMd(target: Target, text: string, consent: Consent, options: RestoreOptions = {}): CommandResult {
  const script = new Transcript(consent);
  const { device, name, placement } = target;
  if (tooSmall(device)) {
    script.err(`${name} is only ${device.size} bytes. That's not enough.\n`);
    return script.end(EXIT_BAD);
  }
  const parsed = parseDump(text);
  if (!parsed.ok) {
    script.err(`${parsed.reason}\n`);
    return script.end(EXIT_BAD);
  }
  const { dump } = parsed;
  const overridden = options.alStripes !== undefined || options.alStripeSizeKb !== undefined;
  const al: AlLayout = {
    stripes: options.alStripes ?? dump.alStripes,
    stripeSize4k: options.alStripeSizeKb === undefined ? dump.alStripeSize4k : Math.floor(options.alStripeSizeKb / 4),
  };
  const badAl = checkAlLayout(al);
  if (badAl) {
    script.err(`invalid (too ${badAl.code === 167 ? "large" : "small"}) al-stripe* settings\n`);
    return script.end(EXIT_BAD);
  }
  if (openMetadata(device, placement).kind === "found" && !script.ask("Valid meta-data in place, overwrite?"))
    return script.end(1);
  script.err("reinitializing\n");
  if (overridden) script.err("override activity log striping from commandline\n");
  const geometry = layOut(placement, capacityOf(device), al);
  const most = maxDataSize(geometry, sector(Number.MAX_SAFE_INTEGER));
  if (dump.laSize > most) script.out(`# la-size-sect was too big (${dump.laSize}), truncated (${most})!\n`);
  const laSize = sector(Math.min(dump.laSize, most));
  if (!writeBitmap(target, geometry, dump.words, laSize)) script.err("Bitmap info too large, truncated!\n");
  device.flush();
  const { current, bitmap, history1, history2, flags, deviceUuid, laPeerMaxBioSize } = dump;
  writeSuperblock(device, geometry, {
    ...createdSuperblock(placeFields(geometry)),
    ...{ laSize, current, bitmap, history1, history2, flags, deviceUuid, laPeerMaxBioSize },
  });
  script.out("Successfully restored meta data\n");
  return script.end(0);
}

/** Words of the dump, then zeroes up to the end of the bitmap area. False if set bits lay behind the end of the area or of the device. */
function writeBitmap({ device }: Target, geometry: Geometry, runs: readonly WordRun[], laSize: Sector): boolean {
  const total = geometry.bmSectors * (SECTOR / 8);
  const bits = Math.ceil(laSize / 8);
  const start = geometry.bmStart * SECTOR;
  const chunk = new Uint8Array(Math.min(CHUNK_WORDS, total) * 8);
  const view = new DataView(chunk.buffer);
  let run = 0;
  let taken = 0;
  let complete = true;
  for (let first = 0; first < total; first += CHUNK_WORDS) {
    const count = Math.min(CHUNK_WORDS, total - first);
    chunk.fill(0);
    for (let n = 0; n < count && run < runs.length; n++) {
      const word = runs[run];
      if (word === undefined) break;
      complete = putWord(view, n, word, bits - (first + n) * 64) && complete;
      if (++taken === word.count) {
        run++;
        taken = 0;
      }
    }
    device.write(start + first * 8, chunk.subarray(0, count * 8));
  }
  return complete && runs.slice(run).every((word) => word.low === 0 && word.high === 0);
}

/** `left`: bits from this word's first to the last that exists. Bits behind that are dropped; false if any of those was set. */
function putWord(view: DataView, n: number, { low, high }: WordRun, left: number): boolean {
  const mask = (bits: number): number => (bits >= 32 ? 0xffffffff : bits <= 0 ? 0 : 2 ** bits - 1);
  const [keptLow, keptHigh] = [(low & mask(left)) >>> 0, (high & mask(left - 32)) >>> 0];
  view.setUint32(n * 8, keptLow, true);
  view.setUint32(n * 8 + 4, keptHigh, true);
  return keptLow === low && keptHigh === high;
}
