import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { requiredPrograms } from "./guest-scripts.ts";

type Test = (title: string, implementation: never) => void;
type SerialTest<T extends Test> = T & { readonly skip: Test };

const tools = [
  ...["qemu-system-x86_64", "apt-get", "apt-cache", "dpkg-deb", "cpio", "zstd", "depmod", "modprobe", "ldd"],
  ...["setpriv", "nsenter", "tshark"],
] as const;

/** Why no guest can be booted here, in words for whoever reads the test's output; undefined when one can. */
export function whyNoGuest(): string | undefined {
  if (process.arch !== "x64") return "the guest's programs are this machine's: needs x86-64";
  if (process.getuid?.() !== 0) return "needs root (locks of drbdmeta, cache, bridges)";
  const absent = tools.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  const missing = [...absent, ...requiredPrograms.filter((path) => !existsSync(path))];
  if (missing.length === 0) return undefined;
  return `needs ${missing.join(", ")}: node scripts/debian-packages.mjs ensure kernel-guest`;
}

/**
 * `const test = requireGuest(ava.serial)`: the test function itself where a guest can be booted; otherwise one that
 * skips with the reason in the title.
 */
export function requireGuest<T extends Test>(serial: SerialTest<T>): SerialTest<T> | T {
  const reason = whyNoGuest();
  if (reason === undefined) return serial;
  return ((title: string, implementation: never) => serial.skip(`${title} (skipped: ${reason})`, implementation)) as T;
}
