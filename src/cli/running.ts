/** Which engines run on this node, whatever the configuration says: those whose control socket answers. */
import { readdirSync } from "node:fs";
import type { ResourceStatus } from "../core/status.ts";
import { type NodePaths, type ResourcePaths, resourcePaths } from "../engine/run-paths.ts";
import { statusNow } from "./status-verbs.ts";

export interface Running {
  readonly status: ResourceStatus;
  readonly paths: ResourcePaths;
}

/** Names of the folders in which an engine may have its socket, sorted. */
export function foldersOf(node: NodePaths): readonly string[] {
  try {
    return readdirSync(node.run).sort();
  } catch {
    // No engine has ever run here since the machine was started.
    return [];
  }
}

/** In the order of their names. */
export async function runningEngines(node: NodePaths): Promise<readonly Running[]> {
  const asked = foldersOf(node).map(async (name) => {
    const paths = resourcePaths(node, name);
    const status = "refusal" in paths ? undefined : await statusNow(paths);
    return status === undefined || "refusal" in paths ? [] : [{ status, paths }];
  });
  return (await Promise.all(asked)).flat();
}
