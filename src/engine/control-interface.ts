/**
 * What an engine offers to the programs that operate it (`futago`, heartbeat, node process): the requests, the replies, and
 * the interface the engine implements. How they travel is `proto/control.proto` and `control-codec.ts`; the names of the
 * requests are that file's.
 */
import type { Outcome, ResourceStatus } from "../core/status.ts";

/** `volume` undefined: every volume of the resource. */
type OnVolume = { readonly volume: number | undefined };
type Forcible = { readonly force: boolean };

/** Requests that change the state of the engine: answered by an `Outcome`. */
export type StateRequest =
  | ({ readonly verb: "attach" } & OnVolume)
  | ({ readonly verb: "detach" } & OnVolume & Forcible)
  | { readonly verb: "connect"; readonly discardMyData: boolean; readonly tentative: boolean }
  | ({ readonly verb: "disconnect" } & Forcible)
  | ({ readonly verb: "primary" } & OnVolume & Forcible)
  | ({ readonly verb: "secondary" } & OnVolume)
  | ({ readonly verb: "invalidate" } & OnVolume)
  | ({ readonly verb: "invalidateRemote" } & OnVolume)
  | ({ readonly verb: "outdate" } & OnVolume)
  | ({ readonly verb: "pauseSync" } & OnVolume)
  | ({ readonly verb: "resumeSync" } & OnVolume)
  | ({ readonly verb: "down" } & Forcible);

/** Timeouts in seconds, 0 for ever (drbd-84 §10.5). */
export type WaitRequest = {
  readonly verb: "waitConnect" | "waitSync";
  readonly volume: number | undefined;
  readonly wfcTimeout: number;
  readonly degrWfcTimeout: number;
  readonly outdatedWfcTimeout: number;
  readonly waitAfterSb: boolean;
};

export type QueryRequest =
  | { readonly verb: "status" }
  | { readonly verb: "watch" }
  | { readonly verb: "generation"; readonly volume: number }
  | { readonly verb: "version" };

export type ControlRequest = StateRequest | WaitRequest | QueryRequest;
export type ControlVerb = ControlRequest["verb"];

/** What the metadata of an attached volume says (drbd-84 §9.2): `flags` is the MDF_* word, `uuids` as in `VolumeStatus`. */
export interface GenerationView {
  readonly uuids: readonly string[];
  readonly flags: number;
  readonly lastAgreedSectors: number;
  readonly lastAgreedMaxBioBytes: number;
}

/** `stand-alone`: the connection was given up, waiting longer makes no sense (drbd-84 §10.5). */
export type WaitResult = "reached" | "timed-out" | "stand-alone";

export type ControlReply =
  | { readonly kind: "result"; readonly outcome: Outcome }
  /** `skipped`: how many states of a watch were left out before this one because the client read too slowly. */
  | { readonly kind: "state"; readonly status: ResourceStatus; readonly skipped: number }
  | { readonly kind: "waited"; readonly result: WaitResult; readonly reason: string }
  | { readonly kind: "generation"; readonly view: GenerationView | undefined }
  | { readonly kind: "version"; readonly engine: string; readonly pid: number }
  | { readonly kind: "helperCall"; readonly helper: string; readonly volume: number | undefined }
  /** `status` is the raw wait status, the exit code times 256. */
  | {
      readonly kind: "helperResponse";
      readonly helper: string;
      readonly volume: number | undefined;
      readonly status: number;
    };

export interface ControlListener {
  /**
   * `EngineControl.status()` would now answer differently. States, UUIDs and sync progress count; counters alone do not, but
   * may be announced about once a second. The server reads the status later in the same turn of the event loop.
   */
  onChange(): void;
  /** A handler of drbd.conf is being called; `volume` undefined for the resource's own (fence-peer). */
  onHelperCall(helper: string, volume: number | undefined): void;
  onHelperResponse(helper: string, volume: number | undefined, status: number): void;
}

/** Implemented by the engine of one resource, used by the control server. */
export interface EngineControl {
  /**
   * Does what is asked, or refuses with DRBD's code and text; never rejects for an expected failure. Requests arrive as
   * they come, also while earlier ones are still running: their order and exclusion is the engine's affair. After a
   * successful `down` the server sends the answer and then calls `ControlServerOptions.onDown`, which ends the process.
   */
  execute(request: StateRequest): Promise<Outcome>;
  status(): ResourceStatus;
  /** Calls the listener until the returned function is called. */
  subscribe(listener: ControlListener): () => void;
  /** Was a Primary without its peer when it last stopped, and is not Primary now: degr-wfc-timeout applies (drbd-84 §9.4 item 6). */
  startedDegraded(volume: number): boolean;
  /** Undefined while the volume is diskless or does not exist. */
  generation(volume: number): GenerationView | undefined;
}
