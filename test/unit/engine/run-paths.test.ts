import test from "ava";
import { MAX_SOCKET_PATH_BYTES, type NodePaths, nodePaths, resourcePaths } from "../../../src/engine/run-paths.ts";

const usable = (found: ReturnType<typeof nodePaths>): NodePaths => {
  if ("refusal" in found) throw new Error(found.refusal);
  return found;
};

test("a node knows itself by hostname and lives in /run/futago and /var/lib/futago", (t) => {
  t.deepEqual(nodePaths(undefined, {}, "host01"), {
    node: "host01",
    named: false,
    run: "/run/futago",
    state: "/var/lib/futago",
  });
});

test("--node wins over FUTAGO_NODE, either gives the folders the node's name", (t) => {
  t.like(nodePaths(undefined, { FUTAGO_NODE: "host02" }, "host01"), { node: "host02", run: "/run/futago-host02" });
  t.like(nodePaths("a", { FUTAGO_NODE: "b" }, "c"), { node: "a", named: true, state: "/var/lib/futago-a" });
});

test("FUTAGO_RUN and FUTAGO_STATE move the folders, nodes still do not share them", (t) => {
  const env = { FUTAGO_RUN: "/tmp/run", FUTAGO_STATE: "/tmp/state" };
  t.like(nodePaths(undefined, env, "h"), { run: "/tmp/run", state: "/tmp/state" });
  t.like(nodePaths("a", env, "h"), { run: "/tmp/run-a", state: "/tmp/state-a" });
});

test("the files of a resource", (t) => {
  t.deepEqual(resourcePaths(usable(nodePaths(undefined, {}, "h")), "r0"), {
    run: "/run/futago/r0",
    control: "/run/futago/r0/control",
    nbd: "/run/futago/r0/nbd",
    pid: "/run/futago/r0/engine.pid",
    log: "/run/futago/r0/engine.log",
    state: "/var/lib/futago/r0",
    journal: "/var/lib/futago/r0/journal",
  });
});

test("unix(7): a socket path longer than the kernel takes is refused with both figures, the longest possible is not", (t) => {
  const room = MAX_SOCKET_PATH_BYTES - "//r0/control".length;
  const at = (length: number) =>
    resourcePaths(usable(nodePaths(undefined, { FUTAGO_RUN: `/${"x".repeat(length)}` }, "h")), "r0");
  t.false("refusal" in at(room));
  const tooLong = at(room + 1);
  t.regex("refusal" in tooLong ? tooLong.refusal : "", /has 108 bytes, the kernel takes 107/);
});

test("a name that would leave its folder is refused", (t) => {
  for (const name of ["..", ".", "a/b", "", "x".repeat(129)]) {
    t.true("refusal" in resourcePaths(usable(nodePaths(undefined, {}, "h")), name), name);
    if (name !== "") t.true("refusal" in nodePaths(name, {}, "h"), name);
  }
});
