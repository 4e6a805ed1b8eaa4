/** Which resources and volumes the words of a command line name: `all`, RES, RES/VOL, minor-N, /dev/drbdN (drbd-84 §10.6). */
import type { VerbName } from "./verbs.ts";
import { verbOf } from "./verbs.ts";

/** What targets need to know of the configuration. */
export interface KnownVolume {
  readonly volume: number;
  readonly minor: number;
}
export interface KnownResource {
  readonly name: string;
  /** No `on` section names this node. */
  readonly ignored: boolean;
  readonly stacked: boolean;
  /** Its only volume is not written as one: `r0/0` is then another name of `r0`. */
  readonly implicit: boolean;
  readonly volumes: readonly KnownVolume[];
}

/** `volume` undefined: the whole resource. */
export interface Target {
  readonly resource: string;
  readonly volume: number | undefined;
  /** How DRBD's tools name it in messages: the minor number if only one volume is meant, else the resource. */
  readonly object: string;
}

/** Exits as `usage`. */
export interface TargetRefusal {
  readonly refusal: string;
}

const notDefined = (word: string): TargetRefusal => ({
  refusal: `'${word}' not defined in your config (for this host).`,
});

/**
 * Resolves the words, keeping their order. With `stacked`, `all` means the stacked resources and a normal one is refused; without it
 * `all` leaves them out; a refusal names the first word that cannot be resolved. */
export function selectTargets(
  verb: VerbName,
  words: readonly string[],
  resources: readonly KnownResource[],
  node: string,
  stacked: boolean,
): readonly Target[] | TargetRefusal {
  const { scope, optional } = verbOf(verb);
  if (scope === "none" || scope === "ignored" || scope === "folder") return [];
  const chosen = words.length === 0 && optional ? ["all"] : words;
  if (chosen.length === 0) return { refusal: `No resource names specified\ntry 'futago help ${verb}'` };
  const targets: Target[] = [];
  for (const word of chosen) {
    const found = word === "all" ? everything(resources, node, stacked) : one(word, resources, node);
    if ("refusal" in found) return found;
    const normal = found.find((target) => stacked && !isStacked(target.resource, resources));
    if (normal !== undefined)
      return { refusal: `'${normal.resource}' is a normal resource, and not available in stacked mode.` };
    if (scope === "whole resource" && found.some((target) => isPart(target, resources)))
      return { refusal: `${verb} operates on whole resources, but you specified a specific volume!` };
    for (const target of found) {
      const widened = scope === "volume" || target.volume === undefined ? target : whole(target.resource, resources);
      if (!targets.some((seen) => seen.resource === widened.resource && seen.volume === widened.volume))
        targets.push(widened);
    }
  }
  if (scope === "one resource" && targets.length !== 1)
    return { refusal: `futago ${verb}: exactly one resource, please` };
  return targets;
}

const isPart = ({ resource, volume }: Target, resources: readonly KnownResource[]): boolean =>
  volume !== undefined && !resources.some((one) => one.name === resource && one.implicit);
const isStacked = (name: string, resources: readonly KnownResource[]): boolean =>
  resources.some((resource) => resource.name === name && resource.stacked);

function everything(
  resources: readonly KnownResource[],
  node: string,
  stacked: boolean,
): readonly Target[] | TargetRefusal {
  if (resources.length === 0) return { refusal: "no resources defined!" };
  const here = resources.filter((resource) => !resource.ignored);
  if (here.length === 0) {
    return {
      refusal: `WARN: no normal resources defined for this host (${node})!?\nMisspelled name of the local machine with the 'on' keyword ?`,
    };
  }
  const wanted = here.filter((resource) => resource.stacked === stacked);
  if (wanted.length === 0 && stacked)
    return { refusal: `WARN: nothing stacked for this host (${node}), nothing to do in stacked mode!` };
  return wanted.map((resource) => wholeOf(resource));
}

function wholeOf(resource: KnownResource): Target {
  const [only, second] = resource.volumes;
  const object = only !== undefined && second === undefined ? String(only.minor) : resource.name;
  return { resource: resource.name, volume: undefined, object };
}

function whole(name: string, resources: readonly KnownResource[]): Target {
  const resource = resources.find((candidate) => candidate.name === name);
  return resource === undefined ? { resource: name, volume: undefined, object: name } : wholeOf(resource);
}

function one(word: string, resources: readonly KnownResource[], node: string): readonly Target[] | TargetRefusal {
  const minor = /^(?:minor-|\/dev\/drbd)(\d{1,7})$/.exec(word)?.[1];
  if (minor !== undefined) return byMinor(word, Number(minor), resources);
  const named = resources.find((resource) => resource.name === word);
  if (named !== undefined) return named.ignored ? ignoredHere(word, node) : [wholeOf(named)];
  const [, name, volume] = /^(.+)\/(\d{1,5})$/.exec(word) ?? [];
  const resource = resources.find((candidate) => candidate.name === name);
  if (resource === undefined) return notDefined(word);
  if (resource.ignored) return ignoredHere(resource.name, node);
  const known = resource.volumes.find((candidate) => candidate.volume === Number(volume));
  if (known === undefined) return notDefined(word);
  return [{ resource: resource.name, volume: known.volume, object: String(known.minor) }];
}

const ignoredHere = (name: string, node: string): TargetRefusal => ({
  refusal: `'${name}' ignored, since this host (${node}) is not mentioned with an 'on' keyword.`,
});

function byMinor(word: string, minor: number, resources: readonly KnownResource[]): readonly Target[] | TargetRefusal {
  for (const resource of resources) {
    const volume = resource.ignored ? undefined : resource.volumes.find((candidate) => candidate.minor === minor);
    if (volume !== undefined) return [{ resource: resource.name, volume: volume.volume, object: String(minor) }];
  }
  return notDefined(word);
}
