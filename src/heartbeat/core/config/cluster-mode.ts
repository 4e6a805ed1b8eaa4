/** Which file decides where resources run: haresources (v1 mode) or cib.xml. */
import { type HaCf, wantsCrm } from "./ha-cf.ts";

export type ClusterMode =
  | { readonly kind: "haresources"; readonly reason: string }
  /** `generate`: there is no cib.xml yet, it is to be made from haresources. */
  | { readonly kind: "cib"; readonly generate: boolean; readonly reason: string };

/** `crm yes` or an existing cib.xml means cib mode, unless `crm no` is written. */
export function clusterMode(haCf: HaCf, hasCib: boolean): ClusterMode {
  const at = haCf.written.get("crm");
  if (wantsCrm(haCf)) {
    const place = at === undefined ? "" : ` (${at.file}:${at.line})`;
    return { kind: "cib", generate: !hasCib, reason: `crm ${haCf.values.crm}${place}` };
  }
  if (!hasCib) return { kind: "haresources", reason: "no cib.xml, and 'crm' is not asked for" };
  if (at !== undefined) {
    return { kind: "haresources", reason: `crm no (${at.file}:${at.line}), although there is a cib.xml` };
  }
  return { kind: "cib", generate: false, reason: "there is a cib.xml" };
}
