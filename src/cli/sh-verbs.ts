/** drbdadm's `sh-*` commands: facts of the configuration in words that scripts can use (drbd-84 §10.6). */
import type { ResourceConfig, VolumeConfig } from "../core/config/effective.ts";
import { placeOf } from "../core/config/node.ts";
import { type ResourcePaths, resourcePaths } from "../engine/run-paths.ts";
import { type Configuration, isImplicit, resourceOf } from "./configuration.ts";
import type { Session } from "./context.ts";
import { drbdVersion } from "./drbd-version.ts";
import type { ExitName } from "./exit-codes.ts";
import { metadataPlace } from "./metadata-place.ts";
import { shellWord, shStatus, shStatusOfNothing } from "./sh-status-text.ts";
import { statusNow } from "./status-verbs.ts";
import type { Target } from "./targets.ts";

/** One line for each volume of the targets. */
const volumeFacts = {
  "sh-dev": (volume: VolumeConfig, resource: ResourceConfig, configuration: Configuration) =>
    deviceOf(configuration, resource.name, volume),
  "sh-minor": ({ local }: VolumeConfig) => String(local.minor),
  "sh-ll-dev": ({ local }: VolumeConfig) => local.disk,
  "sh-md-dev": (volume: VolumeConfig) => metadataPlace(volume).path,
  "sh-md-idx": ({ local: { metaDisk } }: VolumeConfig) =>
    metaDisk.kind === "indexed" ? String(metaDisk.index) : metaDisk.kind,
  "sh-ip": (_volume: VolumeConfig, { local }: ResourceConfig) => local.address.address,
} as const;

/** How many minors drbdadm asks a module for that is to be loaded, unless the configuration says otherwise. */
const USUAL_MINORS = "32";
/** What `udev` calls a device: `/dev/` left out. */
const udevName = (device: string): string => device.replace(/^\/dev\//, "");

export const shVerbs = [
  "sh-nop",
  "sh-resources",
  "sh-resource",
  "sh-mod-parms",
  "sh-dev",
  "sh-udev",
  "sh-minor",
  "sh-ll-dev",
  "sh-md-dev",
  "sh-md-idx",
  "sh-ip",
  "sh-lr-of",
  "sh-status",
] as const;
export type ShVerb = (typeof shVerbs)[number];
export const isShVerb = (verb: string): verb is ShVerb => shVerbs.some((name) => name === verb);

/** Undefined if it is not written; empty for a flag. */
const globalOption = ({ tree }: Configuration, name: string): string | undefined => {
  const entry = tree.global.findLast((candidate) => candidate.name === name);
  return entry === undefined ? undefined : (entry.values[0] ?? "");
};

/** The device as it is written: `/dev/drbd007` too names minor 7. */
function deviceOf({ tree, node }: Configuration, name: string, { volume, local }: VolumeConfig): string {
  const resource = tree.resources.find((candidate) => candidate.name === name);
  const host = resource === undefined ? undefined : placeOf(resource, node).local;
  return host?.volumes.find((one) => one.volume === volume)?.device?.name || local.device;
}

/** Volumes that a target means. */
export function volumesOf(
  configuration: Configuration,
  target: Target,
): readonly { readonly resource: ResourceConfig; readonly volume: VolumeConfig }[] {
  const resource = resourceOf(configuration, target.resource);
  return resource.volumes
    .filter(({ volume }) => target.volume === undefined || volume === target.volume)
    .map((volume) => ({ resource, volume }));
}

export async function shVerb(
  session: Session,
  verb: ShVerb,
  configuration: Configuration,
  targets: readonly Target[],
): Promise<ExitName> {
  switch (verb) {
    case "sh-nop":
      return "ok";
    case "sh-mod-parms":
      session.out(`minor_count=${globalOption(configuration, "minor-count") ?? USUAL_MINORS}\n`);
      return "ok";
    case "sh-resources": {
      const wanted = configuration.resources.filter(
        ({ stackedOn }) => (stackedOn !== "") === (session.given.stacked ?? false),
      );
      session.out(`${wanted.map(({ name }) => name).join(" ")}${wanted.length > 0 ? "\n" : ""}`);
      return "ok";
    }
    case "sh-resource":
      for (const { resource } of targets) session.out(`${resource}\n`);
      return "ok";
    case "sh-lr-of":
      return lowerResources(session, configuration, targets);
    case "sh-udev":
      return udev(session, configuration, targets);
    case "sh-status":
      return shellStatus(session, configuration, targets);
    default: {
      const fact: (volume: VolumeConfig, resource: ResourceConfig, configuration: Configuration) => string =
        volumeFacts[verb];
      for (const target of targets)
        for (const { resource, volume } of volumesOf(configuration, target))
          session.out(`${fact(volume, resource, configuration)}\n`);
      return "ok";
    }
  }
}

function lowerResources(session: Session, configuration: Configuration, targets: readonly Target[]): ExitName {
  for (const { resource } of targets) {
    const { stackedOn } = resourceOf(configuration, resource);
    if (stackedOn === "") {
      session.err("sh-lower-resource only available in stacked mode\n");
      return "usage";
    }
    session.out(`${stackedOn}\n`);
  }
  return "ok";
}

function udev(session: Session, configuration: Configuration, targets: readonly Target[]): ExitName {
  for (const target of targets) {
    const volumes = volumesOf(configuration, target);
    const [only] = volumes;
    const implicit = isImplicit(configuration.tree, configuration.node, target.resource);
    if (only === undefined || (target.volume === undefined && !implicit)) {
      session.err("sh-udev requires a specific volume id, but none is specified.\n");
      session.err("Try 'sh-udev minor-<minor_number>' or 'sh-udev r1/<vnr>'\n");
      return "usage";
    }
    const { resource, volume } = only;
    const numbered = !implicit || globalOption(configuration, "udev-always-use-vnr") !== undefined;
    session.out(`RESOURCE=${resource.name}${numbered ? `/${volume.volume}` : ""}\n`);
    session.out(
      `DEVICE=${udevName(deviceOf(configuration, resource.name, volume))}\nDISK=${udevName(volume.local.disk)}\n`,
    );
  }
  return "ok";
}

/** As drbdadm, the head once and before each volume where it stands in the configuration. */
async function shellStatus(
  session: Session,
  configuration: Configuration,
  targets: readonly Target[],
): Promise<ExitName> {
  session.out(`_drbd_version=${drbdVersion}\n_drbd_api=1\n_config_file=${shellWord(configuration.file)}\n\n\n`);
  for (const target of targets) {
    const paths = resourcePaths(session.paths, target.resource);
    if ("refusal" in paths) continue;
    session.out(await ofResource(configuration, target, paths));
  }
  return "ok";
}

async function ofResource(configuration: Configuration, target: Target, paths: ResourcePaths): Promise<string> {
  const status = await statusNow(paths);
  const { name, at, stackedOn } = resourceOf(configuration, target.resource);
  const lower = configuration.resources.find((resource) => resource.name === stackedOn)?.volumes[0]?.local;
  const head = `_conf_res_name=${shellWord(name)}\n_conf_file_line=${shellWord(at.file)}:${at.line}\n\n`;
  return (
    head +
    volumesOf(configuration, target)
      .map(({ volume }) => {
        const stacked = `_stacked_on=${shellWord(stackedOn)}\n_stacked_on_device=${lower?.device ?? ""}\n_stacked_on_minor=${lower?.minor ?? ""}\n`;
        const found = status?.volumes.find((one) => one.volume === volume.volume);
        const state =
          status === undefined || found === undefined
            ? shStatusOfNothing(volume.local.minor, "", -1)
            : shStatus(status, found);
        return `${stacked}_conf_volume=${volume.volume}\n${state}`;
      })
      .join("")
  );
}
