import test from "ava";
import {
  type FutagoTree,
  noFutagoConfig,
  parseFutagoConfig,
  resolveFutagoNode,
  resolveFutagoResource,
  unknownFutagoResources,
} from "../../../../src/core/config/futago-conf.ts";
import { bytes } from "../../../../src/core/units.ts";

const parse = (text: string) => parseFutagoConfig({ readFile: () => text, glob: () => [] }, "/etc/futago.conf");

function tree(text: string): FutagoTree {
  const result = parse(text);
  if ("errors" in result) throw result.errors[0] ?? new Error("no error");
  return result.tree;
}

function refusal(text: string): string {
  const result = parse(text);
  if ("errors" in result) return result.errors[0]?.message ?? "";
  const resource = resolveFutagoResource(result.tree, "r0");
  return "errors" in resource ? (resource.errors[0]?.message ?? "") : "accepted";
}

function resource(from: FutagoTree, name = "r0") {
  const result = resolveFutagoResource(from, name);
  if ("errors" in result) throw result.errors[0] ?? new Error("no error");
  return result.config;
}

test("without futago.conf: direct I/O, no TCP export, no listener, 32 MiB of slab and of journal (architecture: decisions)", (t) => {
  const config = resource(noFutagoConfig);
  t.is(config.resource.values.io, "direct");
  t.is(config.resource.values["slab-max"], bytes(32 * 1024 * 1024));
  t.deepEqual(config.nbd.values.listen, []);
  t.is(config.journal.values.size, bytes(8 * 4 * 1024 * 1024));
  t.is(config["verify-continuous"].values.rate, 0);
  const node = resolveFutagoNode(noFutagoConfig);
  if ("errors" in node) return t.fail();
  t.deepEqual([node.config.metrics.values.listen, node.config.web.values.listen], [[], []]);
});

test("a resource's own word stands before that of common", (t) => {
  const from = tree(`global { metrics { listen 127.0.0.1:9942; } }
    common { io buffered; slab-max 64M; nbd { listen 10.0.0.1:10809; tls; } verify-continuous { rate 1M; } }
    resource r0 { io direct; nbd { listen 127.0.0.1:10809; listen ipv6 [::1]:10809; } journal { size 8M; } }`);
  const own = resource(from);
  t.is(own.resource.values.io, "direct");
  t.is(own.resource.values["slab-max"], bytes(67108864));
  t.deepEqual(own.nbd.values.listen, [
    { family: "ipv4", address: "127.0.0.1", port: 10809 },
    { family: "ipv6", address: "::1", port: 10809 },
  ]);
  t.true(own.nbd.values.tls);
  t.is(own["verify-continuous"].values.rate, 1024);
  t.is(own.journal.values.size, bytes(8388608));
  t.deepEqual([...own.resource.written].sort(), ["io", "slab-max"]);
  const other = resource(from, "r1");
  t.is(other.resource.values.io, "buffered");
  t.deepEqual(other.nbd.values.listen, [{ family: "ipv4", address: "10.0.0.1", port: 10809 }]);
});

test("unknown keys, values and places are refused with their position", (t) => {
  t.regex(
    refusal("resource r0 { ioo direct; }"),
    /^\/etc\/futago\.conf:1:15: found 'ioo'; allowed: .*did you mean 'io'\?/,
  );
  t.regex(refusal("resource r0 { net { timeout 5; } }"), /'net' belongs in drbd\.conf/);
  t.regex(refusal("common { resync-rate 5M; }"), /'resync-rate' belongs in drbd\.conf/);
  t.regex(refusal("common { metrics { listen 127.0.0.1:1; } }"), /found 'metrics'/);
  t.regex(refusal("global { io direct; }"), /found 'io'; allowed: metrics, web/);
  t.regex(refusal("common { io turbo; }"), /io 'turbo'; allowed: direct, buffered/);
  t.regex(
    refusal("common { slab-max 1M; }"),
    /slab-max 1M \(1048576\) is out of range; allowed: 4194304\.\.4294967296 bytes/,
  );
  t.regex(refusal("common { nbd { listen host:10809; } }"), /found 'host'; allowed: ipv4, ipv6/);
  t.regex(refusal("common { nbd { listen 300.0.0.1:10809; } }"), /is not an ipv4 address/);
  t.regex(refusal("common { nbd { } nbd { } }"), /the section 'nbd' in 'common' is used twice; first used at/);
  t.regex(refusal("resource r0 { } resource r0 { }"), /the resource name 'r0' is used twice/);
});

test("a section for a resource that drbd.conf does not define is named with the nearest that it does", (t) => {
  const from = tree("resource maill { }\nresource web { }");
  const [error, ...more] = unknownFutagoResources(from, ["mail", "web"]);
  t.is(more.length, 0);
  t.regex(error?.message ?? "", /^\/etc\/futago\.conf:1:10: resource 'maill' is not defined.*did you mean 'mail'\?$/);
});
