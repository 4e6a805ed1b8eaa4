/** One line about a node, for reports. */
import { connName, diskName, roleName } from "../core/state/state.ts";
import { uuidText } from "../core/state/uuids.ts";
import type { SimNode } from "./node.ts";

export function statusLine(node: SimNode): string {
  const { process } = node;
  if (process === undefined) return `${node.name} down`;
  const { volume, resource } = process;
  const { state, uuids } = volume;
  const used = (["application", "peer", "resync", "control"] as const).map((c) => resource.requests.used(c)).join("/");
  const set = [uuids.current, uuids.bitmap, uuids.history1].map(uuidText).join(":");
  return (
    `${node.name} cs:${connName(state.conn)} ro:${roleName(state.role)}/${roleName(state.peer)} ` +
    `ds:${diskName(state.disk)}/${diskName(state.pdsk)} oos:${volume.bitmap?.count ?? "-"} slots:${used} ` +
    `open:${process.workload?.open ?? "-"} ${set}`
  );
}
