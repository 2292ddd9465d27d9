import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { replaceFile, systemReason } from "@cpr/core";
import { hostErrors } from "./host-errors.ts";
import { type HostFolders, vmFiles, vmsFolder } from "./host-folders.ts";

/** What is registered of a VM. */
export interface VmDefinition {
  /** The options of `cpr run`, as they were given. */
  readonly options: readonly string[];
  /** Where relative paths in the options begin. */
  readonly workingDirectory: string;
  /** VMs of a lower order are loaded first and saved last. */
  readonly order: number;
  /** How long it may take to start, to save and to load the VM, each, in seconds. */
  readonly timeout: number;
  /** Started afresh when the host is up and there is no checkpoint. */
  readonly autostart: boolean;
}

/** The version of the file, for programs that come later. */
const version = 1;

/** @throws {CprError} ERR_CPR_HOST_NAME */
export function checkVmName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw hostErrors.ERR_CPR_HOST_NAME({ name });
  }
}

/** The names of the registered VMs. @throws {CprError} ERR_CPR_HOST_FOLDER */
export function registeredNames(folders: HostFolders): readonly string[] {
  const path = vmsFolder(folders);
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return [];
    }
    throw hostErrors.ERR_CPR_HOST_FOLDER({ path, reason: systemReason(error) }, { cause: error });
  }
}

/** @throws {CprError} ERR_CPR_HOST_DEFINITION */
export function readVmDefinition(folders: HostFolders, name: string): VmDefinition {
  const path = vmFiles(folders, name).definition;
  const unusable = (reason: string, cause?: unknown) =>
    hostErrors.ERR_CPR_HOST_DEFINITION({ name, path, reason }, { cause });
  let content: Partial<VmDefinition> & { readonly version?: number };
  try {
    content = JSON.parse(readFileSync(path, "utf8")) as typeof content;
  } catch (cause) {
    throw unusable(cause instanceof SyntaxError ? "it is no JSON" : systemReason(cause), cause);
  }
  if (content?.version !== version) {
    throw unusable(`its version is ${content?.version}, and this program knows version ${version}`);
  }
  const { options, workingDirectory, order, timeout, autostart } = content;
  if (
    !Array.isArray(options) ||
    !options.every((each) => typeof each === "string") ||
    typeof workingDirectory !== "string" ||
    typeof order !== "number" ||
    typeof timeout !== "number" ||
    typeof autostart !== "boolean"
  ) {
    throw unusable("something is missing in it");
  }
  return { options, workingDirectory, order, timeout, autostart };
}

/** Registers a VM, durably. @throws {CprError} ERR_CPR_HOST_FOLDER, ERR_CPR_HOST_NAME, ERR_CPR_HOST_NAME_TAKEN */
export function writeVmDefinition(folders: HostFolders, name: string, definition: VmDefinition): void {
  checkVmName(name);
  const { folder, definition: path } = vmFiles(folders, name);
  try {
    mkdirSync(dirname(folder), { recursive: true, mode: 0o700 });
    mkdirSync(folder, { mode: 0o700 });
    replaceFile(path, `${JSON.stringify({ version, ...definition }, undefined, 2)}\n`);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") {
      throw hostErrors.ERR_CPR_HOST_NAME_TAKEN({ name }, { cause });
    }
    throw hostErrors.ERR_CPR_HOST_FOLDER({ path: folder, reason: systemReason(cause) }, { cause });
  }
}
