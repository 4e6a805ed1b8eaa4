/** Ways to make a range read as zeroes or to give it back, best first; the next one is tried where one is not supported. */

/** fallocate(2): FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE. */
const KEEP_SIZE = 0x01;
export const PUNCH_HOLE = 0x02 | KEEP_SIZE;
const ZERO_RANGE = 0x10 | KEEP_SIZE;

export type RangeStep =
  | { readonly how: "allocate"; readonly mode: number }
  /** Block devices: the ring's own command, kernel 6.12 and newer. */
  | { readonly how: "discard" }
  /** Block devices: ioctl BLKDISCARD, a part at a time because it blocks. */
  | { readonly how: "ioctl" }
  | { readonly how: "write" };

export type FileKind = "file" | "block";

const punch: RangeStep = { how: "allocate", mode: PUNCH_HOLE };
const zeroRange: RangeStep = { how: "allocate", mode: ZERO_RANGE };
const writeZeroes: RangeStep = { how: "write" };

/**
 * On a block device a hole is punched only if the device does it by itself, and a zero range is written out by the kernel where it
 * must be; so the latter is never fast. On a file both are changes of its map.
 */
export function zeroSteps(kind: FileKind, mayUnmap: boolean, fastOnly: boolean): readonly RangeStep[] {
  const steps: RangeStep[] = [];
  if (mayUnmap) steps.push(punch);
  if (kind === "file" || !fastOnly) steps.push(zeroRange);
  if (!fastOnly) steps.push(writeZeroes);
  return steps;
}

export function discardSteps(kind: FileKind): readonly RangeStep[] {
  return kind === "file" ? [punch] : [{ how: "discard" }, { how: "ioctl" }];
}
