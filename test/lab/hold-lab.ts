/** A process that opens a lab, says where it is, and waits to be killed. For the tests of what happens then. */
import { openLab } from "./lab.ts";
import { hostNames } from "./topology.ts";

const [scratch] = process.argv.slice(2);
if (scratch === undefined) throw new Error("usage: hold-lab.ts SCRATCH");
const lab = await openLab({ name: "held", diskBytes: 1024 * 1024, drbdConf: "", scratch });
console.log(JSON.stringify({ path: lab.path, pids: hostNames.map((name) => lab.host(name).pid1) }));
