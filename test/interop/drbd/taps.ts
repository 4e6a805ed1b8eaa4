import { mustRun, runCommand } from "../../lab/command.ts";
import type { NetPlan } from "./qemu.ts";

let made = 0;

/** The words that run a command in the plan's network namespace. */
export const inNamespace = (net: NetPlan): readonly string[] =>
  net.mode === "tap" && net.netns !== undefined ? ["nsenter", "-t", String(net.netns), "-n", "--"] : [];

/** Makes one interface for each link and joins it to its bridge. Returns their names. */
export async function plugTaps(net: NetPlan): Promise<readonly string[]> {
  if (net.mode !== "tap") return [];
  const taps = net.links.map(({ bridge }) => ({ bridge, name: `vm${process.pid}-${++made}` }));
  const batch = taps.map(
    ({ bridge, name }) => `tuntap add dev ${name} mode tap\nlink set ${name} master ${bridge}\nlink set ${name} up\n`,
  );
  await mustRun([...inNamespace(net), "ip", "-batch", "-"], { input: batch.join("") });
  return taps.map(({ name }) => name);
}

/** A namespace that is gone took its interfaces along: that is no error. */
export async function unplugTaps(net: NetPlan, taps: readonly string[]): Promise<void> {
  for (const name of taps) await runCommand([...inNamespace(net), "ip", "link", "del", name]);
}
