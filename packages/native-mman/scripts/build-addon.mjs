/**
 * Compiles a package's addon with node-gyp: what `binding.gyp` names becomes `build/<target>.node`.
 *
 * Node-API is ABI stable, so the headers come from the npm package `node-api-headers`: nothing is downloaded. Used by the install
 * scripts of our native packages, on any Node that node-gyp runs on; it does nothing when the addon is newer than its sources.
 * Without a working compiler it says so and succeeds, so that the rest can be installed; whoever loads the addon then gets an
 * error with a code.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);
const packageFolder = (name) => dirname(require.resolve(`${name}/package.json`));

/** What node-gyp takes from Node's own headers: here, what all our addons are compiled with. */
const common = {
  target_defaults: {
    default_configuration: "Release",
    configurations: { Release: {} },
    cflags_cc: ["-std=c++20", "-O2", "-g", "-fPIC", "-Wall", "-Wextra", "-pthread", "-fno-gnu-unique"],
    // NOTE: without -fno-gnu-unique, static locals of templates become unique symbols and dlclose() never unloads the addon.
    ldflags: ["-pthread"],
    defines: ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS"],
  },
};

/** A folder that looks to node-gyp like a Node with its headers. */
function writeHeaders(folder) {
  const include = join(folder, "include", "node");
  mkdirSync(include, { recursive: true });
  cpSync(join(packageFolder("node-api-headers"), "include"), include, { recursive: true });
  const addonApi = packageFolder("node-addon-api");
  for (const name of readdirSync(addonApi).filter((each) => /^napi.*\.h$/.test(each))) {
    cpSync(join(addonApi, name), join(include, name));
  }
  writeFileSync(join(include, "common.gypi"), JSON.stringify(common));
  writeFileSync(join(include, "config.gypi"), JSON.stringify({ variables: {}, target_defaults: {} }));
}

/**
 * @param folder the package's.
 * @param consequence a sentence: what will not work without the addon.
 */
export function buildAddon(folder, consequence) {
  const { targets } = JSON.parse(readFileSync(join(folder, "binding.gyp"), "utf8"));
  const [{ target_name: name }] = targets;
  const target = join(folder, "build", `${name}.node`);
  const sources = readdirSync(join(folder, "src"))
    .filter((file) => /\.(cc|h)$/.test(file))
    .map((file) => join(folder, "src", file));
  const built = existsSync(target) ? statSync(target).mtimeMs : 0;
  const inputs = [import.meta.filename, join(folder, "binding.gyp"), ...sources];
  if (sources.length === 0 || inputs.every((file) => statSync(file).mtimeMs < built)) return;

  const headers = join(folder, "build", "headers");
  writeHeaders(headers);
  const gyp = join(packageFolder("node-gyp"), "bin", "node-gyp.js");
  const tasks = ["configure", "build"].map((task) =>
    spawnSync(process.execPath, [gyp, task, "--loglevel=error"], {
      cwd: folder,
      // NOTE: by the environment, because what npm puts there of its own configuration counts more than an option.
      env: { ...process.env, npm_config_nodedir: headers },
      stdio: ["ignore", "pipe", "inherit"],
      encoding: "utf8",
    }),
  );
  const failed = tasks.find(({ status }) => status !== 0);
  if (failed === undefined) {
    // Put in place at once: a process that has the old addon mapped keeps it.
    const temporary = `${target}.${process.pid}`;
    cpSync(join(folder, "build", "Release", `${name}.node`), temporary);
    renameSync(temporary, target);
  } else {
    console.error(failed.stdout);
    console.error(
      `${folder}: the addon was not compiled (${failed.error?.message ?? `node-gyp ended with status ${failed.status}`}). ` +
        `${consequence} Install g++, make and python3 (Debian: apt-get install g++ make python3) and install again.`,
    );
  }
}
