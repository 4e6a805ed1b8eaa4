import test from "ava";
import { ms, seconds } from "../../../../src/core/units.ts";
import type { CibForm, Group, Primitive } from "../../../../src/heartbeat/core/config/cib.ts";
import { parseCib } from "../../../../src/heartbeat/core/config/parse-cib.ts";
import { INFINITY } from "../../../../src/heartbeat/core/config/quantities.ts";
import { writeCib } from "../../../../src/heartbeat/core/config/write-cib.ts";
import { cib, cibOf, HOST01, HOST02, messages, vector, withoutPlaces } from "./helpers/files.ts";

const refusal = (text: string): string => messages(parseCib(text, "c")).join("\n");
const primitive = (id: string, inner = "", attributes = 'class="ocf" provider="heartbeat" type="Dummy"'): string =>
  `<primitive id="${id}" ${attributes}>${inner}</primitive>`;

function only<Kind extends "primitive" | "group">(
  text: string,
  kind: Kind,
): Extract<Primitive | Group, { kind: Kind }> {
  const found = cib(text).cib.resources[0];
  if (found?.kind !== kind) throw new Error(`${found?.kind} where ${kind} is expected`);
  return found as Extract<Primitive | Group, { kind: Kind }>;
}

test("the report's cib.xml (A9, §18.2): ipaddr and apache in their group; printed remarks are ignored, and told", (t) => {
  const { cib: found, warnings } = cib(vector("report/cib.xml"));
  t.is(found.form, "heartbeat-2");
  t.deepEqual(
    found.nodes.map(({ uname, type }) => [uname, type]),
    [
      [HOST01, "normal"],
      [HOST02, "normal"],
    ],
  );
  const [group] = found.resources;
  if (group?.kind !== "group") return t.fail();
  t.is(group.id, "group_apache");
  t.deepEqual(
    group.members.map(({ id, class: kind, provider, type, parameters }) => [
      ...[id, kind, provider, type],
      Object.fromEntries([...parameters.pairs].map(([name, { value }]) => [name, value])),
    ]),
    [
      ["ipaddr", "ocf", "heartbeat", "IPaddr", { ip: "192.168.1.80", nic: "eth0", netmask: "24" }],
      ["apache", "ocf", "heartbeat", "apache", { configfile: "/etc/httpd/conf/httpd.conf" }],
    ],
  );
  t.is(warnings.length, 3);
  t.is(warnings[0], "13:79: text '(仮想 IP アドレス)' in <attributes> is ignored");
});

test("Pacemaker's form: the same model, with options, defaults, systemd, clones, rules, constraints", (t) => {
  const { cib: found, warnings } = cib(vector("pacemaker-cib.xml"));
  t.deepEqual(warnings, []);
  t.is(found.form, "pacemaker");
  t.like(found, { adminEpoch: 0, epoch: 12, numUpdates: 3 });
  t.is(found.options.values["no-quorum-policy"], "ignore");
  t.is(found.options.values["default-resource-stickiness"], INFINITY);
  t.is(found.resourceDefaults.values["resource-stickiness"], 100);
  t.is(found.operationDefaults.pairs.get("timeout")?.value, "45s");
  t.deepEqual(
    found.resources.map(({ kind, id }) => [kind, id]),
    [
      ["group", "web"],
      ["clone", "pings"],
      ["primitive", "fence"],
      ["primitive", "init"],
    ],
  );
  const [web, , , init] = found.resources;
  if (web?.kind !== "group" || init?.kind !== "primitive") return t.fail();
  t.is(web.meta.values["migration-threshold"], 3);
  t.is(web.meta.values["failure-timeout"], seconds(3600));
  t.deepEqual(
    web.members.flatMap(({ operations }) =>
      operations.map(({ name, interval, timeout, onFail }) => [name, interval, timeout, onFail]),
    ),
    [
      ["monitor", seconds(10), seconds(20), "restart"],
      ["start", ms(0), seconds(60), undefined],
      ["monitor", seconds(30), ms(500), undefined],
    ],
  );
  t.is(init.meta.values["target-role"], "Stopped");
  t.false(init.meta.values["is-managed"]);
  t.like(found.constraints[0], { kind: "location", resource: "web", node: "host01", score: 50 });
  t.like(found.constraints[1], { kind: "location", rules: [{ score: -INFINITY, any: true }] });
  t.like(found.constraints[2], { kind: "order", before: "web", after: "init", order: "Optional", symmetrical: true });
  t.like(found.constraints[3], { kind: "colocation", resource: "init", with: "web", score: INFINITY });
});

for (const name of ["report/cib.xml", "pacemaker-cib.xml", "converter/mixed.xml", "converter/stonith.xml"]) {
  test(`${name}: written and read again it says the same, and in the other form too`, (t) => {
    const { cib: found } = cib(vector(name));
    const again = cib(writeCib(found));
    t.deepEqual(again.warnings, []);
    t.deepEqual(withoutPlaces(again.cib), withoutPlaces(found));
    const other: CibForm = found.form === "pacemaker" ? "heartbeat-2" : "pacemaker";
    const changed = cib(writeCib(found, other)).cib;
    t.is(changed.form, other);
    const { resources, constraints } = changed;
    const shape = (each: typeof resources) => each.map(({ kind, id, meta }) => [kind, id, meta.values]);
    t.deepEqual(shape(resources), shape(found.resources));
    t.deepEqual(withoutPlaces(constraints), withoutPlaces(found.constraints));
  });
}

test("order in heartbeat 2 (§18.2): 'start A after start B' puts B first, 'before' puts A first", (t) => {
  const order = (attributes: string) =>
    cib(cibOf(primitive("A") + primitive("B"), `<rsc_order id="o" from="A" to="B" ${attributes}/>`)).cib.constraints[0];
  t.like(order(""), { before: "B", after: "A", beforeAction: "start", afterAction: "start", order: "Mandatory" });
  t.like(order('type="before"'), { before: "A", after: "B" });
  t.like(order('type="after" action="stop" to_action="start" score="0"'), {
    ...{ before: "B", beforeAction: "start", after: "A", afterAction: "stop", order: "Optional" },
  });
});

test("heartbeat 2 writes meta attributes on the element and among the parameters, with '_' (§18.2)", (t) => {
  const set =
    '<instance_attributes id="i"><attributes><nvpair id="r" name="target_role" value="stopped"/>' +
    '<nvpair id="s" name="state" value="/x"/></attributes></instance_attributes>';
  const found = only(
    cibOf(primitive("A", set, 'class="ocf" provider="heartbeat" type="Dummy" is_managed="false"')),
    "primitive",
  );
  t.is(found.meta.values["target-role"], "Stopped");
  t.false(found.meta.values["is-managed"]);
  t.deepEqual([...found.parameters.pairs.keys()], ["state"]);
});

test("of several sets the one with the higher score counts, then the first", (t) => {
  const set = (id: string, score: string, value: string) =>
    `<instance_attributes id="${id}" ${score}>` +
    `<nvpair id="${id}-v" name="state" value="${value}"/></instance_attributes>`;
  const value = (sets: string) => only(cibOf(primitive("A", sets)), "primitive").parameters.pairs.get("state")?.value;
  t.is(value(set("a", "", "1") + set("b", "", "2")), "1");
  t.is(value(set("a", "", "1") + set("b", 'score="5"', "2")), "2");
});

test("stonith-enabled is false in heartbeat 2 and true in Pacemaker where it is not written", (t) => {
  const option = (attributes: string) =>
    cib(`<cib ${attributes}><configuration/></cib>`).cib.options.values["stonith-enabled"];
  t.false(option(""));
  t.true(option('validate-with="pacemaker-2.10"'));
});

test("refused with the place, what was found, what is allowed, the nearest word", (t) => {
  t.is(refusal("<cluster/>"), "c:1:1: <cluster> is not a cluster's configuration; allowed: cib");
  t.regex(refusal("<cib/>"), /^c:1:1: <cib> without <configuration>/);
  const bad = primitive("A", "", 'class="oct" provider="heartbeat" type="Dummy"');
  t.regex(refusal(cibOf(bad)), /class 'oct' is unknown; allowed: ocf, lsb, .*; did you mean 'ocf'\?/);
  t.regex(refusal(cibOf(primitive("A", "", 'class="ocf" type="Dummy"'))), /'A' of class ocf without a provider/);
  t.regex(refusal(cibOf(primitive("A") + primitive("A"))), /the id 'A' is used twice; first used at c:1:/);
  t.regex(refusal(cibOf('<group id="g"/>')), /group 'g' is empty/);
  t.regex(refusal(cibOf(`<clone id="c">${primitive("A")}${primitive("B")}</clone>`)), /must hold exactly one resource/);
  t.regex(
    refusal(cibOf("<primitiv/>")),
    /<primitiv> in <resources> does not belong here; .*did you mean 'primitive'\?/,
  );
  t.regex(refusal(cibOf('<bundle id="b"/>')), /<bundle> in <resources> is not supported/);
  const location = '<rsc_location id="l" rsc="apach" node="a" score="1"/>';
  t.regex(
    refusal(cibOf(primitive("apache"), location)),
    /'apach' is not a resource; allowed: apache; did you mean 'apache'\?/,
  );
  t.regex(
    refusal(cibOf(primitive("A"), '<rsc_location id="l" rsc="A" node="a" score="much"/>')),
    /score 'much' is not a score/,
  );
  const operation = (attributes: string) => primitive("A", `<operations><op id="o" ${attributes}/></operations>`);
  t.regex(refusal(cibOf(operation('name="monitor" interval="soon"'))), /interval 'soon' is not a duration/);
  t.regex(refusal(cibOf(operation('interval="5s"'))), /<op> without 'name'/);
  t.regex(
    refusal(cibOf(operation('name="monitor" on-fail="panic"'))),
    /on-fail 'panic' is not one of its values; allowed: ignore/,
  );
  const dates = '<rsc_location id="l" rsc="A"><rule id="r"><date_expression id="d"/></rule></rsc_location>';
  t.regex(refusal(cibOf(primitive("A"), dates)), /<date_expression> in <rule> is not supported/);
  const sets = '<rsc_order id="o"><resource_set id="s"/></rsc_order>';
  t.regex(refusal(cibOf(primitive("A"), sets)), /<resource_set> in <rsc_order> is not supported/);
  t.regex(refusal(cibOf(primitive("A", "", 'class="lsb" type="../../bin/sh"'))), /is not the name of a program/);
});

test("an unknown option is kept and told of with the nearest; a wrong value is refused", (t) => {
  const options = (name: string, value: string) =>
    cibOf(
      "",
      "",
      `<cluster_property_set id="s"><nvpair id="n" name="${name}" value="${value}"/></cluster_property_set>`,
    );
  const { cib: found, warnings } = cib(options("stonith-enable", "true"));
  t.regex(warnings.join(), /unknown option 'stonith-enable' has no effect; did you mean 'stonith-enabled'\?/);
  t.regex(writeCib(found), /name="stonith-enable" value="true"/);
  t.regex(
    refusal(options("no-quorum-policy", "ignored")),
    /no-quorum-policy 'ignored' is not one of its values; .*did you mean 'ignore'\?/,
  );
  t.is(cib(options("no_quorum_policy", "ignore")).cib.options.values["no-quorum-policy"], "ignore");
});
