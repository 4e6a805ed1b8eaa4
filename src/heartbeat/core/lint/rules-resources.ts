/** haresources and cib.xml: the slips of the report, orders that cannot work, nodes that do not exist. */
import { nearestWord, type Position } from "../../../core/config/source.ts";
import { broadcastOf, networkOf, parseIpv4, showIpv4 } from "../config/addresses.ts";
import { agentRow, agentTable } from "../config/agents.ts";
import type { HaResourceGroup, HaResources } from "../config/haresources.ts";
import type { LintFacts } from "./facts.ts";
import { type Hit, type LintRules, when } from "./rule.ts";
import type { Service, ServiceItem } from "./services.ts";

const itemsOf = (facts: LintFacts): readonly ServiceItem[] => facts.services.flatMap((service) => service.items);

const written = (groups: readonly HaResourceGroup[]): string[] =>
  groups.map(({ node, resources }) =>
    [node, ...resources.map(({ script, args }) => [script, ...args].join("::"))].join(" "),
  );

/** The first group of `own` that `peer` does not have at the same place. */
function firstDifference(own: HaResources, peer: HaResources): Position | undefined {
  const ours = written(own.groups);
  const theirs = written(peer.groups);
  const index = ours.findIndex((line, place) => line !== theirs[place]);
  if (index >= 0) return own.groups[index]?.at;
  return theirs.length > ours.length ? { file: own.file, line: 1, column: 1 } : undefined;
}

/** Services that start the same address, apart from the first of each. */
function* sameAddress(services: readonly Service[]): Iterable<Hit> {
  const seen = new Map<string, ServiceItem>();
  for (const item of services.flatMap((service) => service.items)) {
    const ip = item.address?.ip;
    if (ip === undefined) continue;
    const first = seen.get(ip);
    if (first === undefined) seen.set(ip, item);
    else yield { at: item.at, values: { ip, line: first.at.line } };
  }
}

/** Pairs of an earlier and a later item within one service. */
const isBefore = ({ items }: Service, first: ServiceItem | undefined, then: ServiceItem): boolean =>
  first !== undefined && items.indexOf(first) < items.indexOf(then);

const ranges = (item: ServiceItem): { ip: number; prefix: number; broadcast: number | undefined } | undefined => {
  const ip = parseIpv4(item.address?.ip ?? "");
  if (ip === undefined || item.address === undefined) return undefined;
  return { ip, prefix: item.address.prefix, broadcast: parseIpv4(item.address.broadcast) };
};

export const resourceRules = {
  "yen-continuation": {
    severity: "warning",
    en: "'¥' (U+00A5) ends the line: it is read as a backslash here, heartbeat itself would take it for a resource",
    ja: "行末が '¥' (U+00A5) です。ここではバックスラッシュとみなしますが、heartbeat はリソース名と解釈します",
    source: "report §2.2; heartbeat §15.1",
    find: ({ input: { haResources } }) =>
      (haResources?.slips ?? []).flatMap((slip) => when(slip.kind === "yen", slip.at)),
  },
  "mount-point-without-slash": {
    severity: "warning",
    en:
      "mount point '{found}' has no leading slash: it is read as '/{found}' here, the Filesystem agent would " +
      "refuse it",
    ja: "マウントポイント '{found}' の先頭に / がありません。ここでは '/{found}' とみなしますが、Filesystem エージェントは受け付けません",
    source: "report §2.2; heartbeat §15.1",
    find: ({ input: { haResources } }) =>
      (haResources?.slips ?? []).flatMap((slip) =>
        slip.kind === "mount-point" ? when(true, slip.at, { found: slip.found }) : [],
      ),
  },
  "fstype-missing": {
    severity: "hint",
    en: "'{device}' is mounted without a filesystem type: mount guesses it; write it as the third argument",
    ja: "'{device}' のファイルシステム型がなく、mount の自動判別に任されます。3 番目の引数に書いてください",
    source: "report §2.2, §3.3; heartbeat §15.3",
    find: (facts) =>
      itemsOf(facts).flatMap(({ filesystem, at }) =>
        when(filesystem?.fstype === "", at, { device: filesystem?.device ?? "" }),
      ),
  },
  "haresources-differ": {
    severity: "error",
    en:
      "haresources here and on the other node differ: it must be the same file, the node name says where a " +
      "group belongs",
    ja: "haresources が両ノードで異なります。同一でなければなりません。ノード名はグループの所属先を示すものです",
    source: "report §3.3; heartbeat §15.1",
    find: ({ input: { haResources, peerHaResources } }) => {
      if (haResources === undefined || peerHaResources === undefined) return [];
      const at = firstDifference(haResources, peerHaResources);
      return at === undefined ? [] : when(true, at);
    },
  },
  "same-address-twice": {
    severity: "error",
    en: "{ip} is also started at line {line}: two groups, possibly on two nodes, would own it at once",
    ja: "{ip} は {line} 行目でも起動されます。2 つのグループが同時に、場合によっては両ノードで、このアドレスを持ちます",
    source: "report §3.3; heartbeat §15.1, §21",
    find: (facts) => sameAddress(facts.services),
  },
  "group-key-twice": {
    severity: "error",
    en: "'{key}' starts more than one group: the first resource is the key of a group and must be unique",
    ja: "'{key}' が複数のグループの先頭にあります。先頭のリソースはグループのキーで、重複できません",
    source: "heartbeat §15.1",
    find: ({ input: { haResources } }) => {
      const seen = new Set<string>();
      return (haResources?.groups ?? []).flatMap(({ resources, at }) => {
        const key = resources[0]?.written ?? "";
        const isTwice = seen.has(key);
        seen.add(key);
        return when(isTwice, at, { key });
      });
    },
  },
  "unknown-preferred-node": {
    severity: "error",
    en: "'{node}' is not a node of ha.cf ({nodes}): names must be what `uname -n` prints",
    ja: "'{node}' は ha.cf のノード ({nodes}) にありません。`uname -n` の表示と一致させてください",
    source: "report §1.2 table 3; heartbeat §13",
    find: ({ haCf, services, cib }) => {
      if (haCf === undefined) return [];
      const nodes = haCf.nodes.map((node) => node.text);
      const named = [
        ...services.map(({ node, at }) => ({ node, at })),
        ...(cib?.nodes ?? []).filter(({ type }) => type !== "ping").map(({ uname, at }) => ({ node: uname, at })),
      ];
      const unknown = named.filter(({ node }) => node !== "" && !nodes.includes(node));
      return unknown.flatMap(({ node, at }) => when(true, at, { node, nodes: nodes.join(", ") }));
    },
  },
  "apache-before-address": {
    severity: "error",
    en: "Apache listens on {ip} and is started before that address: it cannot bind; put the address first in the group",
    ja: "Apache は {ip} で待ち受けますが、アドレスより先に起動されるため bind できません。グループ内でアドレスを先にしてください",
    source: "report §1.2; heartbeat §22",
    find: (facts) =>
      facts.services.flatMap((service) =>
        service.items
          .filter((item) => item.isApache)
          .flatMap((apache) => {
            const listen = facts.listens.find(
              ({ address }) => address !== "" && addressItem(facts, address) !== undefined,
            );
            const address = addressItem(facts, listen?.address ?? "");
            const isThere = address !== undefined && service.items.includes(address);
            return when(isThere && !isBefore(service, address, apache), apache.at, { ip: listen?.address ?? "" });
          }),
      ),
  },
  "apache-apart-from-address": {
    severity: "error",
    en: "Apache listens on {ip}, which is not in its group: on the node without the address it cannot start",
    ja: "Apache は {ip} で待ち受けますが、このアドレスは同じグループにありません。アドレスのないノードでは起動できません",
    source: "report §1.2; heartbeat §22",
    find: (facts) =>
      facts.services.flatMap((service) => {
        const apache = service.items.find((item) => item.isApache);
        const listen = facts.listens.find(({ address }) => addressItem(facts, address) !== undefined);
        const address = addressItem(facts, listen?.address ?? "");
        if (apache === undefined || address === undefined || service.items.includes(address)) return [];
        return when(!isTied(facts, service, address), apache.at, { ip: listen?.address ?? "" });
      }),
  },
  "listen-elsewhere": {
    severity: "warning",
    en: "Apache listens on {ip}, which no group starts: clients of the service address are not served",
    ja: "Apache は {ip} で待ち受けますが、どのグループもこのアドレスを起動しません。仮想 IP アドレスでは応答しません",
    source: "report §1.2",
    find: (facts) => {
      const hasAddresses = itemsOf(facts).some((item) => item.address !== undefined);
      return facts.listens.flatMap(({ address, at }) => {
        const isOther = address !== "" && address !== "127.0.0.1" && addressItem(facts, address) === undefined;
        return when(hasAddresses && isOther, at, { ip: address });
      });
    },
  },
  "apache-before-volume": {
    severity: "warning",
    en: "Apache is started before '{device}' is mounted: it serves what lies below the mount point",
    ja: "'{device}' のマウントより先に Apache が起動し、マウントポイントの下にある元の内容を公開します",
    source: "report §2.2; heartbeat §22",
    find: (facts) =>
      facts.services.flatMap((service) => {
        const apache = service.items.find((item) => item.isApache);
        const volume = service.items.find((item) => item.filesystem !== undefined);
        if (apache === undefined || volume === undefined) return [];
        return when(isBefore(service, apache, volume), apache.at, { device: volume.filesystem?.device ?? "" });
      }),
  },
  "netmask-of-interface": {
    severity: "warning",
    en:
      "{ip}/{prefix} on {nic}, whose own address {own} has /{actual}: hosts between the two networks are " +
      "reached another way",
    ja: "{ip}/{prefix} は {nic} に付きますが、元のアドレス {own} は /{actual} です。範囲の違う相手とは経路が変わります",
    source: "report §1.2, §1.3 (24 in cib.xml, 255.255.0.0 from ifconfig)",
    find: (facts) =>
      itemsOf(facts).flatMap((item) => {
        const range = ranges(item);
        if (range === undefined || range.prefix < 0 || item.address === undefined) return [];
        const { ip, nic } = item.address;
        const own = facts.addresses.find((each) => {
          const base = parseIpv4(each.address) ?? -1;
          const isNear =
            networkOf(base, Math.min(each.prefix, range.prefix)) ===
            networkOf(range.ip, Math.min(each.prefix, range.prefix));
          return each.address !== ip && isNear && (nic === "" || each.interface === nic);
        });
        if (own === undefined || own.prefix === range.prefix) return [];
        const values = { ip, prefix: range.prefix, nic: own.interface, own: own.address, actual: own.prefix };
        return when(true, item.at, values);
      }),
  },
  "broadcast-of-netmask": {
    severity: "warning",
    en: "broadcast {broadcast} of {ip}/{prefix} is not that of the network, {expected}",
    ja: "{ip}/{prefix} のブロードキャスト {broadcast} がネットワークの {expected} と一致しません",
    source: "report §1.3, §2.2; heartbeat §15.1",
    find: (facts) =>
      itemsOf(facts).flatMap((item) => {
        const range = ranges(item);
        if (range?.broadcast === undefined || range.prefix < 0) return [];
        const expected = broadcastOf(range.ip, range.prefix);
        const { ip = "", broadcast = "" } = item.address ?? {};
        const values = { ip, prefix: range.prefix, broadcast, expected: showIpv4(expected) };
        return when(expected !== range.broadcast, item.at, values);
      }),
  },
  "netmask-parameter": {
    severity: "warning",
    en: "'{id}': the agent's parameter is 'cidr_netmask'; present agents do not read 'netmask'",
    ja: "'{id}': エージェントのパラメータ名は 'cidr_netmask' です。現在のエージェントは 'netmask' を読みません",
    source: "report §1.2; heartbeat §18.2",
    find: (facts) =>
      itemsOf(facts).flatMap(({ address, primitive }) => {
        const pair = primitive?.parameters.pairs.get("netmask");
        if (primitive === undefined || pair === undefined) return [];
        return when(address !== undefined && primitive.class === "ocf", pair.at, { id: primitive.id });
      }),
  },
  "agent-name-case": {
    severity: "error",
    en: "'{id}': there is no agent '{type}'; '{nearest}' is meant",
    ja: "'{id}': エージェント '{type}' はありません。'{nearest}' ではありませんか",
    source: "report §1.3 (ocf:IPAddr)",
    find: (facts) =>
      itemsOf(facts).flatMap(({ primitive }) => {
        if (primitive?.class !== "ocf" || primitive.provider !== "heartbeat") return [];
        const { id, type } = primitive;
        const known = Object.keys(agentTable);
        const sameLetters = known.find((each) => each.toLowerCase() === type.toLowerCase());
        const nearest = agentRow(type) === undefined ? (sameLetters ?? nearestOfLong(type, known)) : undefined;
        return nearest === undefined ? [] : when(true, primitive.at, { id, type, nearest });
      }),
  },
  "no-monitor": {
    severity: "warning",
    en: "'{id}' has no monitor operation: its failure is not noticed; add <op name=\"monitor\" interval=… timeout=…/>",
    ja: "'{id}' に monitor 操作がなく、障害が検出されません。<op name=\"monitor\" interval=… timeout=…/> を加えてください",
    source: "report §1.2, table 2; heartbeat §18.2, §21",
    find: (facts) =>
      itemsOf(facts).flatMap(({ primitive }) => {
        if (primitive === undefined) return [];
        const isMonitored = primitive.operations.some(
          (each) => each.name === "monitor" && each.interval > 0 && each.enabled,
        );
        return when(!isMonitored, primitive.at, { id: primitive.id });
      }),
  },
  "not-a-group": {
    severity: "warning",
    en: "'{id}' stands alone: nothing keeps it on the node of '{other}' or orders the two; put them into a group",
    ja: "'{id}' は単独で定義されています。'{other}' と同じノードで順に起動される保証がありません。グループにしてください",
    source: "report §1.2, §1.3 (group_apache)",
    find: (facts) => {
      const address = itemsOf(facts).find((item) => item.address !== undefined);
      if (address === undefined || facts.cib === undefined) return [];
      return facts.services.flatMap((service) => {
        const [only, another] = service.items;
        const isAlone = only !== undefined && another === undefined && (only.isApache || only.filesystem !== undefined);
        if (!isAlone || only === address || isTied(facts, service, address)) return [];
        return when(true, only.at, { id: only.name, other: address.name });
      });
    },
  },
  "stickiness-keeps-services": {
    severity: "hint",
    en: "default-resource-stickiness {stickiness} outweighs the preferred node: services do not return by themselves",
    ja: "default-resource-stickiness が {stickiness} で優先ノードの点数を上回るため、自動では切り戻りません",
    source: "report §1.2 table 3 (auto_failback on); heartbeat §18.3",
    find: ({ cib }) => {
      const pair = cib?.options.written.get("default-resource-stickiness");
      const stickiness = cib?.options.values["default-resource-stickiness"] ?? 0;
      const scores = (cib?.constraints ?? []).flatMap((each) =>
        each.kind === "location" ? [each.score, ...each.rules.map((rule) => rule.score ?? 0)] : [],
      );
      return pair === undefined ? [] : when(stickiness > Math.max(0, ...scores), pair.at, { stickiness });
    },
  },
  "quorum-of-two": {
    severity: "hint",
    en:
      "no-quorum-policy '{policy}' with two nodes: heartbeat grants the survivor its quorum; elsewhere write " +
      "'ignore'",
    ja: "2 ノードで no-quorum-policy が '{policy}' です。heartbeat では残ったノードに定足数が認められますが、他の環境では 'ignore' にします",
    source: "heartbeat §18.3",
    find: ({ cib, haCf }) => {
      const policy = cib?.options.values["no-quorum-policy"] ?? "ignore";
      const at = cib?.options.written.get("no-quorum-policy")?.at;
      return at === undefined ? [] : when(policy !== "ignore" && haCf?.nodes.length === 2, at, { policy });
    },
  },
  "iqn-upper-case": {
    severity: "warning",
    en: "'{name}' has upper-case letters: iSCSI names are lower case, some targets compare them as bytes",
    ja: "'{name}' に大文字があります。iSCSI 名は小文字に揃えます。バイト単位で比べるターゲットもあります",
    source: "report §3.1 (RAID6 in the target's name)",
    find: ({ input: { iscsi, targets } }) =>
      [...(targets ?? []), ...(iscsi?.initiator === undefined ? [] : [iscsi.initiator])].flatMap(({ text, at }) =>
        when(text !== text.toLowerCase(), at, { name: text }),
      ),
  },
  "initiator-named-as-target": {
    severity: "error",
    en: "the initiator is named as the target: its name is this machine's own, the target is found by discovery",
    ja: "イニシエータ名がターゲット名と同じです。イニシエータ名はこのマシン固有の名前で、ターゲットはディスカバリで見つけます",
    source: "report §3.2",
    find: ({ input: { iscsi, targets } }) => {
      const own = iscsi?.initiator;
      if (own === undefined) return [];
      const isSame = (targets ?? []).some(({ text }) => text.toLowerCase() === own.text.toLowerCase());
      return when(isSame, own.at);
    },
  },
  "same-initiator-twice": {
    severity: "error",
    en:
      "both nodes have the initiator name '{name}': the target takes them for one machine and ends the other's " +
      "session",
    ja: "両ノードのイニシエータ名が '{name}' です。ターゲットは同じマシンとみなし、もう一方のセッションを切ります",
    source: "report §3.2",
    find: ({ input: { iscsi, peerIscsi } }) => {
      const own = iscsi?.initiator;
      const isSame = own !== undefined && own.text.toLowerCase() === peerIscsi?.initiator?.text.toLowerCase();
      return own === undefined ? [] : when(isSame, own.at, { name: own.text });
    },
  },
  "initiator-file": {
    severity: "error",
    en: "iscsid reads 'InitiatorName=' in initiatorname.iscsi, not '{keyword}=' in {file}",
    ja: "iscsid が読むのは initiatorname.iscsi の 'InitiatorName=' です。{file} の '{keyword}=' は読まれません",
    source: "report §3.2",
    find: ({ input: { iscsi } }) => {
      if (iscsi?.initiator === undefined) return [];
      const file = iscsi.file.slice(iscsi.file.lastIndexOf("/") + 1);
      const isOther = file !== "initiatorname.iscsi" || iscsi.keyword !== "InitiatorName";
      return when(isOther, iscsi.initiator.at, { file, keyword: iscsi.keyword });
    },
  },
} as const satisfies LintRules;

const addressItem = (facts: LintFacts, ip: string): ServiceItem | undefined =>
  ip === "" ? undefined : itemsOf(facts).find((item) => item.address?.ip === ip);

/** A slip within a short name is another name. */
const nearestOfLong = (type: string, known: readonly string[]): string | undefined =>
  type.length < 6 ? undefined : nearestWord(type, known);

/** Whether a colocation of cib.xml keeps `service` where the service of `other` is. */
function isTied(facts: LintFacts, service: Service, other: ServiceItem): boolean {
  const home = facts.services.find((each) => each.items.includes(other));
  const names = [other.name, home?.name ?? ""];
  const own = [service.name, ...service.items.map((item) => item.name)];
  return (facts.cib?.constraints ?? []).some((each) => {
    if (each.kind !== "colocation" || each.score <= 0) return false;
    return (
      (own.includes(each.resource) && names.includes(each.with)) ||
      (own.includes(each.with) && names.includes(each.resource))
    );
  });
}
