/** An `EngineControl` whose answers and changes a test decides, and statuses to start from. */
import type { Outcome, ResourceStatus, VolumeStatus } from "../../../src/core/status.ts";
import { bytes } from "../../../src/core/units.ts";
import type {
  ControlListener,
  EngineControl,
  GenerationView,
  StateRequest,
} from "../../../src/engine/control-interface.ts";

export const counters = { ns: 0, nr: 0, dw: 0, dr: 0, al: 0, bm: 0, lo: 0, pe: 0, ua: 0, ap: 0, ep: 1, oos: 0 };

export const volume = (change: Partial<VolumeStatus> = {}): VolumeStatus => ({
  volume: 0,
  minor: 0,
  size: bytes(1024 ** 3),
  disk: "UpToDate",
  peerDisk: "UpToDate",
  replication: "Connected",
  backingDisk: "/dev/VolGroup00/lvol0",
  uuids: ["0000000000000004", "0000000000000000", "0000000000000000", "0000000000000000"],
  counters,
  sync: undefined,
  pausedByUser: false,
  pausedByPeer: false,
  pausedByDependency: false,
  alSuspended: false,
  openCount: 0,
  ...change,
});

export const resource = (change: Partial<ResourceStatus> = {}): ResourceStatus => ({
  name: "r0",
  node: "host01",
  role: "Primary",
  peerRole: "Secondary",
  connection: "Connected",
  protocol: "C",
  writeOrdering: "f",
  suspended: false,
  local: "192.168.1.100:7789",
  remote: "192.168.1.200:7789",
  agreedVersion: 101,
  reason: "",
  backend: "io_uring",
  io: "direct",
  volumes: [volume()],
  ...change,
});

export class ScriptedControl implements EngineControl {
  readonly requests: StateRequest[] = [];
  readonly listeners = new Set<ControlListener>();
  current: ResourceStatus;
  degraded = false;
  view: GenerationView | undefined;
  answer: (request: StateRequest) => Promise<Outcome> = async () => ({ code: 1, text: "Success" });

  constructor(current: ResourceStatus) {
    this.current = current;
  }

  execute(request: StateRequest): Promise<Outcome> {
    this.requests.push(request);
    return this.answer(request);
  }

  status(): ResourceStatus {
    return this.current;
  }

  subscribe(listener: ControlListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  startedDegraded(): boolean {
    return this.degraded;
  }

  generation(): GenerationView | undefined {
    return this.view;
  }

  change(status: ResourceStatus): void {
    this.current = status;
    for (const listener of this.listeners) listener.onChange();
  }
}
