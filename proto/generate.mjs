// Writes src/engine/control-descriptor.ts from control.proto: node proto/generate.mjs
// The programs load the descriptor instead of the .proto because parsing the text would cost every command some 20 ms.
import { readFileSync, writeFileSync } from "node:fs";
import protobuf from "protobufjs";

const at = (path) => new URL(path, import.meta.url);
const { root } = protobuf.parse(readFileSync(at("control.proto"), "utf8"), { keepCase: false });

/** JSON with one line per field: an object or list that fits is written on one line. */
function write(value, indent) {
  const line = JSON.stringify(value);
  if (typeof value !== "object" || line.length + indent.length < 100) return line;
  const inner = `${indent} `;
  const rows = Array.isArray(value)
    ? value.map((entry) => inner + write(entry, inner))
    : Object.entries(value).map(([key, entry]) => `${inner}${JSON.stringify(key)}: ${write(entry, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${rows.join(",\n")}\n${indent}${close}`;
}

const text = `/** Generated from proto/control.proto by proto/generate.mjs; a test checks that the two agree. */
// biome-ignore format: generated
export const controlDescriptor = ${write(root.toJSON(), "")};
`;
writeFileSync(at("../src/engine/control-descriptor.ts"), text);
