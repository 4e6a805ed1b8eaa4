import test from "ava";
import { parseCommandLine } from "../../../src/cli/command-line.ts";
import { isVerb, verbNames } from "../../../src/cli/verbs.ts";
import { handlerOptions } from "../../../src/core/config/options.ts";

const parse = (line: string) => parseCommandLine(line === "" ? [] : line.split(" "));
const command = (verb: string, given: object, ...words: string[]) => ({ kind: "command", verb, given, words });

const forms = test.macro({
  exec: (t, line: string, expected: object) => t.deepEqual(parse(line) as object, expected),
  title: (_title, line) => `§10.6: futago ${line}`,
});

test(forms, "primary r0", command("primary", {}, "r0"));
test(forms, "primary --force r0", command("primary", { force: true }, "r0"));
test(forms, "primary r0 --force", command("primary", { force: true }, "r0"));
test(forms, "primary --force=yes r0", command("primary", { force: true }, "r0"));
test(forms, "primary --force=no r0", command("primary", {}, "r0"));
test(forms, "-- --overwrite-data-of-peer primary r0", command("primary", { "overwrite-data-of-peer": true }, "r0"));
test(forms, "primary r0 -- --overwrite-data-of-peer", command("primary", { "overwrite-data-of-peer": true }, "r0"));
test(forms, "-- -o primary all", command("primary", { "overwrite-data-of-peer": true }, "all"));
test(forms, "-W--force primary r0", command("primary", { force: true }, "r0"));
test(forms, "-- --discard-my-data connect r0", command("connect", { "discard-my-data": true }, "r0"));
test(forms, "connect --discard-my-data r0 r1", command("connect", { "discard-my-data": true }, "r0", "r1"));
test(forms, "-c a.conf up r0", command("up", { "config-file": "a.conf" }, "r0"));
test(forms, "-ca.conf up r0", command("up", { "config-file": "a.conf" }, "r0"));
test(forms, "up -c - r0", command("up", { "config-file": "-" }, "r0"));
test(forms, "--config-file=a.conf up r0", command("up", { "config-file": "a.conf" }, "r0"));
test(forms, "--node host02 -d down all", command("down", { node: "host02", "dry-run": true }, "all"));
test(forms, "wait-connect --wfc-timeout=10 -t 5 r0/0", command("wait-connect", { "wfc-timeout": 5 }, "r0/0"));
test(forms, "status --json", command("status", { json: true }));
test(forms, "-V", command("version", {}));
test(forms, "help", { kind: "help", topic: undefined, exit: "ok" });
test(forms, "", { kind: "help", topic: undefined, exit: "usage" });
test(forms, "--help", { kind: "help", topic: undefined, exit: "ok" });
test(forms, "help primary", { kind: "help", topic: "primary", exit: "ok" });
test(forms, "primary --help", { kind: "help", topic: "primary", exit: "ok" });

const refusals = test.macro({
  exec: (t, line: string, exit: string, text: RegExp) => {
    const parsed = parse(line);
    t.like(parsed, { kind: "refused", exit });
    t.regex(parsed.kind === "refused" ? parsed.text : "", text);
  },
  title: (_title, line) => `refused: futago ${line}`,
});

test(refusals, "foo", "usage", /^futago: Unknown command 'foo'/);
test(refusals, "-d", "usage", /^futago: No command specified/);
test(refusals, "primary --bogus r0", "usage", /^futago: unrecognized option '--bogus'\ntry 'futago help'$/);
test(refusals, "secondary --force r0", "usage", /unrecognized option '--force'/);
test(refusals, "primary -x r0", "usage", /unrecognized option '-x'/);
test(refusals, "up r0 -c", "usage", /option '-c' requires an argument/);
test(refusals, "wait-sync --wfc-timeout=soon r0", "syntax", /expected a whole number, got 'soon'/);
test(refusals, "wait-sync --wfc-timeout=-1 r0", "syntax", /whole number/);
test(refusals, "primary --force=maybe r0", "syntax", /expected yes or no, got 'maybe'/);
test(refusals, "--node= up r0", "syntax", /expected a value/);
test(refusals, "version r0", "usage", /takes no arguments/);
test(refusals, "toString r0", "usage", /Unknown command/);

test("the table holds every verb that operators were promised", (t) => {
  const promised =
    "create-md up down connect disconnect attach detach primary secondary invalidate invalidate-remote outdate role cstate " +
    "dstate status wait-connect wait-sync dump-md wipe-md apply-al show-gi get-gi dump pause-sync resume-sync journal version help engine " +
    "adjust proc initd-status overview events2 events dump-xml install-names hidden-commands";
  const forScripts =
    "adjust-with-progress new-resource new-minor sh-new-minor check-resize wait-con-int sh-nop sh-resources sh-resource " +
    "sh-mod-parms sh-dev sh-udev sh-minor sh-ll-dev sh-md-dev sh-md-idx sh-ip sh-lr-of sh-b-pri sh-status";
  const handlers = Object.keys(handlerOptions).join(" ");
  const all = `${promised} ${forScripts} ${handlers}`.split(" ");
  for (const verb of all) t.true(isVerb(verb), verb);
  t.is(all.length, verbNames.length);
});
