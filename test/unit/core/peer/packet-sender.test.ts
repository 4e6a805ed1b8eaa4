import test from "ava";
import { named, Rig } from "../resource/_rig.ts";

const KIB = 1024;

for (const [why, peer, flags] of [
  ["a peer without the feature TRIM", { apv: 100, features: 0 }, 0x102],
  ["version 94, where no flag could say what a P_TRIM is", { apv: 94, features: 0xf }, 0x002],
] as const) {
  test(`towards ${why}, trims and zeroes go as P_DATA of zeroes, and end with the last ack (drbd-84 §2.4, §3.2)`, (t) => {
    const rig = new Rig();
    rig.attach();
    rig.connect(peer);
    rig.primary();
    rig.consent();
    rig.received();
    for (const verb of ["trim", "zero"] as const) {
      const client = rig.client();
      const length = 80 * KIB;
      const id = client.take(0);
      rig.turn(() => {
        if (verb === "trim") rig.volume().trim(id, 4096, length, false);
        else rig.volume().writeZeroes(id, 4096, length, false, true, false);
      });
      const received = rig.received();
      t.deepEqual([...named(received, "P_TRIM"), ...named(received, "P_ZEROES")], []);
      const writes = named(received, "P_DATA");
      t.deepEqual(
        writes.map(({ values, tail }) => [values["sector"], tail.length]),
        [
          [8, 32 * KIB],
          [72, 32 * KIB],
          [136, 16 * KIB],
        ],
      );
      for (const { values, tail } of writes) {
        t.true(tail.every((byte) => byte === 0));
        t.is(values["dpFlags"], flags);
      }
      for (const { values, tail } of writes) {
        t.false(client.done.has(id));
        const { sector, blockId } = values;
        rig.say("P_WRITE_ACK", { sector, blockId, blksize: tail.length, seqNum: 1 });
      }
      t.is(client.done.get(id), 0);
    }
  });
}
