/** The programs that this one behaves as when it is called by their names: links to it do (`futago install-names`). */
import { basename } from "node:path";

export const programs = ["futago", "drbdadm", "drbdsetup", "drbdmeta", "drbd-overview"] as const;
export type Program = (typeof programs)[number];

/** The names that `install-names` makes. */
export const linkNames: readonly Program[] = programs.filter((name) => name !== "futago");

/** By the last component of the path; version suffixes such as `drbdadm-84` are names of the same program. */
export function programOf(path: string): Program {
  const name = basename(path).replace(/-8[34]$/, "");
  return programs.find((program) => program === name) ?? "futago";
}
