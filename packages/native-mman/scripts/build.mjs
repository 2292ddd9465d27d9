/**
 * Compiles the addon with the C++ compiler alone: `src/*.cc` into `build/native-mman.node`.
 *
 * Node-API is ABI stable, so the headers come from the npm package `node-api-headers` and neither node-gyp nor Node's own
 * headers (which would have to be downloaded) are needed. Runs as the package's install script, on any Node from 20 on, and
 * does nothing when the addon is newer than its sources. Without a working compiler it says so and succeeds, so that the
 * rest can be installed; whoever loads the addon then gets an error with a code.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const folder = fileURLToPath(new URL("..", import.meta.url));
const target = join(folder, "build", "native-mman.node");
const inputs = readdirSync(join(folder, "src"))
  .filter((name) => /\.(cc|h)$/.test(name))
  .map((name) => join(folder, "src", name));
const sources = inputs.filter((name) => name.endsWith(".cc"));

const packageFolder = (name) => dirname(require.resolve(`${name}/package.json`));

const isCurrent = () => {
  const built = existsSync(target) ? statSync(target).mtimeMs : 0;
  return [fileURLToPath(import.meta.url), ...inputs].every((name) => statSync(name).mtimeMs < built);
};

if (sources.length > 0 && !isCurrent()) {
  mkdirSync(dirname(target), { recursive: true });
  // Written beside the target and renamed: a process that has the old addon mapped keeps it.
  const temporary = `${target}.${process.pid}`;
  const { status, error } = spawnSync(
    process.env.CXX ?? "g++",
    [
      ...["-std=c++20", "-O2", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-pthread"],
      // NOTE: without this, static locals of templates become unique symbols and dlclose() never unloads the addon.
      "-fno-gnu-unique",
      ...["-DNAPI_VERSION=9", "-DNODE_ADDON_API_CPP_EXCEPTIONS"],
      ...["-isystem", join(packageFolder("node-api-headers"), "include"), "-isystem", packageFolder("node-addon-api")],
      ...sources,
      ...["-o", temporary],
    ],
    { stdio: "inherit" },
  );
  if (status === 0) {
    renameSync(temporary, target);
  } else {
    console.error(
      `@cpr/native-mman: the addon was not compiled (${error?.message ?? `the compiler ended with status ${status}`}). ` +
        "RAM in shared memory will be refused until it is: install g++ (Debian: apt-get install g++) and install again.",
    );
  }
}
