/** Can two nodes serve or write at once, and can the wrong one be stopped? */
import { type Cib, type Primitive, primitivesOf } from "../config/cib.ts";
import { type LintRules, when } from "./rule.ts";

const stonithDevices = (cib: Cib): Primitive[] =>
  primitivesOf(cib.resources).filter((each) => each.class === "stonith");

export const safetyRules = {
  "two-writers": {
    severity: "error",
    en:
      "no ping node, no watchdog and no STONITH: when every cable between the nodes is cut both go on and both " +
      "write; add a 'ping' line with an address beyond the switch, or a STONITH device",
    ja:
      "ping ノードも watchdog も STONITH もありません。ノード間のケーブルがすべて切れると両方が動き続け、両方が書き込みます。" +
      "スイッチの先のアドレスを 'ping' に書くか、STONITH 装置を設定してください",
    source: "report §1.3, §2.2; heartbeat §11.3, §17.2",
    find: (facts) =>
      when(
        facts.haCf !== undefined && !facts.hasPingNode && !facts.hasWatchdog && !facts.hasStonith,
        facts.placeInHaCf("deadtime"),
      ),
  },
  "isolation-unseen": {
    severity: "warning",
    en:
      "the watchdog catches a dead heartbeat, not a cut cable: without a ping node or STONITH a node cannot tell " +
      "whether it is the isolated one",
    ja:
      "watchdog が検出するのは heartbeat の停止で、ケーブルの切断ではありません。ping ノードも STONITH もなければ、" +
      "孤立したのが自分かどうかを判断できません",
    source: "report §1.3; heartbeat §11.3, §17.1",
    find: (facts) =>
      when(
        facts.haCf !== undefined && facts.hasWatchdog && !facts.hasPingNode && !facts.hasStonith,
        facts.placeInHaCf("watchdog"),
      ),
  },
  "no-watchdog": {
    severity: "warning",
    en: "no watchdog: a heartbeat that is killed or stuck leaves its services running while the peer starts them too",
    ja: "watchdog がありません。heartbeat が強制終了または停止すると、サービスが残ったまま相手も起動します",
    source: "report §1.3; heartbeat §17.1, §20",
    find: (facts) => when(facts.haCf !== undefined && !facts.hasWatchdog, facts.placeInHaCf("watchdog")),
  },
  "shared-disk-without-stonith": {
    severity: "warning",
    en:
      "'{device}' is no DRBD device: if both nodes reach the same disk, only STONITH keeps the second one from " +
      "mounting it",
    ja: "'{device}' は DRBD のデバイスではありません。両ノードが同じディスクに届くなら、二重マウントを防げるのは STONITH だけです",
    source: "report §3; heartbeat §22",
    find: (facts) =>
      facts.hasStonith
        ? []
        : facts.services.flatMap((service) =>
            service.items.flatMap(({ filesystem, at }) => {
              const device = filesystem?.device ?? "";
              const isPath = device.startsWith("/dev/") && !device.startsWith("/dev/drbd");
              return when(isPath, at, { device });
            }),
          ),
  },
  "single-heartbeat-path": {
    severity: "warning",
    en:
      "all heartbeats go over {interface}: one cut cable there and each node takes the other for dead; add a " +
      "second medium",
    ja: "ハートビートは {interface} だけを通ります。このケーブル 1 本が切れると互いに相手が停止したと判断します。経路を追加してください",
    source: "report §1.1; heartbeat §11.3",
    find: (facts) => {
      const [only, another] = facts.heartbeatInterfaces;
      const at = facts.haCf?.media[0]?.at;
      if (only === undefined || at === undefined) return [];
      return when(another === undefined, at, { interface: only });
    },
  },
  "crc-on-shared-link": {
    severity: "error",
    en: "crc authenticates nobody, and {interface} also carries {what}: any host there can take the services; use sha1",
    ja: "crc は認証を行いません。{interface} は {what} にも使われるため、同じネットワークの誰でもサービスを奪えます。sha1 にしてください",
    source: "report §1.2; heartbeat §4.1",
    find: (facts) => {
      const signing = facts.input.authKeys?.signing;
      if (signing?.method !== "crc") return [];
      const shared = facts.services
        .flatMap((service) => service.items.map((item) => item.address))
        .find((address) => facts.heartbeatInterfaces.includes(address?.nic ?? ""));
      return when(shared !== undefined, signing.at, { interface: shared?.nic ?? "", what: shared?.ip ?? "" });
    },
  },
  "crc-only-on-crossover": {
    severity: "hint",
    en: "crc only detects errors: right for a crossover cable that nobody else can reach, and for nothing else",
    ja: "crc は誤り検出だけです。他から届かないクロスケーブル以外では使わないでください",
    source: "report §1.2; heartbeat §4.1",
    find: ({ input: { authKeys } }) =>
      authKeys === undefined ? [] : when(authKeys.signing.method === "crc", authKeys.signing.at),
  },
  "routed-medium-with-crc": {
    severity: "error",
    en: "{kind} on {interface} can leave the cable, and crc authenticates nobody: use sha1",
    ja: "{interface} の {kind} はクロスケーブルの外に出られますが、crc は認証を行いません。sha1 にしてください",
    source: "heartbeat §4.1",
    find: ({ input: { authKeys }, haCf }) =>
      authKeys?.signing.method !== "crc"
        ? []
        : (haCf?.media ?? []).flatMap((medium) =>
            medium.kind === "mcast" || medium.kind === "mcast6"
              ? when(medium.ttl > 1, medium.at, {
                  kind: `${medium.kind} (ttl ${medium.ttl})`,
                  interface: medium.interface,
                })
              : [],
          ),
  },
  "weak-key": {
    severity: "warning",
    en: "the key of entry {number} has {length} characters: take 20 or more random ones",
    ja: "エントリ {number} の鍵は {length} 文字しかありません。20 文字以上の乱数にしてください",
    source: "heartbeat §4.1, §14",
    find: ({ input: { authKeys } }) =>
      [...(authKeys?.keys.values() ?? [])].flatMap(({ method, key, number, at }) =>
        when(method !== "crc" && key.length < 12, at, { number, length: key.length }),
      ),
  },
  "md5-key": {
    severity: "hint",
    en: "md5 is the weaker of the two methods with a key: take sha1",
    ja: "鍵を使う 2 方式のうち md5 は弱い方です。sha1 にしてください",
    source: "report §1.2; heartbeat §4.1",
    find: ({ input: { authKeys } }) =>
      authKeys === undefined ? [] : when(authKeys.signing.method === "md5", authKeys.signing.at),
  },
  "several-keys-with-heartbeat-3": {
    severity: "hint",
    en:
      "heartbeat 3.0.6 checks packets of entry {number} with the key of its signing entry: while keys are changed, " +
      "stop one node that runs it",
    ja: "heartbeat 3.0.6 はエントリ {number} のパケットを署名用の鍵で検査します。鍵の交換中は、それを使うノードを片方止めてください",
    source: "heartbeat §4.2",
    find: ({ input: { authKeys } }) =>
      authKeys === undefined
        ? []
        : [...authKeys.keys.values()].flatMap(({ number, key, at }) =>
            when(number !== authKeys.signing.number && key !== authKeys.signing.key, at, { number }),
          ),
  },
  "stonith-disabled": {
    severity: "warning",
    en: "there is a STONITH resource '{id}' and stonith-enabled is false: it will never be used",
    ja: "STONITH リソース '{id}' がありますが stonith-enabled が false のため使われません",
    source: "heartbeat §18.3",
    find: ({ cib }) =>
      cib === undefined || cib.options.values["stonith-enabled"]
        ? []
        : stonithDevices(cib).flatMap(({ id, at }) => when(true, at, { id })),
  },
  "stonith-without-device": {
    severity: "error",
    en: "stonith-enabled is true and there is no STONITH resource: after a death nothing would ever be taken over",
    ja: "stonith-enabled が true ですが STONITH リソースがありません。ノードが停止しても引き継ぎが行われません",
    source: "heartbeat §17.2",
    find: ({ cib }) => {
      if (cib === undefined) return [];
      const pair = cib.options.written.get("stonith-enabled");
      const at = pair?.at ?? { file: cib.file, line: 1, column: 1 };
      return when(cib.options.values["stonith-enabled"] && stonithDevices(cib).length === 0, at);
    },
  },
} as const satisfies LintRules;
