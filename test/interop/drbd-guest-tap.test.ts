import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { type CommandResult, mustRun, type RunningCommand, runCommand, startCommand, until } from "../lab/command.ts";
import { type Guest, openGuest } from "./drbd/guest.ts";
import { requireGuest, whyNoGuest } from "./drbd/require-guest.ts";
import { tsharkMalformed } from "./drbd/tshark.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-interop-"));
let keeper: RunningCommand | undefined;
let guest: Guest;

const drbdConf = `global { usage-count no; }
resource r0 {
  protocol C;
  net { connect-int 1; }
  device /dev/drbd0;
  meta-disk internal;
  on host01 { disk /dev/vda; address 192.168.1.100:7789; }
  on host02 { disk /dev/vda; address 192.168.1.200:7789; }
}
`;

/** A command on the bridge's side, where 192.168.1.100 is. */
const outside = (...argv: string[]): Promise<CommandResult> =>
  runCommand(["nsenter", "-t", String(keeper?.child.pid), "-n", ...argv]);

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  keeper = startCommand(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo up; exec sleep 3600"]);
  await keeper.prints(/up/);
  const netns = keeper.child.pid ?? 0;
  const bridge = "link add lan type bridge\naddr add 192.168.1.100/24 dev lan\nlink set lan up\n";
  await mustRun(["nsenter", "-t", String(netns), "-n", "ip", "-batch", "-"], { input: bridge });
  guest = await openGuest({
    name: "tap",
    hostname: "host02",
    files: { "/etc/drbd.conf": drbdConf },
    disks: [{ bytes: 1024 * 1024 }],
    net: { mode: "tap", netns, links: [{ bridge: "lan", address: "192.168.1.200/24" }] },
    scratch,
  });
});

ava.after.always(async () => {
  await guest?.close();
  keeper?.kill();
  await keeper?.exited;
  rmSync(scratch, { recursive: true, force: true });
});

test("on a bridge, the guest and the other side have real addresses, until its link is cut", async (t) => {
  t.is((await guest.mustRun("hostname")).trim(), "host02");
  const reaches = async (): Promise<boolean> =>
    (await outside("busybox", "ping", "-c", "1", "-W", "1", "192.168.1.200")).code === 0;
  await until("guest answers", reaches, 20_000);
  await guest.mustRun("ping -c 1 192.168.1.100");
  await guest.cutLink();
  t.false(await reaches());
  await guest.restoreLink();
  await until("guest answers again", reaches, 20_000);
});

test("drbdadm-84 brings the resource up from /etc/drbd.conf and calls the peer at its real address", async (t) => {
  const first = startCommand([
    "nsenter",
    "-t",
    String(keeper?.child.pid),
    "-n",
    "sh",
    "-c",
    "sleep 60 | busybox nc -l -p 7789",
  ]);
  try {
    await guest.mustRun("drbdadm-84 create-md --force r0 && drbdadm-84 up r0");
    const state = await guest.reaches(0, { cs: "WFConnection", ro: "Secondary/Unknown", ds: "Inconsistent/DUnknown" });
    t.is(state.protocol, "C");
    // P_INITIAL_DATA: magic, command 0xfff2, no payload. The bytes are no UTF-8, so the capture is asked.
    await until("the kernel calls", async () => {
      const argv = [
        "tshark",
        "-n",
        "-r",
        guest.capture,
        "-Y",
        "ip.dst==192.168.1.100 && tcp.dstport==7789 && tcp.len==8",
      ];
      return (await runCommand([...argv, "-T", "fields", "-e", "tcp.payload"])).stdout.startsWith("83740267fff20000");
    });
    t.deepEqual(await tsharkMalformed(guest.capture), []);
    await guest.mustRun("drbdadm-84 down r0");
  } finally {
    first.kill();
  }
});

test("closed, it leaves no interface on the bridge", async (t) => {
  await guest.close();
  t.notRegex((await outside("ip", "-o", "link")).stdout, /vm\d+-\d+/);
});
