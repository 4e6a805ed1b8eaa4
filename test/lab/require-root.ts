import { spawnSync } from "node:child_process";

type Test = (title: string, implementation: never) => void;
type SerialTest<T extends Test> = T & { readonly skip: Test };

const tools = ["unshare", "nsenter", "setpriv", "busybox", "losetup", "ip", "nft"] as const;

/** Why this process cannot open a lab, in words for whoever reads the test's output; undefined when it can. */
export function whyNoLab(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root (namespaces, loop devices)";
  const missing = tools.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  if (missing.length > 0) return `needs ${missing.join(", ")}: node scripts/debian-packages.mjs ensure test`;
  const probe = spawnSync("unshare", ["--mount", "--net", "--pid", "--fork", "true"], { timeout: 10_000 });
  return probe.status === 0 ? undefined : `this machine refuses namespaces: ${probe.stderr.toString().trim()}`;
}

/**
 * `const test = requireRoot(ava.serial)`: the test function itself where a lab can be opened; otherwise one that skips
 * with the reason in the title, so that nobody takes a skipped test for a passed one.
 */
export function requireRoot<T extends Test>(serial: SerialTest<T>): SerialTest<T> | T {
  const reason = whyNoLab();
  if (reason === undefined) return serial;
  return ((title: string, implementation: never) => serial.skip(`${title} (skipped: ${reason})`, implementation)) as T;
}
