/**
 * The media bcast, ucast and mcast on node:dgram (heartbeat §2). Sending and receiving are apart: one socket per line of
 * ha.cf sends from a port of its own; one socket per port receives for all bcast and ucast lines, and one per mcast line.
 *
 * Node cannot bind a socket to a device. The system's routes choose the interface for a subnet's broadcast and for the
 * peer's address, and the sender's address tells on which link a datagram came. Two interfaces in one subnet need more.
 */
import { createSocket, type Socket } from "node:dgram";
import { networkInterfaces } from "node:os";
import type { Medium } from "./core/config/ha-cf.ts";

type Bcast = Medium & { readonly kind: "bcast" };
type Ucast = Medium & { readonly kind: "ucast" };
type Mcast = Medium & { readonly kind: "mcast" };
export type UdpMedium = Bcast | Ucast | Mcast;

/** The media of IPv4; `ucast6`, `mcast6` and `serial` are not served. */
export const isUdpMedium = (medium: Medium): medium is UdpMedium =>
  medium.kind === "bcast" || medium.kind === "ucast" || medium.kind === "mcast";

/** Called for every datagram; `link` is the interface's name, as 3.0.6 names its links. */
export type OnDatagram = (link: string, bytes: Uint8Array) => void;
export type OnTrouble = (text: string) => void;

/** An interface that is away is tried again this often, in milliseconds. */
const RETRY = 1_000;
/** Failures of one kind that are reported before only a change is. */
const REPORTED_FAILURES = 10;

interface Interface {
  readonly address: string;
  readonly broadcast: string;
  readonly contains: (address: string) => boolean;
}

function numberOf(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

const textOf = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");

/** The first IPv4 address of an interface that is up; undefined while it has none. */
export function interfaceFacts(name: string): Interface | undefined {
  const entry = networkInterfaces()[name]?.find((candidate) => candidate.family === "IPv4");
  if (entry === undefined) return undefined;
  const hosts = 2 ** 32 - numberOf(entry.netmask);
  const network = Math.floor(numberOf(entry.address) / hosts) * hosts;
  return {
    address: entry.address,
    broadcast: textOf(network + hosts - 1),
    contains: (address) => Math.floor(numberOf(address) / hosts) * hosts === network,
  };
}

const isOwnAddress = (address: string): boolean =>
  Object.values(networkInterfaces()).some((entries) => entries?.some((entry) => entry.address === address));

/** Reports the first failures of a medium and then only that it works again. */
class Trouble {
  readonly #name: string;
  readonly #report: OnTrouble;
  #failures = 0;

  constructor(name: string, report: OnTrouble) {
    this.#name = name;
    this.#report = report;
  }

  failed(what: string): void {
    this.#failures++;
    if (this.#failures <= REPORTED_FAILURES) this.#report(`${this.#name}: ${what}`);
    if (this.#failures === REPORTED_FAILURES) this.#report(`${this.#name}: further errors are not reported`);
  }

  works(): void {
    if (this.#failures >= REPORTED_FAILURES) this.#report(`${this.#name}: works again`);
    this.#failures = 0;
  }
}

/** One line of ha.cf: where its datagrams go. */
class Sender {
  readonly #medium: UdpMedium;
  readonly #trouble: Trouble;
  #socket: Socket | undefined;
  /** The address the socket was made for. */
  #address = "";

  constructor(medium: UdpMedium, trouble: Trouble) {
    this.#medium = medium;
    this.#trouble = trouble;
  }

  send(bytes: Uint8Array): void {
    const facts = interfaceFacts(this.#medium.interface);
    if (facts === undefined) {
      this.#trouble.failed("network is unreachable: the interface is down or has no IPv4 address");
      return;
    }
    const medium = this.#medium;
    const target = medium.kind === "bcast" ? facts.broadcast : medium.kind === "ucast" ? medium.address : medium.group;
    this.#open(facts).send(bytes, medium.port, target, (error) => {
      if (error === null) this.#trouble.works();
      else this.#trouble.failed(error.message);
    });
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #open(facts: Interface): Socket {
    if (this.#socket !== undefined && this.#address === facts.address) return this.#socket;
    this.close();
    const socket = createSocket({ type: "udp4" });
    socket.on("error", (error) => this.#trouble.failed(error.message));
    const medium = this.#medium;
    // Bound to the interface's address, so that the source names the link to the receiver.
    socket.bind({ address: facts.address, port: 0 }, () => {
      if (medium.kind === "bcast") socket.setBroadcast(true);
      if (medium.kind !== "mcast") return;
      socket.setMulticastInterface(facts.address);
      socket.setMulticastTTL(medium.ttl);
      socket.setMulticastLoopback(medium.loop);
    });
    this.#socket = socket;
    this.#address = facts.address;
    return socket;
  }
}

/** Which link a datagram came on, by its sender's address. */
function linkOf(media: readonly UdpMedium[], from: string): string {
  const exact = media.find((medium) => medium.kind === "ucast" && medium.address === from);
  const inSubnet = media.find((medium) => interfaceFacts(medium.interface)?.contains(from) === true);
  return (exact ?? inSubnet ?? media[0])?.interface ?? "";
}

export interface Udp {
  /** On every medium. */
  readonly send: (bytes: Uint8Array) => void;
  readonly close: () => void;
}

/** Rejects if a port cannot be listened on. */
export async function openUdp(media: readonly UdpMedium[], onDatagram: OnDatagram, onTrouble: OnTrouble): Promise<Udp> {
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const closer of closers.splice(0)) closer();
  };
  // A ucast line with our own address is there so that ha.cf can be the same on both nodes.
  const used = media.filter((medium) => medium.kind !== "ucast" || !isOwnAddress(medium.address));
  try {
    const ports = new Set(used.filter((medium) => medium.kind !== "mcast").map((medium) => medium.port));
    for (const port of ports) {
      const here = used.filter((medium) => medium.kind !== "mcast" && medium.port === port);
      closers.push(await listen({ port }, (from, bytes) => onDatagram(linkOf(here, from), bytes), onTrouble));
    }
    for (const medium of used) if (medium.kind === "mcast") closers.push(await join(medium, onDatagram, onTrouble));
  } catch (cause) {
    close();
    throw cause;
  }
  const senders = used.map(
    (medium) => new Sender(medium, new Trouble(`${medium.kind} ${medium.interface}`, onTrouble)),
  );
  closers.push(() => {
    for (const sender of senders) sender.close();
  });
  return {
    send: (bytes) => {
      for (const sender of senders) sender.send(bytes);
    },
    close,
  };
}

interface Listening {
  readonly port: number;
  readonly address?: string;
}

/** Returns what closes the socket. */
async function listen(
  at: Listening,
  onBytes: (from: string, bytes: Uint8Array) => void,
  onTrouble: OnTrouble,
  ready: (socket: Socket) => void = () => {},
): Promise<() => void> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(at, () => {
      socket.off("error", reject);
      resolve();
    });
  });
  socket.on("error", (error) => onTrouble(`port ${at.port}: ${error.message}`));
  socket.on("message", (bytes, from) => onBytes(from.address, bytes));
  ready(socket);
  return () => socket.close();
}

/** Bound to the group's address, so that datagrams to other groups and to us do not come here. */
async function join(medium: Mcast, onDatagram: OnDatagram, onTrouble: OnTrouble): Promise<() => void> {
  let retry: NodeJS.Timeout | undefined;
  let member: string | undefined;
  const keepJoined = (socket: Socket): void => {
    const facts = interfaceFacts(medium.interface);
    if (facts !== undefined && facts.address !== member) {
      try {
        socket.addMembership(medium.group, facts.address);
        member = facts.address;
      } catch (error) {
        onTrouble(`mcast ${medium.interface}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    retry = setTimeout(() => keepJoined(socket), RETRY);
  };
  const onBytes = (_from: string, bytes: Uint8Array): void => onDatagram(medium.interface, bytes);
  const close = await listen({ port: medium.port, address: medium.group }, onBytes, onTrouble, keepJoined);
  return () => {
    clearTimeout(retry);
    close();
  };
}
