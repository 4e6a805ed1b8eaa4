/** Work on groups, strictly one after another: a group that is being stopped is never started at the same time. */
import { NONE, type Share } from "./holdings.ts";
import type { Job, JobPurpose, Turn } from "./state.ts";

/** All groups of a share. There may be none: then the job is done at once, in its turn. */
export function enqueueShare(turn: Turn, verb: Job["verb"], share: Share, purpose: JobPurpose): void {
  enqueue(turn, { id: turn.state.nextJob, verb, share, groups: turn.groupsOf(share), purpose });
}

/** Groups by name: legacy mode. */
export function enqueueGroups(turn: Turn, verb: Job["verb"], groups: readonly string[], purpose: JobPurpose): void {
  enqueue(turn, { id: turn.state.nextJob, verb, share: NONE, groups, purpose });
}

function enqueue(turn: Turn, job: Job): void {
  turn.state.nextJob++;
  turn.state.jobs = [...turn.state.jobs, job];
  if (turn.state.jobs.length === 1) begin(turn, job);
}

function begin(turn: Turn, job: Job): void {
  if (job.groups.length > 0) turn.effects.push({ kind: job.verb, job: job.id, groups: job.groups });
}

/** The first job if it is the one that ended; a job without groups ends by being first. */
export function endJob(turn: Turn, id: number): Job | undefined {
  const [job, ...rest] = turn.state.jobs;
  if (job?.id !== id) return undefined;
  turn.state.jobs = rest;
  const next = rest[0];
  if (next !== undefined) begin(turn, next);
  return job;
}

/** The first job, if there is nothing to do for it. */
export const emptyJob = (turn: Turn): Job | undefined =>
  turn.state.jobs[0]?.groups.length === 0 ? turn.state.jobs[0] : undefined;

/** Jobs that have not begun and would start groups are dropped: what they were for no longer holds. */
export function dropWaitingTakes(turn: Turn): void {
  turn.state.jobs = turn.state.jobs.filter((job, n) => n === 0 || job.verb === "give");
}
