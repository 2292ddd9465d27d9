/**
 * Compliance suites for the contracts of `@cpr/core`, one subpath each, and fakes.
 *
 * A package that implements a contract runs the suite of that contract in its tests: `transportCompliance` of
 * `@cpr/testkit/transport`, `memoryProviderCompliance` of `@cpr/testkit/memory-provider`, `backendCompliance`,
 * `blockDriverCompliance`, `deviceCompliance`, `modeCompliance`, `migrationBlockerCompliance`, `networkBackendCompliance`, `hostCheckCompliance`, `monitorCommandCompliance`, and for the package
 * itself `pluginPackageCompliance`.
 * A case is left out only where the implementation states, in its `supports`, that it cannot do it.
 *
 * @packageDocumentation
 */
export * from "./compliance-case.ts";
export * from "./expectations.ts";
export * from "./register-cases.ts";
