import { readdirSync, readFileSync } from "node:fs";
import { mustRun, runCommand, until } from "./command.ts";

/** Loop devices are the machine's, not a namespace's: only what `attachLoop` returned may be detached. */
export async function attachLoop(file: string): Promise<string> {
  return (await mustRun(["losetup", "--find", "--show", file])).trim();
}

/** The minor number in `/dev/loop7`. */
export function loopMinor(device: string): number {
  const digits = /^\/dev\/loop(\d+)$/.exec(device)?.[1];
  if (digits === undefined) throw new Error(`not a loop device: ${device}`);
  return Number(digits);
}

/** Detaches now, or, while someone has it open, as soon as the last one closes it. */
export async function releaseLoop(device: string): Promise<void> {
  await runCommand(["losetup", "--detach", device], { timeout: 10_000 });
}

/** Loop devices whose file lies below `directory`. */
export function loopsBelow(directory: string): readonly string[] {
  const found: string[] = [];
  for (const name of readdirSync("/sys/block")) {
    if (!name.startsWith("loop")) continue;
    try {
      const file = readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8");
      if (file.startsWith(`${directory}/`)) found.push(`/dev/${name}`);
    } catch {
      // Not attached.
    }
  }
  return found;
}

/** Waits for the kernel to detach what lies below `directory`, and helps where nobody holds it open. */
export async function loopsGone(directory: string): Promise<void> {
  await until(`loop devices of ${directory} detached`, async () => {
    const left = loopsBelow(directory);
    for (const device of left) await releaseLoop(device);
    return left.length === 0;
  });
}
