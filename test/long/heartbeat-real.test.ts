/**
 * A mixed pair: the real heartbeat 3.0.6 and ours, over bcast, ucast and mcast, with crc, md5 and sha1. The judges are the
 * real daemon's own log, its cl_status, and a watcher that looks at both hosts all the time: never two run one resource.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava, { type ExecutionContext } from "ava";
import { ensureCompiled } from "../engine/compiled.ts";
import { nodeName, type Server, WireLab, type WireLabOptions, whyNoHeartbeat } from "../heartbeat/wire-lab.ts";
import { until } from "../lab/command.ts";

const reason = whyNoHeartbeat();
const scratch = mkdtempSync(join(tmpdir(), "futago-wire-"));
ava.before(() => {
  if (reason === undefined) ensureCompiled();
});
ava.after.always(() => rmSync(scratch, { recursive: true, force: true }));

/** What the real daemon says at every start on such a machine, whoever its peer is. */
const atStart = [
  /Core dumps could be lost/,
  /Consider setting .*core_/,
  /Logging daemon is disabled/,
  /No Previous generation/,
  /No uuid found/,
];
/** What it says of every death of a peer that held something. */
const atDeath = [/node \S+: is dead/, /No STONITH device configured/, /Shared disks are not protected/];

/** What it says of a node that returns after a partition; in the first 10 s after a takeover its own restart has to wait. */
const atReturn = [
  /returning after partition/,
  /Deadtime value may be too small/,
  /Late heartbeat/,
  /Shutdown delayed until current resource activity finishes/,
];

/** Runs the body in a lab that is closed whatever happens; without the real daemon the test is skipped, and says why. */
function mixed(
  title: string,
  options: Omit<WireLabOptions, "name" | "scratch">,
  body: (t: ExecutionContext, lab: WireLab) => Promise<void>,
): void {
  if (reason !== undefined) {
    ava.serial.skip(`${title} (skipped: ${reason})`, () => {});
    return;
  }
  ava.serial(title, async (t) => {
    t.timeout(110_000);
    const lab = await WireLab.open({ name: "wire", scratch, ...options });
    try {
      await lab.start("host01", "host02");
      await lab.reaches("a@host01 b@host02");
      await body(t, lab);
    } finally {
      await lab.close();
    }
  });
}

/** The real daemon has finished whatever it was doing. */
async function settled(lab: WireLab, server: Server, holds: string): Promise<void> {
  await until(`rscstatus ${holds}`, async () => (await lab.clStatus(server, "rscstatus")) === holds, 20_000);
}

const script = (name: string, word: string): readonly string[] => [`/usr/share/heartbeat/${name}`, word];
const media = {
  bcast: ["bcast eth1"],
  ucast: ["ucast eth1 10.77.0.1", "ucast eth1 10.77.0.2"],
  mcast: ["mcast eth1 239.192.0.42 694 1 0", "ucast eth0 192.168.1.100", "ucast eth0 192.168.1.200"],
};

mixed(
  "bcast, crc, auto_failback on: join, standby and takeover from either side, death and return of the real node",
  {
    kinds: { host01: "real", host02: "futago" },
    media: media.bcast,
    authkeys: ["auth 1", "1 crc"],
    autoFailback: "on",
  },
  async (t, lab) => {
    const ours = nodeName("host02");
    t.is(await lab.clStatus("host01", "nodestatus", ours), "active");
    t.is(await lab.clStatus("host01", "hblinkstatus", ours, "eth1"), "up");
    await settled(lab, "host01", "local");

    await lab.host("host01").mustRun(script("hb_standby", "all"));
    await lab.reaches("a@host02 b@host02");
    await settled(lab, "host01", "none");
    await lab.host("host01").mustRun(script("hb_takeover", "local"));
    await lab.reaches("a@host01 b@host02");
    await settled(lab, "host01", "local");
    await lab.host("host02").mustRun(script("hb_takeover", "all"));
    await lab.reaches("a@host02 b@host02");
    await settled(lab, "host01", "none");
    await lab.host("host02").mustRun(script("hb_standby", "foreign"));
    await lab.reaches("a@host01 b@host02");
    await settled(lab, "host01", "local");
    t.deepEqual(lab.unexpected(...atStart), []);

    // What is lost either way is asked for and repeated: the real node ends up with nothing missing.
    await lab.host("host02").drop(30);
    await until("the real node misses messages", () => /lost packet\(s\)/.test(lab.log("host01")), 20_000);
    await lab.host("host02").heal();
    const words = (): readonly string[] => lab.log("host01").match(/lost packet\(s\)|No pkts missing/g) ?? [];
    const complete = (): boolean => words().at(-1) === "No pkts missing";
    await until("the real node has them all", complete, 10_000);
    t.is(lab.placement(), "a@host01 b@host02");
    const atLoss = [/lost packet\(s\)/, /Late heartbeat/];
    t.deepEqual(lab.unexpected(...atStart, ...atLoss), []);

    await lab.cutPower("host01");
    const died = performance.now();
    await lab.reaches("a@host02 b@host02", 10_000);
    const took = performance.now() - died;
    // deadtime 3 s from its last status, which may be a keepalive old, and the start of the script.
    t.true(took > 2_000 && took < 5_000, `${Math.round(took)} ms`);
    await lab.host("host01").boot();
    await lab.start("host01");
    await lab.reaches("a@host01 b@host02");
    t.deepEqual(lab.unexpected(...atStart, ...atLoss), []);
    t.deepEqual(lab.doubled, []);
  },
);

mixed(
  "ucast, md5, auto_failback on: our orderly leave, our return, our death, the real node's orderly leave",
  {
    kinds: { host01: "futago", host02: "real" },
    media: media.ucast,
    authkeys: ["auth 2", "2 md5 LabSharedKey"],
    autoFailback: "on",
  },
  async (t, lab) => {
    await settled(lab, "host02", "local");
    await lab.stop("host01");
    await lab.reaches("a@host02 b@host02", 5_000);
    t.is(lab.daemon("host01").child.exitCode, 0);
    await until(
      "our leave is over",
      async () => (await lab.clStatus("host02", "nodestatus", nodeName("host01"))) === "dead",
    );
    t.deepEqual(lab.unexpected(...atStart, /node \S+: is dead/), []);

    await lab.start("host01");
    await lab.reaches("a@host01 b@host02");
    await settled(lab, "host02", "local");
    await lab.cutPower("host01");
    const died = performance.now();
    await lab.reaches("a@host02 b@host02", 10_000);
    const took = performance.now() - died;
    t.true(took > 2_000 && took < 7_000, `${Math.round(took)} ms`);
    await settled(lab, "host02", "all");
    await lab.host("host01").boot();
    await lab.start("host01");
    await lab.reaches("a@host01 b@host02");
    await settled(lab, "host02", "local");
    await lab.stop("host02");
    await lab.reaches("a@host01 b@host01", 5_000);
    t.deepEqual(lab.unexpected(...atStart, ...atDeath), []);
    t.deepEqual(lab.doubled, []);
  },
);

mixed(
  "mcast and ucast on two links, sha1, auto_failback off: one cut cable, both cut and plugged in again",
  {
    kinds: { host01: "real", host02: "futago" },
    media: media.mcast,
    authkeys: ["auth 3", "3 sha1 LabSharedKey"],
    autoFailback: "off",
  },
  async (t, lab) => {
    await settled(lab, "host01", "local");
    const ours = nodeName("host02");
    await lab.host("host01").cutLink("eth1");
    await until(
      "the real node sees the link dead",
      async () => (await lab.clStatus("host01", "hblinkstatus", ours, "eth1")) === "dead",
    );
    t.is(await lab.clStatus("host01", "hblinkstatus", ours, "eth0"), "up");
    t.is(await lab.clStatus("host01", "nodestatus", ours), "active");
    t.is(lab.placement(), "a@host01 b@host02");
    await lab.host("host01").restoreLink("eth1");
    await until(
      "the link is up again",
      async () => (await lab.clStatus("host01", "hblinkstatus", ours, "eth1")) === "up",
    );
    const linkWords = [/Link \S+ dead\./, /glib: .*(?:sendto|send).*(?:unreachable|not permitted|No such device)/i];
    t.deepEqual(lab.unexpected(...atStart, ...linkWords), []);
    t.deepEqual(lab.doubled, []);

    // Nothing can tell a dead node from two cut cables here: both take everything, and both say so.
    for (const link of ["eth0", "eth1"] as const) await lab.host("host01").cutLink(link);
    await lab.reaches("a@host01 a@host02 b@host01 b@host02", 10_000);
    t.regex(lab.daemon("host02").stderr(), /decision: take: foreign groups: .*\(unprotected\) \(unsafe\)/);
    // In the middle of its takeover the real daemon would put off its own restart for an hour.
    await settled(lab, "host01", "all");
    for (const link of ["eth0", "eth1"] as const) await lab.host("host01").restoreLink(link);
    await lab.reaches("", 15_000);
    lab.doubled.length = 0;
    t.regex(lab.daemon("host02").stderr(), /CRIT: cluster node \S+ returning after partition/);
    await lab.reaches("a@host01 b@host02", 40_000);
    t.regex(lab.log("host01"), /Cluster node \S+\s*returning after partition/);
    t.deepEqual(lab.unexpected(...atStart, ...atDeath, ...linkWords, ...atReturn), []);
    t.deepEqual(lab.doubled, []);
  },
);
