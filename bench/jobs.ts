/** What every target has to do: one row is one fio job. */
export interface Job {
  readonly title: string;
  readonly fio: readonly string[];
  readonly direction: "read" | "write";
}

const write = (title: string, ...fio: string[]): Job => ({ title, fio, direction: "write" });
const read = (title: string, ...fio: string[]): Job => ({ title, fio, direction: "read" });

/** fio's nbd engine knows fsync only: with `fdatasync` the job stops after one operation. */
export const jobs = {
  w4k1: write("4k random write, depth 1", "--rw=randwrite", "--bs=4k", "--iodepth=1"),
  w4k32: write("4k random write, depth 32", "--rw=randwrite", "--bs=4k", "--iodepth=32"),
  w64k8: write("64k random write, depth 8", "--rw=randwrite", "--bs=64k", "--iodepth=8"),
  w1m4: write("1M sequential write, depth 4", "--rw=write", "--bs=1m", "--iodepth=4"),
  r4k32: read("4k random read, depth 32", "--rw=randread", "--bs=4k", "--iodepth=32"),
  w4k1f: write("4k random write, depth 1, flush after each", "--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"),
  w4k32f: write(
    "4k random write, depth 32, flush after 32",
    ...["--rw=randwrite", "--bs=4k", "--iodepth=32", "--fsync=32"],
  ),
} as const satisfies Record<string, Job>;

export type JobName = keyof typeof jobs;
export const jobNames = Object.keys(jobs) as JobName[];
