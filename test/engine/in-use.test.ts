import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { NbdWire } from "./nbd-wire.ts";
import { Pair } from "./pair.ts";

const diskBytes = 16 * 1024 * 1024;

async function withPair(sharedDisk: boolean, body: (pair: Pair) => Promise<void>): Promise<void> {
  const pair = new Pair({ scratch: mkdtempSync(join(tmpdir(), "futago-in-use-")), diskBytes, sharedDisk });
  try {
    await body(pair);
  } finally {
    await pair.close();
  }
}

test.serial("a disk serves one engine: a second attach and create-md are refused and name the holder", async (t) => {
  await withPair(true, async ({ host01, host02 }) => {
    await host01.createMetadata();
    await host01.up();
    await host02.start();
    const holder = new RegExp(`in use: locked by pid ${host01.pid} `);
    const refused = await host02.execute({ verb: "attach", volume: undefined });
    // ERR_OPEN_DISK, drbd-84 §10.6.
    t.is(refused.code, 104);
    t.regex(refused.text, holder);
    t.is((await host02.status()).volumes[0]?.disk, "Diskless");

    const attach = await host02.futago("attach", "r0");
    t.is(attach.code, 10);
    t.regex(attach.stderr, holder);
    const overwrite = await host02.futago("create-md", "--force", "r0");
    t.is(overwrite.code, 20);
    t.regex(overwrite.stderr, new RegExp(`locked by pid ${host01.pid} `));
    // drbdmeta's own words for a minor that is configured, drbd-84 §9.7.
    const own = await host01.futago("create-md", "--force", "r0");
    t.is(own.code, 20);
    t.regex(own.stderr, /Device '0' is configured!/);

    await host01.must({ verb: "detach", volume: undefined, force: false });
    await host02.must({ verb: "attach", volume: undefined });
    t.is((await host02.status()).volumes[0]?.disk, "Inconsistent");
  });
});

test.serial(
  "down is refused while a client has the volume open; --force ends it, the client and the engine",
  async (t) => {
    await withPair(false, async ({ host01 }) => {
      await host01.createMetadata();
      await host01.up();
      await host01.primary(true);
      let closed = false;
      let replies = 0;
      const wire = await NbdWire.open(host01.nbdSocket, "r0", {
        onReply: (_, errno) => {
          t.is(errno, 0);
          replies++;
        },
        onClosed: () => {
          closed = true;
        },
      });
      const refused = await host01.futago("down", "r0");
      t.is(refused.code, 11);
      // SS_DEVICE_IN_USE, drbd-84 §4.5.
      t.regex(refused.stderr, /\(-12\) Device is held open by someone/);
      wire.send("write", 1, 0, 4096, true, Buffer.alloc(4096, 1));
      await host01.reaches("written", () => replies === 1);
      t.is((await host01.status()).role, "Primary");

      t.is((await host01.futago("down", "--force", "r0")).code, 0);
      t.is(await host01.ended(), 0);
      t.true(closed);
    });
  },
);
