import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import type { RunningCommand } from "../lab/command.ts";
import { until } from "../lab/command.ts";
import type { LabHost } from "../lab/host.ts";
import { openLab } from "../lab/lab.ts";
import { nbdAttach, nbdMount } from "../lab/nbd-mount.ts";
import { requireRoot } from "../lab/require-root.ts";

const test = requireRoot(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-lab-nbd-"));
ava.after.always(() => rmSync(scratch, { recursive: true, force: true }));

async function onHost(body: (host: LabHost) => Promise<void>): Promise<void> {
  const lab = await openLab({ name: "nbd", diskBytes: 64 << 20, drbdConf: "", scratch, boot: ["host01"] });
  try {
    await body(lab.host("host01"));
  } finally {
    await lab.close();
  }
}

const socket = "/run/nbd.sock";

async function serve(host: LabHost, ...plugin: string[]): Promise<RunningCommand> {
  const server = host.spawn(["nbdkit", "-f", "-U", socket, ...plugin]);
  await until("nbdkit listens", async () => (await host.run(["test", "-S", socket])).code === 0);
  return server;
}

const mounts = (host: LabHost): Promise<string> => host.mustRun(["cat", "/proc/mounts"]);

test("an ext4 made and filled through nbdfuse and a loop device is there, clean, after unmount and mount", async (t) => {
  await onHost(async (host) => {
    const server = await serve(host, "file", "/dev/VolGroup00/lvol0");
    const first = await nbdMount(host, { socket, mountPoint: "/mnt/web", mkfs: "ext4" });
    t.is(first.size, 64 << 20);
    t.is(await host.mustRun(["losetup", "-n", "-O", "DIO", first.device]), "  1\n");
    await host.mustRun(["sh", "-c", "echo hello >/mnt/web/index.html && sync"]);
    await first.unmount();
    t.false((await mounts(host)).includes("nbdfuse"));
    t.not((await host.run(["losetup", first.device])).code, 0, "the loop device is free again");

    const second = await nbdMount(host, { socket, mountPoint: "/mnt/web", mountOptions: "ro" });
    t.is(await host.mustRun(["cat", "/mnt/web/index.html"]), "hello\n");
    await second.unmount();
    server.signal("SIGTERM");
    await server.exited;
    t.is((await host.run(["e2fsck", "-fn", "/dev/VolGroup00/lvol0"])).code, 0);
  });
});

test("the attached device reads what the server holds and writes to it", async (t) => {
  await onHost(async (host) => {
    await host.mustRun(["dd", "of=/dev/VolGroup00/lvol0", "bs=1M", "seek=5", "conv=fsync"], { input: "before" });
    await serve(host, "file", "/dev/VolGroup00/lvol0");
    const { device, detach } = await nbdAttach(host, { socket });
    t.is(await host.mustRun(["blockdev", "--getsize64", device]), `${64 << 20}\n`);
    t.is(await host.mustRun(["dd", `if=${device}`, "bs=1M", "skip=5", "count=1"]), "before".padEnd(1 << 20, "\0"));
    await host.mustRun(["dd", `of=${device}`, "bs=1M", "seek=6", "conv=fsync"], { input: "after" });
    await detach();
    const read = ["dd", "if=/dev/VolGroup00/lvol0", "bs=1M", "skip=6", "count=1"];
    t.is(await host.mustRun(read), "after".padEnd(1 << 20, "\0"));
  });
});

test("unmount of a filesystem in use fails, says so and keeps it", async (t) => {
  await onHost(async (host) => {
    await serve(host, "memory", "64M");
    const mount = await nbdMount(host, { socket, mountPoint: "/mnt/web", mkfs: "ext4" });
    const user = host.spawn(["sh", "-c", "cd /mnt/web && echo in && exec sleep 600"]);
    await user.prints(/in/);
    await t.throwsAsync(mount.unmount(), { message: /busy/ });
    t.true((await mounts(host)).includes("/mnt/web"));
    user.kill();
    await user.exited;
    await mount.unmount();
  });
});

test("a server that is not there is an error, not a hang", async (t) => {
  await onHost(async (host) => {
    await t.throwsAsync(nbdAttach(host, { socket: "/run/nobody" }), { message: /nbdfuse ended/ });
  });
});

test("a power cut under a mounted export leaves no mount and no loop device", async (t) => {
  await onHost(async (host) => {
    await serve(host, "memory", "64M");
    const { device } = await nbdMount(host, { socket, mountPoint: "/mnt/web", mkfs: "ext4" });
    await host.mustRun(["sh", "-c", "echo dirty >/mnt/web/file"]);
    await host.powerCut();
    await host.boot();
    await until("loop device free", async () => (await host.run(["losetup", device])).code !== 0);
    t.false((await mounts(host)).includes("nbdfuse"));
  });
});
