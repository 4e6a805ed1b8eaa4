/** `resource` and `common`: their sections, and the statements of volumes (drbd-84 §10.2). */

import { netOptions, type SectionName } from "./options.ts";
import { parseHost, parseIgnoreOn, parseStacked } from "./parse-host.ts";
import { parseOptions, parseSyncer, parseValues, unknownOption } from "./parse-options.ts";
import { parseDevice, parseMetaDisk, parseVolume } from "./parse-volume.ts";
import { type Parser, syntaxError } from "./parser.ts";
import type { Position } from "./source.ts";
import { emptySections, type ResourceNode, type VolumeNode } from "./tree.ts";
import { checkVolumes, implicitVolume } from "./volumes.ts";

const statements =
  `protocol on floating stacked-on-top-of volume device disk meta-disk flexible-meta-disk net syncer startup handlers
  options proxy ignore-on`.split(/\s+/);

/** Reads to the closing `}`. `name` is `common` for that section, whose volume statements have no effect. */
export function parseResource(parser: Parser, name: string, at: Position): ResourceNode {
  const resource: ResourceNode = { name, at, sections: emptySections(), plugins: [], volumes: [], hosts: [] };
  for (;;) {
    const token = parser.next();
    if (token.kind === "mark" && token.text === "}") break;
    if (token.kind === "end") {
      // drbdadm takes the end of the file for the missing brace, and so does this; a cut-off file should not go
      // unnoticed.
      parser.warn(`the section '${name}' is not closed before the end of the file`, at);
      break;
    }
    if (token.kind !== "word" || !parseStatement(parser, resource, token.text, token.at)) {
      throw unknownOption(token, name, statements);
    }
  }
  checkVolumes(parser, resource);
  return resource;
}

function parseStatement(parser: Parser, resource: ResourceNode, word: string, at: Position): boolean {
  switch (word) {
    case "protocol":
      parser.once(`${resource.name} protocol`, `the statement 'protocol' in '${resource.name}'`, at);
      resource.sections.net.push({
        name: "protocol",
        values: [...parseProtocol(parser)],
        at,
        via: "resource",
      });
      return true;
    case "on":
    case "floating":
      return parseHost(parser, resource, word, at);
    case "stacked-on-top-of":
      return parseStacked(parser, resource, at);
    case "ignore-on":
      return parseIgnoreOn(parser, at);
    case "volume":
      resource.volumes.push(parseVolume(parser, resource.volumes));
      return true;
    case "net":
    case "startup":
    case "handlers":
    case "options":
    case "proxy":
      return parseSection(parser, resource, word, at);
    case "syncer":
      onceIn(parser, resource, word, at);
      parser.expect("{");
      parseSyncer(parser, resource.sections);
      return true;
    default:
      return parseVolumeStatement(parser, resource, word, at);
  }
}

function parseProtocol(parser: Parser): string[] {
  const token = parser.peek();
  if (token.kind === "integer") throw syntaxError(token, netOptions.protocol.values);
  const values = parseValues(parser, "protocol", netOptions.protocol);
  parser.expect(";");
  return values;
}

function parseSection(parser: Parser, resource: ResourceNode, section: SectionName, at: Position): true {
  onceIn(parser, resource, section, at);
  parser.expect("{");
  parseOptions(parser, section, resource.sections[section], section === "proxy" ? resource.plugins : undefined);
  return true;
}

const onceIn = (parser: Parser, resource: ResourceNode, section: string, at: Position): void =>
  parser.once(`${resource.name} { ${section}`, `the section '${section}' in '${resource.name}'`, at);

/** Statements of the implicit volume, which every later host section inherits; and the section `disk`. */
function parseVolumeStatement(parser: Parser, resource: ResourceNode, word: string, at: Position): boolean {
  if (word === "disk" && parser.takes("{")) {
    onceIn(parser, resource, "disk", at);
    parseOptions(parser, "disk", resource.sections.disk);
    return true;
  }
  if (word === "device") {
    parser.once(`${resource.name} device`, `the statement 'device' in '${resource.name}'`, at);
    resourceVolume(resource, at).device = parseDevice(parser, at);
  } else if (word === "disk") {
    const token = parser.name("a disk or '{'");
    resourceVolume(resource, at).disk = { text: token.text, at };
    parser.expect(";");
  } else if (word === "meta-disk" || word === "flexible-meta-disk") {
    resourceVolume(resource, at).metaDisk = parseMetaDisk(parser, word, at);
  } else return false;
  return true;
}

const resourceVolume = (resource: ResourceNode, at: Position): VolumeNode => implicitVolume(resource.volumes, at);
