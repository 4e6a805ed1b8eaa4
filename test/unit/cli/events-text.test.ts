import test from "ava";
import {
  changes,
  existing,
  helperLine,
  legacyChanges,
  legacyHelper,
  legacyLine,
  timestamp,
} from "../../../src/cli/events-text.ts";
import type { ResourceStatus, VolumeStatus } from "../../../src/core/status.ts";
import { bytes } from "../../../src/core/units.ts";
import { counters, resource, volume } from "./scripted-control.ts";

// Every expected line was printed by drbd-utils 9.22 (drbdsetup-84) on the kernel's DRBD 8.4.11.
const status = (change: Partial<ResourceStatus>, ofVolume: Partial<VolumeStatus>): ResourceStatus =>
  resource({ ...change, volumes: [volume({ size: bytes(24536 * 1024), ...ofVolume })] });
const alone = { role: "Secondary", peerRole: "Unknown", connection: "StandAlone" } as const;
const none = { disk: "Diskless", peerDisk: "DUnknown", replication: "StandAlone" } as const;
const story: readonly ResourceStatus[] = [
  status(alone, { ...none, size: bytes(0) }),
  status(alone, { ...none, disk: "Inconsistent", alSuspended: true, counters: { ...counters, al: 8, oos: 24536 } }),
  status(
    { ...alone, connection: "WFConnection" },
    { ...none, disk: "Inconsistent", replication: "WFConnection", counters: { ...counters, al: 8, oos: 24536 } },
  ),
  status(
    { ...alone, connection: "Connected", peerRole: "Secondary" },
    {
      ...{ disk: "Inconsistent", peerDisk: "Inconsistent", replication: "Connected" },
      counters: { ...counters, al: 8, oos: 24536 },
    },
  ),
  status(
    { connection: "SyncSource" },
    { peerDisk: "Inconsistent", replication: "SyncSource", counters: { ...counters, al: 8, oos: 24536 } },
  ),
  status(
    { connection: "PausedSyncS" },
    {
      ...{ peerDisk: "Inconsistent", replication: "PausedSyncS", pausedByUser: true },
      counters: { ...counters, ns: 2872, dr: 2872, al: 8, oos: 21664 },
    },
  ),
  status(
    { connection: "StandAlone", peerRole: "Unknown" },
    { peerDisk: "Inconsistent", replication: "StandAlone", counters: { ...counters, ns: 12784, al: 9, oos: 11944 } },
  ),
];
const at = (index: number): ResourceStatus => story[index] ?? resource();
const step = (to: number): readonly string[] => changes(at(to - 1), at(to), false);

test("§10.8 events2: what exists; a StandAlone connection has no name", (t) => {
  t.deepEqual(existing(at(1), true), [
    "exists resource name:r0 role:Secondary suspended:no write-ordering:flush",
    "exists connection name:r0 peer-node-id:0 connection:StandAlone role:Unknown congested:no",
    "exists device name:r0 volume:0 minor:0 disk:Inconsistent size:24536 read:0 written:0 al-writes:8 bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:yes blocked:no",
    "exists peer-device name:r0 peer-node-id:0 volume:0 replication:Off peer-disk:DUnknown resync-suspended:no received:0 sent:0 out-of-sync:24536 pending:0 unacked:0",
  ]);
  t.deepEqual(existing(at(3), false), [
    "exists resource name:r0 role:Secondary suspended:no",
    "exists connection name:r0 peer-node-id:0 conn-name:peer connection:Connected role:Secondary",
    "exists device name:r0 volume:0 minor:0 disk:Inconsistent",
    "exists peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:Inconsistent resync-suspended:no",
  ]);
});

test("§10.8 events2: an engine that starts creates the resource and its devices, one that ends destroys them", (t) => {
  t.deepEqual(changes(undefined, at(0), false), [
    "create resource name:r0 role:Secondary suspended:no",
    "create device name:r0 volume:0 minor:0 disk:Diskless",
  ]);
  t.deepEqual(changes(at(0), undefined, false), [
    "destroy device name:r0 volume:0 minor:0",
    "destroy resource name:r0",
  ]);
  t.deepEqual(changes(undefined, undefined, true), []);
});

test("§10.8 events2: a connection is created when it leaves StandAlone and destroyed when it returns", (t) => {
  t.deepEqual(step(2), [
    "create connection name:r0 peer-node-id:0 conn-name:peer connection:StandAlone role:Unknown",
    "create peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Off peer-disk:DUnknown resync-suspended:no",
    "change connection name:r0 peer-node-id:0 conn-name:peer connection:Connecting",
  ]);
  t.deepEqual(step(6), [
    "change connection name:r0 peer-node-id:0 conn-name:peer connection:StandAlone role:Unknown",
    "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Off resync-suspended:no",
    "destroy peer-device name:r0 peer-node-id:0 conn-name:peer volume:0",
    "destroy connection name:r0 peer-node-id:0 conn-name:peer",
  ]);
  t.deepEqual(changes(at(3), undefined, false).slice(-4), [
    "destroy peer-device name:r0 peer-node-id:0 conn-name:peer volume:0",
    "destroy connection name:r0 peer-node-id:0 conn-name:peer",
    "destroy device name:r0 volume:0 minor:0",
    "destroy resource name:r0",
  ]);
});

test("§10.8 events2: changes tell only what changed", (t) => {
  t.deepEqual(step(1), ["change device name:r0 volume:0 minor:0 disk:Inconsistent"]);
  t.deepEqual(step(3), [
    "change connection name:r0 peer-node-id:0 conn-name:peer connection:Connected role:Secondary",
    "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:Inconsistent",
  ]);
  t.deepEqual(step(4), [
    "change resource name:r0 role:Primary",
    "change device name:r0 volume:0 minor:0 disk:UpToDate",
    "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:SyncSource",
  ]);
  t.deepEqual(step(5), [
    "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:PausedSyncS resync-suspended:user",
  ]);
  const counted = status({ connection: "SyncSource" }, { ...at(4).volumes[0], counters: { ...counters, ns: 5 } });
  t.deepEqual(changes(at(4), counted, true), [], "counters alone are no change");
});

test("§10.8 events2 --statistics: numbers with every change, words only when they changed", (t) => {
  t.deepEqual(changes(at(0), at(1), true), [
    "change device name:r0 volume:0 minor:0 disk:Inconsistent size:24536 read:0 written:0 al-writes:8 bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:yes",
  ]);
  t.deepEqual(changes(at(3), at(4), true)[0], "change resource name:r0 role:Primary");
  t.deepEqual(changes(at(4), at(5), true), [
    "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:PausedSyncS resync-suspended:user received:0 sent:2872 out-of-sync:21664 pending:0 unacked:0",
  ]);
});

test("§10.8 events2: handlers, of a volume and of the resource", (t) => {
  t.is(
    helperLine(at(4), "before-resync-source", 0, undefined),
    "call helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:before-resync-source",
  );
  t.is(
    helperLine(at(4), "before-resync-source", 0, 0),
    "response helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:before-resync-source status:0",
  );
  t.is(
    helperLine(at(4), "fence-peer", undefined, 1024),
    "response helper name:r0 peer-node-id:0 conn-name:peer helper:fence-peer status:1024",
  );
});

test("§10.8 events of 8.4: state before, after and in force under one number; handlers", (t) => {
  let sequence = 17;
  const next = () => ++sequence;
  t.deepEqual(
    legacyChanges(
      at(3),
      { ...at(4), connection: "Connected", volumes: [{ ...(at(4).volumes[0] ?? volume()), replication: "Connected" }] },
      next,
    ),
    [
      "18 ST-prev 0,r0[0] { cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent r--- }",
      "18 ST-new 0,r0[0] { cs:Connected ro:Primary/Secondary ds:UpToDate/Inconsistent r--- }",
      "18 ST 0,r0[0] { cs:Connected ro:Primary/Secondary ds:UpToDate/Inconsistent r--- }",
    ],
  );
  t.deepEqual(legacyChanges(at(4), at(4), next), []);
  const [paused] = at(5).volumes;
  if (paused !== undefined)
    t.is(
      legacyLine(28, at(5), paused),
      "28 ST 0,r0[0] { cs:PausedSyncS ro:Primary/Secondary ds:UpToDate/Inconsistent r--u }",
    );
  t.is(legacyHelper(21, at(4), "before-resync-source", 0, undefined), "21 UH 0,r0[0] before-resync-source");
  t.is(legacyHelper(23, at(4), "before-resync-source", 0, 0), "23 UH-post 0,r0[0] before-resync-source 0x0000");
});

test("§10.8: a timestamp has microseconds and the zone", (t) => {
  t.regex(timestamp(new Date(1706698800_123)), /^2024-01-3[01]T\d\d:\d\d:\d\d\.123000[+-]\d\d:\d\d$/);
});
