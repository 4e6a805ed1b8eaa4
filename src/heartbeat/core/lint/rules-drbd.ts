/** drbd.conf against heartbeat's files: names, devices, orders, fencing, what heartbeat and DRBD would both decide. */
import type { ResourceConfig } from "../../../core/config/effective.ts";
import { networkOf, parseIpv4 } from "../config/addresses.ts";
import type { LintFacts } from "./facts.ts";
import { type LintRules, when } from "./rule.ts";
import type { Service, ServiceItem } from "./services.ts";

const devicesOf = (resource: ResourceConfig): string[] =>
  resource.volumes.flatMap(({ local }) => [local.device, `/dev/drbd${local.minor}`]);

const isDrbdDevice = (device: string): boolean => /^\/dev\/drbd/.test(device);

interface Mounted {
  readonly service: Service;
  readonly item: ServiceItem;
  readonly device: string;
}

/** Filesystems on DRBD devices. */
const mountsOf = (facts: LintFacts): Mounted[] =>
  facts.services.flatMap((service) =>
    service.items.flatMap((item) => {
      const device = item.filesystem?.device ?? "";
      return isDrbdDevice(device) ? [{ service, item, device }] : [];
    }),
  );

const promotionsOf = ({ items }: Service): ServiceItem[] => items.filter((item) => item.drbd !== undefined);

/** Resources that a group promotes. */
const managed = (facts: LintFacts): ResourceConfig[] => {
  const names = facts.services.flatMap((service) => promotionsOf(service).map((item) => item.drbd));
  return facts.drbd.filter((resource) => names.includes(resource.name));
};

export const drbdRules = {
  "unknown-drbd-resource": {
    severity: "error",
    en: "'{name}' is not a resource of drbd.conf ({known}): it can never be promoted",
    ja: "'{name}' は drbd.conf のリソース ({known}) にないため、Primary にできません",
    source: "report §2.1, §2.2; heartbeat §15.3",
    find: (facts) =>
      facts.input.drbd === undefined
        ? []
        : facts.services.flatMap((service) =>
            promotionsOf(service).flatMap(({ drbd = "", at }) => {
              const names = facts.drbd.map((resource) => resource.name);
              return when(!names.includes(drbd), at, { name: drbd, known: names.join(", ") });
            }),
          ),
  },
  "device-of-no-resource": {
    severity: "error",
    en: "'{device}' is not a device of drbd.conf ({known})",
    ja: "'{device}' は drbd.conf のデバイス ({known}) にありません",
    source: "report §2.1, §2.2",
    find: (facts) => {
      const known = facts.drbd.flatMap((resource) => resource.volumes.map(({ local }) => local.device));
      const all = facts.drbd.flatMap(devicesOf);
      return facts.input.drbd === undefined
        ? []
        : mountsOf(facts).flatMap(({ item, device }) => {
            const isByName = device.startsWith("/dev/drbd/");
            return when(!isByName && !all.includes(device), item.at, { device, known: known.join(", ") });
          });
    },
  },
  "device-not-promoted": {
    severity: "error",
    en: "'{device}' is mounted, and no 'drbddisk' before it in the group promotes its resource: the mount will fail",
    ja: "'{device}' をマウントしますが、グループ内の手前に 'drbddisk' がなく Primary になりません。マウントに失敗します",
    source: "report §2.2; heartbeat §15.3",
    find: (facts) =>
      mountsOf(facts).flatMap(({ service, item, device }) => {
        const place = service.items.indexOf(item);
        const isPromoted = service.items.slice(0, place).some((each) => each.drbd !== undefined);
        return when(!isPromoted, item.at, { device });
      }),
  },
  "device-of-other-resource": {
    severity: "error",
    en: "'{device}' belongs to '{owner}', and the group promotes '{promoted}'",
    ja: "'{device}' は '{owner}' のデバイスですが、グループが Primary にするのは '{promoted}' です",
    source: "report §2.1, §2.2",
    find: (facts) =>
      mountsOf(facts).flatMap(({ service, item, device }) => {
        const owner = facts.drbd.find((resource) => devicesOf(resource).includes(device))?.name;
        const promoted = promotionsOf(service).map((each) => each.drbd ?? "");
        const isOther = owner !== undefined && promoted.length > 0 && !promoted.includes(owner);
        return when(isOther, item.at, { device, owner: owner ?? "", promoted: promoted.join(", ") });
      }),
  },
  "drbd-node-names": {
    severity: "error",
    en:
      "'{name}' of resource '{resource}' is not a node of ha.cf ({nodes}): both files must use what `uname -n` " +
      "prints",
    ja: "リソース '{resource}' の '{name}' が ha.cf のノード ({nodes}) にありません。どちらも `uname -n` の表示に合わせてください",
    source: "report §1.2 table 3, §2.1; drbd-84 §10.2",
    find: ({ haCf, drbd }) => {
      if (haCf === undefined) return [];
      const nodes = haCf.nodes.map((node) => node.text);
      return drbd.flatMap(({ name: resource, local, remote, at }) =>
        [...local.names, ...remote.names].flatMap((name) =>
          when(!nodes.includes(name.toLowerCase()), at, { name, resource, nodes: nodes.join(", ") }),
        ),
      );
    },
  },
  "fencing-dont-care": {
    severity: "warning",
    en:
      "'{name}' has fencing dont-care: after a cut the node that lost its peer goes on writing and the peer may be " +
      "promoted with old data; write 'fencing resource-only' and a fence-peer handler",
    ja:
      "'{name}' の fencing が dont-care です。切断後も書き込みが続き、古いデータの相手が Primary になり得ます。" +
      "'fencing resource-only' と fence-peer ハンドラを設定してください",
    source: "report §2.1; drbd-84 §10.4, §10.9",
    find: (facts) =>
      managed(facts).flatMap(({ name, at, volumes }) =>
        when(
          volumes.some(({ disk }) => disk.values.fencing === "dont-care"),
          at,
          { name },
        ),
      ),
  },
  "fencing-without-handler": {
    severity: "error",
    en:
      "'{name}' has a fencing policy and no fence-peer handler: after a cut it waits for ever for the peer to " +
      "be outdated",
    ja: "'{name}' に fencing がありますが fence-peer ハンドラがありません。切断後、相手を Outdated にできず待ち続けます",
    source: "drbd-84 §10.9",
    find: ({ drbd }) =>
      drbd.flatMap(({ name, at, volumes, handlers }) => {
        const isFenced = volumes.some(({ disk }) => disk.values.fencing !== "dont-care");
        return when(isFenced && handlers.values["fence-peer"] === "", at, { name });
      }),
  },
  "outdater-without-dopd": {
    severity: "error",
    en:
      "the fence-peer handler of '{name}' asks dopd, and ha.cf does not start it: add 'respawn hacluster " +
      "…/dopd' and 'apiauth dopd'",
    ja: "'{name}' の fence-peer ハンドラは dopd を使いますが、ha.cf で起動していません。'respawn hacluster …/dopd' と 'apiauth dopd' を加えてください",
    source: "drbd-84 §10.9; heartbeat §13",
    find: (facts) =>
      facts.drbd.flatMap(({ name, at, handlers }) => {
        const asksDopd = handlers.values["fence-peer"].includes("drbd-peer-outdater");
        return when(facts.haCf !== undefined && asksDopd && facts.client("dopd") === undefined, at, { name });
      }),
  },
  "dopd-without-apiauth": {
    severity: "warning",
    en: "dopd is started without 'apiauth dopd gid=haclient uid=hacluster': heartbeat 3 refuses it",
    ja: "dopd に 'apiauth dopd gid=haclient uid=hacluster' がありません。heartbeat 3 では接続を拒否されます",
    source: "heartbeat §13",
    find: (facts) => {
      const client = facts.client("dopd");
      if (client === undefined || facts.haCf === undefined) return [];
      return when(!facts.haCf.apiauth.has("dopd") && !facts.haCf.apiauth.has("default"), client.at);
    },
  },
  "resource-and-stonith-without-stonith": {
    severity: "error",
    en: "'{name}' has fencing resource-and-stonith and there is no STONITH device: I/O stays frozen after a cut",
    ja: "'{name}' の fencing は resource-and-stonith ですが STONITH 装置がありません。切断後 I/O が止まったままになります",
    source: "drbd-84 §10.9; heartbeat §17.2",
    find: (facts) =>
      facts.drbd.flatMap(({ name, at, volumes }) => {
        const wants = volumes.some(({ disk }) => disk.values.fencing === "resource-and-stonith");
        return when(facts.haCf !== undefined && wants && !facts.hasStonith, at, { name });
      }),
  },
  "two-primaries": {
    severity: "error",
    en: "'{name}' allows two primaries and is mounted by one node at a time: nothing in DRBD keeps a second mount away",
    ja: "'{name}' は allow-two-primaries ですが、マウントするのは一方だけです。二重マウントを DRBD が防げなくなります",
    source: "report §2.2; drbd-84 §10.4",
    find: (facts) =>
      managed(facts).flatMap(({ name, at, net }) => when(net.values["allow-two-primaries"], at, { name })),
  },
  "become-primary-on": {
    severity: "error",
    en: "'{name}' has become-primary-on: DRBD would promote at boot what heartbeat decides about",
    ja: "'{name}' に become-primary-on があります。heartbeat の判断より先に、起動時に DRBD が Primary にします",
    source: "heartbeat §15.3; drbd-84 §10.4",
    find: (facts) =>
      managed(facts).flatMap(({ name, at, startup }) =>
        when(startup.values["become-primary-on"].length > 0, at, { name }),
      ),
  },
  "protocol-loses-writes": {
    severity: "warning",
    en: "'{name}' uses protocol {protocol}: the last writes before a takeover are lost; use C",
    ja: "'{name}' は protocol {protocol} です。切替直前の書き込みが失われます。C にしてください",
    source: "report §2.1; drbd-84 §10.4",
    find: (facts) =>
      managed(facts).flatMap(({ name, at, net }) =>
        when(net.values.protocol !== "C", at, { name, protocol: net.values.protocol }),
      ),
  },
  "failback-of-volume": {
    severity: "hint",
    en:
      "auto_failback on with a mirrored volume: a second outage as soon as the returning node is UpToDate; off " +
      "lets you choose when",
    ja: "ミラーボリュームで auto_failback on です。復帰したノードが UpToDate になり次第もう一度停止します。off なら時期を選べます",
    source: "report §1.2 table 3, §2.2; heartbeat §9.2",
    find: (facts) =>
      when(
        facts.haCf?.values.auto_failback === "on" && !facts.isCibMode && managed(facts).length > 0,
        facts.placeInHaCf("auto_failback"),
      ),
  },
  "sample-secret": {
    severity: "warning",
    en: "the shared-secret of '{name}' is the one that the manuals print: choose another",
    ja: "'{name}' の shared-secret はマニュアルの例のままです。変更してください",
    source: "report §2.1",
    find: ({ drbd }) =>
      drbd.flatMap(({ name, at, net }) => when(net.values["shared-secret"] === "FooFunFactory", at, { name })),
  },
  "replication-on-service-network": {
    severity: "hint",
    en:
      "'{name}' replicates over the network of {ip}, where the clients are: the crossover cable is idle and a " +
      "cut there takes both",
    ja: "'{name}' の複製は {ip} と同じ、クライアント側のネットワークを通ります。クロスケーブルは使われず、そこが切れると両方失います",
    source: "report §1.1, §2.1",
    find: (facts) => {
      const address = facts.services.flatMap((service) => service.items.map((item) => item.address)).find(Boolean);
      const ip = parseIpv4(address?.ip ?? "");
      if (address === undefined || ip === undefined) return [];
      const prefix = address.prefix < 0 ? 24 : address.prefix;
      return managed(facts).flatMap(({ name, at, local }) => {
        const own = parseIpv4(local.address.address);
        const isSame = own !== undefined && networkOf(own, prefix) === networkOf(ip, prefix);
        return when(isSame, at, { name, ip: address.ip });
      });
    },
  },
  "service-address-is-fixed": {
    severity: "error",
    en: "{ip} is the replication address of '{name}': a service address moves and must belong to no node",
    ja: "{ip} は '{name}' の複製用アドレスです。仮想 IP アドレスは移動するため、どのノードの固定アドレスとも重ねられません",
    source: "heartbeat §15.1",
    find: (facts) =>
      facts.services.flatMap((service) =>
        service.items.flatMap(({ address, at }) => {
          const owner = facts.drbd.find(({ local, remote }) =>
            [local.address.address, remote.address.address].includes(address?.ip ?? "-"),
          );
          return when(owner !== undefined, at, { ip: address?.ip ?? "", name: owner?.name ?? "" });
        }),
      ),
  },
  "promoted-and-not-mounted": {
    severity: "hint",
    en: "'{name}' is promoted and none of its devices is mounted in the group",
    ja: "'{name}' を Primary にしますが、そのデバイスはグループ内でマウントされません",
    source: "report §2.2",
    find: (facts) =>
      facts.services.flatMap((service) =>
        promotionsOf(service).flatMap(({ drbd = "", at }) => {
          const resource = facts.drbd.find(({ name }) => name === drbd);
          const devices = resource === undefined ? [] : devicesOf(resource);
          const isMounted = service.items.some(({ filesystem }) => {
            const device = filesystem?.device ?? "";
            return devices.includes(device) || device.startsWith(`/dev/drbd/by-res/${drbd}`);
          });
          return when(resource !== undefined && !isMounted, at, { name: drbd });
        }),
      ),
  },
} as const satisfies LintRules;
