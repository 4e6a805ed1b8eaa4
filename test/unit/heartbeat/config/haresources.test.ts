import test from "ava";
import { parseServiceAddress } from "../../../../src/heartbeat/core/config/addresses.ts";
import { parseHaResources, serviceAddressOf } from "../../../../src/heartbeat/core/config/haresources.ts";
import { HOST01, haResources, messages, vector } from "./helpers/files.ts";

test("the report's haresources (A20, §15.1): yen signs continue, mnt becomes /mnt, both warned about", (t) => {
  const { haResources: found, warnings } = haResources(vector("report/haresources"), [HOST01]);
  t.is(found.groups.length, 1);
  const [group] = found.groups;
  t.is(group?.node, HOST01);
  t.deepEqual(
    group?.resources.map(({ script, args }) => [script, ...args]),
    [
      ["IPaddr2", "192.168.1.80/24/eth0/192.168.1.255"],
      ["drbddisk", "r0"],
      ["Filesystem", "/dev/drbd0", "/mnt"],
    ],
  );
  t.deepEqual(
    found.slips.map(({ kind, at }) => [kind, at.line]),
    [
      ["yen", 1],
      ["yen", 2],
      ["yen", 3],
      ["mount-point", 4],
    ],
  );
  t.is(warnings.length, 4);
  t.is(warnings[3], "4:1: mount point 'mnt' has no leading slash and is read as '/mnt'");
});

test("the report's haresources-iscsi (A25): the same group on both nodes, but for the node", (t) => {
  const groups = ["host01", "host02"].map(
    (host) => haResources(vector(`report/haresources-iscsi.${host}`)).haResources.groups[0],
  );
  const words = groups.map((group) => group?.resources.map((resource) => resource.written));
  t.deepEqual(words[0], ["IPaddr2::192.168.1.80", "Filesystem::/dev/VolGroup01/lvol0::/mnt/iscsi", "httpd"]);
  t.deepEqual(words[1], words[0]);
  t.not(groups[0]?.node, groups[1]?.node);
});

test("the lines of heartbeat's own sample (§15.1): bare addresses are IPaddr, arguments after '::'", (t) => {
  const { groups } = haResources(`
    just.linux-ha.org	135.9.216.110
    just.linux-ha.org	135.9.216.111 http
    just.linux-ha.org	135.9.216.3/28/eth0/135.9.216.12 httpd
    Node1  10.0.0.170 Filesystem::/dev/sda1::/data1::ext2   # comment
  `).haResources;
  const words = groups.map(({ node, resources }) => [
    node,
    ...resources.map(({ script, args }) => [script, ...args].join(" ")),
  ]);
  t.deepEqual(words, [
    ["just.linux-ha.org", "IPaddr 135.9.216.110"],
    ["just.linux-ha.org", "IPaddr 135.9.216.111", "http"],
    ["just.linux-ha.org", "IPaddr 135.9.216.3/28/eth0/135.9.216.12", "httpd"],
    ["node1", "IPaddr 10.0.0.170", "Filesystem /dev/sda1 /data1 ext2"],
  ]);
});

test("service addresses (§15.1): bits, interface, label and broadcast by their form", (t) => {
  const none = { prefix: -1, nic: "", label: "", broadcast: "" };
  t.deepEqual(parseServiceAddress("10.0.0.1"), { ip: "10.0.0.1", ...none });
  t.deepEqual(parseServiceAddress("10.0.0.1/24"), { ip: "10.0.0.1", ...none, prefix: 24 });
  t.deepEqual(parseServiceAddress("10.0.0.1/24/10.0.0.210"), {
    ip: "10.0.0.1",
    ...none,
    prefix: 24,
    broadcast: "10.0.0.210",
  });
  t.deepEqual(parseServiceAddress("10.0.0.1/24/eth0:web/10.0.0.255"), {
    ...{ ip: "10.0.0.1", prefix: 24, nic: "eth0", label: "web", broadcast: "10.0.0.255" },
  });
  t.deepEqual(parseServiceAddress("10.0.0.1/eth0"), { ip: "10.0.0.1", ...none, nic: "eth0" });
  t.deepEqual(parseServiceAddress("10.0.0.1/255.255.0.0"), { ip: "10.0.0.1", ...none, prefix: 16 });
  for (const bad of ["10.0.0.256", "10.0.0", "10.0.0.1/33", "10.0.0.1/24/25", "10.0.0.1/24/eth0/eth1", "10.0.0.1/"]) {
    t.is(parseServiceAddress(bad), undefined, bad);
  }
  const [group] = haResources("a IPaddr2::10.0.0.1/24/eth0 httpd").haResources.groups;
  const found = group?.resources.map((resource) => serviceAddressOf(resource)?.nic);
  t.deepEqual(found, ["eth0", undefined]);
});

test("continuations (§15.1): backslash and yen sign; the next line needs a blank; a remark hides neither", (t) => {
  const { haResources: found, warnings } = haResources("a 10.0.0.1 \\ \n\tx¥\n y # end\nb z\n");
  t.deepEqual(
    found.groups.map(({ node, resources }) => [node, resources.length]),
    [
      ["a", 3],
      ["b", 1],
    ],
  );
  t.true(warnings.includes("1:12: heartbeat sees a continuation only at the very end of the line"));
  t.regex(messages(parseHaResources("a x\\\ny\n", "f"))[0] ?? "", /^f:2:1: the continued line runs on into this one/);
  t.regex(messages(parseHaResources("a \\ x\n", "f"))[0] ?? "", /^f:1:3: '\\': a line is continued at its end only/);
});

test("refused with place and nearest word: unknown node, no resources, bad address, remarks in parentheses", (t) => {
  const refusal = (text: string) => messages(parseHaResources(text, "f", ["host01", "host02"]))[0];
  t.is(refusal("host1 x"), "f:1:1: unknown node 'host1'; allowed: host01, host02; did you mean 'host01'?");
  t.is(refusal("\nhost01"), "f:2:1: node 'host01' without resources");
  t.regex(refusal("host01 10.0.0.300") ?? "", /^f:1:8: '10\.0\.0\.300' has no valid address; allowed: IP\[/);
  t.regex(refusal("host01 IPaddr2::10.0.0.1/24/24") ?? "", /^f:1:8: .* has no valid address/);
  t.regex(refusal("IPaddr2::10.0.0.1 httpd") ?? "", /^f:1:1: .* where the name of a node is expected/);
  t.regex(refusal("host01 ¥ (ノード 1 ホスト名)") ?? "", /^f:1:8: /);
  t.regex(refusal("host01 x （仮想）") ?? "", /^f:1:10: .*a remark starts with '#'/);
  t.regex(
    refusal("host01 Filesystem::/dev/sda1") ?? "",
    /without a device and a mount point; allowed: Filesystem::DEVICE/,
  );
  t.regex(refusal("host01 ../../bin/sh") ?? "", /is no resource/);
});

test("an empty argument is left out and told of: the scripts get it that way (§15.1)", (t) => {
  const { haResources: found, warnings } = haResources("a Filesystem::/dev/sda1::/data::::noatime");
  t.deepEqual(found.groups[0]?.resources[0]?.args, ["/dev/sda1", "/data", "noatime"]);
  t.regex(warnings.join(), /an empty argument is left out/);
});

test("control characters and what is not UTF-8 are refused, but for remarks: an old file has its Japanese there", (t) => {
  t.is(messages(parseHaResources("a x\u0007", "f"))[0], "f:1:4: a control character");
  t.is(messages(parseHaResources("a 10.0.0.1 \uFFFD\n", "f"))[0], "f:1:12: a character that is not UTF-8");
  t.deepEqual(messages(parseHaResources("a x # \uFFFD\u0000\n", "f")), []);
});
