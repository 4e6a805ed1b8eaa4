import type { Guest, MinorState, RunResult } from "./guest.ts";
import type { DrbdMinor, GenerationIdentifiers } from "./proc-drbd.ts";

export interface VolumePlan {
  readonly minor: number;
  /** Default: its place in the list. */
  readonly volume?: number;
  /** `/dev/vda` … */
  readonly disk: string;
  /** Default `internal`; else a device, `flexible`. */
  readonly meta?: string;
}

/** Options of drbdsetup-84 by their names, `{ "cram-hmac-alg": "sha1" }`; true and false are yes and no. */
export type SetupOptions = Readonly<Record<string, string | number | boolean>>;

export interface ResourcePlan {
  readonly name: string;
  readonly volumes: readonly [VolumePlan, ...VolumePlan[]];
  /** This node's address and port, `10.0.2.15:7789`. */
  readonly local: string;
  readonly remote: string;
  /** `protocol` is C unless given. */
  readonly net?: SetupOptions;
  readonly diskOptions?: SetupOptions;
  readonly resourceOptions?: SetupOptions;
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

const words = (options: SetupOptions): string =>
  Object.entries(options)
    .map(([name, value]) => quote(`--${name}=${value === true ? "yes" : value === false ? "no" : value}`))
    .join(" ");

/** One resource of the kernel module, worked by drbd-utils' 8.4 commands. Every verb throws with the tool's own words. */
export class KernelResource {
  readonly guest: Guest;
  readonly plan: ResourcePlan;
  private readonly first: VolumePlan;

  constructor(guest: Guest, plan: ResourcePlan) {
    this.guest = guest;
    this.plan = plan;
    [this.first] = plan.volumes;
  }

  /** Runs `drbdsetup-84` with these words; a refusal (its exit code 10 and more) is a result. */
  setup(...args: readonly string[]): Promise<RunResult> {
    return this.guest.run(`drbdsetup-84 ${args.join(" ")}`);
  }

  /** Runs `drbdmeta` on a volume; without the module looking, so only while it is detached. */
  meta(command: string, volume: VolumePlan = this.first): Promise<string> {
    const { minor, disk, meta = "internal" } = volume;
    const where = meta === "internal" ? `${disk} internal` : `${meta} flex-external`;
    return this.guest.mustRun(`drbdmeta --force ${minor} v08 ${where} ${command}`);
  }

  /** New meta data on all volumes, whatever was there. */
  async createMd(): Promise<void> {
    for (const volume of this.plan.volumes) await this.meta("create-md", volume);
  }

  /** Resource and minors, then all disks; not the connection. Meta data that was attached before is made clean first. */
  async up(): Promise<void> {
    const { name, volumes, resourceOptions = {} } = this.plan;
    await this.must("new-resource", name, words(resourceOptions));
    for (const [index, { minor, volume = index }] of volumes.entries()) {
      await this.must("new-minor", name, minor, volume);
    }
    for (const volume of volumes) await this.attach(volume);
  }

  async attach(volume: VolumePlan = this.first): Promise<void> {
    const { minor, disk, meta = "internal" } = volume;
    // drbdadm does the same: the module refuses meta data whose activity log was not applied (165).
    await this.meta("apply-al", volume);
    const index = meta === "internal" ? `${disk} internal` : `${meta} flexible`;
    await this.must("attach", minor, disk, index, words(this.plan.diskOptions ?? {}));
  }

  async detach(volume: VolumePlan = this.first): Promise<void> {
    await this.must("detach", volume.minor);
  }

  /** `net` is added to the plan's own options. */
  async connect(net: SetupOptions = {}): Promise<void> {
    const { name, net: planned = {} } = this.plan;
    await this.must("connect", name, this.addresses, words({ protocol: "C", ...planned, ...net }));
  }

  async disconnect(): Promise<void> {
    await this.must("disconnect", this.addresses);
  }

  async netOptions(net: SetupOptions): Promise<void> {
    await this.must("net-options", this.addresses, words(net));
  }

  /** All volumes, one after the other: the kernel has a role for each. */
  async primary({ force = false } = {}): Promise<void> {
    for (const { minor } of this.plan.volumes) await this.must("primary", minor, force ? "--force=yes" : "");
  }

  async secondary(): Promise<void> {
    for (const { minor } of this.plan.volumes) await this.must("secondary", minor);
  }

  async invalidate(): Promise<void> {
    await this.must("invalidate", this.first.minor);
  }

  async verify(): Promise<void> {
    await this.must("verify", this.first.minor);
  }

  /** A new current UUID; on a fresh connected pair, `clearBitmap` declares both sides equal without a resync. */
  async newCurrentUuid({ clearBitmap = false } = {}): Promise<void> {
    await this.must("new-current-uuid", this.first.minor, clearBitmap ? "--clear-bitmap=yes" : "");
  }

  /** Resync as fast as it goes, for tests that are not about its pace. */
  async unlimitedResync(): Promise<void> {
    for (const { minor } of this.plan.volumes) {
      await this.must("disk-options", minor, "--c-plan-ahead=0 --resync-rate=4G --c-min-rate=0");
    }
  }

  /** Ends the resource; a resource that is not there is down. */
  async down(): Promise<void> {
    const result = await this.setup("down", this.plan.name);
    // 158 is ERR_RES_NOT_KNOWN.
    if (result.code === 0 || /\(158\)/.test(result.stderr)) return;
    throw new Error(`down ${this.plan.name}: ${result.stderr}${result.stdout}`);
  }

  /** The first volume in /proc/drbd. */
  async state(volume: VolumePlan = this.first): Promise<DrbdMinor> {
    const state = (await this.guest.drbd()).get(volume.minor);
    if (state === undefined) throw new Error(`${this.plan.name}: minor ${volume.minor} is not configured`);
    return state;
  }

  gi(volume: VolumePlan = this.first): Promise<GenerationIdentifiers> {
    return this.guest.gi(volume.minor);
  }

  /** Waits until all volumes are so. */
  async reaches(wanted: MinorState, timeout = 30_000): Promise<void> {
    for (const { minor } of this.plan.volumes) await this.guest.reaches(minor, wanted, timeout);
  }

  /** The pair by which drbdsetup-84 names a connection. */
  private get addresses(): string {
    return `ipv4:${this.plan.local} ipv4:${this.plan.remote}`;
  }

  private async must(...args: readonly (string | number)[]): Promise<void> {
    await this.guest.mustRun(`drbdsetup-84 ${args.filter((word) => word !== "").join(" ")}`);
  }
}
