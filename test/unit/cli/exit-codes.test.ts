import test from "ava";
import { exitCodes, exitNamed, exitNameOf, isSuccess, refusalLine, stopsAtOnce } from "../../../src/cli/exit-codes.ts";
import { ssTable } from "../../../src/core/state/ss.ts";

const exitOf = (code: number): number => exitCodes[exitNameOf({ code, text: "" })].code;

test("§10.6: the codes of the table are drbdadm's, drbdsetup's and drbdmeta's", (t) => {
  t.deepEqual(
    Object.values(exitCodes).map(({ code }) => code),
    [0, 1, 2, 3, 5, 10, 11, 16, 17, 20, 40, 42],
  );
});

// drbd-84 §10.6: 5 lower than outdated, 16 no local disk, 17 need UpToDate data, 11 every other refused state change.
const special: ReadonlyMap<number, number> = new Map([
  [-2, 17],
  [-4, 16],
  [-16, 5],
]);

test("§10.6: every state change verdict of §4.5 has its exit code", (t) => {
  for (const [name, code] of ssTable) t.is(exitOf(code), code > 0 ? 0 : (special.get(code) ?? 11), name);
});

test("§10.6: 101 is no error, the configuration failures above it exit with 10", (t) => {
  t.is(exitOf(101), 0);
  for (let code = 102; code <= 170; code++) t.is(exitOf(code), 10);
});

test("§10.6: a code that no table knows exits with 20", (t) => {
  for (const code of [-22, 5, 100, 200, 1000]) t.is(exitOf(code), 20, String(code));
});

test("§10.6: from 20 on the remaining resources are not tried", (t) => {
  t.deepEqual(
    Object.values(exitCodes).flatMap(({ code }) => (stopsAtOnce(code) ? [code] : [])),
    [20, 40, 42],
  );
});

test("refusals are worded as drbdsetup words them", (t) => {
  t.is(
    refusalLine("0", { code: -2, text: "Need access to UpToDate data" }),
    "0: State change failed: (-2) Need access to UpToDate data",
  );
  t.is(refusalLine("r0", { code: 125, text: "Device has a net-config" }), "r0: Failure: (125) Device has a net-config");
  t.false(isSuccess({ code: 0, text: "Unknown error" }));
});

test("an exit code of a metadata command is found by its number", (t) => {
  t.is(exitNamed(40), "wouldCorrupt");
  t.is(exitNamed(5), "waitOrOutdated");
  t.is(exitNamed(77), "execution");
});
