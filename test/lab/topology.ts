/**
 * The two machines of the lab, the client PC and their cables:
 *
 *     client ── eth0 ──┐
 *     host01 ── eth0 ──┼── lan bridge, 192.168.1.0/24
 *     host02 ── eth0 ──┘
 *     host01 ── eth1 ───── cross bridge ───── eth1 ── host02, 10.77.0.0/24
 *
 * A crossover cable has no switch: when one end loses its carrier, so does the other (`wires.ts` keeps that true).
 */

export const hostNames = ["host01", "host02", "client"] as const;
export type HostName = (typeof hostNames)[number];

/** `eth0` hangs on the switch, `eth1` is the crossover cable between the two servers. */
export type LinkName = "eth0" | "eth1";

interface HostPlan {
  /** What `uname -n` prints and what the `on` sections of drbd.conf name. */
  readonly fqdn: string;
  /** Address of each interface the host has; all networks are /24. */
  readonly links: Readonly<Partial<Record<LinkName, string>>>;
  /** Whether `/dev/VolGroup00/lvol0` exists. */
  readonly hasVolume: boolean;
}

const domain = "xxxx.xxxx.nagoya-u.ac.jp";

export const topology: Readonly<Record<HostName, HostPlan>> = {
  host01: { fqdn: `host01.${domain}`, links: { eth0: "192.168.1.100", eth1: "10.77.0.1" }, hasVolume: true },
  host02: { fqdn: `host02.${domain}`, links: { eth0: "192.168.1.200", eth1: "10.77.0.2" }, hasVolume: true },
  client: { fqdn: `client.${domain}`, links: { eth0: "192.168.1.50" }, hasVolume: false },
};

/** Where a server finds its disk: the logical volume of a stock CentOS 5 installation. */
export const volumePath = "/dev/VolGroup00/lvol0";

/** `/etc/hosts`, equal on all machines. Names resolve to the LAN; `-cross` to the crossover cable. */
export function hostsFile(): string {
  const lines = ["127.0.0.1\tlocalhost"];
  for (const name of hostNames) {
    const { fqdn, links } = topology[name];
    lines.push(`${links.eth0}\t${fqdn} ${name}`);
    if (links.eth1 !== undefined) lines.push(`${links.eth1}\t${name}-cross`);
  }
  return `${lines.join("\n")}\n`;
}

/** A locally administered MAC that stays the same over a power cut, as a network card's does. */
export function macAddress(host: HostName, link: LinkName): string {
  return `02:f0:7a:60:0${link === "eth0" ? 0 : 1}:0${hostNames.indexOf(host) + 1}`;
}
