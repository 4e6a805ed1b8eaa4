import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { exerciseExport, missingClients } from "./nbd-clients.ts";
import { Pair } from "./pair.ts";

test.serial(
  "real NBD clients find in a mirrored volume what they find in any export, and both copies are equal",
  async (t) => {
    t.timeout(300_000);
    t.deepEqual(await missingClients(), []);
    const scratch = mkdtempSync(join(tmpdir(), "futago-nbd-"));
    const pair = new Pair({ scratch, diskBytes: 72 * 1024 * 1024 });
    try {
      const size = await pair.openSynced();
      await exerciseExport(t, pair.host01.nbdSocket, "r0/0", size);
      const status = await pair.host01.reaches("without clients", ({ volumes }) =>
        volumes.every(({ openCount, counters }) => openCount === 0 && counters.ap === 0 && counters.lo === 0),
      );
      t.is(status.volumes[0]?.counters.oos, 0);
      await pair.synced();
      const [one, two] = pair.nodes.map((node) => Buffer.from(node.image(size)));
      t.true(one !== undefined && two !== undefined && one.equals(two));
    } finally {
      await pair.close();
    }
  },
);
