/** What an operator can do about a refusal: DRBD's text says what is wrong, this says what next. */
import type { StateRequest } from "../engine/control-interface.ts";

type Verb = StateRequest["verb"];

interface Advice {
  readonly code: number;
  /** Undefined: for every verb. */
  readonly verb?: Verb;
  readonly text: (resource: string) => string;
}

/** Codes are those of drbd-84 §4.5 and §10.6. */
const rows: readonly Advice[] = [
  { code: -1, verb: "primary", text: (r) => `the other node is Primary; there: futago secondary ${r}` },
  {
    code: -2,
    verb: "primary",
    text: (r) =>
      `no UpToDate data here; to make THIS node's data the good data and overwrite the peer's: futago primary --force ${r}`,
  },
  { code: -2, verb: "detach", text: () => "this is the last UpToDate disk of a node in use" },
  { code: -7, text: (r) => `the peer may hold newer data; connect first (futago connect ${r}) or set up fencing` },
  { code: -9, verb: "disconnect", text: () => "it is disconnected already" },
  { code: -11, text: (r) => `attach a disk first: futago attach ${r}` },
  { code: -12, verb: "secondary", text: () => "unmount it and disconnect its NBD clients first" },
  { code: -15, text: (r) => `connect to the peer first: futago connect ${r}` },
  { code: 104, text: () => "is the disk there, and named rightly in the configuration?" },
  { code: 114, text: () => "is it mounted, or in use by another program?" },
  { code: 115, text: () => "is it mounted, or in use by another program?" },
  { code: 119, text: (r) => `if this disk was never used: futago create-md ${r}` },
  { code: 165, text: (r) => `futago apply-al ${r}` },
];

/** One line, or undefined if the text says it all. */
export function adviceOn(verb: Verb, code: number, resource: string): string | undefined {
  const row = rows.find((one) => one.code === code && (one.verb === undefined || one.verb === verb));
  return row === undefined ? undefined : `  ${row.text(resource)}`;
}
