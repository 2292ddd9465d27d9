/**
 * The execution backend `kvm`: the host's processor executes the guest, through `/dev/kvm`.
 *
 * @packageDocumentation
 */
export { KvmBackend } from "./backend.ts";
export { kvmErrors } from "./errors.ts";
export { KvmHostCheck } from "./host-check.ts";
