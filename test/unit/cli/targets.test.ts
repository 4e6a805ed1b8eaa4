import test from "ava";
import { type KnownResource, selectTargets } from "../../../src/cli/targets.ts";
import type { VerbName } from "../../../src/cli/verbs.ts";

const known: readonly KnownResource[] = [
  { name: "r0", ignored: false, stacked: false, implicit: true, volumes: [{ volume: 0, minor: 0 }] },
  {
    name: "r1",
    ignored: false,
    stacked: false,
    implicit: false,
    volumes: [
      { volume: 0, minor: 10 },
      { volume: 7, minor: 17 },
    ],
  },
  { name: "far", ignored: true, stacked: false, implicit: true, volumes: [] },
];
const select = (verb: VerbName, ...words: string[]) => selectTargets(verb, words, known, "host01", false);

test("§10.6: RES, RES/VOL, minor-N and /dev/drbdN name the same volume", (t) => {
  const volume = [{ resource: "r1", volume: 7, object: "17" }];
  t.deepEqual(select("role", "r1/7"), volume);
  t.deepEqual(select("role", "minor-17"), volume);
  t.deepEqual(select("role", "/dev/drbd17"), volume);
  t.deepEqual(select("role", "r1"), [{ resource: "r1", volume: undefined, object: "r1" }]);
});

test("a resource of one volume is called by its minor number in messages, as drbdsetup does", (t) => {
  t.deepEqual(select("primary", "r0"), [{ resource: "r0", volume: undefined, object: "0" }]);
});

test("all means every resource of this host, once", (t) => {
  t.deepEqual(select("up", "all"), [
    { resource: "r0", volume: undefined, object: "0" },
    { resource: "r1", volume: undefined, object: "r1" },
  ]);
  t.is((select("up", "all", "r0") as unknown[]).length, 2);
});

test("a volume stands for its resource where a verb works on whole resources", (t) => {
  t.deepEqual(select("connect", "r1/7", "minor-10"), [{ resource: "r1", volume: undefined, object: "r1" }]);
});

test("status without arguments means all, up does not", (t) => {
  t.is((select("status") as unknown[]).length, 2);
  t.deepEqual(select("up"), { refusal: "No resource names specified\ntry 'futago help up'" });
});

// The texts are drbdadm-84's, version 9.22.
const refusals = test.macro({
  exec: (t, verb: VerbName, word: string, refusal: string) => t.deepEqual(select(verb, word) as object, { refusal }),
  title: (_title, verb, word) => `refused: ${verb} ${word}`,
});
for (const word of ["nores", "minor-7", "r0/3", "nores/0", "/dev/drbd9"]) {
  test(refusals, "role", word, `'${word}' not defined in your config (for this host).`);
}
test(refusals, "up", "far", "'far' ignored, since this host (host01) is not mentioned with an 'on' keyword.");
test(refusals, "journal", "all", "futago journal: exactly one resource, please");

test("refused: all, where nothing is defined or nothing for this host", (t) => {
  t.deepEqual(selectTargets("role", ["all"], [], "host01", false), { refusal: "no resources defined!" });
  t.deepEqual(selectTargets("role", ["all"], known.slice(2), "host01", false), {
    refusal:
      "WARN: no normal resources defined for this host (host01)!?\nMisspelled name of the local machine with the 'on' keyword ?",
  });
});
