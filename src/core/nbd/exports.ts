/** What is on offer, and what a client is told about it. */
import type { BlockDevice } from "../block-device.ts";
import { transmissionFlags as flag } from "./protocol.ts";

/** The exports of one listener. Names are `<resource>` and `<resource>/<volume>`; `""` asks for the default export. */
export interface ExportTable {
  /** Canonical names, for NBD_OPT_LIST. */
  list(): readonly string[];
  find(name: string): BlockDevice | undefined;
  /** One line for a human being (NBD_INFO_DESCRIPTION); empty if there is nothing to say. */
  describe(name: string): string;
}

/** What negotiation agreed on. `shuttingDown` is the only part that changes afterwards. */
export interface Terms {
  readonly device: BlockDevice;
  /** As the client asked for it. */
  readonly exportName: string;
  /** The client was told NBD_FLAG_READ_ONLY: writes stay refused, whatever the device becomes. */
  readonly readOnly: boolean;
  readonly structuredReplies: boolean;
  /** `base:allocation` was selected for this very export. */
  readonly allocationContext: boolean;
  shuttingDown: boolean;
}

/**
 * The transmission flags of an export (proto.md "Transmission flags"). A read-only export offers no command that would
 * always be refused; DF exists only with structured replies.
 */
export function transmissionFlagsOf(device: BlockDevice, structuredReplies: boolean): number {
  let flags = flag.NBD_FLAG_HAS_FLAGS | flag.NBD_FLAG_SEND_FLUSH | flag.NBD_FLAG_SEND_FUA | flag.NBD_FLAG_SEND_CACHE;
  if (device.readOnly) flags |= flag.NBD_FLAG_READ_ONLY;
  else flags |= flag.NBD_FLAG_SEND_TRIM | flag.NBD_FLAG_SEND_WRITE_ZEROES | flag.NBD_FLAG_SEND_FAST_ZERO;
  if (device.multiConnection) flags |= flag.NBD_FLAG_CAN_MULTI_CONN;
  if (structuredReplies) flags |= flag.NBD_FLAG_SEND_DF;
  return flags;
}

/** The name NBD_OPT_LIST shows for the export found as `name`; `name` itself where the list does not show it. */
export function canonicalName(exports: ExportTable, name: string): string {
  const names = exports.list();
  if (names.includes(name)) return name;
  const device = exports.find(name);
  return names.find((candidate) => exports.find(candidate) === device) ?? name;
}
