/**
 * Verbs about a disk's metadata: from the engine where one has the disk attached, else on the disk itself (drbd-84 §10.6:
 * dstate, show-gi, get-gi, invalidate and outdate fall back to the metadata).
 */
import { resourcePaths } from "../engine/run-paths.ts";
import { type Configuration, resourceOf } from "./configuration.ts";
import type { Session } from "./context.ts";
import type { ControlClient } from "./control-client.ts";
import { reachEngine } from "./engine-process.ts";
import { type ExitName, exitCodes, stopsAtOnce } from "./exit-codes.ts";
import { generationOf, generationText } from "./generation-verbs.ts";
import { type MetadataVerbName, metadataVerb } from "./metadata-verbs.ts";
import { performVerb, statusOf } from "./perform.ts";
import { shortText } from "./status-text.ts";
import type { Target } from "./targets.ts";

/** One volume after another; the worst exit code counts. */
export async function offlineOrOnline(
  session: Session,
  verb: MetadataVerbName,
  configuration: Configuration,
  target: Target,
): Promise<ExitName> {
  const paths = resourcePaths(session.paths, target.resource);
  if ("refusal" in paths) throw new Error(paths.refusal);
  const client = await reachEngine(paths);
  try {
    if (client !== undefined && (verb === "outdate" || verb === "invalidate")) {
      return await performVerb(session, verb, target, paths, configuration.file);
    }
    if (client !== undefined && verb === "dstate" && !session.given["dry-run"]) {
      session.out(shortText("dstate", await statusOf(client), target.volume));
      return "ok";
    }
    const volumes = resourceOf(configuration, target.resource).volumes.filter(
      ({ volume }) => target.volume === undefined || volume === target.volume,
    );
    let worst: ExitName = "ok";
    for (const volume of volumes) {
      const online =
        client === undefined ? undefined : await onAttached(session, verb, client, volume.volume, volume.local.minor);
      const exit = online ?? (await metadataVerb(session, verb, volume));
      if (exitCodes[exit].code > exitCodes[worst].code) worst = exit;
      if (stopsAtOnce(exitCodes[worst].code)) break;
    }
    return worst;
  } finally {
    client?.close();
  }
}

/** Undefined: the engine has no disk attached, so that the metadata may be touched. */
async function onAttached(
  session: Session,
  verb: MetadataVerbName,
  client: ControlClient,
  volume: number,
  minor: number,
): Promise<ExitName | undefined> {
  if (session.given["dry-run"]) return undefined;
  const status = await statusOf(client);
  const disk = status.volumes.find((one) => one.volume === volume)?.disk ?? "Diskless";
  if (disk === "Diskless") return undefined;
  if (verb === "check-resize") return "ok";
  if (verb === "get-gi" || verb === "show-gi") {
    const view = await generationOf(client, volume);
    if (view !== undefined) session.out(generationText(verb, view));
    return view === undefined ? undefined : "ok";
  }
  session.err(
    `Device '${minor}' is configured!\n  ${verb} needs it detached: futago detach ${status.name}/${volume}\n`,
  );
  return "execution";
}
