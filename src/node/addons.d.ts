/** What is used of the two packages that bring no types. Both throw an Error with `errno` and `code`. */
declare module "ioctl" {
  /** A Buffer is passed by address. Returns ioctl's result. */
  function ioctl(fd: number, request: number, argument?: number | Buffer): number;
  export = ioctl;
}

declare module "fs-ext" {
  /** `exnb` and `shnb` do not wait: EAGAIN. */
  export function flockSync(fd: number, operation: "ex" | "exnb" | "sh" | "shnb" | "un"): void;
  /** lseek(2): the resulting offset. */
  export function seekSync(fd: number, position: number, whence: number): number;
}

/** Of WebAssembly only its memory is used: page aligned without an addon. Not part of the es2023 library's types. */
declare const WebAssembly: {
  readonly Memory: new (pages: {
    readonly initial: number;
    readonly maximum: number;
  }) => { readonly buffer: ArrayBuffer };
};
