import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { mustRun } from "../../lab/command.ts";
import { cached } from "./cache.ts";
import { agent, init, links, modules, optionalPrograms, requiredPrograms } from "./guest-scripts.ts";
import type { KernelPackage } from "./kernel-package.ts";

/** The programs and every library that the dynamic linker of this machine gives them. */
async function programFiles(): Promise<readonly string[]> {
  const programs = [...requiredPrograms, ...optionalPrograms.filter((path) => existsSync(path))];
  // A static program makes ldd end with 1 and say so.
  const listing = await mustRun(["sh", "-c", 'for file; do ldd "$file" 2>/dev/null || :; done', "sh", ...programs]);
  const libraries = [...listing.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, path]) => path ?? "");
  return [...programs, ...new Set(libraries)];
}

/** Changes when the kernel, the scripts, the module list or any file of this machine that goes in does. */
function keyOf(kernel: KernelPackage, files: readonly string[]): string {
  const hash = createHash("sha256").update(JSON.stringify([kernel.root, init, agent, modules, links]));
  for (const file of files) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return `initramfs-${kernel.release}-${hash.digest("hex").slice(0, 16)}`;
}

function put(from: string, tree: string, path: string): void {
  const target = join(tree, path);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(from, target);
}

async function putModules(kernel: KernelPackage, tree: string): Promise<void> {
  const names = [...modules.atBoot, ...modules.onDemand];
  const show = ["modprobe", "-d", kernel.root, "-S", kernel.release, "--show-depends", "-a", ...names];
  // `builtin NAME` lines are parts of the image.
  const wanted = [...(await mustRun(show)).matchAll(/^insmod (\S+)/gm)].map(([, path]) => path ?? "");
  for (const path of new Set(wanted)) put(path, tree, path.slice(kernel.root.length));
  const directory = join("lib/modules", kernel.release);
  for (const file of readdirSync(join(kernel.root, directory))) {
    if (/^modules\.(builtin|builtin\.modinfo|order)$/.test(file)) {
      put(join(kernel.root, directory, file), tree, join(directory, file));
    }
  }
  await mustRun(["depmod", "-b", tree, kernel.release]);
}

async function build(kernel: KernelPackage, files: readonly string[], directory: string): Promise<void> {
  const tree = join(directory, "tree");
  mkdirSync(tree);
  for (const file of files) put(realpathSync(file), tree, file);
  await putModules(kernel, tree);
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    symlinkSync(target, join(tree, path));
  }
  writeFileSync(join(tree, "init"), init, { mode: 0o755 });
  writeFileSync(join(tree, "agent"), agent);
  for (const path of ["proc", "sys", "dev", "tmp", "run", "var"]) mkdirSync(join(tree, path), { recursive: true });
  const pack = 'cd "$1/tree" && find . | cpio --quiet -o -H newc -R 0:0 | zstd -q -12 -o "$1/initrd.img"';
  await mustRun(["sh", "-c", `set -e; ${pack}`, "sh", directory], { timeout: 120_000 });
  rmSync(tree, { recursive: true });
}

/** Path of the archive that the guest boots from: built once, then taken from the cache. */
export async function initramfs(kernel: KernelPackage): Promise<string> {
  const files = await programFiles();
  const directory = await cached(keyOf(kernel, files), (own) => build(kernel, files, own));
  return join(directory, "initrd.img");
}
