import path from "node:path";
import test from "ava";
import type { ResourceConfig } from "../../../../src/core/config/effective.ts";
import { parseConfig } from "../../../../src/core/config/parse-config.ts";
import { resolve } from "../../../../src/core/config/resolve.ts";
import type { LintInput } from "../../../../src/heartbeat/core/lint/facts.ts";
import { lint, lintRules } from "../../../../src/heartbeat/core/lint/lint.ts";
import { parseInitiatorName, parseListens } from "../../../../src/heartbeat/core/lint/other-files.ts";
import { disk, REPORT, vectors } from "../../core/config/helpers/vectors.ts";
import { authKeys, cib, cibOf, HOST01, haCf, haResources, vector } from "../config/helpers/files.ts";

const target = { text: "iqn.2010-10.com.thecus:RAID6.iscsi0.vg0.n4200", at: { file: "targets", line: 1, column: 1 } };

function resourcesOf(text: string | undefined, name: string): readonly ResourceConfig[] {
  const files = text === undefined ? disk : { readFile: () => text, glob: () => [] };
  const parsed = parseConfig(files, text === undefined ? path.join(vectors, REPORT) : "/etc/drbd.conf");
  if ("errors" in parsed) throw parsed.errors[0] ?? new Error("no error");
  const found = resolve(parsed.tree, { name, hasAddress: () => true });
  if ("errors" in found) throw found.errors[0] ?? new Error("no error");
  return found.resources;
}

const reportDrbd = resourcesOf(undefined, HOST01);
const ids = (input: LintInput): string[] => lint(input).map((finding) => finding.id);
const errorsAndWarnings = (input: LintInput): string[] =>
  lint(input)
    .filter(({ severity }) => severity !== "hint")
    .map(({ id, at }) => `${id} ${at.file}:${at.line}`);

test("the report's scenario 1 (A6, A7, A10, A12): every slip of its ha.cf, authkeys, cib.xml and ifconfig", (t) => {
  const found = errorsAndWarnings({
    haCf: haCf(vector("report/ha.cf")).haCf,
    authKeys: authKeys(vector("report/authkeys")).authKeys,
    cib: cib(vector("report/cib.xml")).cib,
    listens: parseListens(vector("report/httpd.conf"), "httpd.conf"),
    addresses: [{ interface: "eth0", address: "192.168.1.10", prefix: 16 }],
  });
  t.deepEqual(found.toSorted(), [
    "deadping-without-ping ha.cf:5",
    "isolation-unseen ha.cf:11",
    "netmask-of-interface cib.xml:10",
    "netmask-parameter cib.xml:15",
    "no-monitor cib.xml:10",
    "no-monitor cib.xml:19",
    "pingd-attribute-unused ha.cf:14",
    "pingd-without-ping ha.cf:14",
    "single-heartbeat-path ha.cf:9",
  ]);
});

test("the report's scenario 2 (A17, A20): yen signs, mnt, fstype, fencing, its secret, pingd without cib.xml", (t) => {
  const input: LintInput = {
    haCf: haCf(vector("report/ha.cf")).haCf,
    authKeys: authKeys(vector("report/authkeys")).authKeys,
    haResources: haResources(vector("report/haresources")).haResources,
    drbd: reportDrbd,
  };
  const found = ids(input);
  const expected = [
    ...["yen-continuation", "mount-point-without-slash", "fstype-missing", "fencing-dont-care", "sample-secret"],
    ...["pingd-in-haresources-mode", "failback-of-volume", "replication-on-service-network", "crc-only-on-crossover"],
  ];
  for (const id of expected) t.true(found.includes(id), id);
  t.is(found.filter((id) => id === "yen-continuation").length, 3);
  t.false(found.includes("crc-on-shared-link"));
  t.deepEqual(
    lint(input).filter(({ severity }) => severity === "error"),
    [],
  );
});

test("the report's scenario 3 (A23-A25): files that differ, the IQN's case, the initiator named as the target", (t) => {
  const host = (name: string) => haResources(vector(`report/haresources-iscsi.${name}`)).haResources;
  const found = errorsAndWarnings({
    haResources: host("host01"),
    peerHaResources: host("host02"),
    iscsi: parseInitiatorName(vector("report/initiatorname"), "/etc/iscsi/initiatorname"),
    peerIscsi: parseInitiatorName(vector("report/initiatorname"), "/etc/iscsi/initiatorname"),
    targets: [target],
  });
  t.deepEqual(found.toSorted(), [
    "haresources-differ haresources:1",
    "initiator-file /etc/iscsi/initiatorname:1",
    "initiator-named-as-target /etc/iscsi/initiatorname:1",
    "iqn-upper-case /etc/iscsi/initiatorname:1",
    "iqn-upper-case targets:1",
    "same-initiator-twice /etc/iscsi/initiatorname:1",
    "shared-disk-without-stonith haresources:3",
    "yen-continuation haresources:1",
    "yen-continuation haresources:2",
    "yen-continuation haresources:3",
  ]);
});

const soundHaCf = `logfile /var/log/ha-log
keepalive 500ms
deadtime 5
warntime 2
initdead 20
auto_failback off
watchdog /dev/watchdog
bcast eth1
ucast eth0 192.168.1.101
ucast eth0 192.168.1.201
ping 192.168.1.1
node host01 host02
respawn hacluster /usr/lib/heartbeat/ipfail
respawn hacluster /usr/lib/heartbeat/dopd
apiauth dopd uid=hacluster gid=haclient
stonith_host * external/ipmi host01 10.0.0.9
`;
const soundGroup =
  "host01 IPaddr2::192.168.1.80/24/eth0/192.168.1.255 drbddisk::r0 Filesystem::/dev/drbd0::/mnt::ext4 httpd\n";
const drbdConf = (
  body = "",
  disk = "fencing resource-only;",
  handlers = 'fence-peer "/usr/lib/heartbeat/drbd-peer-outdater";',
) => `resource r0 {
  ${body}
  disk { ${disk} }
  handlers { ${handlers} }
  device /dev/drbd0; disk /dev/sda1; meta-disk internal;
  on host01 { address 10.0.0.1:7789; }
  on host02 { address 10.0.0.2:7789; }
}`;
const drbd = (text = drbdConf(), name = "host01") => resourcesOf(text, name);

const sound: LintInput = {
  haCf: haCf(soundHaCf).haCf,
  authKeys: authKeys("auth 1\n1 sha1 v7Jt2mQx9LkPz4Rw8NcB\n").authKeys,
  haResources: haResources(soundGroup).haResources,
  peerHaResources: haResources(`# the same\n${soundGroup}`).haResources,
  drbd: drbd(),
  listens: parseListens("Listen 192.168.1.80:80\nListen 127.0.0.1:8080\nListen [::]:81\nListen 443\n", "httpd.conf"),
  addresses: [{ interface: "eth0", address: "192.168.1.101", prefix: 24 }],
  iscsi: parseInitiatorName("InitiatorName=iqn.1994-05.com.example:host01\n", "/etc/iscsi/initiatorname.iscsi"),
  peerIscsi: parseInitiatorName("InitiatorName=iqn.1994-05.com.example:host02\n", "/etc/iscsi/initiatorname.iscsi"),
};

test("a sound configuration has nothing to be said about", (t) => {
  t.deepEqual(lint(sound), []);
});

/** The sound ha.cf with lines taken out (by their first word) and put in front. */
const cf = (without: readonly string[], lines = ""): LintInput => {
  const kept = soundHaCf.split("\n").filter((line) => !without.some((each) => line.startsWith(each)));
  return { ...sound, haCf: haCf(`${lines}\n${kept.join("\n")}`).haCf };
};
const keys = (text: string): LintInput => ({ ...sound, authKeys: authKeys(text).authKeys });
const groups = (text: string): LintInput => {
  const { haResources: found } = haResources(text);
  return { ...sound, haResources: found, peerHaResources: found };
};
const volume = (text: string): LintInput => ({ ...sound, drbd: drbd(text) });

const withoutHaResources = (): LintInput => {
  const { haResources: _own, peerHaResources: _peer, ...rest } = sound;
  return rest;
};
const monitor = '<operations><op id="ID-m" name="monitor" interval="5s" timeout="20s"/></operations>';
const primitive = (
  id: string,
  type: string,
  params: Record<string, string> = {},
  inner = monitor,
  kind = 'class="ocf" provider="heartbeat"',
) => {
  const pairs = Object.entries(params).map(
    ([name, value]) => `<nvpair id="${id}-${name}" name="${name}" value="${value}"/>`,
  );
  const set = `<instance_attributes id="${id}-i"><attributes>${pairs.join("")}</attributes></instance_attributes>`;
  return `<primitive id="${id}" ${kind} type="${type}">${inner.replaceAll("ID", id)}${set}</primitive>`;
};
const vip = primitive("vip", "IPaddr2", { ip: "192.168.1.80", cidr_netmask: "24", nic: "eth0" });
const apache = primitive("web", "apache");
const xml = (resources: string, constraints = "", options: Record<string, string> = {}): LintInput => {
  const pairs = Object.entries(options).map(
    ([name, value]) => `<nvpair id="o-${name}" name="${name}" value="${value}"/>`,
  );
  const set = `<cluster_property_set id="o"><attributes>${pairs.join("")}</attributes></cluster_property_set>`;
  return { ...withoutHaResources(), cib: cib(cibOf(resources, constraints, set)).cib };
};
const fence = primitive("fence", "external/ipmi", {}, "", 'class="stonith"');
const on = { "stonith-enabled": "true" };

/** For each rule one change to the sound configuration that it must find. */
const slips: Readonly<Record<string, () => LintInput>> = {
  "two-writers": () => cf(["ping", "watchdog", "stonith"]),
  "isolation-unseen": () => cf(["ping", "stonith"]),
  "no-watchdog": () => cf(["watchdog"]),
  "shared-disk-without-stonith": () => ({
    ...cf(["stonith"]),
    haResources: haResources("host01 192.168.1.80 Filesystem::/dev/VolGroup01/lvol0::/mnt/iscsi::ext4").haResources,
  }),
  "single-heartbeat-path": () => cf(["ucast"]),
  "crc-on-shared-link": () => keys("auth 1\n1 crc\n"),
  "crc-only-on-crossover": () => keys("auth 1\n1 crc\n"),
  "routed-medium-with-crc": () => ({
    ...cf([], "mcast eth1 239.0.0.1 694 2 0"),
    ...{ authKeys: authKeys("auth 1\n1 crc\n").authKeys },
  }),
  "weak-key": () => keys("auth 1\n1 sha1 HI!\n"),
  "md5-key": () => keys("auth 1\n1 md5 v7Jt2mQx9LkPz4Rw8NcB\n"),
  "several-keys-with-heartbeat-3": () => keys("auth 1\n1 sha1 v7Jt2mQx9LkPz4Rw8NcB\n2 sha1 otherKeyOfTwentyChars\n"),
  "stonith-disabled": () => xml(vip + fence, "", { "stonith-enabled": "false" }),
  "stonith-without-device": () => xml(vip, "", on),
  "deadping-without-ping": () => cf(["ping"], "deadping 6"),
  "pingd-without-ping": () => cf(["ping"], "respawn root /usr/lib/heartbeat/pingd -m 100"),
  "pingd-in-haresources-mode": () => cf([], "respawn root /usr/lib/heartbeat/pingd -m 100"),
  "pingd-attribute-unused": () =>
    ({
      ...xml(vip + fence, "", on),
      ...{ haCf: cf([], "respawn root /usr/lib/heartbeat/pingd -a net").haCf },
    }) as LintInput,
  "ipfail-without-ping": () => cf(["ping"]),
  "ipfail-with-legacy": () => cf(["auto_failback"], "auto_failback legacy"),
  "ping-without-ipfail": () => cf(["respawn hacluster /usr/lib/heartbeat/ipfail"]),
  "deadping-after-deadtime": () => cf([], "deadping 6"),
  "warntime-not-before-deadtime": () => cf(["warntime"], "warntime 5"),
  "warntime-too-short": () => cf(["warntime"], "warntime 500ms"),
  "deadtime-few-heartbeats": () => cf(["keepalive"], "keepalive 2"),
  "initdead-short": () => cf(["initdead"], "initdead 9"),
  "auto-failback-missing": () => cf(["auto_failback"]),
  "node-count": () => cf(["node"], "node host01 host02 host03"),
  "mcast-loop": () => cf([], "mcast eth1 239.0.0.1 694 1 1"),
  "serial-medium": () => cf([], "serial /dev/ttyS0"),
  "crm-and-haresources": () => ({ ...xml(vip), haResources: haResources(soundGroup).haResources }),
  "yen-continuation": () => groups("host01 192.168.1.80 ¥\n httpd\n"),
  "mount-point-without-slash": () => groups(soundGroup.replace("::/mnt", "::mnt")),
  "fstype-missing": () => groups(soundGroup.replace("::ext4", "")),
  "haresources-differ": () => ({
    ...sound,
    peerHaResources: haResources(soundGroup.replace("host01", "host02")).haResources,
  }),
  "same-address-twice": () => groups(`${soundGroup}host02 IPaddr::192.168.1.80 smb\n`),
  "group-key-twice": () => groups(`${soundGroup}${soundGroup.replace("host01", "host02")}`),
  "unknown-preferred-node": () => groups(soundGroup.replace("host01", "host1")),
  "apache-before-address": () => groups("host01 httpd IPaddr2::192.168.1.80/24/eth0"),
  "apache-apart-from-address": () => groups("host01 IPaddr2::192.168.1.80/24/eth0\nhost02 httpd\n"),
  "listen-elsewhere": () => ({ ...sound, listens: parseListens("Listen 192.168.1.81:80\n", "httpd.conf") }),
  "apache-before-volume": () =>
    groups("host01 IPaddr2::192.168.1.80/24 httpd drbddisk::r0 Filesystem::/dev/drbd0::/mnt::ext4"),
  "netmask-of-interface": () => ({
    ...sound,
    addresses: [{ interface: "eth0", address: "192.168.1.101", prefix: 16 }],
  }),
  "broadcast-of-netmask": () => groups(soundGroup.replace("192.168.1.255", "192.168.255.255")),
  "netmask-parameter": () => xml(primitive("vip", "IPaddr", { ip: "192.168.1.80", netmask: "24" })),
  "agent-name-case": () => xml(primitive("vip", "IPAddr", { ip: "192.168.1.80" })),
  "no-monitor": () => xml(primitive("vip", "IPaddr2", { ip: "192.168.1.80" }, "")),
  "not-a-group": () => xml(vip + apache),
  "stickiness-keeps-services": () =>
    xml(vip, '<rsc_location id="l" rsc="vip" node="host01" score="100"/>', {
      "default-resource-stickiness": "INFINITY",
    }),
  "quorum-of-two": () => xml(vip, "", { "no-quorum-policy": "stop" }),
  "iqn-upper-case": () => ({ ...sound, targets: [target] }),
  "initiator-named-as-target": () => ({ ...sound, targets: [{ ...target, text: "iqn.1994-05.com.example:HOST01" }] }),
  "same-initiator-twice": () => ({ ...sound, ...(sound.iscsi === undefined ? {} : { peerIscsi: sound.iscsi }) }),
  "initiator-file": () => ({
    ...sound,
    iscsi: parseInitiatorName("initiatorname=iqn.1994-05.com.example:host01\n", "/etc/iscsi/initiatorname.iscsi"),
  }),
  "unknown-drbd-resource": () => groups(soundGroup.replace("drbddisk::r0", "drbddisk::r1")),
  "device-of-no-resource": () => groups(soundGroup.replace("/dev/drbd0", "/dev/drbd1")),
  "device-not-promoted": () =>
    groups("host01 IPaddr2::192.168.1.80/24 Filesystem::/dev/drbd0::/mnt::ext4 drbddisk::r0"),
  "device-of-other-resource": () => ({
    ...sound,
    haResources: haResources(soundGroup.replace("drbddisk::r0", "drbddisk::r1")).haResources,
    drbd: drbd(
      drbdConf() +
        drbdConf().replace("r0", "r1").replaceAll("7789", "7790").replace("drbd0", "drbd1").replace("sda1", "sda2"),
    ),
  }),
  "drbd-node-names": () => cf(["node"], "node host01.example.com host02.example.com"),
  "fencing-dont-care": () => volume(drbdConf("", "", "")),
  "fencing-without-handler": () => volume(drbdConf("", "fencing resource-only;", "")),
  "outdater-without-dopd": () => cf(["respawn hacluster /usr/lib/heartbeat/dopd"]),
  "dopd-without-apiauth": () => cf(["apiauth"]),
  "resource-and-stonith-without-stonith": () => ({
    ...cf(["stonith"]),
    drbd: drbd(drbdConf("", "fencing resource-and-stonith;")),
  }),
  "two-primaries": () => volume(drbdConf("net { allow-two-primaries; }", "fencing resource-and-stonith;")),
  "become-primary-on": () => volume(drbdConf("startup { become-primary-on host01; }")),
  "protocol-loses-writes": () => volume(drbdConf("protocol A;")),
  "failback-of-volume": () => cf(["auto_failback"], "auto_failback on"),
  "sample-secret": () => volume(drbdConf('net { cram-hmac-alg sha1; shared-secret "FooFunFactory"; }')),
  "replication-on-service-network": () =>
    volume(drbdConf().replace("10.0.0.1", "192.168.1.100").replace("10.0.0.2", "192.168.1.200")),
  "service-address-is-fixed": () =>
    volume(drbdConf().replace("10.0.0.1", "192.168.1.80").replace("10.0.0.2", "192.168.1.200")),
  "promoted-and-not-mounted": () => groups("host01 IPaddr2::192.168.1.80/24 drbddisk::r0 httpd"),
};

test("every rule has its case", (t) => {
  t.deepEqual(Object.keys(slips).toSorted(), Object.keys(lintRules).toSorted());
});

for (const [id, slip] of Object.entries(slips)) {
  test(`${id}: found where it is, with both texts filled in`, (t) => {
    const found = lint(slip()).filter((finding) => finding.id === id);
    t.true(found.length > 0, `${id} is not among: ${ids(slip()).join(", ")}`);
    for (const { en, ja, at } of found) {
      t.notRegex(en, /\{\w+\}|undefined/);
      t.notRegex(ja, /\{\w+\}|undefined/);
      t.true(at.line >= 1);
    }
  });
}

test("the table: both languages, the same values in both, and a source for each rule", (t) => {
  for (const [id, { en, ja, source }] of Object.entries(lintRules)) {
    const values = (text: string) => (text.match(/\{\w+\}/g) ?? []).toSorted();
    t.deepEqual(values(ja), values(en), id);
    t.regex(ja, /[\u3040-\u30ff\u4e00-\u9fff]/, id);
    t.notRegex(en, /[^\x20-\x7e…¥]/, id);
    t.regex(source, /^(report|heartbeat|drbd-84) /, id);
  }
});

test("errors come first, then warnings, then hints", (t) => {
  const order = ["error", "warning", "hint"];
  const places = lint(cf(["ping", "watchdog", "stonith"], "mcast eth1 239.0.0.1 694 1 1")).map((each) =>
    order.indexOf(each.severity),
  );
  t.deepEqual(places, places.toSorted());
  t.true(new Set(places).size > 1);
});

test("a colocation ties what is in no group; a rule on pingd's attribute uses it", (t) => {
  const tie = '<rsc_colocation id="c" from="web" to="vip" score="INFINITY"/>';
  t.false(ids(xml(vip + apache, tie)).includes("not-a-group"));
  t.false(ids(xml(vip + apache, tie)).includes("apache-apart-from-address"));
  t.true(ids(xml(vip + apache)).includes("apache-apart-from-address"));
  const rule =
    '<rsc_location id="l" rsc="vip"><rule id="r" score="-INFINITY">' +
    '<expression id="e" attribute="net" operation="not_defined"/></rule></rsc_location>';
  const { haCf: withPingd } = haCf(`respawn root /usr/lib/heartbeat/pingd -a net\n${soundHaCf}`);
  t.false(ids({ ...xml(vip, rule), haCf: withPingd }).includes("pingd-attribute-unused"));
});

test("nothing given, nothing said", (t) => {
  t.deepEqual(lint({}), []);
});
