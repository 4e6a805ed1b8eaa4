/** Two nodes from start to end, in virtual time (heartbeat §8 to §12, §16). Times are those of §19. */
import test, { type ExecutionContext } from "ava";
import { decimalOf, textOf } from "../../../../src/heartbeat/core/wire/message.ts";
import { Cluster, type ClusterOptions, groups, type NodeName } from "./_cluster.ts";

const [one, two] = [groups[0].key, groups[1].key];

/** Both nodes up, each with its own group. */
function running(t: ExecutionContext, options: ClusterOptions = {}): Cluster {
  const cluster = new Cluster(options);
  cluster.start("host01", "host02");
  t.true(
    cluster.runUntil(() => cluster.runningOn("host01").length === 1 && cluster.runningOn("host02").length === 1),
    cluster.log.join("\n"),
  );
  cluster.run(3_000);
  return cluster;
}

function holds(t: ExecutionContext, cluster: Cluster, expected: Readonly<Record<NodeName, readonly string[]>>): void {
  t.deepEqual(
    { host01: cluster.runningOn("host01"), host02: cluster.runningOn("host02") },
    { ...expected } as never,
    cluster.log.join("\n"),
  );
  t.deepEqual(cluster.violations, [], cluster.log.join("\n"));
}

const home = { host01: [one], host02: [two] };
const sent = (cluster: Cluster, from: NodeName): readonly string[] =>
  cluster.wire
    .filter((entry) => entry.from === from)
    .map(({ message }) =>
      ["t", "st", "rsc_hold", "isstable", "info"]
        .map((name) => textOf(message, name))
        .filter((word) => word !== undefined)
        .join(" "),
    )
    .filter((line) => !line.startsWith("NS_"));

test("§9.2: started together, both wait 10 s and each takes its own groups", (t) => {
  const cluster = new Cluster();
  cluster.start("host01", "host02");
  t.true(cluster.runUntil(() => cluster.runningOn("host01").length + cluster.runningOn("host02").length > 0));
  t.true(cluster.now > 10_000 && cluster.now < 13_000, String(cluster.now));
  cluster.run(5_000);
  holds(t, cluster, home);
});

test("§8.1, §9.1: what is said on the way is what 3.0.6 says, in its order", (t) => {
  const cluster = new Cluster({ slowness: 1 });
  cluster.start("host01", "host02");
  cluster.run(13_000);
  const words = sent(cluster, "host01").filter((line, n, all) => line !== all[n - 1]);
  // The captures' order of host01; where two statements follow each other the daemon's varies too.
  t.deepEqual(
    words.slice(0, 5),
    ["status init", "status up", "reqnodes", "repnodes", "status active"].sort(
      (a, b) => words.indexOf(a) - words.indexOf(b),
    ),
  );
  t.deepEqual(
    words.slice(5).filter((line) => !line.startsWith("status")),
    ["starting", "resource none 0", "resource local 1"],
    cluster.log.join("\n"),
  );
});

test("§9.2: alone, never hearing the peer, it takes everything after initdead, and says that nothing protects the disks", (t) => {
  const cluster = new Cluster();
  cluster.start("host01");
  t.true(cluster.runUntil(() => cluster.runningOn("host01").length === 2));
  t.true(cluster.now >= 10_000 && cluster.now < 12_000);
  t.regex(cluster.why("host01"), /never heard in 10000 ms/);
  t.true(cluster.node("host01").decisions.some((decision) => decision.what === "take" && decision.unsafe));
});

test("§11.1: a peer that dies is taken over after its deadtime", (t) => {
  const cluster = running(t);
  const died = cluster.now;
  cluster.crash("host01");
  t.true(cluster.runUntil(() => cluster.runningOn("host02").length === 2));
  const took = cluster.now - died;
  t.true(took >= 4_000 && took <= 6_000, String(took));
  t.regex(cluster.why("host02"), /node is dead: host01: silent for 5\d\d\d ms/);
});

for (const autoFailback of ["on", "off"] as const) {
  test(`§9.2: auto_failback ${autoFailback}: what happens when the dead node comes back`, (t) => {
    const cluster = running(t, { autoFailback });
    cluster.crash("host01");
    cluster.run(10_000);
    cluster.start("host01");
    cluster.run(20_000);
    holds(t, cluster, autoFailback === "on" ? home : { host01: [], host02: [one, two] });
    if (autoFailback === "on")
      t.regex(cluster.why("host02"), /ask for standby: foreign: auto_failback: host01 is back/);
    else t.regex(cluster.why("host01"), /take nothing: the peer is stable and holds all/);
  });
}

test("§10: hb_standby all gives everything, in three phases, and nothing comes back by itself", (t) => {
  const cluster = running(t);
  cluster.do("host01", { kind: "standby", share: 3 });
  cluster.run(30_000);
  holds(t, cluster, { host01: [], host02: [one, two] });
  const asked = (name: NodeName): readonly string[] =>
    sent(cluster, name).filter((line) => line.startsWith("ask_resources"));
  t.deepEqual(asked("host01"), ["ask_resources all me", "ask_resources all done"]);
  t.deepEqual(asked("host02"), ["ask_resources all other", "ask_resources all done"]);
  cluster.do("host02", { kind: "standby", share: 2 });
  cluster.run(30_000);
  holds(t, cluster, home);
});

test("§10: hb_takeover makes the other side go standby, local and foreign exchanged", (t) => {
  const cluster = running(t);
  cluster.do("host02", { kind: "takeover", share: 2 });
  cluster.run(20_000);
  holds(t, cluster, { host01: [], host02: [one, two] });
  cluster.do("host01", { kind: "takeover", share: 1 });
  cluster.run(20_000);
  holds(t, cluster, home);
});

test("§10: a standby that nobody answers is cancelled after 10 s and releases nothing", (t) => {
  const cluster = running(t, { deadtime: 60_000 });
  cluster.cutLinks("eth0", "eth1");
  cluster.do("host01", { kind: "standby", share: 3 });
  cluster.run(12_000);
  holds(t, cluster, home);
  t.regex(cluster.why("host01"), /cancel standby: no reply in 10 s/);
  cluster.do("host01", { kind: "standby", share: 3 });
  t.regex(cluster.log.join("\n"), /ask for standby/);
});

test("§10: refused, with its reason: nobody there, nothing to give, already running", (t) => {
  const cluster = running(t);
  cluster.do("host01", { kind: "standby", share: 2 });
  cluster.do("host01", { kind: "standby", share: 1 });
  cluster.do("host01", { kind: "standby", share: 1 });
  t.regex(cluster.why("host01"), /refuse standby: foreign .*nothing to give: this node holds local/);
  t.regex(cluster.why("host01"), /refuse standby: local .*another standby is running/);
  cluster.run(10_000);
  cluster.crash("host02");
  cluster.run(8_000);
  cluster.do("host01", { kind: "standby", share: 3 });
  t.regex(cluster.why("host01"), /refuse standby: all .*host02 is not there to take over/);
});

test("§10: both ask for standby at once: both cancel, nothing is lost, and it works when asked again", (t) => {
  const cluster = running(t);
  cluster.do("host01", { kind: "standby", share: 3 });
  cluster.do("host02", { kind: "standby", share: 3 });
  cluster.run(25_000);
  holds(t, cluster, home);
  cluster.do("host02", { kind: "standby", share: 1 });
  cluster.run(10_000);
  holds(t, cluster, { host01: [one, two], host02: [] });
});

test("§11.2: an orderly stop gives everything up first; the peer takes it at once and does not fence", (t) => {
  const cluster = running(t, { hasStonith: true });
  const asked = cluster.now;
  cluster.do("host01", { kind: "stop" });
  t.true(cluster.runUntil(() => cluster.runningOn("host02").length === 2));
  t.true(cluster.now - asked < 4_000, String(cluster.now - asked));
  cluster.run(20_000);
  holds(t, cluster, { host01: [], host02: [one, two] });
  t.is(cluster.node("host01").member, undefined);
  t.deepEqual(cluster.fenceRequests, []);
  t.deepEqual(sent(cluster, "host01").slice(-2)[0]?.split(" ")[0], "shutdone");
  t.true(
    cluster.wire.some(({ message }) => textOf(message, "t") === "stonith" && textOf(message, "result") === "unneeded"),
  );
});

test("§11.2: a peer that stops during the first negotiation leaves no node in transition for good", (t) => {
  const cluster = new Cluster();
  cluster.start("host01", "host02");
  cluster.run(6_000);
  cluster.do("host02", { kind: "stop" });
  cluster.run(10_000);
  holds(t, cluster, { host01: [one, two], host02: [] });
  t.is(cluster.member("host01").phase, "stable");
  cluster.do("host01", { kind: "stop" });
  cluster.run(10_000);
  holds(t, cluster, { host01: [], host02: [] });
});

test("§11.3: after a partition both give everything up and start anew; meanwhile both serve, which is said to be unsafe", (t) => {
  const cluster = running(t);
  cluster.cutLinks("eth0", "eth1");
  cluster.run(12_000);
  t.is(cluster.partitioned.length > 0, true);
  for (const name of ["host01", "host02"] as const) {
    t.deepEqual(cluster.runningOn(name), [one, two]);
    t.true(cluster.node(name).decisions.some((decision) => decision.what === "take" && decision.unsafe));
  }
  cluster.healLinks();
  cluster.run(3_500);
  t.regex(cluster.log.join("\n"), /host01 CRIT: cluster node host02 returning after partition/);
  t.regex(cluster.log.join("\n"), /host02 CRIT: cluster node host01 returning after partition/);
  cluster.run(60_000);
  holds(t, cluster, home);
});

test("one of two links cut changes nothing but that link's state", (t) => {
  const cluster = running(t);
  cluster.cutLinks("eth0");
  cluster.run(30_000);
  holds(t, cluster, home);
  t.regex(cluster.log.join("\n"), /link host02:eth0 dead/);
  t.notRegex(cluster.log.join("\n"), /is dead$/m);
});

test("§17.2: with STONITH nothing is taken over before it succeeds; it is tried every 5 s", (t) => {
  const cluster = running(t, { hasStonith: true });
  cluster.crash("host01");
  cluster.run(20_000);
  holds(t, cluster, { host01: [], host02: [two] });
  t.true(cluster.fenceRequests.length >= 3);
  cluster.stonith = () => true;
  cluster.run(8_000);
  holds(t, cluster, { host01: [], host02: [one, two] });
  t.false(cluster.node("host02").decisions.some((decision) => decision.unsafe));
});

test("a partition with STONITH: one node is reset before the other takes over, never both serve", (t) => {
  const cluster = running(t, { hasStonith: true });
  let first: NodeName | undefined;
  cluster.stonith = (by) => (first ??= by) === by;
  cluster.cutLinks("eth0", "eth1");
  cluster.run(15_000);
  t.truthy(first);
  t.deepEqual(cluster.runningOn(first ?? "host01"), [one, two]);
  t.deepEqual([...cluster.violations, ...cluster.partitioned], []);
});

const ping = ["192.168.1.50"];

test("a node that hears neither its peer nor a ping node stops at warntime and starts anew; the other takes over", (t) => {
  const cluster = running(t, { pingNodes: ping, slowness: 500 });
  cluster.cutLinks("eth0", "eth1");
  cluster.node("host01").sees.clear();
  cluster.run(15_000);
  t.deepEqual(cluster.runningOn("host01"), []);
  t.deepEqual(cluster.runningOn("host02"), [one, two]);
  t.deepEqual([...cluster.violations, ...cluster.partitioned], []);
  t.regex(cluster.why("host01"), /neither the peer nor any ping node is heard/);
  cluster.run(30_000);
  t.regex(cluster.why("host01"), /hold back: no ping node answers either/);
  // Plugged in again it joins as a node that starts: host02 serves on without a pause.
  cluster.node("host01").sees.add("192.168.1.50");
  cluster.healLinks();
  cluster.run(30_000);
  holds(t, cluster, home);
  t.notRegex(cluster.log.join("\n"), /returning after partition/);
});

test("`isolation keep`: it goes on as 3.0.6 does, and both serve", (t) => {
  const cluster = running(t, { pingNodes: ping, isolation: "keep" });
  cluster.cutLinks("eth0", "eth1");
  cluster.node("host01").sees.clear();
  cluster.run(15_000);
  t.deepEqual(cluster.runningOn("host01"), [one, two]);
  t.deepEqual(cluster.runningOn("host02"), [one, two]);
});

test("held back, it takes over when a ping node answers again and the peer stays silent for a deadtime", (t) => {
  const cluster = new Cluster({ pingNodes: ping });
  cluster.node("host01").sees.clear();
  cluster.start("host01");
  cluster.run(30_000);
  holds(t, cluster, { host01: [], host02: [] });
  cluster.node("host01").sees.add("192.168.1.50");
  const seen = cluster.now;
  t.true(cluster.runUntil(() => cluster.runningOn("host01").length === 2, 20_000));
  t.true(cluster.now - seen >= 5_000, String(cluster.now - seen));
});

test("§16.3: ipfail: the node that loses its ping node gives everything to the one that still sees it", (t) => {
  const cluster = running(t, { pingNodes: ping, ipfail: true, autoFailback: "off" });
  cluster.node("host01").sees.clear();
  const lost = cluster.now;
  t.true(
    cluster.runUntil(() => cluster.runningOn("host02").length === 2, 30_000),
    cluster.log.join("\n"),
  );
  // §19: deadping 5 s, then a pause of 2 keepalives, then the standby.
  t.true(cluster.now - lost > 6_000 && cluster.now - lost < 13_000, String(cluster.now - lost));
  holds(t, cluster, { host01: [], host02: [one, two] });
  const counts = cluster.wire.filter(({ message }) => textOf(message, "t") === "num_ping_nodes");
  t.true(counts.some(({ from, message }) => from === "host01" && decimalOf(message, "num_ping") === 0));
});

test("§16.3: both lose a common ping node: nothing moves", (t) => {
  const cluster = running(t, { pingNodes: ping, ipfail: true });
  cluster.node("host01").sees.clear();
  cluster.run(300);
  cluster.node("host02").sees.clear();
  cluster.run(30_000);
  holds(t, cluster, home);
});

test("§9.3: legacy: groups go home by ip-request, standby is refused", (t) => {
  const cluster = running(t, { autoFailback: "legacy" });
  cluster.crash("host01");
  cluster.run(10_000);
  t.deepEqual(cluster.runningOn("host02"), [one, two]);
  cluster.start("host01");
  cluster.run(10_000);
  holds(t, cluster, home);
  t.false(
    cluster.wire.some(({ message }) => ["starting", "resource", "ask_resources"].includes(textOf(message, "t") ?? "")),
  );
  cluster.do("host01", { kind: "standby", share: 3 });
  t.regex(cluster.why("host01"), /auto_failback is legacy/);
  cluster.do("host01", { kind: "stop" });
  cluster.run(15_000);
  holds(t, cluster, { host01: [], host02: [one, two] });
});

test("§7.4: a node that restarts quicker than its deadtime is served: no group is left with nobody", (t) => {
  for (const autoFailback of ["on", "off"] as const) {
    const cluster = running(t, { autoFailback });
    cluster.do("host01", { kind: "standby", share: 3 });
    cluster.run(15_000);
    cluster.crash("host02");
    cluster.run(500);
    cluster.start("host02");
    cluster.run(60_000);
    holds(t, cluster, home);
  }
});

test("a process that stood still for a deadtime gives everything up before it does anything else", (t) => {
  const cluster = running(t);
  const node = cluster.node("host01");
  const frozen = node.member;
  node.member = undefined;
  cluster.run(20_000);
  t.deepEqual(cluster.runningOn("host02"), [one, two]);
  // Its groups still run: that is what a watchdog is for.
  t.true(cluster.violations.length > 0);
  cluster.violations.length = 0;
  node.member = frozen;
  const woke = cluster.now;
  t.true(cluster.runUntil(() => cluster.runningOn("host01").length === 0, 3_000));
  t.regex(cluster.why("host01"), /this process stood still for 2\d{4} ms/);
  t.true(cluster.now - woke < 3_000);
  cluster.violations.length = 0;
  cluster.run(60_000);
  holds(t, cluster, home);
});
