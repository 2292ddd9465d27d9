import { programVersion } from "@cpr/core";

/** What `query-version` and QMP's greeting tell: QEMU's members, with this program's version. */
export interface VersionInformation {
  readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
  /** The program and its version in words. */
  readonly package: string;
}

/** The version of this program, in the form that tools for QEMU read. */
export function versionInformation(): VersionInformation {
  const version = programVersion();
  const [major = 0, minor = 0, micro = 0] = version.split(/[.+-]/).map(Number);
  return { qemu: { major, minor, micro }, package: `cpr ${version}` };
}
