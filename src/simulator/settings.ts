/** The engine's settings for the two nodes of a run. */
import type { ResourceSettings } from "../core/resource/settings.ts";
import { ms, sector } from "../core/units.ts";
import type { SimOptions } from "./options.ts";

export const SLAB_BYTES = 8 * 1024 * 1024;
const SECRET = Uint8Array.from("not a secret", (c) => c.charCodeAt(0));
const PORT = 7789;

export const addressOf = (node: number): string => `10.0.0.${node + 1}`;
export const nameOf = (node: number): string => (node === 0 ? "A" : "B");

export function settingsFor(node: number, options: SimOptions): ResourceSettings {
  const { authenticated, useRle, maxEpochSize, koCount, planAhead, resyncRate, alExtents } = options;
  return {
    name: "r0",
    node: nameOf(node),
    volumes: [
      {
        volume: 0,
        minor: 0,
        placement: { kind: options.placement },
        backingDisk: `disk of ${nameOf(node)}`,
        userSize: sector(0),
        alExtents,
        onIoError: "detach",
        fencing: "dont-care",
        diskFlushes: true,
        mdFlushes: true,
        rates: {
          planAhead,
          delayTarget: 10,
          fillTarget: 100,
          maxRate: 102_400,
          resyncRate,
          maxBuffers: 2048,
        },
      },
    ],
    net: {
      local: { address: addressOf(node), port: PORT },
      remote: { address: addressOf(1 - node), port: PORT },
      protocol: "C",
      connectInterval: ms(options.connectInterval),
      pingInterval: ms(options.pingInterval),
      pingTimeout: ms(options.pingTimeout),
      timeout: ms(6000),
      koCount,
      socketCheckTimeout: ms(0),
      maxEpochSize,
      allowTwoPrimaries: false,
      cramHmacAlg: authenticated ? "sha1" : "",
      sharedSecret: SECRET,
      integrityAlg: "",
      verifyAlg: "",
      csumsAlg: "",
      useRle,
      after0p: "disconnect",
      after1p: "disconnect",
      after2p: "disconnect",
      alwaysAsbp: false,
      rrConflict: "disconnect",
    },
    onNoDataAccessible: "io-error",
    slabBytes: SLAB_BYTES,
    io: "direct",
  };
}
