/** `create-md`: new metadata, after looking at what is there already (drbd-84 §9.7). */

import { sector } from "../units.ts";
import { encodeInitialized } from "./activity-log.ts";
import type { SyncDevice } from "./device.ts";
import { type Existing, findExisting } from "./existing.ts";
import {
  type AlLayout,
  checkAlLayout,
  defaultAlLayout,
  type Geometry,
  INDEXED_SECTORS,
  layOut,
  maxDataSize,
  type Placement,
} from "./geometry.ts";
import { capacityOf, placeFields, readingAt, SECTOR, type Target, tooSmall, writeSuperblock } from "./open.ts";
import { shortSize } from "./show.ts";
import { createdSuperblock, decodeSuperblock, SUPERBLOCK_BYTES } from "./superblock.ts";
import { type CommandResult, type Consent, Transcript } from "./transcript.ts";

export interface CreateOptions {
  /** Default 1. */
  readonly alStripes?: number;
  /** KiB, default 32. */
  readonly alStripeSizeKb?: number;
  /** Bytes, 0 … 1 MiB. */
  readonly peerMaxBioSize?: number;
}

const EXIT_DECLINED = 1;
const EXIT_BAD = 10;
const EXIT_WOULD_CORRUPT = 40;
const MAX_PEER_MAX_BIO_SIZE = 1024 * 1024;
const CHUNK = 1024 * 1024;

/** Writes bitmap (all zero), activity log and, last, the superblock. Exit codes are drbdmeta's: 10 refused, 40 would cut or overwrite data. */
export function createMd(target: Target, consent: Consent, options: CreateOptions = {}): CommandResult {
  const script = new Transcript(consent);
  const { device, name, placement } = target;
  const al = alLayoutFrom(options);
  const badAl = checkAlLayout(al);
  if (badAl) {
    script.err(`invalid (too ${badAl.code === 167 ? "large" : "small"}) al-stripe* settings\n`);
    return script.end(EXIT_BAD);
  }
  const peerMaxBioSize = options.peerMaxBioSize ?? 0;
  if (!(peerMaxBioSize >= 0 && peerMaxBioSize <= MAX_PEER_MAX_BIO_SIZE)) {
    script.err("peer-max-bio-size out of range (0...1M)\n");
    return script.end(EXIT_BAD);
  }
  if (tooSmall(device)) {
    script.err(`${name} is only ${device.size} bytes. That's not enough.\n`);
    return script.end(EXIT_BAD);
  }
  const geometry = layOut(placement, capacityOf(device), al);
  if (!fits(geometry, device, script, name)) return script.end(EXIT_BAD);
  if (!existingMetadata(target, script)) return script.end(EXIT_DECLINED);
  const data = existingData(target, geometry, script);
  if (data !== "go on") return script.end(data === "refused" ? EXIT_WOULD_CORRUPT : EXIT_DECLINED);
  initialize(device, geometry, script);
  script.out("Writing meta data...\n");
  writeSuperblock(device, geometry, { ...createdSuperblock(placeFields(geometry)), laPeerMaxBioSize: peerMaxBioSize });
  script.out("New drbd meta data block successfully created.\n");
  return script.end(0);
}

function alLayoutFrom(options: CreateOptions): AlLayout {
  return {
    stripes: options.alStripes ?? defaultAlLayout.stripes,
    stripeSize4k: Math.floor((options.alStripeSizeKb ?? defaultAlLayout.stripeSize4k * 4) / 4),
  };
}

function fits(geometry: Geometry, device: SyncDevice, script: Transcript, name: string): boolean {
  const end = geometry.placement.kind === "indexed" ? (geometry.superblock + geometry.mdSize) * SECTOR : 0;
  if (end > device.size) {
    script.err(`Device too small: index ${geometry.superblock / INDEXED_SECTORS} ends at\n`);
    script.err(`byte offset ${end}, but ${name} is only ${device.size} bytes.\n`);
    return false;
  }
  if (geometry.first < 0 || geometry.bmSectors === 0) {
    script.err(`Device too small: the activity log takes ${geometry.alSectors / 2} KiB,\n`);
    script.err(`${name} is only ${device.size} bytes.\n`);
    return false;
  }
  return true;
}

const flavour = (placement: Placement): string =>
  placement.kind === "internal"
    ? "flexible-size internal"
    : placement.kind === "flex-external"
      ? "flexible-size external"
      : "indexed external";

interface Found {
  readonly version: string;
  readonly placement: Placement;
  /** Bytes. */
  readonly at: number;
  readonly fixed: boolean;
}

/** v07 had internal metadata of a fixed 128 MiB at the end of the device too. */
const FIXED_INTERNAL_BYTES = 128 * 1024 * 1024;

/** Metadata of any version at the wanted place, then at the other places of a device that is not shared. */
function findMetadata({ device, placement }: Target): Found | undefined {
  const others: readonly Placement[] = [{ kind: "internal" }, { kind: "flex-external" }];
  const places =
    placement.kind === "indexed" ? [placement] : [placement, ...others.filter((p) => p.kind !== placement.kind)];
  for (const place of places) {
    const reading = readingAt(device, place);
    if (reading === undefined || reading.kind === "none") continue;
    const version = reading.kind === "invalid" ? "v08" : reading.kind;
    return { version, placement: place, at: layOut(place, capacityOf(device)).superblock * SECTOR, fixed: false };
  }
  const at = Math.floor(device.size / 4096) * 4096 - FIXED_INTERNAL_BYTES;
  if (placement.kind !== "internal" || at < 0) return undefined;
  if (decodeSuperblock(device.read(at, SUPERBLOCK_BYTES)).kind !== "v07") return undefined;
  return { version: "v07", placement, at, fixed: true };
}

function existingMetadata(target: Target, script: Transcript): boolean {
  const found = findMetadata(target);
  if (found === undefined) return true;
  const wanted = target.placement;
  if (found.version === "v08" && wanted.kind !== "internal" && found.placement.kind === wanted.kind)
    return script.ask("Valid meta data seems to be in place.\nDo you really want to overwrite?");
  script.err(
    `You want me to create a v08 style ${flavour(wanted)} meta data block.\n` +
      `There appears to be a ${found.version} ${found.fixed ? "fixed-size internal" : flavour(found.placement)} meta data block\n` +
      `already in place on ${target.name} at byte offset ${found.at}\n`,
  );
  return script.ask(
    found.version === "v08"
      ? "Do you really want to overwrite the existing meta-data?"
      : `So you want me to replace the ${found.version} meta-data\nwith newly initialized v08 meta-data?`,
  );
}

type Verdict = "go on" | "declined" | "refused";

const WOULD_TRUNCATE =
  "Device size would be truncated, which\nwould corrupt data and result in\n'access beyond end of device' errors.\n";
const ZERO_FIRST =
  "If you want me to do this, you need to zero out the first part\nof the device (destroy the content).\n" +
  "You should be very sure that you mean it.\n";
const REFUSED = "Operation refused.\n\n";
const kibColumn = (kib: number): string => String(kib).padStart(12);

function existingData(target: Target, geometry: Geometry, script: Transcript): Verdict {
  const found = dataWhereWritten(target, geometry);
  if (found === undefined) return "go on";
  script.out(`md_offset ${geometry.superblock * SECTOR}\n`);
  script.out(`al_offset ${geometry.alStart * SECTOR}\nbm_offset ${geometry.bmStart * SECTOR}\n\n`);
  script.out(`Found ${found.what}\n`);
  if (found.kind === "data") {
    script.out("\n ==> This might destroy existing data! <==\n");
    return script.ask("Do you want to proceed?") ? "go on" : "declined";
  }
  if (geometry.placement.kind !== "internal") {
    script.out(`\nThis would corrupt existing data.\n${ZERO_FIRST}${REFUSED}`);
    return "refused";
  }
  const usableKib = Math.floor(maxDataSize(geometry, sector(Number.MAX_SAFE_INTEGER)) / 2);
  if (found.kind === "unsized") {
    script.out(`${kibColumn(usableKib)} kB left usable by current configuration\n`);
    if (found.sizeSought) script.out("Could not determine the size of the actually used data area.\n\n");
    script.out(`${WOULD_TRUNCATE}${ZERO_FIRST}${REFUSED}`);
    return "refused";
  }
  return sizedData(found, usableKib, script);
}

function sizedData(found: Extract<Existing, { kind: "sized" }>, usableKib: number, script: Transcript): Verdict {
  const usedKib = Math.ceil(found.usedBytes / 1024);
  script.out(`${kibColumn(usedKib)} kB data area apparently used\n`);
  script.out(`${kibColumn(usableKib)} kB left usable by current configuration\n\n`);
  if (usedKib > usableKib) {
    script.out(
      `${WOULD_TRUNCATE}You need to either\n   * use external meta data (recommended)\n` +
        `   * shrink that filesystem first\n   * zero out the device (destroy the filesystem)\n${REFUSED}`,
    );
    return "refused";
  }
  script.out(
    "Even though it looks like this would place the new meta data into\n" +
      "unused space, you still need to confirm, as this is only a guess.\n",
  );
  return script.ask("Do you want to proceed?") ? "go on" : "declined";
}

/**
 * A device shared by several indexed metadata blocks starts with another one's: then only the own slot is looked at. Otherwise it is the start
 * of the device that tells.
 */
function dataWhereWritten({ device, placement }: Target, geometry: Geometry): Existing | undefined {
  const own = geometry.superblock * SECTOR;
  const start = readingAt(device, { kind: "flex-external" });
  const shared = placement.kind === "indexed" && start !== undefined && start.kind !== "none";
  return shared && own > 0 ? findExisting(device, own) : findExisting(device);
}

function initialize(device: SyncDevice, geometry: Geometry, script: Transcript): void {
  const length = geometry.bmSectors * SECTOR;
  script.err(`initializing bitmap (${shortSize(length / 1024)}) to all zero\n`);
  const zero = new Uint8Array(Math.min(CHUNK, length));
  for (let done = 0; done < length; done += zero.length)
    device.write(geometry.bmStart * SECTOR + done, zero.subarray(0, Math.min(zero.length, length - done)));
  script.out("initializing activity log\n");
  initializeActivityLog(device, geometry);
}

/** Fills the ring with initialised blocks and flushes. */
export function initializeActivityLog(device: SyncDevice, geometry: Geometry): void {
  const length = geometry.alSectors * SECTOR;
  const chunk = new Uint8Array(Math.min(CHUNK, length));
  const memory = { bytes: chunk, view: new DataView(chunk.buffer) };
  for (let at = 0; at < chunk.length; at += 4096) encodeInitialized(memory, at);
  for (let done = 0; done < length; done += chunk.length)
    device.write(geometry.alStart * SECTOR + done, chunk.subarray(0, Math.min(chunk.length, length - done)));
  device.flush();
}
