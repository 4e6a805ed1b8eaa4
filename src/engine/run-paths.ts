/**
 * Where the programs of one node meet: sockets and process ids below the run folder, journals below the state folder.
 * A node other than the host's own (`--node X`, `FUTAGO_NODE`) has folders of its own, so that several nodes can live on one
 * machine; `FUTAGO_RUN` and `FUTAGO_STATE` move the folders, the node's name is still appended.
 */
import { hostname } from "node:os";
import { join } from "node:path";

/** `sun_path` holds 108 bytes including the final NUL (unix(7)). */
export const MAX_SOCKET_PATH_BYTES = 107;

export interface NodePaths {
  /** Name under which the node appears in drbd.conf's `on` sections. */
  readonly node: string;
  /** True if the name was given, so that child processes must be given it too. */
  readonly named: boolean;
  readonly run: string;
  readonly state: string;
}

export interface ResourcePaths {
  readonly run: string;
  readonly control: string;
  readonly nbd: string;
  readonly pid: string;
  /** What the engine writes to stderr when `futago up` started it. */
  readonly log: string;
  readonly state: string;
  readonly journal: string;
}

/** Why the paths cannot be used, in the operator's words. */
export interface PathRefusal {
  readonly refusal: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A name that stays one folder: drbd.conf's words may contain `/`, and `..` would leave the run folder. */
const isFolderName = (name: string): boolean => /^[A-Za-z0-9._-]{1,128}$/.test(name) && name !== "." && name !== "..";

/** The folders of a node. `node` is the value of `--node`; without it `FUTAGO_NODE`, then the host's name. */
export function nodePaths(node: string | undefined, env: Environment, host = hostname()): NodePaths | PathRefusal {
  const given = node ?? (env["FUTAGO_NODE"] || undefined);
  if (given !== undefined && !isFolderName(given)) {
    return { refusal: `node name '${given}': expected letters, digits, '.', '_' or '-'` };
  }
  const suffix = given === undefined ? "" : `-${given}`;
  return {
    node: given ?? host,
    named: given !== undefined,
    run: `${env["FUTAGO_RUN"] || "/run/futago"}${suffix}`,
    state: `${env["FUTAGO_STATE"] || "/var/lib/futago"}${suffix}`,
  };
}

/** The files of one resource; refused if its name is no folder name or a socket path gets too long for the kernel. */
export function resourcePaths(node: NodePaths, resource: string): ResourcePaths | PathRefusal {
  if (!isFolderName(resource)) {
    return { refusal: `resource name '${resource}': expected letters, digits, '.', '_' or '-' (it names a folder)` };
  }
  const run = join(node.run, resource);
  const state = join(node.state, resource);
  const paths = {
    run,
    control: join(run, "control"),
    nbd: join(run, "nbd"),
    pid: join(run, "engine.pid"),
    log: join(run, "engine.log"),
    state,
    journal: join(state, "journal"),
  };
  for (const socket of [paths.control, paths.nbd]) {
    const length = Buffer.byteLength(socket);
    if (length > MAX_SOCKET_PATH_BYTES) {
      return {
        refusal: `socket path '${socket}' has ${length} bytes, the kernel takes ${MAX_SOCKET_PATH_BYTES}: choose a shorter FUTAGO_RUN, node or resource name`,
      };
    }
  }
  return paths;
}
