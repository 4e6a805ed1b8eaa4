/** Addresses in heartbeat's files: dotted quads, colon forms, the service address of haresources (heartbeat §15.1). */

const quad = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** The four octets as one number below 2^32, or undefined. */
export function parseIpv4(text: string): number | undefined {
  const match = quad.exec(text);
  if (match === null) return undefined;
  let value = 0;
  for (const digits of match.slice(1)) {
    const octet = Number(digits);
    if (octet > 255) return undefined;
    value = value * 256 + octet;
  }
  return value;
}

export function showIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** Whether `text` is an IPv6 address, with or without `%scope`. */
export function isIpv6(text: string): boolean {
  const [address = "", scope] = text.split("%", 2);
  if (scope === "" || !/^[\da-f:.]+$/i.test(address)) return false;
  const halves = address.split("::");
  if (halves.length > 2) return false;
  let groups = 0;
  for (const [index, half] of halves.entries()) {
    const parts = half === "" ? [] : half.split(":");
    for (const [place, part] of parts.entries()) {
      const isLast = index === halves.length - 1 && place === parts.length - 1;
      if (isLast && part.includes(".")) {
        if (parseIpv4(part) === undefined) return false;
        groups += 2;
      } else if (/^[\da-f]{1,4}$/i.test(part)) groups++;
      else return false;
    }
  }
  return halves.length === 2 ? groups < 8 : groups === 8;
}

export const isMulticastIpv4 = (text: string): boolean => {
  const value = parseIpv4(text);
  return value !== undefined && value >= 224 * 2 ** 24 && value < 240 * 2 ** 24;
};

/** Number of leading ones of a netmask, `24` or `255.255.255.0`; undefined where it is neither. */
export function parsePrefix(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) return Number(text) <= 32 ? Number(text) : undefined;
  const mask = parseIpv4(text);
  if (mask === undefined) return undefined;
  const prefix = mask.toString(2).replace(/0+$/, "").length;
  return mask === 2 ** 32 - 2 ** (32 - prefix) || mask === 0 ? (mask === 0 ? 0 : prefix) : undefined;
}

/** First address of the network of `address`. */
export const networkOf = (address: number, prefix: number): number => address - (address % 2 ** (32 - prefix));

/** Last address of the network of `address`. */
export const broadcastOf = (address: number, prefix: number): number =>
  networkOf(address, prefix) + 2 ** (32 - prefix) - 1;

/** `IP[/BITS[/INTERFACE[:LABEL]][/BROADCAST]]`; empty or -1 where a part is not written. */
export interface ServiceAddress {
  readonly ip: string;
  readonly prefix: number;
  readonly nic: string;
  /** After the colon of the interface. */
  readonly label: string;
  readonly broadcast: string;
}

/** What a service address may look like, for messages. */
export const serviceAddressForm = "IP[/BITS[/INTERFACE[:LABEL]][/BROADCAST]]";

/** The parts after the address are told apart by their form; undefined where one is none of them or stands twice. */
export function parseServiceAddress(text: string): ServiceAddress | undefined {
  const [ip = "", ...parts] = text.split("/");
  if (parseIpv4(ip) === undefined) return undefined;
  let prefix = -1;
  let interfaceName = "";
  let broadcast = "";
  for (const part of parts) {
    const bits = parsePrefix(part);
    if (/^\d+$/.test(part) || (bits !== undefined && bits > 0 && prefix < 0 && part.startsWith("255."))) {
      if (bits === undefined || prefix >= 0) return undefined;
      prefix = bits;
    } else if (parseIpv4(part) !== undefined) {
      if (broadcast !== "") return undefined;
      broadcast = part;
    } else {
      if (interfaceName !== "" || !/^[A-Za-z][\w.@:-]*$/.test(part)) return undefined;
      interfaceName = part;
    }
  }
  const [nic = "", label = ""] = interfaceName.split(":", 2);
  return { ip, prefix, nic, label, broadcast };
}
