import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import type { Backing, ResourceConfig, VolumeConfig } from "../../../../src/core/config/effective.ts";
import { diskOptions, netOptions, type OptionRow, resourceOptions } from "../../../../src/core/config/options.ts";
import { type Files, parseConfig } from "../../../../src/core/config/parse-config.ts";
import { type EffectiveConfig, type ResolveChoices, resolve } from "../../../../src/core/config/resolve.ts";
import { ms, seconds, sector } from "../../../../src/core/units.ts";
import { disk, expectedPath, FOLDER, identity, listVectors, nodesOf, REPORT, vectors } from "./helpers/vectors.ts";

const fromText = (text: string): Files => ({ readFile: () => text, glob: () => [] });

function effective(text: string, node = "a", choices: ResolveChoices = {}): EffectiveConfig {
  const parsed = parseConfig(fromText(`global { disable-ip-verification; }\n${text}`), "/etc/drbd.conf");
  if ("errors" in parsed) throw parsed.errors[0] ?? new Error("no error");
  const result = resolve(parsed.tree, identity(node), choices);
  if ("errors" in result) throw result.errors[0] ?? new Error("no error");
  return result;
}

function refusal(text: string, node = "a"): string {
  try {
    effective(text, node);
    return "accepted";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const hosts = (a = "10.0.0.1:7789", b = "10.0.0.2:7789"): string => `device minor 0; disk /dev/sda; meta-disk internal;
  on a { address ${a}; }
  on b { address ${b}; }`;

function only(config: EffectiveConfig): { resource: ResourceConfig; volume: VolumeConfig } {
  const [resource] = config.resources;
  const [volume] = resource?.volumes ?? [];
  if (resource === undefined || volume === undefined) throw new Error("no resource");
  return { resource, volume };
}

test("the report's drbd.conf: r0/0, minor 0, protocol C, HMAC-SHA1, a fixed 10 MiB/s (A17, §10.3)", (t) => {
  const parsed = parseConfig(disk, path.join(vectors, REPORT));
  if ("errors" in parsed) return t.fail(parsed.errors[0]?.message);
  const here = { name: "host02.xxxx.xxxx.nagoya-u.ac.jp", hasAddress: (a: string) => a === "192.168.1.200" };
  const result = resolve(parsed.tree, here);
  if ("errors" in result) return t.fail(result.errors[0]?.message);
  const { resource, volume } = only(result);
  t.is(resource.name, "r0");
  t.deepEqual(resource.local.address, { family: "ipv4", address: "192.168.1.200", port: 7789 });
  t.deepEqual(resource.remote.address, { family: "ipv4", address: "192.168.1.100", port: 7789 });
  t.deepEqual(resource.remote.names, ["host01.xxxx.xxxx.nagoya-u.ac.jp"]);
  t.deepEqual(volume.local, {
    minor: 0,
    device: "/dev/drbd0",
    disk: "/dev/VolGroup00/lvol0",
    metaDisk: { kind: "internal" },
  });
  t.is(resource.net.values.protocol, "C");
  t.is(resource.net.values["cram-hmac-alg"], "sha1");
  t.is(resource.net.values["shared-secret"], "FooFunFactory");
  t.is(resource.startup.values["degr-wfc-timeout"], seconds(120));
  t.is(volume.disk.values["resync-rate"], 10240);
  t.true(volume.fixedRate);
  t.is(volume.disk.values["c-plan-ahead"], ms(0));
  t.is(result.global.values["usage-count"], "yes");
  t.deepEqual([...resource.net.written].sort(), ["cram-hmac-alg", "protocol", "shared-secret"]);
  t.deepEqual(result.ignored, []);
});

test("a rate is fixed only if it comes from syncer and no c- option is written (§10.3)", (t) => {
  const rate = (text: string) => only(effective(`${text} resource r0 { ${hosts()} }`)).volume;
  t.true(rate("common { syncer { rate 10M; } }").fixedRate);
  t.false(rate("common { disk { resync-rate 10M; } }").fixedRate);
  const dynamic = rate("common { syncer { rate 10M; c-plan-ahead 30; } }");
  t.false(dynamic.fixedRate);
  t.is(dynamic.disk.values["c-plan-ahead"], seconds(3));
  t.false(rate("common { syncer { rate 10M; } disk { c-min-rate 1M; } }").fixedRate);
  t.false(rate("common { syncer { verify-alg sha1; } }").fixedRate);
});

test("defaults stand where nothing is written, in typed units (§10.4)", (t) => {
  const { resource, volume } = only(effective(`resource r0 { ${hosts()} }`));
  const net = resource.net.values;
  t.is(net.protocol, "C");
  t.is(net.timeout, seconds(6));
  t.is(net["ping-timeout"], ms(500));
  t.is(net["ping-int"], seconds(10));
  t.is(net["max-buffers"], 2048);
  t.true(net["tcp-cork"]);
  t.is(volume.disk.values["resync-rate"], 250);
  t.is(volume.disk.values["c-fill-target"], sector(100));
  t.is(volume.disk.values["c-plan-ahead"], seconds(2));
  t.is(volume.disk.values["on-io-error"], "detach");
  t.is(resource.handlers.values["fence-peer"], "");
  t.deepEqual(resource.startup.values["become-primary-on"], []);
  t.is(volume.resyncAfter, -1);
  t.is(resource.net.written.size + volume.disk.written.size, 0);
});

/** One option of a planned drbdsetup command in the unit of the effective configuration, decoded without our parser. */
function decode(row: OptionRow | undefined, text: string): unknown {
  if (row?.kind === "boolean") return text === "yes";
  if (row?.kind !== "number") return text;
  const [, digits = "", suffix = ""] = /(\d+)([kmgs]?)/i.exec(text) ?? [];
  const perUnit = { "KiB/s": 1024, sectors: 512 }[row.unit as string] ?? 1;
  const factor = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, s: 512 }[suffix.toLowerCase()] ?? perUnit;
  const inUnit = Math.ceil((Number(digits) * factor) / perUnit);
  return inUnit * ({ ds: 100, seconds: 1000 }[row.unit as string] ?? 1);
}

/** `--name=value` words of a command; of several the last counts for drbdsetup. */
function options(words: readonly string[], rows: Readonly<Record<string, OptionRow>>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const word of words) {
    const [, name = "", text = ""] = /^--(.*?)=(.*)$/s.exec(word) ?? [];
    if (name !== "") found[name] = name === "resync-after" ? Number(text) : decode(rows[name], text);
  }
  return found;
}

/** What is written, by value; a secret with blanks stays one word in the plan only because it is escaped. */
function written(section: { values: object; written: ReadonlySet<string> }): Record<string, unknown> {
  const values = section.values as Record<string, unknown>;
  return Object.fromEntries([...section.written].map((name) => [name, values[name]]));
}

const metaArguments = ({ metaDisk, disk: data }: Backing): string[] =>
  metaDisk.kind === "internal"
    ? [data, "internal"]
    : [metaDisk.path, metaDisk.kind === "flexible" ? "flexible" : `${metaDisk.index}`];

const peerless = ["valid/only-one-host.conf", "valid/three-hosts.conf", "valid/manual-on-several.conf"];
/** Accepted by `drbdadm dump`, and refused by the kernel or, here, by `resolve`. */
const refused: Readonly<Record<string, RegExp>> = {
  "valid/address-leading-zeros.conf": /'010\.0\.0\.01' is not an ipv4 address/,
  "valid/address-sdp-sci.conf": /address family '(sdp|ssocks)' is not supported/,
  "valid/address-sdp-verified.conf": /address family 'sdp' is not supported/,
  "valid/address-ssocks-verified.conf": /address family 'ssocks' is not supported/,
  "valid/address-ssocks.conf": /address family 'ssocks' is not supported/,
  "valid/address-families.conf": /different families/,
  "valid/same-disk-twice.conf": /'\/dev\/vg0\/lv0' is used twice on this node/,
  "valid/statements-after-hosts.conf": /no volume is defined for 'r0'/,
  "valid/proxy.conf": /different families/,
};

for (const file of listVectors("valid")) {
  for (const node of nodesOf(file)) {
    const plan = expectedPath(file, node, "up");
    if (!existsSync(plan) || peerless.includes(file)) continue;
    test(`${file} on ${node}: the effective configuration is what drbdadm-84 would hand to the kernel (§10.2)`, (t) => {
      const parsed = parseConfig(disk, path.join(vectors, file));
      if ("errors" in parsed) {
        t.fail(parsed.errors[0]?.message);
        return;
      }
      const result = resolve(parsed.tree, {
        name: node,
        hasAddress: (a) => a === "127.0.0.1" || !file.includes("float"),
      });
      if ("errors" in result) {
        t.regex(result.errors[0]?.message ?? "", refused[file] ?? /^$/);
        return;
      }
      const lines = readFileSync(plan, "utf8").replaceAll(FOLDER, vectors).trim().split("\n");
      const words = lines.map((line) => line.split(/(?<!\\) /).map((word) => word.replace(/\\(.)/g, "$1")));
      const find = (verb: string, object: string) => words.find((each) => each[1] === verb && each[2] === object) ?? [];
      const resources = result.resources.filter((resource) => resource.stackedOn === "");
      t.is(resources.length, words.filter((each) => each[1] === "new-resource").length);
      t.true(resources.length > 0);
      for (const resource of resources) {
        t.deepEqual(written(resource.options), options(find("new-resource", resource.name), resourceOptions));
        const connect = find("connect", resource.name);
        const show = ({ family, address, port }: typeof resource.local.address) =>
          `${family}:${family === "ipv6" ? `[${address}]` : address}:${port}`;
        t.deepEqual(connect.slice(3, 5), [show(resource.local.address), show(resource.remote.address)]);
        t.deepEqual(written(resource.net), options(connect, netOptions));
        for (const volume of resource.volumes) {
          t.deepEqual(find("new-minor", resource.name).length > 0, true);
          const attach = find("attach", `${volume.local.minor}`);
          t.deepEqual(attach.slice(3, 6), [volume.local.disk, ...metaArguments(volume.local)]);
          const expected = options(attach, diskOptions);
          const { "resync-after": after, ...rest } = written(volume.disk);
          const { "resync-after": minor, ...others } = expected;
          t.is(volume.resyncAfter, after === undefined ? -1 : Number(minor));
          if (volume.fixedRate) t.false("c-plan-ahead" in others);
          t.deepEqual(rest, others);
        }
      }
    });
  }
}

test("what drbdadm passes on unseen is refused here, with its place (§10.4)", (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["net { after-sb-0pri foo; }", /^\/etc\/drbd.conf:2:21: after-sb-0pri 'foo'; allowed: disconnect/],
    ["net { after-sb-0pri discard-node-c; }", /names 'c', which is not a host of 'r0'; allowed: a, b/],
    ["disk { on-io-error panic; }", /on-io-error 'panic'; allowed: pass_on, call-local-io-error, detach/],
    ["net { ping-timeout 301; }", /ping-timeout 301 is out of range; allowed: 1\.\.300 ds/],
    ["disk { disk-timeout abc; }", /'abc' is not a number/],
    ["options { cpu-mask zz; }", /cpu-mask 'zz'/],
    [`net { shared-secret "${"x".repeat(65)}"; }`, /longer than 64 bytes/],
    ["net { protocol A; } disk { fencing resource-and-stonith; }", /needs protocol B or C/],
    ["net { allow-two-primaries; protocol B; }", /needs protocol C/],
    ["net { on-congestion pull-ahead; }", /needs protocol A/],
  ];
  for (const [body, expected] of cases) t.regex(refusal(`resource r0 { ${body} ${hosts()} }`), expected, body);
});

test("al-extents out of range is brought into range (§10.4)", (t) => {
  const extents = (text: string) => {
    const config = effective(`resource r0 { disk { al-extents ${text}; } ${hosts()} }`);
    return [only(config).volume.disk.values["al-extents"], config.warnings.length];
  };
  t.deepEqual(extents("7"), [67, 1]);
  t.deepEqual(extents("100000"), [65534, 1]);
  t.deepEqual(extents("67"), [67, 0]);
});

test("discard-node-NAME is local on that node and remote on the other (§10.4)", (t) => {
  const text = `resource r0 { net { after-sb-0pri discard-node-b; } ${hosts()} }`;
  t.is(only(effective(text, "a")).resource.net.values["after-sb-0pri"], "discard-remote");
  t.is(only(effective(text, "b")).resource.net.values["after-sb-0pri"], "discard-local");
});

test("of an option written twice net keeps the last and disk the first, with a warning (measured: drbdadm-84 -d up)", (t) => {
  const config = effective(`resource r0 { net { timeout 60; timeout 70; } disk { size 1; size 2; } ${hosts()} }`);
  t.is(only(config).resource.net.values.timeout, seconds(7));
  t.is(only(config).volume.disk.values.size, sector(1));
  t.is(config.warnings.length, 2);
});

test("a resource without a section for this node is ignored (§10.2)", (t) => {
  const config = effective(`resource r0 { ${hosts()} }`, "elsewhere");
  t.deepEqual(config.ignored, ["r0"]);
  t.deepEqual(config.resources, []);
});

test("with more than two hosts the peer must be chosen; with one it is missing (§10.2)", (t) => {
  const three = `resource r0 { ${hosts()} on c { address 10.0.0.3:7789; } }`;
  t.regex(refusal(three), /several peers: choose one of b, c/);
  t.deepEqual(only(effective(three, "a", { peer: "c" })).resource.remote.names, ["c"]);
  t.regex(
    refusal("resource r0 { device minor 0; disk /x; meta-disk internal; on a { address 10.0.0.1:1; } }"),
    /missing/,
  );
});

test("a disk serves one purpose on a node; indexed meta-disks share one (§10.1)", (t) => {
  const two = (a: string, b: string) => `resource r0 { device minor 0; ${a}
      on a { address 10.0.0.1:1; } on b { address 10.0.0.2:1; } }
    resource r1 { device minor 1; ${b} on a { address 10.0.0.1:2; } on b { address 10.0.0.2:2; } }`;
  t.regex(refusal(two("disk /x; meta-disk internal;", "disk /x; meta-disk internal;")), /'\/x' is used twice/);
  t.regex(refusal(two("disk /x; meta-disk /y;", "disk /y; meta-disk internal;")), /'\/y' is used twice/);
  t.regex(refusal(two("disk /x; meta-disk /m;", "disk /y; meta-disk /m[0];")), /'\/m' is used twice/);
  t.regex(refusal(two("disk /x; meta-disk /m[00];", "disk /y; meta-disk /m[0];")), /'\/m' is used twice/);
  t.is(refusal(two("disk /x; meta-disk /m[0];", "disk /y; meta-disk /m[1];")), "accepted");
});

test("a stacked resource has the lower device as its disk, with internal metadata (measured: drbdadm-84 -S -d up)", (t) => {
  const parsed = parseConfig(disk, path.join(vectors, "valid/stacked.conf"));
  if ("errors" in parsed) return t.fail();
  const result = resolve(parsed.tree, identity("host01"));
  if ("errors" in result) return t.fail(result.errors[0]?.message);
  const top = result.resources[1];
  t.is(top?.stackedOn, "r0");
  t.is(top?.local.address.address, "203.0.113.10");
  t.deepEqual(top?.volumes[0]?.local, {
    minor: 10,
    device: "/dev/drbd10",
    disk: "/dev/drbd0",
    metaDisk: { kind: "internal" },
  });
});

test("minor and volume numbers end where DRBD's do (§2.4)", (t) => {
  const at = (minor: number, volume: number) => `resource r0 {
    volume ${volume} { device minor ${minor}; disk /x; meta-disk internal; }
    on a { address 10.0.0.1:1; } on b { address 10.0.0.2:1; } }`;
  t.is(refusal(at(1048575, 65535)), "accepted");
  t.regex(refusal(at(1048576, 0)), /minor 1048576 is out of range/);
  t.regex(refusal(at(0, 65536)), /volume 65536 is out of range/);
});

test("an address must be one (§10.2)", (t) => {
  const with_ = (a: string, b = "ipv6 [::2]:7") => refusal(`resource r0 { ${hosts(a, b)} }`);
  t.is(with_("ipv6 [fe80::1%eth0]:7"), "accepted");
  t.is(with_("ipv6 [::ffff:1.2.3.4]:7"), "accepted");
  t.is(with_("ipv6 [1:2:3:4:5:6:7:8]:7"), "accepted");
  t.regex(with_("ipv6 [1:2:3:4:5:6:7:8:9]:7"), /is not an ipv6 address/);
  t.regex(with_("ipv6 [1:2:3]:7"), /is not an ipv6 address/);
  t.regex(with_("999.0.0.1:7", "10.0.0.2:7"), /'999\.0\.0\.1' is not an ipv4 address/);
  t.regex(with_("10.0.0.1:7"), /different families/);
});
