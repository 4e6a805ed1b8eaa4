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

const [P_INITIAL_META, P_INITIAL_DATA] = [0xfff1, 0xfff2];

interface Frame extends MalformedFrame {
  readonly malformed: number;
  /** Address of the sender. */
  readonly from: string;
}

async function frames(pcap: string): Promise<readonly Frame[]> {
  const columns = ["frame.number", "ip.src", "drbd.command", "drbd.length", "_ws.malformed.expert", "_ws.col.Info"];
  // The DRBD dissector is a heuristic one and off by default.
  const read = ["tshark", "-n", "-r", pcap, "--enable-heuristic", "drbd_tcp", "-Y", "drbd", "-T", "fields"];
  const argv = [...read, "-E", "separator=/t", ...columns.flatMap((column) => ["-e", column])];
  const out = await mustRun(argv, { timeout: 60_000 });
  const list = (words = ""): readonly string[] => (words === "" ? [] : words.split(","));
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [frame, from = "", commands, lengths, malformed, info = ""] = line.split("\t");
      const sizes = list(lengths).map(Number);
      const packets = list(commands).map((word, index) => ({ command: Number(word), length: sizes[index] ?? 0 }));
      return { frame: Number(frame), from, info, packets, malformed: list(malformed).length };
    });
}

/** What a capture holds, read once. */
export interface CaptureReport {
  /** Frames whose DRBD content tshark's dissector calls malformed. */
  readonly malformed: readonly MalformedFrame[];
  /** How many packets of each command, by drbd.h's number. */
  readonly commands: ReadonlyMap<number, number>;
  /** Addresses that connected: senders of P_INITIAL_DATA and P_INITIAL_META. */
  readonly connectors: ReadonlySet<string>;
}

/** Throws when there is no DRBD packet at all: then the dissector's silence would say nothing. */
export async function tsharkReport(pcap: string): Promise<CaptureReport> {
  const all = await frames(pcap);
  if (all.length === 0) throw new Error(`no DRBD packet in ${pcap}`);
  const commands = new Map<number, number>();
  const connectors = new Set<string>();
  for (const { packets, from } of all) {
    for (const { command } of packets) {
      commands.set(command, (commands.get(command) ?? 0) + 1);
      if (command === P_INITIAL_META || command === P_INITIAL_DATA) connectors.add(from);
    }
  }
  const excused = ({ packets }: Frame): number =>
    packets.filter((packet) => shortForms.some((isShort) => isShort(packet))).length;
  const malformed = all
    .filter((frame) => frame.malformed > excused(frame))
    .map(({ frame, info, packets }) => ({ frame, info, packets }));
  return { malformed, commands, connectors };
}

export async function tsharkCommands(pcap: string): Promise<CaptureReport["commands"]> {
  return (await tsharkReport(pcap)).commands;
}

export async function tsharkMalformed(pcap: string): Promise<CaptureReport["malformed"]> {
  return (await tsharkReport(pcap)).malformed;
}
