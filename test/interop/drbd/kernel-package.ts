import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mustRun, runCommand } from "../../lab/command.ts";
import { cacheDirectory, cached } from "./cache.ts";

export interface KernelPackage {
  /** As `uname -r` says it, such as `6.1.0-56-cloud-amd64`. */
  readonly release: string;
  readonly image: string;
  /** What `modprobe -d` takes: the directory with `lib/modules/<release>`. */
  readonly root: string;
}

/** Depends on Debian's newest kernel for virtual machines, a third of the size of the full one; has every module needed. */
const metaPackage = "linux-image-cloud-amd64";

interface Choice {
  readonly name: string;
  readonly version: string;
}

/** `FUTAGO_TEST_KERNEL` names another package; undefined when this machine's package lists know none. */
async function choose(): Promise<Choice | undefined> {
  const show = async (name: string): Promise<string> =>
    (await runCommand(["apt-cache", "show", "--no-all-versions", name])).stdout;
  const named = process.env["FUTAGO_TEST_KERNEL"];
  const name = named ?? /^Depends:.*?\b(linux-image-[\w.+-]+-cloud-amd64)/m.exec(await show(metaPackage))?.[1];
  if (name === undefined) return undefined;
  const version = /^Version: (\S+)$/m.exec(await show(name))?.[1];
  return version === undefined ? undefined : { name, version };
}

const prefix = "kernel-";
const keyOf = ({ name, version }: Choice): string => `${prefix}${name}_${version.replaceAll(":", "-")}`;

async function download(choice: Choice, directory: string): Promise<void> {
  await mustRun(["sh", "-c", 'cd "$1" && exec apt-get download -q "$2"', "sh", directory, choice.name], {
    timeout: 300_000,
  });
  const file = readdirSync(directory).find((entry) => entry.endsWith(".deb"));
  if (file === undefined) throw new Error(`apt-get download ${choice.name} left no .deb`);
  await mustRun(["dpkg-deb", "-x", join(directory, file), directory], { timeout: 120_000 });
  rmSync(join(directory, file));
  const release = releaseIn(directory);
  // The package has no modules.dep: its installation would make it.
  await mustRun(["depmod", "-b", directory, release], { timeout: 120_000 });
}

function releaseIn(root: string): string {
  const [release] = readdirSync(join(root, "lib/modules"));
  if (release === undefined) throw new Error(`no modules in ${root}`);
  return release;
}

function describe(root: string): KernelPackage {
  const release = releaseIn(root);
  return { release, image: join(root, "boot", `vmlinuz-${release}`), root };
}

/** The newest one that earlier runs left: enough for a machine that has lost its network or its package lists. */
function newestCached(): string | undefined {
  const directory = cacheDirectory();
  if (!existsSync(directory)) return undefined;
  const byVersion = new Intl.Collator("en", { numeric: true });
  return readdirSync(directory)
    .filter((entry) => entry.startsWith(prefix))
    .sort(byVersion.compare)
    .at(-1);
}

let known: Promise<KernelPackage> | undefined;

/**
 * Debian's stock kernel, downloaded without being installed and unpacked into the cache, keyed by its version. Lists
 * that are empty or too old are updated, by root. Throws when there is none to be had and none in the cache.
 */
export function kernelPackage(): Promise<KernelPackage> {
  // Once a process: a guest that is booted again gets the same kernel.
  known ??= find();
  return known;
}

async function find(): Promise<KernelPackage> {
  const attempt = async (): Promise<string | undefined> => {
    const choice = await choose();
    return choice && cached(keyOf(choice), (directory) => download(choice, directory));
  };
  let problem: unknown;
  const first = await attempt().catch((cause: unknown) => void (problem = cause));
  if (first !== undefined) return describe(first);
  const update = await runCommand(["apt-get", "update", "-q"], { timeout: 300_000 });
  const second = await attempt().catch((cause: unknown) => void (problem = cause));
  if (second !== undefined) return describe(second);
  const old = process.env["FUTAGO_TEST_KERNEL"] === undefined ? newestCached() : undefined;
  if (old !== undefined) return describe(join(cacheDirectory(), old));
  const wanted = process.env["FUTAGO_TEST_KERNEL"] ?? metaPackage;
  throw new Error(`no kernel package ${wanted}: ${update.stderr.trim()}`, { cause: problem });
}
