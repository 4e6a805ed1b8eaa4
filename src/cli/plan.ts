/** From verb and target to the steps that carry it out. Pure: `--dry-run` prints the steps, `perform.ts` does them. */
import type { StateRequest } from "../engine/control-interface.ts";
import type { GivenOptions } from "./command-line.ts";
import type { Target } from "./targets.ts";
import type { VerbName } from "./verbs.ts";

export type Step =
  | { readonly kind: "start engine" }
  /** `unlessDone`: left out if the status says that it is so already. */
  | { readonly kind: "request"; readonly request: StateRequest; readonly unlessDone: boolean }
  | { readonly kind: "await end" };

/** Verbs that ask a running engine to change its state. */
export const stateVerbs = [
  "up",
  "adjust",
  "adjust-with-progress",
  "new-resource",
  "new-minor",
  "sh-new-minor",
  "down",
  "attach",
  "detach",
  "connect",
  "disconnect",
  "primary",
  "secondary",
  "invalidate",
  "invalidate-remote",
  "outdate",
  "pause-sync",
  "resume-sync",
] as const satisfies readonly VerbName[];
export type StateVerb = (typeof stateVerbs)[number];

export const isStateVerb = (verb: VerbName): verb is StateVerb => stateVerbs.some((name) => name === verb);

/** The steps for one target, in order; a step that fails ends them. */
export function planOf(verb: StateVerb, target: Target, given: GivenOptions): readonly Step[] {
  switch (verb) {
    case "new-resource":
      return [{ kind: "start engine" }];
    case "new-minor":
    case "sh-new-minor":
      return [];
    case "up":
    case "adjust":
    case "adjust-with-progress":
      return [
        { kind: "start engine" },
        { kind: "request", request: requestOf("attach", target, given), unlessDone: true },
        { kind: "request", request: requestOf("connect", target, given), unlessDone: true },
      ];
    case "down":
      return [
        { kind: "request", request: { verb: "down", force: given.force ?? false }, unlessDone: false },
        { kind: "await end" },
      ];
    default:
      return [{ kind: "request", request: requestOf(verb, target, given), unlessDone: false }];
  }
}

/** Verbs of which each volume or resource is one request. */
type RequestVerb = Exclude<
  StateVerb,
  "up" | "down" | "adjust" | "adjust-with-progress" | "new-resource" | "new-minor" | "sh-new-minor"
>;

function requestOf(verb: RequestVerb, target: Target, given: GivenOptions): StateRequest {
  const { volume } = target;
  const force = given.force ?? false;
  switch (verb) {
    case "attach":
    case "secondary":
    case "invalidate":
    case "outdate":
      return { verb, volume };
    case "detach":
      return { verb, volume, force };
    case "primary":
      return { verb, volume, force: force || (given["overwrite-data-of-peer"] ?? false) };
    case "connect":
      return { verb, discardMyData: given["discard-my-data"] ?? false, tentative: given.tentative ?? false };
    case "disconnect":
      return { verb, force };
    case "invalidate-remote":
      return { verb: "invalidateRemote", volume };
    case "pause-sync":
      return { verb: "pauseSync", volume };
    case "resume-sync":
      return { verb: "resumeSync", volume };
    default:
      return verb satisfies never;
  }
}

/** One line of the dry run: `r0/0: detach --force`. */
export function stepText(target: Target, step: Step): string {
  const object = target.volume === undefined ? target.resource : `${target.resource}/${target.volume}`;
  if (step.kind !== "request")
    return `${target.resource}: ${step.kind === "await end" ? "wait for the engine's end" : step.kind}`;
  const { verb, ...rest } = step.request;
  const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const flags = Object.entries(rest).flatMap(([name, value]) => (value === true ? [` --${kebab(name)}`] : []));
  return `${object}: ${kebab(verb)}${flags.join("")}`;
}
