import { mustRun } from "../../lab/command.ts";

export interface MalformedFrame {
  /** Its number in the capture. */
  readonly frame: number;
  /** Wireshark's one line about it. */
  readonly info: string;
  /** The DRBD packets that end in it, one of which is malformed: drbd.h's number of the command, and payload length. */
  readonly packets: readonly Packet[];
}

interface Packet {
  readonly command: number;
  readonly length: number;
}

/**
 * What Wireshark 4.0 calls malformed although it is what old versions of the protocol send: it knows no P_SYNC_PARAM
 * without verify-alg, no P_PROTOCOL without integrity-alg, and no P_SIZES without queue limits (drbd-84 §2.4).
 */
const shortForms: readonly ((packet: Packet) => boolean)[] = [
  ({ command }) => command === 0x0a,
  ({ command, length }) => command === 0x0b && length === 24,
  ({ command, length }) => command === 0x0d && length === 32,
];

interface Frame extends MalformedFrame {
  readonly malformed: number;
}

async function frames(pcap: string): Promise<readonly Frame[]> {
  const columns = ["frame.number", "drbd.command", "drbd.length", "_ws.malformed.expert", "_ws.col.Info"];
  // The DRBD dissector is a heuristic one and off by default.
  const read = ["tshark", "-n", "-r", pcap, "--enable-heuristic", "drbd_tcp", "-Y", "drbd", "-T", "fields"];
  const argv = [...read, "-E", "separator=/t", ...columns.flatMap((column) => ["-e", column])];
  const out = await mustRun(argv, { timeout: 60_000 });
  const list = (words = ""): readonly string[] => (words === "" ? [] : words.split(","));
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [frame, commands, lengths, malformed, info = ""] = line.split("\t");
      const sizes = list(lengths).map(Number);
      const packets = list(commands).map((word, index) => ({ command: Number(word), length: sizes[index] ?? 0 }));
      return { frame: Number(frame), info, packets, malformed: list(malformed).length };
    });
}

/** How many packets of each command a capture holds, by drbd.h's number. */
export async function tsharkCommands(pcap: string): Promise<ReadonlyMap<number, number>> {
  const counts = new Map<number, number>();
  for (const { packets } of await frames(pcap)) {
    for (const { command } of packets) counts.set(command, (counts.get(command) ?? 0) + 1);
  }
  return counts;
}

/**
 * Frames whose DRBD content tshark's dissector calls malformed. Throws when it sees no DRBD packet at all: then its
 * silence would say nothing.
 */
export async function tsharkMalformed(pcap: string): Promise<readonly MalformedFrame[]> {
  const all = await frames(pcap);
  if (all.length === 0) throw new Error(`no DRBD packet in ${pcap}`);
  const excused = ({ packets }: Frame): number =>
    packets.filter((packet) => shortForms.some((isShort) => isShort(packet))).length;
  return all
    .filter((frame) => frame.malformed > excused(frame))
    .map(({ frame, info, packets }) => ({ frame, info, packets }));
}
