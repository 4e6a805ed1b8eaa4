/**
 * Seeds: two nodes under loss, cut cables, crashes, restarts, stops, standbys and takeovers at random. While the nodes can
 * talk never two run a group; while they cannot, only if a decision says that it was unsafe. Left in peace afterwards,
 * every group runs exactly once.
 */
import test from "ava";
import { SimRandom } from "../../../../src/simulator/random.ts";
import { Cluster, type ClusterOptions, groups, type NodeName, nodeNames } from "./_cluster.ts";

const SEEDS = Number(process.env["FUTAGO_SEEDS"] ?? 20);
const FIRST = Number(process.env["FUTAGO_SEED"] ?? 1);
/**
 * Seeds that once failed: an ip-request answered for an earlier life (100); what a silent peer had said it holds taken for
 * proof that it will not take (135, 307, 456, 690, 891); groups of a node that was held back left to nobody (603); a stop in
 * the middle of a standby that waited for ever (927).
 */
const remembered = [100, 135, 307, 456, 603, 690, 891, 927];
const seeds = [...new Set([...Array.from({ length: SEEDS }, (_, n) => FIRST + n), ...(SEEDS > 1 ? remembered : [])])];

function optionsOf(seed: number, random: SimRandom): ClusterOptions {
  const pick = <T>(...values: readonly T[]): T => values[Math.floor(random.fraction() * values.length)] as T;
  return {
    seed,
    autoFailback: pick("on", "on", "off", "legacy"),
    links: pick(["eth1"], ["eth0", "eth1"]),
    loss: pick(0, 0.02, 0.15),
    pingNodes: pick([], ["192.168.1.50"], ["192.168.1.50", "192.168.1.51"]),
    ipfail: pick(false, true),
    hasStonith: pick(false, false, true),
    slowness: pick(100, 1500, 6000),
  };
}

function disturb(cluster: Cluster, random: SimRandom): void {
  const name: NodeName = random.fraction() < 0.5 ? "host01" : "host02";
  const node = cluster.node(name);
  const dice = random.fraction();
  const share = (1 + Math.floor(random.fraction() * 3)) as 1 | 2 | 3;
  if (node.member === undefined) {
    if (dice < 0.8) cluster.start(name);
  } else if (dice < 0.2) cluster.do(name, { kind: "standby", share });
  else if (dice < 0.35) cluster.do(name, { kind: "takeover", share });
  else if (dice < 0.5) cluster.crash(name);
  else if (dice < 0.6) cluster.do(name, { kind: "stop" });
  else if (dice < 0.72) cluster.cutLinks(...cluster.options.links);
  else if (dice < 0.8) cluster.cutLinks(cluster.options.links[0] ?? "");
  else if (dice < 0.92) cluster.healLinks();
  else if (node.sees.size > 0) node.sees.clear();
  else for (const address of cluster.options.pingNodes) node.sees.add(address);
}

for (const seed of seeds) {
  test(`seed ${seed}`, (t) => {
    const random = new SimRandom(seed);
    const cluster = new Cluster(optionsOf(seed, random));
    const tell = (): string => `${JSON.stringify(cluster.options)}\n${cluster.log.join("\n")}`;
    // A fenced machine is off; who is fenced first cannot fence.
    cluster.stonith = () => random.fraction() < 0.7;
    cluster.start(...(random.fraction() < 0.8 ? nodeNames : (["host02"] as const)));
    for (let n = 0; n < 30; n++) {
      cluster.run(Math.floor(random.fraction() * random.fraction() * 40_000));
      disturb(cluster, random);
      if (cluster.violations.length > 0) break;
    }
    t.deepEqual(cluster.violations.slice(0, 1), [], tell());
    if (cluster.partitioned.length > 0) {
      t.true(
        nodeNames.some((name) => cluster.node(name).decisions.some((decision) => decision.unsafe)),
        tell(),
      );
    }

    cluster.healLinks();
    cluster.stonith = () => true;
    for (const name of nodeNames) for (const address of cluster.options.pingNodes) cluster.node(name).sees.add(address);
    cluster.run(90_000);
    for (const name of nodeNames) if (cluster.node(name).member === undefined) cluster.start(name);
    cluster.run(150_000);
    t.deepEqual(cluster.violations.slice(0, 1), [], tell());
    const served = nodeNames.flatMap((name) => cluster.runningOn(name)).sort();
    t.deepEqual(served, groups.map((group) => group.key).sort(), tell());
  });
}
