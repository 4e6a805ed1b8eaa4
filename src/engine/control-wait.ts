/** `wait-connect` and `wait-sync` (drbd-84 §10.5), for one client of the control server. */
import { type ConnectionName, connectionNames, type ResourceStatus, type VolumeStatus } from "../core/status.ts";
import type { EngineControl, WaitRequest, WaitResult } from "./control-interface.ts";

const rank = (name: ConnectionName): number => connectionNames.indexOf(name);

/** setTimeout takes at most 2^31 - 1 ms; drbd.conf allows 300000 s. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Seconds this wait may take, 0 for ever: a peer known to be Outdated, then a degraded start, then the plain timeout. */
export function waitSeconds(request: WaitRequest, volumes: readonly VolumeStatus[], degraded: boolean): number {
  if (volumes.length > 0 && volumes.every((volume) => volume.peerDisk === "Outdated"))
    return request.outdatedWfcTimeout;
  return degraded ? request.degrWfcTimeout : request.wfcTimeout;
}

const selected = (status: ResourceStatus, volume: number | undefined): readonly VolumeStatus[] =>
  status.volumes.filter((one) => volume === undefined || one.volume === volume);

/** The result if the wait is over in this state: connected, synchronised, or given up. */
export function waitVerdict(request: WaitRequest, status: ResourceStatus): WaitResult | undefined {
  const states = selected(status, request.volume).map((volume) => volume.replication);
  const connected = rank(status.connection) >= rank("Connected");
  const reached =
    connected &&
    (request.verb === "waitConnect"
      ? states.every((state) => rank(state) >= rank("Connected"))
      : states.every((state) => state === "Connected"));
  if (reached) return "reached";
  return rank(status.connection) < rank("Unconnected") && !request.waitAfterSb ? "stand-alone" : undefined;
}

/** Calls `onEnd` once, possibly before it returns; the returned function gives up waiting without a call. */
export function waitFor(
  control: EngineControl,
  request: WaitRequest,
  onEnd: (result: WaitResult, reason: string) => void,
): () => void {
  const status = control.status();
  const volumes = selected(status, request.volume);
  const degraded = volumes.some((volume) => control.startedDegraded(volume.volume));
  const seconds = waitSeconds(request, volumes, degraded);
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  let unsubscribe = (): void => {};
  const stop = (): void => {
    over = true;
    clearTimeout(timer);
    unsubscribe();
  };
  const finish = (result: WaitResult): void => {
    if (over) return;
    stop();
    onEnd(result, control.status().reason);
  };
  const judge = (): void => {
    if (over) return;
    const verdict = waitVerdict(request, control.status());
    if (verdict !== undefined) finish(verdict);
  };
  unsubscribe = control.subscribe({ onChange: judge, onHelperCall: () => {}, onHelperResponse: () => {} });
  if (seconds > 0) timer = setTimeout(() => finish("timed-out"), Math.min(seconds * 1000, MAX_TIMER_MS));
  judge();
  return stop;
}
