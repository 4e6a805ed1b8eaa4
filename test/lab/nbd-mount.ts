import { type RunningCommand, until } from "./command.ts";
import type { LabHost } from "./host.ts";
import { loopMinor } from "./loop-device.ts";

/**
 * An NBD export as a block device and a mounted filesystem inside a host, without the kernel's nbd module:
 *
 *     filesystem ── /dev/loopN (direct I/O) ── FUSE file ── nbdfuse ── NBD socket
 *
 * Each step pins the one to its right, so they end from left to right. A power cut ends all of them at once.
 */
export interface NbdDevice {
  /** `/dev/loopN`, valid inside the host. */
  readonly device: string;
  /** Size in bytes as the server told. */
  readonly size: number;
  readonly detach: () => Promise<void>;
}

export interface NbdMount extends NbdDevice {
  readonly mountPoint: string;
  /** Unmounts, then detaches. Throws with the mount kept when the filesystem is in use. */
  readonly unmount: () => Promise<void>;
}

export interface NbdAttachOptions {
  /** Path of the NBD server's Unix socket as the host sees it. */
  readonly socket: string;
  /** Export name; default the empty one. */
  readonly exportName?: string;
}

export interface NbdMountOptions extends NbdAttachOptions {
  /** Created when missing. */
  readonly mountPoint: string;
  /** Make this filesystem first; default: mount what is there. */
  readonly mkfs?: "ext4" | "xfs";
  /** For `mount -o`. */
  readonly mountOptions?: string;
}

const makers = {
  // Inode tables and journal are written now: a background thread must not write to the volume while a test counts.
  ext4: ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
  xfs: ["mkfs.xfs", "-q"],
} as const;

/** One attempt of many: another lab may take the free loop device between the question and the answer. */
async function attachFreeLoop(host: LabHost, file: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const device = (await host.mustRun(["losetup", "--find"])).trim();
    await makeLoopNode(host, device);
    const attached = await host.run(["losetup", "--direct-io=on", device, file]);
    if (attached.code === 0) return device;
    if (attempt === 20 || !attached.stderr.includes("busy")) throw new Error(`losetup ${device}: ${attached.stderr}`);
  }
}

/** The kernel adds loop devices as needed; the host's own /dev does not follow by itself. */
async function makeLoopNode(host: LabHost, device: string): Promise<void> {
  const make = '[ -b "$1" ] || mknod -m 660 "$1" b 7 "$2"';
  await host.mustRun(["sh", "-c", make, "sh", device, String(loopMinor(device))]);
}

/** Holds the device open and asks for its release: so its last close detaches it, in a crash as well. */
async function holdLoop(host: LabHost, device: string): Promise<RunningCommand> {
  const hold = 'exec 9<"$1" && losetup --detach "$1" && echo held && exec sleep 2147483647';
  const holder = host.spawn(["sh", "-c", hold, "sh", device]);
  await holder.prints(/held/);
  return holder;
}

export async function nbdAttach(host: LabHost, options: NbdAttachOptions): Promise<NbdDevice> {
  const directory = (await host.mustRun(["mktemp", "-d", "/run/nbdfuse.XXXXXX"])).trim();
  const uri = `nbd+unix:///${encodeURIComponent(options.exportName ?? "")}?socket=${options.socket}`;
  const fuse = host.spawn(["nbdfuse", directory, uri]);
  const endFuse = async (): Promise<void> => {
    await until(`${directory} unmounted`, async () => {
      const { code, stderr } = await host.run(["fusermount3", "-u", directory]);
      return code === 0 || stderr.includes("not found in /etc/mtab") || stderr.includes("Invalid argument");
    });
    await fuse.exited;
    await host.mustRun(["rmdir", directory]);
  };
  const file = `${directory}/nbd`;
  let size = 0;
  await until(`nbdfuse serves ${options.socket}`, async () => {
    if (fuse.child.exitCode !== null) throw new Error(`nbdfuse ended with ${fuse.child.exitCode}: ${fuse.stderr()}`);
    size = Number((await host.run(["stat", "-c", "%s", file])).stdout);
    return size > 0;
  });
  try {
    const device = await attachFreeLoop(host, file);
    const holder = await holdLoop(host, device);
    const detach = async (): Promise<void> => {
      holder.kill();
      await holder.exited;
      await until(
        `${device} detached`,
        async () => !(await host.run(["losetup", "--all"])).stdout.includes(`${device}: `),
      );
      await endFuse();
    };
    return { device, size, detach };
  } catch (cause) {
    await endFuse();
    throw cause;
  }
}

export async function nbdMount(host: LabHost, options: NbdMountOptions): Promise<NbdMount> {
  const attached = await nbdAttach(host, options);
  const { mountPoint, mkfs, mountOptions } = options;
  try {
    if (mkfs !== undefined) await host.mustRun([...makers[mkfs], attached.device], { timeout: 60_000 });
    await host.mustRun(["mkdir", "-p", mountPoint]);
    const how = mountOptions === undefined ? [] : ["-o", mountOptions];
    await host.mustRun(["mount", ...how, attached.device, mountPoint]);
  } catch (cause) {
    await attached.detach();
    throw cause;
  }
  const unmount = async (): Promise<void> => {
    await host.mustRun(["umount", mountPoint]);
    await attached.detach();
  };
  return { ...attached, mountPoint, unmount };
}
