/**
 * The offline metadata commands beside create-md, apply-al and restore-md, as functions over a device: what they print and their exit codes are
 * drbdmeta's (drbd-84 §9.7). A device that fails throws; the caller says so and exits with 20.
 */
import type { SyncDevice } from "./device.ts";
import { type DumpHead, dumpMetadata } from "./dump.ts";
import { type OpenMetadata, openMetadata, SECTOR, type Target, writeSuperblock } from "./open.ts";
import { changeGi, giLine, showGi, storedDiskState, uuidText } from "./show.ts";
import { hasFlag, MDF, type Superblock } from "./superblock.ts";
import { type CommandResult, type Consent, Transcript, unasked } from "./transcript.ts";

/** "You are lower than Outdated". */
const EXIT_INCONSISTENT = 5;
const EXIT_BAD = 10;

/** Runs `body` on the metadata, or says that there is none (exit code 1; 10 if the device is too small for any). */
function onMetadata(
  target: Target,
  consent: Consent,
  body: (opened: OpenMetadata, script: Transcript, device: SyncDevice) => number,
): CommandResult {
  const script = new Transcript(consent);
  const opened = openMetadata(target.device, target.placement);
  if (opened.kind === "too small") {
    script.err(`${target.name} is only ${target.device.size} bytes. That's not enough.\n`);
    return script.end(EXIT_BAD);
  }
  if (opened.kind === "none") {
    script.err(`No valid meta data found${opened.reason === undefined ? "" : `: ${opened.reason}`}\n`);
    return script.end(1);
  }
  return script.end(body(opened, script, target.device));
}

/** Writes the whole superblock with `change`; magic and the rest stay as they are. */
function update(device: SyncDevice, opened: OpenMetadata, change: Partial<Superblock>): number {
  writeSuperblock(device, opened.geometry, { ...opened.superblock, ...change });
  return 0;
}

export function getGi(target: Target): CommandResult {
  return onMetadata(target, unasked, ({ superblock }, script) => {
    script.out(`${giLine(superblock)}\n`);
    return 0;
  });
}

export function showGiCommand(target: Target): CommandResult {
  return onMetadata(target, unasked, ({ superblock, clean }, script) => {
    script.out(showGi(superblock, clean));
    return 0;
  });
}

export function dstate(target: Target): CommandResult {
  return onMetadata(target, unasked, ({ superblock }, script) => {
    script.out(`${storedDiskState(superblock)}\n`);
    return 0;
  });
}

/** Unclean metadata is dumped with force only, marked so that restore-md refuses it. */
export function dumpMd(target: Target, head: DumpHead, consent: Consent): CommandResult {
  return onMetadata(target, consent, (opened, script, device) => {
    if (!opened.clean) {
      script.err('Found meta data is "unclean", please apply-al first\n');
      if (!consent.force) return 1;
    }
    if (opened.truncated !== undefined)
      script.out(`# la-size-sect was too big (${opened.truncated}), truncated (${opened.superblock.laSize})!\n`);
    const start = opened.geometry.bmStart * SECTOR;
    const read = (at: number, length: number): Uint8Array => device.read(start + at, length);
    script.out(dumpMetadata(head, opened.superblock, opened.geometry, opened.clean, read));
    return 0;
  });
}

export function outdate(target: Target): CommandResult {
  return onMetadata(target, unasked, (opened, script, device) => {
    if (!hasFlag(opened.superblock, MDF.CONSISTENT)) {
      script.err("Device is inconsistent.\n");
      return EXIT_INCONSISTENT;
    }
    return update(device, opened, { flags: opened.superblock.flags & ~MDF.WAS_UP_TO_DATE });
  });
}

export function invalidate(target: Target): CommandResult {
  return onMetadata(target, unasked, (opened, _script, device) => {
    const flags = (opened.superblock.flags & ~(MDF.CONSISTENT | MDF.WAS_UP_TO_DATE)) | MDF.FULL_SYNC;
    return update(device, opened, { flags });
  });
}

/** `text` as in a gi line; empty fields stay (drbd-84 §9.7). */
export function setGi(target: Target, text: string, consent: Consent): CommandResult {
  return onMetadata(target, consent, (opened, script, device) => {
    const changed = changeGi(opened.superblock, text);
    if (!changed.ok) {
      script.err(`${changed.reason}\n`);
      return EXIT_BAD;
    }
    script.out(`previously ${giLine(opened.superblock)}\nset GI to  ${giLine(changed.superblock)}\n`);
    if (!script.ask("Write new GI to disk?")) return 1;
    return update(device, opened, changed.superblock);
  });
}

export function readDevUuid(target: Target): CommandResult {
  return onMetadata(target, unasked, ({ superblock }, script) => {
    script.out(`${uuidText(superblock.deviceUuid)}\n`);
    return 0;
  });
}

export function writeDevUuid(target: Target, uuid: bigint): CommandResult {
  return onMetadata(target, unasked, (opened, _script, device) => update(device, opened, { deviceUuid: uuid }));
}

/** Overwrites the superblock with zeroes: bitmap and activity log become meaningless without it. */
export function wipeMd(target: Target, consent: Consent): CommandResult {
  const script = new Transcript(consent);
  const opened = openMetadata(target.device, target.placement);
  if (opened.kind !== "found") {
    script.err("There appears to be no drbd meta data to wipe out?\n");
    return script.end(0);
  }
  if (!script.ask("Do you really want to wipe out the DRBD meta data?")) return script.end(1);
  script.out("Wiping meta data...\n");
  target.device.write(opened.geometry.superblock * SECTOR, new Uint8Array(4096));
  target.device.flush();
  script.out("DRBD meta data block successfully wiped out.\n");
  return script.end(0);
}
