/** Addresses that can be connected to; the grammar lets more pass, as drbdadm's does (drbd-84 §10.2). */
import type { Address } from "./effective.ts";
import type { AddressNode } from "./tree.ts";

/** The address, or why it is none. */
export function resolveAddress(node: AddressNode): Address | { readonly refusal: string } {
  const { family, address } = node;
  if (family === "sdp" || family === "ssocks") {
    return { refusal: `address family '${family}' is not supported; allowed: ipv4, ipv6` };
  }
  const valid = family === "ipv4" ? isIpv4(address) : isIpv6(address);
  return valid ? { family, address, port: Number(node.port) } : { refusal: `'${address}' is not an ${family} address` };
}

/** Four decimal numbers without leading zeros, which some read as octal. */
export const isIpv4 = (text: string): boolean =>
  /^(\d{1,3}\.){3}\d{1,3}$/.test(text) &&
  text.split(".").every((octet) => Number(octet) <= 255 && (octet === "0" || !octet.startsWith("0")));

/** RFC 4291 §2.2, with an optional zone. */
export function isIpv6(text: string): boolean {
  const [address = "", zone] = text.split("%");
  if (zone === "") return false;
  const halves = address.split("::");
  if (halves.length > 2) return false;
  const parts = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  const last = parts.at(-1);
  const hasIpv4 = last?.includes(".") === true;
  if (hasIpv4 && !isIpv4(last)) return false;
  const groups = hasIpv4 ? parts.slice(0, -1) : parts;
  if (!groups.every((group) => /^[\da-fA-F]{1,4}$/.test(group))) return false;
  const count = groups.length + (hasIpv4 ? 2 : 0);
  return halves.length === 2 ? count < 8 : count === 8;
}
