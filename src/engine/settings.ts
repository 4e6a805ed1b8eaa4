/** From the effective configuration to what the core needs. The one place where option names meet the engine's fields. */
import type { ResourceConfig, VolumeConfig } from "../core/config/effective.ts";
import type { FutagoResourceConfig } from "../core/config/futago-conf.ts";
import type { Placement } from "../core/metadata/geometry.ts";
import type { NetSettings, ResourceSettings, VolumeSettings } from "../core/resource/settings.ts";
import type { Policy0p, Policy1p, Policy2p } from "../core/state/after-split-brain.ts";

const MIN_SLAB = 8 * 1024 * 1024;

export function settingsOf(config: ResourceConfig, futago: FutagoResourceConfig, node: string): ResourceSettings {
  const own = futago.resource.values;
  return {
    name: config.name,
    node,
    volumes: config.volumes.map((volume) => volumeSettings(volume, config)),
    net: netSettings(config),
    onNoDataAccessible: config.options.values["on-no-data-accessible"],
    // The buddy allocator wants a power of two: rounds down, so that the configured limit holds.
    slabBytes: Math.max(MIN_SLAB, 2 ** Math.floor(Math.log2(own["slab-max"]))),
    io: own.io,
  };
}

function placementOf(volume: VolumeConfig): Placement {
  const { metaDisk } = volume.local;
  switch (metaDisk.kind) {
    case "internal":
      return { kind: "internal" };
    case "flexible":
      return { kind: "flex-external" };
    case "indexed":
      return { kind: "indexed", index: metaDisk.index };
    default:
      return metaDisk satisfies never;
  }
}

function volumeSettings(volume: VolumeConfig, config: ResourceConfig): VolumeSettings {
  const disk = volume.disk.values;
  return {
    volume: volume.volume,
    minor: volume.local.minor,
    placement: placementOf(volume),
    backingDisk: volume.local.disk,
    userSize: disk.size,
    alExtents: disk["al-extents"],
    onIoError: disk["on-io-error"],
    fencing: disk.fencing,
    diskFlushes: disk["disk-flushes"],
    mdFlushes: disk["md-flushes"],
    rates: {
      planAhead: volume.fixedRate ? 0 : disk["c-plan-ahead"] / 100,
      delayTarget: disk["c-delay-target"] / 100,
      fillTarget: disk["c-fill-target"],
      maxRate: disk["c-max-rate"],
      resyncRate: disk["resync-rate"],
      maxBuffers: config.net.values["max-buffers"],
    },
  };
}

function netSettings(config: ResourceConfig): NetSettings {
  const net = config.net.values;
  return {
    local: { address: config.local.address.address, port: config.local.address.port },
    remote: { address: config.remote.address.address, port: config.remote.address.port },
    protocol: net.protocol,
    connectInterval: net["connect-int"],
    pingInterval: net["ping-int"],
    pingTimeout: net["ping-timeout"],
    timeout: net.timeout,
    koCount: net["ko-count"],
    socketCheckTimeout: net["socket-check-timeout"],
    maxEpochSize: net["max-epoch-size"],
    allowTwoPrimaries: net["allow-two-primaries"],
    cramHmacAlg: net["cram-hmac-alg"],
    sharedSecret: new TextEncoder().encode(net["shared-secret"]),
    integrityAlg: net["data-integrity-alg"],
    verifyAlg: net["verify-alg"],
    csumsAlg: net["csums-alg"],
    useRle: net["use-rle"],
    after0p: net["after-sb-0pri"] as Policy0p,
    after1p: net["after-sb-1pri"] as Policy1p,
    after2p: net["after-sb-2pri"] as Policy2p,
    alwaysAsbp: net["always-asbp"],
    rrConflict: net["rr-conflict"],
  };
}
