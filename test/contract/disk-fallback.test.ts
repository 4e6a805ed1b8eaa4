import { realDiskContracts } from "./real-disks.ts";

realDiskContracts("fallback");
