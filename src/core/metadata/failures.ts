/**
 * Why metadata cannot be used: DRBD's configuration failure codes with the wording of its tools (drbd-84 §10.6). Refusals are
 * returned values; `detail` adds the numbers the operator needs.
 */
export const metadataFailures = {
  ERR_OPEN_MD_DISK: { code: 105, text: "Open of meta device failed." },
  ERR_DISK_TOO_SMALL: { code: 111, text: "Low.dev. smaller than requested DRBD-dev. size." },
  ERR_MD_DISK_TOO_SMALL: { code: 112, text: "Meta device too small." },
  ERR_MD_IDX_INVALID: { code: 116, text: "Lower device / meta device / index combination invalid." },
  ERR_IO_MD_DISK: { code: 118, text: "IO error(s) occurred during initial access to meta-data.\n" },
  ERR_MD_INVALID: {
    code: 119,
    text: "No valid meta-data signature found.\n\n\t==> Use 'drbdadm create-md res' to initialize meta-data area. <==\n",
  },
  ERR_MD_UNCLEAN: { code: 165, text: "Unclean meta-data found.\nYou need to 'drbdadm apply-al res'\n" },
  ERR_MD_LAYOUT_CONNECTED: { code: 166, text: "DRBD need to be connected for online MD layout change\n" },
  ERR_MD_LAYOUT_TOO_BIG: { code: 167, text: "Resulting AL area too big" },
  ERR_MD_LAYOUT_TOO_SMALL: { code: 168, text: "Resulting AL are too small" },
  ERR_MD_LAYOUT_NO_FIT: { code: 169, text: "Resulting AL does not fit into available meta data space\n" },
  ERR_IMPLICIT_SHRINK: { code: 170, text: "Implicit device shrinking not allowed. See kernel log.\n" },
} as const;

export type MetadataFailureName = keyof typeof metadataFailures;

/** `code` and `text` are DRBD's; `detail` is one line of ours, without a newline at its end. */
export interface MetadataFailure {
  readonly ok: false;
  readonly name: MetadataFailureName;
  readonly code: number;
  readonly text: string;
  readonly detail: string;
}

export function fail(name: MetadataFailureName, detail: string): MetadataFailure {
  return { ok: false, name, ...metadataFailures[name], detail };
}
