/** `volume N { … }` and the statements device, disk and meta-disk (drbd-84 §10.2). */
import type { Token } from "./lexer.ts";
import { parseOptions } from "./parse-options.ts";
import { is, type Parser, syntaxError } from "./parser.ts";
import type { Position } from "./source.ts";
import type { DeviceNode, MetaDiskNode, VolumeNode } from "./tree.ts";

const statements = ["device", "disk", "meta-disk", "flexible-meta-disk", "'}'"];

/** `siblings`: the volumes that stand in the same section, none of which may have the same number. */
export function parseVolume(parser: Parser, siblings: readonly VolumeNode[], hasDisk = true): VolumeNode {
  const token = parser.plainNumber("a volume number");
  const volume: VolumeNode = {
    volume: Number(token.text),
    implicit: false,
    at: token.at,
    device: undefined,
    disk: undefined,
    metaDisk: undefined,
    options: [],
  };
  const twin = siblings.find((other) => !other.implicit && other.volume === volume.volume);
  if (twin !== undefined) parser.invalid(`volume ${volume.volume} is used twice`, { at: token.at, first: twin.at });
  parser.expect("{");
  for (;;) {
    const word = parser.next();
    if (is(word, "}")) return volume;
    if (!parseStatement(parser, volume, word, hasDisk))
      throw syntaxError(word, hasDisk ? statements : ["device", "'}'"]);
  }
}

function parseStatement(parser: Parser, volume: VolumeNode, token: Token, hasDisk: boolean): boolean {
  if (token.kind !== "word") return false;
  const { text, at } = token;
  if (text === "device") volume.device = parseDevice(parser, at);
  else if (!hasDisk) return false;
  else if (text === "disk" && parser.takes("{")) parseOptions(parser, "disk", volume.options);
  else if (text === "disk") {
    volume.disk = { text: parser.name("a disk or '{'").text, at };
    parser.expect(";");
  } else if (text === "meta-disk" || text === "flexible-meta-disk") volume.metaDisk = parseMetaDisk(parser, text, at);
  else return false;
  return true;
}

/**
 * Up to the `;`. `drbd5` stands for `/dev/drbd5`; a name that holds no number starts with `/dev/drbd_` and needs
 * `minor`.
 */
export function parseDevice(parser: Parser, at: Position): DeviceNode {
  let name = "";
  if (!is(parser.peek(), "minor")) {
    const token = parser.next();
    if (token.kind !== "string" && token.kind !== "word") throw syntaxError(token, ["/dev/drbd<minor>", "minor"]);
    name = token.text.startsWith("/dev/") ? token.text : `/dev/${token.text}`;
  }
  const numbered = /^\/dev\/drbd(\d{1,10})$/.exec(name);
  let minor = numbered === null ? undefined : Number(numbered[1]);
  if (parser.takes("minor")) minor = checkExplicitMinor(parser, name, minor, at);
  else if (name !== "" && !name.startsWith("/dev/drbd")) {
    parser.invalid(`device name '${name}' does not start with /dev/drbd`, { at });
  } else if (minor === undefined) parser.invalid(`device '${name}' names no minor number`, { at });
  const end = parser.next();
  if (!is(end, ";")) throw syntaxError(end, name === "" ? ["';'"] : ["minor", "';'"]);
  return { name, minor: minor ?? 0, at };
}

function checkExplicitMinor(parser: Parser, name: string, inName: number | undefined, at: Position): number {
  const minor = Number(parser.plainNumber("a minor number").text);
  if (inName !== undefined && inName !== minor) {
    parser.invalid(`device '${name}' and minor ${minor} do not agree`, {
      at,
      allowed: [`/dev/drbd${minor}`, `/dev/drbd_… minor ${minor}`],
    });
  } else if (name !== "" && inName === undefined && !name.startsWith("/dev/drbd_")) {
    parser.invalid(`device name '${name}' with an explicit minor`, {
      at,
      allowed: [`/dev/drbd${minor}`, "/dev/drbd_…"],
    });
  }
  return minor;
}

/** Up to the `;`. `flexible-meta-disk` is the older word for a meta-disk without an index. */
export function parseMetaDisk(parser: Parser, word: string, at: Position): MetaDiskNode {
  const path = parser.name("'internal' or a device").text;
  let index = "";
  if (word === "meta-disk" && path !== "internal" && parser.takes("[")) {
    index = parser.plainNumber("an index").text;
    parser.expect("]");
  }
  const end = parser.next();
  if (!is(end, ";")) throw syntaxError(end, word === "meta-disk" && path !== "internal" ? ["'['", "';'"] : ["';'"]);
  return { path, index, at };
}
