/**
 * Guest RAM in a file (`memory-backend-file`) on tmpfs, hugetlbfs or a disk, or in one without a name (`memory-backend-shm`).
 *
 * @packageDocumentation
 */
export { FileMemoryProvider } from "./file-memory-provider.ts";
export { HugePagesHostCheck } from "./huge-pages-host-check.ts";
export { SharedMemoryHostCheck } from "./shared-memory-host-check.ts";
