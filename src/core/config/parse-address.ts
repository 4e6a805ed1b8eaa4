/** Addresses with their port (drbd-84 §10.2). */
import { type Parser, syntaxError } from "./parser.ts";
import type { Position } from "./source.ts";
import type { AddressFamily, AddressNode } from "./tree.ts";

const families: Readonly<Record<string, AddressFamily>> = {
  ipv4: "ipv4",
  ipv6: "ipv6",
  sdp: "sdp",
  ssocks: "ssocks",
  sci: "ssocks",
};

/** `[FAMILY] IPV4:PORT` or `ipv6 [IPV6]:PORT`; the `;` is left. */
export function parseAddress(parser: Parser, at: Position): AddressNode {
  const token = parser.next();
  const family = token.kind === "word" && Object.hasOwn(families, token.text) ? families[token.text] : undefined;
  if (family === undefined && token.kind !== "ipv4") {
    throw syntaxError(token, [...Object.keys(families), "an IPv4 address"]);
  }
  let address = token;
  if (family === "ipv6") {
    parser.expect("[");
    address = parser.next();
    if (address.kind !== "ipv6") throw syntaxError(address, ["an IPv6 address"]);
    parser.expect("]");
  } else if (family !== undefined) {
    address = parser.next();
    if (address.kind !== "ipv4") throw syntaxError(address, ["an IPv4 address"]);
  }
  parser.expect(":");
  const port = parser.plainNumber("a port number");
  if (Number(port.text) < 1 || Number(port.text) > 65535) {
    parser.invalid(`port ${port.text} is out of range`, { at: port.at, allowed: ["1..65535"] });
  }
  return { family: family ?? "ipv4", address: address.text, port: port.text, at };
}
