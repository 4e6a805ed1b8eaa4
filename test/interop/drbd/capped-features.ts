import { connect, createServer, type Server, type Socket } from "node:net";
import { closeAtEnd, forgetClose } from "./own-end.ts";

/** Ports of 127.0.0.1 in place of the two sides' own. */
export interface CappedPorts {
  readonly futago: number;
  readonly kernel: number;
  close(): void;
}

const FIRST_PACKET_BYTES = 8;
/** P_CONNECTION_FEATURES: header of 8 bytes, then u32 lowest version, u32 feature flags, u32 highest version, 60 bytes of zeroes. */
const FEATURES_BYTES = 8 + 72;
const P_CONNECTION_FEATURES = 0xfffe;

/**
 * Stands between the two and lets neither offer more than version `most` of the protocol: the `protocol_max` of each P_CONNECTION_FEATURES
 * is lowered on its way and the feature flags are cleared, which are younger than all these versions; all other bytes pass as they are. So
 * both speak an old version as they would with an old peer.
 */
export async function capFeatures(
  most: number,
  own: { readonly futago: number; readonly kernel: number },
): Promise<CappedPorts> {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const front = async (to: number): Promise<number> => {
    const server = createServer((client) => join(client, connect(to, "127.0.0.1"), most, sockets));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no TCP address");
    return address.port;
  };
  const close = (): void => {
    forgetClose(close);
    for (const server of servers) server.close();
    for (const socket of sockets) socket.destroy();
  };
  closeAtEnd(close);
  return { futago: await front(own.futago), kernel: await front(own.kernel), close };
}

function join(one: Socket, other: Socket, most: number, sockets: Set<Socket>): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    sockets.add(from);
    // The side that connected begins with P_INITIAL_DATA or P_INITIAL_META; features follow on the data stream only.
    const cap = capping(most, from === one ? FIRST_PACKET_BYTES : 0);
    from.setNoDelay(true);
    from.on("data", (chunk: Buffer) => {
      for (const bytes of cap(chunk)) if (!to.write(bytes)) from.pause();
    });
    to.on("drain", () => from.resume());
    from.on("end", () => to.end());
    // A reset stays a reset.
    from.on("error", () => to.destroy());
    from.on("close", () => {
      sockets.delete(from);
      to.destroySoon();
    });
  }
}

/** Holds back the beginning of a direction until its P_CONNECTION_FEATURES, if that is what it is, is whole. */
function capping(most: number, firstPacketBytes: number): (chunk: Buffer) => readonly Buffer[] {
  let held = Buffer.alloc(0);
  let toSkip = firstPacketBytes;
  let isPast = false;
  return (chunk) => {
    if (isPast) return [chunk];
    held = Buffer.concat([held, chunk]);
    const out: Buffer[] = [];
    // The first packet comes alone, and must not wait for the next one.
    if (toSkip > 0 && held.length >= toSkip) {
      out.push(held.subarray(0, toSkip));
      held = held.subarray(toSkip);
      toSkip = 0;
    }
    const isOther = held.length >= 8 && held.readUInt16BE(4) !== P_CONNECTION_FEATURES;
    if (toSkip > 0 || (!isOther && held.length < FEATURES_BYTES)) return out;
    isPast = true;
    if (!isOther) {
      held.writeUInt32BE(0, 12);
      held.writeUInt32BE(Math.min(most, held.readUInt32BE(16)), 16);
    }
    return [...out, held];
  };
}
