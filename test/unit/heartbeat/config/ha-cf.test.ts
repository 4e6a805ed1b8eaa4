import test from "ava";
import { ms, seconds } from "../../../../src/core/units.ts";
import { parseAuthKeys } from "../../../../src/heartbeat/core/config/authkeys.ts";
import { clusterMode } from "../../../../src/heartbeat/core/config/cluster-mode.ts";
import { haCfDirectives } from "../../../../src/heartbeat/core/config/ha-cf-options.ts";
import { parseHaCf } from "../../../../src/heartbeat/core/config/parse-ha-cf.ts";
import { enough, HOST01, HOST02, haCf, messages, vector } from "./helpers/files.ts";

interface Verdict {
  readonly name: string;
  readonly haCf: string;
  readonly authkeys: string;
  /** Octal. */
  readonly mode: string;
  readonly accepted: boolean;
}

/** Where we differ from heartbeat 3.0.6 on purpose; the reason is the value. */
const deviations: Readonly<Record<string, string>> = {
  normalpoll: "older versions know it",
  "two auth lines": "which entry signs must not depend on the order of four lines",
  "entry twice": "which key counts must not depend on the order of two lines",
  "mode 0622": "anybody could replace the keys",
};

const users = ["root", "hacluster", "nobody"];
for (const verdict of JSON.parse(vector("verdicts.json")) as Verdict[]) {
  test(`heartbeat 3.0.6 ${verdict.accepted ? "starts" : "does not start"} with: ${verdict.name} (§13, §14)`, (t) => {
    const choices = { nodeName: "host01", hasUser: (user: string) => users.includes(user) };
    const refusals = [
      ...messages(parseHaCf(verdict.haCf, "ha.cf", choices)),
      ...messages(parseAuthKeys(verdict.authkeys, "authkeys", Number.parseInt(verdict.mode, 8))),
    ];
    const expected = verdict.name in deviations ? !verdict.accepted : verdict.accepted;
    t.is(refusals.length === 0, expected, refusals.join("\n"));
    for (const refusal of refusals) t.regex(refusal, /^(ha\.cf|authkeys):\d+:\d+: /);
  });
}

test("the report's ha.cf (A6, §13): its values, its two nodes, pingd", (t) => {
  const { haCf: found, warnings } = haCf(vector("report/ha.cf"), { nodeName: HOST01 });
  t.deepEqual(warnings, []);
  const { values } = found;
  t.is(values.debugfile, "/var/log/ha-debug");
  t.is(values.logfile, "/var/log/ha-log");
  t.is(values.keepalive, seconds(2));
  t.is(values.deadtime, seconds(30));
  t.is(values.deadping, seconds(40));
  t.is(values.warntime, seconds(10));
  t.is(values.initdead, seconds(120));
  t.is(values.udpport, 694);
  t.is(values.auto_failback, "on");
  t.is(values.watchdog, "/dev/watchdog");
  t.deepEqual(
    found.nodes.map((node) => node.text),
    [HOST01, HOST02],
  );
  t.like(found.media, [{ kind: "bcast", interface: "eth1", port: 694 }]);
  t.like(found.clients, [
    { user: "root", command: "/usr/lib/heartbeat/pingd", args: "-m 100 -d 5s -a default_ping_set", program: "pingd" },
  ]);
  t.deepEqual(found.pingNodes, []);
});

test("defaults (§13): keepalive 1 s, deadtime 30 s, auto_failback legacy, what is derived from deadtime", (t) => {
  const { values } = haCf(enough).haCf;
  t.is(values.keepalive, seconds(1));
  t.is(values.deadtime, seconds(30));
  t.is(values.warntime, seconds(15));
  t.is(values.initdead, seconds(30));
  t.is(values.deadping, seconds(30));
  t.is(values.auto_failback, "legacy");
  t.is(values.crm, "no");
  t.is(values.hopfudge, 1);
  t.is(values.max_rexmit_delay, 250);
  t.is(values.msgfmt, "classic");
  t.is(values.realtime, true);
});

test("initdead without a line (§13): 12 s below a deadtime of 6 s, twice it up to 10 s, then deadtime itself", (t) => {
  const initdead = (deadtime: string) => haCf(`deadtime ${deadtime}\n${enough}`).haCf.values.initdead;
  t.is(initdead("5999ms"), seconds(12));
  t.is(initdead("6"), seconds(12));
  t.is(initdead("7"), seconds(14));
  t.is(initdead("10"), seconds(20));
  t.is(initdead("10001ms"), ms(10_001));
});

test("times (§13): seconds, ms, us, fractions; rounded to the nearest millisecond as heartbeat does", (t) => {
  const keepalive = (text: string) => haCf(`keepalive ${text}\n${enough}`).haCf.values.keepalive;
  t.is(keepalive("2"), ms(2000));
  t.is(keepalive("1.5"), ms(1500));
  t.is(keepalive("1500ms"), ms(1500));
  t.is(keepalive("1499500us"), ms(1500));
  t.is(keepalive(".25"), ms(250));
});

test("an unknown directive is refused with file, line, column and the nearest known word", (t) => {
  const [message = ""] = messages(parseHaCf(`${enough}  keepaliv 2\n`, "/etc/ha.d/ha.cf"));
  t.true(message.startsWith("/etc/ha.d/ha.cf:3:3: unknown directive 'keepaliv'; allowed: keepalive, "), message);
  t.true(message.endsWith("; did you mean 'keepalive'?"), message);
  for (const name of haCfDirectives) t.true(message.includes(name), name);
});

test("every error of a file is told at once, each at its place", (t) => {
  const found = messages(parseHaCf("keepalive x\ndeadtime 1min\nbcast eth1\nmcast eth1 10.0.0.1 694 1 0\n", "f"));
  t.deepEqual(
    found.map((message) => message.split(": ", 1)[0]),
    ["f:1:11", "f:2:10", "f:4:12", "f:5:1"],
  );
});

test("the port of bcast and ucast is that in force at the first medium of its kind; mcast has its own (§2, §13)", (t) => {
  const text = "udpport 700\nbcast eth0\nudpport 701\nbcast eth1\nucast eth1 10.0.1.2\nmcast eth1 239.0.0.1 694 1 0\n";
  const { haCf: found, warnings } = haCf(`${text}node a\n`);
  t.deepEqual(
    found.media.map((medium) => (medium.kind === "serial" ? -1 : medium.port)),
    [700, 700, 701, 694],
  );
  t.regex(warnings.join(), /3:1: udpport stands after bcast/);
  t.is(haCf(enough, { servicePort: 6940 }).haCf.values.udpport, 6940);
});

test("lists (§13): media in order, ping nodes, programs, permissions, STONITH hosts, environment", (t) => {
  const { haCf: found } = haCf(`${enough}
    ucast eth1 10.0.1.2
    mcast eth0 225.0.0.1 694 1 0
    mcast6 eth0 ff12::1:2:3:4 694 1 0
    ucast6 eth1 fe80::5054:ff:fe29:3949%eth1
    serial /dev/ttyS0
    ping 10.0.0.254, 10.0.0.253
    ping_group group1 10.0.0.1 10.0.0.2
    respawn hacluster /usr/lib/heartbeat/ipfail   # comment
    failfast root /usr/sbin/x  -a  'b c'
    apiauth ping gid=haclient uid=alanr,root
    stonith_host * baytech 10.0.0.3 mylogin mysecretpassword
    stonith_host Ken3 rps10 /dev/ttyS1 kathy 0
    env A=1 B=x=y
  `);
  const kinds = ["bcast", "ucast", "mcast", "mcast6", "ucast6", "serial"];
  t.deepEqual(
    found.media.map((medium) => medium.kind),
    kinds as (typeof found.media)[number]["kind"][],
  );
  t.deepEqual(
    found.pingNodes.map(({ kind, name, addresses }) => [kind, name, ...addresses]),
    [
      ["ping", "10.0.0.254", "10.0.0.254"],
      ["ping", "10.0.0.253", "10.0.0.253"],
      ["ping_group", "group1", "10.0.0.1", "10.0.0.2"],
    ],
  );
  t.deepEqual(
    found.clients.map(({ kind, user, command, args }) => [kind, user, command, args]),
    [
      ["respawn", "hacluster", "/usr/lib/heartbeat/ipfail", ""],
      ["failfast", "root", "/usr/sbin/x", "-a  'b c'"],
    ],
  );
  t.deepEqual(found.apiauth.get("ping"), { name: "ping", uid: ["alanr", "root"], gid: ["haclient"] });
  t.deepEqual(
    found.stonithHosts.map(({ host, type, parameters }) => [host, type, parameters]),
    [
      ["*", "baytech", "10.0.0.3 mylogin mysecretpassword"],
      ["ken3", "rps10", "/dev/ttyS1 kathy 0"],
    ],
  );
  t.deepEqual(
    [...found.env],
    [
      ["A", "1"],
      ["B", "x=y"],
    ],
  );
});

test("nice_failback becomes what heartbeat 3.0.6 says it does: legacy, or off after auto_failback", (t) => {
  const failback = (lines: string) => haCf(lines + enough).haCf.values.auto_failback;
  t.is(failback("nice_failback on\n"), "legacy");
  t.is(failback("auto_failback on\nnice_failback on\n"), "off");
});

test("crm yes or an existing cib.xml means cib mode; at the first start cib.xml is generated (§18)", (t) => {
  const mode = (lines: string, hasCib: boolean) => clusterMode(haCf(lines + enough).haCf, hasCib);
  t.like(mode("", false), { kind: "haresources" });
  t.like(mode("", true), { kind: "cib", generate: false });
  t.like(mode("crm yes\n", false), { kind: "cib", generate: true });
  t.like(mode("crm respawn\n", true), { kind: "cib", generate: false });
  t.like(mode("pacemaker on\n", false), { kind: "cib", generate: true });
  t.like(mode("crm no\n", true), { kind: "haresources" });
});
