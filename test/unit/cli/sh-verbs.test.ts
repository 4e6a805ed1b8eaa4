import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { drbdadm, isInstalled, listVectors, vectors } from "../core/config/helpers/vectors.ts";
import { runAs } from "./in-place.ts";

const compare = isInstalled ? test : test.skip;
const commands = [
  "sh-nop",
  "sh-resources",
  "sh-mod-parms",
  ...["sh-resource", "sh-dev", "sh-minor", "sh-ll-dev", "sh-md-dev", "sh-md-idx", "sh-ip"].map((verb) => `${verb} all`),
  "sh-dev r0",
  "sh-dev r0/0",
  "sh-udev r0",
  "sh-udev r0/0",
  "sh-udev minor-0",
  "sh-resource r0",
  "sh-resource r0/0",
  "sh-minor minor-0",
  "sh-lr-of r0",
  "sh-ip nores",
  "-S sh-resources",
  "-S sh-dev all",
  "-S sh-ll-dev all",
  "-S sh-lr-of all",
  "-S sh-dev r0",
];
/** One file for each thing that these commands look at. What only the kernel would refuse, we refuse at once: those files are left out. */
const files = listVectors("valid").filter((file) =>
  /(common-all|device-[3-7]|floating-here|global-all|meta-disk-[036]|minimal|stacked|volumes-sorted|names-quoted|disk-quoted)\.conf$/.test(
    file,
  ),
);

for (const file of files) {
  compare(`the sh- commands on ${file} are drbdadm-84's (§10.6)`, async (t) => {
    let printed = 0;
    for (const command of commands) {
      const env = { ...process.env, __DRBD_NODE__: "host01" };
      const words = command.split(" ");
      const real = spawnSync(drbdadm, ["-c", file, ...words], { cwd: vectors, env, encoding: "utf8" });
      const node = { FUTAGO_NODE: "host01", FUTAGO_RUN: "/nonexistent/run" };
      const ours = await runAs("drbdadm", ["-c", path.join(vectors, file), ...words], { env: node, cwd: vectors });
      t.deepEqual([ours.out, ours.exit], [real.stdout, real.status ?? -1], `${command}\n${ours.err}${real.stderr}`);
      printed += real.stdout.length;
    }
    t.true(printed > 0, readFileSync(path.join(vectors, file), "utf8"));
  });
}

test("this comparison has files to look at", (t) => {
  t.true(files.length >= 12, files.join(" "));
});
