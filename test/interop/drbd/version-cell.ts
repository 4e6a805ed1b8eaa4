import type { ExecutionContext } from "ava";
import { type CappedPorts, capFeatures } from "./capped-features.ts";
import { bytesAt, inSync, type MixedPair, resyncOf } from "./mixed-pair.ts";
import { pattern } from "./pair.ts";

const mebibyte = 1024 * 1024;

/** A fresh pair that agrees on this version: full sync, writes of either Primary, a bitmap resync in either direction. */
export async function speakVersion(t: ExecutionContext, pair: MixedPair, version: number): Promise<void> {
  let ports: CappedPorts | undefined;
  try {
    await pair.open({
      through: async (own) => {
        ports = await capFeatures(version, own);
        return ports;
      },
    });
    await pair.sync("futago");
    const log = await pair.settled(t);
    t.true(log.some(({ text }) => text.includes(`Agreed network protocol version ${version}`)));
    await pair.futago.qemuIo([
      "write -P 21 512 262144",
      "write -f -P 22 1048576 4096",
      "discard 2097152 65536",
      "flush",
    ]);
    await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
    await pair.settled(t);

    await pair.futago.disconnect();
    await pair.futago.qemuIo(["write -P 23 3145728 8192", "flush"]);
    await pair.guest.dmesg();
    await pair.futago.connect();
    await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
    t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncTarget", blocks: 2 });

    await pair.futago.secondary();
    await pair.kernel.resource.primary();
    await pair.kernel.write(mebibyte, 196_608, "an old kernel");
    t.true(bytesAt(pair.futago.disks[0] ?? "", mebibyte, 196_608).equals(pattern(196_608, "an old kernel")));
    await pair.kernel.resource.disconnect();
    await pair.kernel.write(4 * mebibyte, 65_536, "alone");
    await pair.guest.dmesg();
    await pair.kernel.resource.connect();
    await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
    t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncSource", blocks: 16 });
  } finally {
    await pair.close();
    ports?.close();
  }
}
