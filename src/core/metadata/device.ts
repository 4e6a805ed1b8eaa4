/** The block device or file that the metadata tool works on: synchronous, whole answers or an exception. Used offline, never by the data path. */
export interface SyncDevice {
  /** Bytes. */
  readonly size: number;
  /** Exactly `length` bytes; throws where the device ends or fails. */
  read(at: number, length: number): Uint8Array;
  write(at: number, bytes: Uint8Array): void;
  /** Everything written so far is stable when it returns. */
  flush(): void;
}
