/** ha.cf by itself: times, ping nodes, failback, programs. */
import type { LintFacts } from "./facts.ts";
import { type Hit, type LintRules, when } from "./rule.ts";

/** Name of the node attribute that pingd sets: `-a NAME`. */
const pingdAttribute = (args: string): string => /(?:^|\s)(?:-a|--attr-name)[ \t]*(\S+)/.exec(args)?.[1] ?? "pingd";

function clientWithoutPing(facts: LintFacts, program: string): readonly Hit[] {
  const client = facts.client(program);
  return client === undefined ? [] : when(!facts.hasPingNode, client.at);
}

export const haCfRules = {
  "deadping-without-ping": {
    severity: "warning",
    en: "deadping without any 'ping' or 'ping_group' line has no effect",
    ja: "'ping' も 'ping_group' もないため deadping は働きません",
    source: "report §1.2 table 3; heartbeat §13, §16",
    find: (facts) =>
      when(facts.haCf?.written.has("deadping") === true && !facts.hasPingNode, facts.placeInHaCf("deadping")),
  },
  "pingd-without-ping": {
    severity: "warning",
    en: "pingd has nothing to ping: add 'ping ADDRESS', best a router or switch that both nodes need",
    ja: "pingd の ping 先がありません。両ノードに必要なルータやスイッチのアドレスを 'ping' で指定してください",
    source: "report §1.2 table 3; heartbeat §13, §16",
    find: (facts) => clientWithoutPing(facts, "pingd"),
  },
  "pingd-in-haresources-mode": {
    severity: "warning",
    en: "pingd only sets a value in cib.xml: with haresources nothing moves because of it; use ipfail",
    ja: "pingd は cib.xml の値を設定するだけです。haresources では切替に使われません。ipfail を使ってください",
    source: "report §1.2 table 3; heartbeat §13",
    find: (facts) => {
      const client = facts.client("pingd");
      return client === undefined ? [] : when(!facts.isCibMode && facts.input.haResources !== undefined, client.at);
    },
  },
  "pingd-attribute-unused": {
    severity: "warning",
    en:
      "pingd sets '{name}', and no location rule of cib.xml looks at it: a node that lost the network keeps its " +
      "services",
    ja: "pingd は '{name}' を設定しますが、cib.xml の location ルールで使われていません。ネットワークを失ったノードがサービスを持ち続けます",
    source: "report §1.2 table 3; heartbeat §18.2",
    find: (facts) => {
      const client = facts.client("pingd");
      if (client === undefined || facts.cib === undefined) return [];
      const name = pingdAttribute(client.args);
      return when(!facts.ruleAttributes.includes(name), client.at, { name });
    },
  },
  "ipfail-without-ping": {
    severity: "warning",
    en: "ipfail compares ping nodes, and there are none",
    ja: "ipfail は ping ノードを比べますが、1 つもありません",
    source: "heartbeat §16.3",
    find: (facts) => clientWithoutPing(facts, "ipfail"),
  },
  "ipfail-with-legacy": {
    severity: "error",
    en: "ipfail refuses to work with auto_failback legacy",
    ja: "auto_failback legacy では ipfail は動作しません",
    source: "heartbeat §9.3",
    find: (facts) => {
      const client = facts.client("ipfail");
      return client === undefined ? [] : when(facts.haCf?.values.auto_failback === "legacy", client.at);
    },
  },
  "ping-without-ipfail": {
    severity: "warning",
    en: "a ping node is watched and nothing moves because of it: start ipfail, or pingd with a rule in cib.xml",
    ja: "ping ノードを監視していますが、切替に使われていません。ipfail、または pingd と cib.xml のルールを使ってください",
    source: "heartbeat §16.3",
    find: (facts) => {
      const isUsed = facts.client("ipfail") !== undefined || facts.client("pingd") !== undefined;
      const at = facts.haCf?.pingNodes[0]?.at;
      return at === undefined ? [] : when(!isUsed, at);
    },
  },
  "deadping-after-deadtime": {
    severity: "hint",
    en:
      "deadping ({deadping} s) is longer than deadtime ({deadtime} s): the peer is given up before a lost " +
      "network is seen",
    ja: "deadping ({deadping} 秒) が deadtime ({deadtime} 秒) より長く、ネットワーク断の検出より先に相手を停止とみなします",
    source: "report §1.2 table 3; heartbeat §8.2",
    find: (facts) => {
      const values = facts.haCf?.values;
      if (values === undefined) return [];
      const { deadping, deadtime } = values;
      const seconds = { deadping: deadping / 1000, deadtime: deadtime / 1000 };
      return when(deadping > deadtime, facts.placeInHaCf("deadping"), seconds);
    },
  },
  "warntime-not-before-deadtime": {
    severity: "warning",
    en: "warntime ({warntime} s) is not shorter than deadtime ({deadtime} s): nothing warns before a node is given up",
    ja: "warntime ({warntime} 秒) が deadtime ({deadtime} 秒) 以上のため、停止と判断する前の警告が出ません",
    source: "report §1.2 table 3; heartbeat §8.2",
    find: (facts) => {
      const values = facts.haCf?.values;
      if (values === undefined) return [];
      const { warntime, deadtime } = values;
      const seconds = { warntime: warntime / 1000, deadtime: deadtime / 1000 };
      return when(warntime >= deadtime, facts.placeInHaCf("warntime"), seconds);
    },
  },
  "warntime-too-short": {
    severity: "warning",
    en: "warntime ({warntime} s) is not longer than keepalive ({keepalive} s): every heartbeat will count as late",
    ja: "warntime ({warntime} 秒) が keepalive ({keepalive} 秒) 以下のため、毎回遅延と警告されます",
    source: "heartbeat §8.2",
    find: (facts) => {
      const values = facts.haCf?.values;
      if (values === undefined) return [];
      const { warntime, keepalive } = values;
      const seconds = { warntime: warntime / 1000, keepalive: keepalive / 1000 };
      return when(warntime <= keepalive, facts.placeInHaCf("warntime"), seconds);
    },
  },
  "deadtime-few-heartbeats": {
    severity: "warning",
    en:
      "deadtime ({deadtime} s) is less than four times keepalive ({keepalive} s): a few lost packets or a busy " +
      "machine look like a death",
    ja: "deadtime ({deadtime} 秒) が keepalive ({keepalive} 秒) の 4 倍未満です。わずかなパケット損失や高負荷で停止と誤判断します",
    source: "heartbeat §8.2",
    find: (facts) => {
      const values = facts.haCf?.values;
      if (values === undefined) return [];
      const { deadtime, keepalive } = values;
      const seconds = { deadtime: deadtime / 1000, keepalive: keepalive / 1000 };
      return when(deadtime < 4 * keepalive, facts.placeInHaCf("deadtime"), seconds);
    },
  },
  "initdead-short": {
    severity: "warning",
    en:
      "initdead ({initdead} s) is less than twice deadtime: a node that boots before its network takes " +
      "everything over",
    ja: "initdead ({initdead} 秒) が deadtime の 2 倍未満です。ネットワークより先に起動したノードがすべてを引き継いでしまいます",
    source: "report §1.2 table 3; heartbeat §8.2",
    find: (facts) => {
      const values = facts.haCf?.values;
      if (values === undefined) return [];
      const isShort = values.initdead < 2 * values.deadtime || values.initdead < 10_000;
      return when(isShort, facts.placeInHaCf("initdead"), { initdead: values.initdead / 1000 });
    },
  },
  "auto-failback-missing": {
    severity: "warning",
    en: "auto_failback is not written, which means legacy: no orderly handover, hb_standby refuses; write on or off",
    ja: "auto_failback がないため legacy になります。切り戻しの手順が行われず hb_standby も使えません。on か off を書いてください",
    source: "heartbeat §9.3, §13",
    find: (facts) =>
      when(
        facts.haCf !== undefined && !facts.isCibMode && facts.haCf.values.auto_failback === "legacy",
        facts.placeInHaCf("auto_failback"),
      ),
  },
  "node-count": {
    severity: "error",
    en: "{count} nodes: haresources and a mirrored volume are made for exactly two",
    ja: "ノードが {count} 台です。haresources とミラーボリュームは 2 台用です",
    source: "heartbeat §21",
    find: ({ haCf }) => {
      const last = haCf?.nodes.at(-1);
      return last === undefined ? [] : when(haCf?.nodes.length !== 2, last.at, { count: haCf?.nodes.length ?? 0 });
    },
  },
  "mcast-loop": {
    severity: "warning",
    en: "mcast with loop 1 receives its own packets: write 0",
    ja: "mcast の loop が 1 だと自分のパケットを受信します。0 にしてください",
    source: "heartbeat §2",
    find: ({ haCf }) => (haCf?.media ?? []).flatMap((medium) => ("loop" in medium ? when(medium.loop, medium.at) : [])),
  },
  "serial-medium": {
    severity: "warning",
    en: "serial lines are not used: {device} carries nothing",
    ja: "シリアル回線は使われません。{device} では何も送受信されません",
    source: "heartbeat §13",
    find: ({ haCf }) =>
      (haCf?.media ?? []).flatMap((medium) =>
        medium.kind === "serial" ? when(true, medium.at, { device: medium.device }) : [],
      ),
  },
  "crm-and-haresources": {
    severity: "hint",
    en: "cib.xml decides; haresources is only read when there is no cib.xml yet",
    ja: "動作は cib.xml で決まります。haresources は cib.xml がまだないときにだけ読まれます",
    source: "report §2.2; heartbeat §18",
    find: (facts) => {
      const group = facts.input.haResources?.groups[0];
      return group === undefined ? [] : when(facts.cib !== undefined, group.at);
    },
  },
} as const satisfies LintRules;
