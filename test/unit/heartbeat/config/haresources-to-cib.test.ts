import test from "ava";
import type { Cib } from "../../../../src/heartbeat/core/config/cib.ts";
import type { StonithHost } from "../../../../src/heartbeat/core/config/ha-cf.ts";
import { type ConversionChoices, haResourcesToCib } from "../../../../src/heartbeat/core/config/haresources-to-cib.ts";
import { writeCib } from "../../../../src/heartbeat/core/config/write-cib.ts";
import { cib, haResources, messages, vector, withoutPlaces } from "./helpers/files.ts";

const scripts: Readonly<Record<string, readonly string[]>> = {
  heartbeat: ["drbddisk"],
  lsb: ["httpd", "smb"],
  systemd: ["nginx"],
};
const here: ConversionChoices = {
  nodeCount: 2,
  stonithHosts: [],
  hasScript: (place, type) => scripts[place]?.includes(type) === true,
  stonithParameters: (type) => (type === "ssh" ? ["hostlist"] : undefined),
};

function convert(text: string, choices: Partial<ConversionChoices> = {}): { cib: Cib; warnings: string[] } {
  const result = haResourcesToCib(haResources(text).haResources, { ...here, ...choices });
  if ("errors" in result) throw result.errors[0] ?? new Error("no error");
  return { cib: result.cib, warnings: result.warnings.map((warning) => warning.text) };
}
const refusal = (text: string, choices: Partial<ConversionChoices> = {}): string =>
  messages(haResourcesToCib(haResources(text).haResources, { ...here, ...choices })).join("\n");

/** What the original wrote, with netmask and interface under each other's names put right (§18.3, "Defect"). */
const original = (name: string): unknown => {
  const text = vector(`converter/${name}.xml`)
    .replaceAll(/name="nic" value="(\d+)"/g, 'name="MASK" value="$1"')
    .replaceAll(/name="cidr_netmask" value="(eth\d)"/g, 'name="nic" value="$1"')
    .replaceAll('name="MASK"', 'name="cidr_netmask"');
  // The two pairs have exchanged their places, and with them their ids.
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    const next = lines[index + 1];
    if (!line.includes('name="cidr_netmask"') || next?.includes('name="nic"') !== true) continue;
    lines[index] = next.replace("_attr_2", "_attr_1");
    lines[index + 1] = line.replace("_attr_1", "_attr_2");
  }
  return withoutPlaces(cib(lines.join("\n")).cib);
};

for (const name of ["iscsi", "drbd", "mixed"]) {
  test(`${name}: as the converter of heartbeat 2.1.3, but for its exchanged netmask and interface (§18.3)`, (t) => {
    const { cib: found, warnings } = convert(vector(`converter/${name}.haresources`));
    t.deepEqual(warnings, []);
    t.deepEqual(withoutPlaces(found), original(name));
  });
}

test("stonith_host of ha.cf becomes a STONITH primitive with its node, and stonith-enabled true (§18.3)", (t) => {
  const at = { file: "ha.cf", line: 2, column: 1 };
  const stonithHosts: StonithHost[] = [{ host: "a", type: "ssh", parameters: "b", at }];
  const { cib: found } = convert(vector("converter/stonith.haresources"), { stonithHosts });
  // The original means to and compares with another name.
  const expected = vector("converter/stonith.xml").replace(/(name="stonith-enabled" value=)"false"/, '$1"true"');
  t.deepEqual(withoutPlaces(found), withoutPlaces(cib(expected).cib));
  t.regex(
    refusal("a x", { stonithHosts: [{ host: "*", type: "none", parameters: "", at }] }),
    /^ha\.cf:2:1: STONITH plugin 'none' is unknown/,
  );
});

test("--no-ocf and --no-monitor: scripts instead of agents, no operations (§18.3)", (t) => {
  const { cib: found, warnings } = convert(vector("converter/drbd.haresources"), {
    withOcf: false,
    withMonitor: false,
  });
  // The original writes class UNKNOWN for what it does not find, which no cluster accepts.
  const expected = cib(vector("converter/drbd-plain.xml").replaceAll('class="UNKNOWN"', 'class="lsb"')).cib;
  t.deepEqual(withoutPlaces(found), withoutPlaces(expected));
  t.is(warnings.length, 2);
});

test("the names of the report's crm_mon (A26): IPaddr2_1, Filesystem_2, httpd_3, with ocf:heartbeat and lsb", (t) => {
  const [group] = convert(vector("report/haresources-iscsi.host01")).cib.resources;
  if (group?.kind !== "group") return t.fail();
  t.deepEqual(
    group.members.map(({ id, provider, class: kind, type }) => [id, provider, kind, type]),
    [
      ["IPaddr2_1", "heartbeat", "ocf", "IPaddr2"],
      ["Filesystem_2", "heartbeat", "ocf", "Filesystem"],
      ["httpd_3", "heartbeat", "lsb", "httpd"],
    ],
  );
});

test("the report's haresources with drbd (A20): the VIP's mask and interface under their own names, /mnt", (t) => {
  const [group] = convert(vector("report/haresources")).cib.resources;
  if (group?.kind !== "group") return t.fail();
  const values = group.members.map(({ parameters }) =>
    Object.fromEntries([...parameters.pairs].map(([name, { value }]) => [name, value])),
  );
  t.deepEqual(values, [
    { ip: "192.168.1.80", nic: "eth0", cidr_netmask: "24", broadcast: "192.168.1.255" },
    { "1": "r0" },
    { device: "/dev/drbd0", directory: "/mnt" },
  ]);
});

test("a unit of systemd is taken where there is no script; drbddisk is built in; nothing at all is told of", (t) => {
  const kinds = (text: string) =>
    convert(text, { hasScript: (place, type) => place === "systemd" && type === "nginx" });
  const { cib: found, warnings } = kinds("a nginx\nb drbddisk::r0\na unheard");
  t.deepEqual(
    found.resources.map((each) => (each.kind === "primitive" ? each.class : "")),
    ["systemd", "heartbeat", "lsb"],
  );
  t.deepEqual(warnings, ["'unheard' is found nowhere on this node and is written as class lsb"]);
});

test("ids that would be used twice are refused: the same address in two groups", (t) => {
  const text = refusal("a 10.0.0.1 httpd\nb 10.0.0.1 httpd\n");
  t.regex(text, /^haresources:2:3: the id 'IPaddr_10_0_0_1' would be used twice.*first used at haresources:1:3$/);
  t.regex(refusal("a httpd #web\nb smb #web\n"), /the id 'web' would be used twice/);
  t.regex(
    refusal("a httpd\n#rsc_colocation httpd_1 nothing INFINITY\n"),
    /haresources:2:25: 'nothing' is not a resource/,
  );
});

test("what is written is a cib.xml that reads as the same", (t) => {
  const { cib: found } = convert(vector("converter/mixed.haresources"));
  t.deepEqual(withoutPlaces(cib(writeCib(found)).cib), withoutPlaces(found));
});
