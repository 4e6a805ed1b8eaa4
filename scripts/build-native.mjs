/**
 * `npm install`'s own step: compiles native/ and the two packages that come as C++ source (fs-ext, ioctl), then TypeScript if it is
 * installed. Plain JavaScript, because it runs before anything else can.
 *
 * The packages are built here and not by their own install scripts: npm runs those without telling node-gyp where Node's headers
 * are, so that it would download them. Here the headers that came with the running Node are used where there are any.
 */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(join(root, "package.json"));

/** Addons made with nan fit one ABI only. */
const builtFor = `${process.versions.modules} ${process.arch}`;

/** What is compiled: the folder with binding.gyp, the addons that come out of it. */
const targets = [
  { folder: join(root, "native"), addons: ["ring", "sys"] },
  { folder: packageFolder("fs-ext"), addons: ["fs_ext"] },
  { folder: packageFolder("ioctl"), addons: ["ioctl"] },
];

function packageFolder(name) {
  return dirname(require.resolve(`${name}/package.json`));
}

/** Modification times of everything below `folder` that a build reads. */
function sourceTimes(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "build" || entry.name === "node_modules") return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourceTimes(path);
    return /\.(cc|cpp|h|gyp)$/.test(entry.name) ? [statSync(path).mtimeMs] : [];
  });
}

const stampOf = (folder) => join(folder, "build", "built-for");

function isUpToDate({ folder, addons }) {
  const stamp = stampOf(folder);
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== builtFor) return false;
  const newestSource = Math.max(...sourceTimes(folder));
  return addons.every((addon) => {
    const path = join(folder, "build", "Release", `${addon}.node`);
    return existsSync(path) && statSync(path).mtimeMs >= newestSource;
  });
}

/** The folder above include/node of the running Node, if its headers are those of this version. */
function headersFolder() {
  for (const executable of new Set([process.execPath, realpathSync(process.execPath)])) {
    const folder = dirname(dirname(executable));
    const path = join(folder, "include", "node", "node_version.h");
    if (!existsSync(path)) continue;
    const text = readFileSync(path, "utf8");
    const number = (part) => new RegExp(`#define NODE_${part}_VERSION (\\d+)`).exec(text)?.[1];
    const version = `v${number("MAJOR")}.${number("MINOR")}.${number("PATCH")}`;
    if (version === process.version) return folder;
  }
  return undefined;
}

/** The compiler's needs that cannot be found. */
function missingTools() {
  const found = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
  const needs = [
    ["python3", ["python3", "python"]],
    ["make", ["make"]],
    ["a C++ compiler", [process.env.CXX ?? "g++", "c++", "clang++"]],
  ];
  return needs.filter(([, commands]) => !commands.some(found)).map(([name]) => name);
}

function fail(message) {
  console.error(`futago: ${message}`);
  process.exit(1);
}

function build({ folder, addons }) {
  const headers = headersFolder();
  const nodeGyp = require.resolve("node-gyp/bin/node-gyp.js");
  const options = headers === undefined ? [] : [`--nodedir=${headers}`];
  // A build by another version or another npm step must not be mixed in.
  rmSync(join(folder, "build"), { recursive: true, force: true });
  const args = [nodeGyp, "rebuild", "--release", ...options];
  const { status } = spawnSync(process.execPath, args, { cwd: folder, stdio: "inherit" });
  if (status === 0) {
    mkdirSync(join(folder, "build"), { recursive: true });
    writeFileSync(stampOf(folder), builtFor);
    return;
  }
  const missing = missingTools();
  const needs = missing.length > 0 ? `missing: ${missing.join(", ")}` : "the compiler's messages are above";
  const about =
    headers === undefined
      ? `no headers of Node ${process.version} beside ${process.execPath} (Debian: libnode-dev), so node-gyp tried to fetch them; `
      : "";
  fail(`${addons.join(", ")} in ${folder} could not be built: ${about}${needs}`);
}

/** Compiles src/ into dist/ where this is a checkout with its development packages; a published package brings dist/. */
function compile() {
  if (!existsSync(join(root, "src")) || !existsSync(join(root, "tsconfig.build.json"))) return;
  let typescript;
  try {
    typescript = require.resolve("typescript/package.json");
  } catch {
    if (!existsSync(join(root, "dist"))) console.error("futago: no TypeScript here: dist/ is not built");
    return;
  }
  const compiler = join(dirname(typescript), require(typescript).bin.tsc);
  const { status } = spawnSync(process.execPath, [compiler, "-p", join(root, "tsconfig.build.json")], {
    stdio: "inherit",
  });
  if (status !== 0) fail("src/ does not compile");
  const bundled = spawnSync(process.execPath, [join(root, "scripts", "bundle-cli.mjs")], { stdio: "inherit" });
  if (bundled.status !== 0) fail("the futago command could not be bundled");
}

for (const target of targets) {
  if (!isUpToDate(target)) build(target);
}
compile();
