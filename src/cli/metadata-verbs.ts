/** Verbs that work on the metadata of a disk that no engine uses: the commands themselves are `src/core/metadata/`. */
import { randomBytes } from "node:crypto";
import type { VolumeConfig } from "../core/config/effective.ts";
import { applyAl } from "../core/metadata/apply-al.ts";
import {
  dstate,
  dumpMd,
  getGi,
  invalidate,
  outdate,
  showGiCommand,
  wipeMd,
  writeDevUuid,
} from "../core/metadata/commands.ts";
import { createMd } from "../core/metadata/create-md.ts";
import type { Target } from "../core/metadata/open.ts";
import {
  CANCELLED,
  CONFIRM_PROMPT,
  type CommandResult,
  type Consent,
  NO_TERMINAL,
} from "../core/metadata/transcript.ts";
import { dateOf } from "../node/clock.ts";
import { lockFile } from "../node/locks.ts";
import { openMetadataFile } from "../node/metadata-file.ts";
import type { GivenOptions } from "./command-line.ts";
import type { Session } from "./context.ts";
import { type ExitName, exitNamed } from "./exit-codes.ts";
import { type MetadataPlace, metadataPlace, placementWord } from "./metadata-place.ts";

type Run = (target: Target, consent: Consent, session: Session) => CommandResult;

interface MetadataVerb {
  readonly access: "read" | "write";
  readonly run: Run;
}

const createOptions = (given: GivenOptions) => ({
  ...(given["al-stripes"] === undefined ? {} : { alStripes: given["al-stripes"] }),
  ...(given["al-stripe-size-kB"] === undefined ? {} : { alStripeSizeKb: given["al-stripe-size-kB"] }),
});

/** drbdadm gives new metadata a random device UUID, by a second call of drbdmeta (drbd-84 §9.7). */
function createWithUuid(target: Target, consent: Consent, { given }: Session): CommandResult {
  const created = createMd(target, consent, createOptions(given));
  if (created.exitCode !== 0 || created.question !== undefined) return created;
  const stamped = writeDevUuid(target, randomBytes(8).readBigUInt64BE());
  return { ...created, exitCode: stamped.exitCode, stderr: created.stderr + stamped.stderr };
}

const dumpHead = (target: Target, { hostname }: Session) => ({
  when: dumpTime(dateOf()),
  host: hostname,
  commandLine: `futago dump-md (${target.name})`,
});

export const metadataVerbs = {
  "create-md": { access: "write", run: createWithUuid },
  "wipe-md": { access: "write", run: (target, consent) => wipeMd(target, consent) },
  "apply-al": { access: "write", run: (target) => applyAl(target) },
  // Metadata that lies where the disk's size puts it needs no help; a disk that grew offline has it elsewhere.
  "check-resize": { access: "read", run: (target) => ({ ...getGi(target), stdout: "" }) },
  outdate: { access: "write", run: (target) => outdate(target) },
  invalidate: { access: "write", run: (target) => invalidate(target) },
  "dump-md": { access: "read", run: (target, consent, session) => dumpMd(target, dumpHead(target, session), consent) },
  dstate: { access: "read", run: (target) => dstate(target) },
  "get-gi": { access: "read", run: (target) => getGi(target) },
  "show-gi": { access: "read", run: (target) => showGiCommand(target) },
} as const satisfies Record<string, MetadataVerb>;
export type MetadataVerbName = keyof typeof metadataVerbs;
export const isMetadataVerb = (word: string): word is MetadataVerbName => Object.hasOwn(metadataVerbs, word);

/** `2024-01-31 12:00:00 +0100 [1706698800]`, in the local time zone. */
export function dumpTime(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time} ${zone} [${Math.floor(date.getTime() / 1000)}]`;
}

/** Runs a metadata verb on one volume, asking where the command asks. The disk is locked as an engine would lock it. */
export function metadataVerb(session: Session, verb: MetadataVerbName, volume: VolumeConfig): Promise<ExitName> {
  return metadataVerbAt(session, verb, volume.local.minor, metadataPlace(volume));
}

/** As `metadataVerb`, with the place given as drbdmeta's arguments give it. */
export async function metadataVerbAt(
  session: Session,
  verb: MetadataVerbName,
  minor: number,
  { path, placement }: MetadataPlace,
): Promise<ExitName> {
  if (session.given["dry-run"]) {
    session.out(`${verb}: minor ${minor} v08 ${path} ${placementWord(placement)}\n`);
    return "ok";
  }
  const { access, run }: MetadataVerb = metadataVerbs[verb];
  const opened = openMetadataFile(path, access);
  if (!opened.ok) {
    session.err(`${opened.detail}\n`);
    return "execution";
  }
  const { file } = opened;
  try {
    // A meta-disk with slots is shared by several resources, each of which holds its own slot only.
    const claim = access === "read" ? "none" : placement.kind === "indexed" ? "shared" : "exclusive";
    const holder = lockFile(file.fd, file.stats, claim);
    if (holder !== undefined) {
      session.err(`${path}: ${holder}\n`);
      return "execution";
    }
    return await converse(session, (consent) => run({ device: file, name: path, placement }, consent, session));
  } catch (error) {
    session.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return "execution";
  } finally {
    file.close();
  }
}

/** A command that asks is called again with one more answer, until it asks no more or the answer is not `yes`. */
async function converse(session: Session, run: (consent: Consent) => CommandResult): Promise<ExitName> {
  for (let confirmed = 0; ; confirmed++) {
    const result = run({ force: session.given.force ?? false, confirmed });
    session.out(result.stdout);
    session.err(result.stderr);
    if (result.question === undefined) return exitNamed(result.exitCode);
    const answer = await session.ask(CONFIRM_PROMPT);
    if (answer === undefined) session.err(NO_TERMINAL);
    if (answer?.trim() === "yes") continue;
    session.out(CANCELLED);
    return exitNamed(result.exitCode);
  }
}
