import { Backend, type HostCheck, type HostFinding, isCprError, type Kernel, systemReason } from "@cpr/core";

/** Whether the plugins that are installed can be loaded, and one of them executes guests here. */
export class PluginsHostCheck implements HostCheck {
  readonly name = "plugins";
  readonly summary = "Plugins";
  readonly #kernel: Kernel;
  readonly #problem: unknown;

  /** @param problem - why not even their manifests can be read, if so. */
  constructor(kernel: Kernel, problem?: unknown) {
    this.#kernel = kernel;
    this.#problem = problem;
  }

  async examine(): Promise<readonly HostFinding[]> {
    if (this.#problem !== undefined) {
      return [failure("plugins", this.#problem)];
    }
    const { plugins } = this.#kernel;
    const failures: HostFinding[] = [];
    for (const plugin of plugins) {
      try {
        await this.#kernel.load(plugin);
      } catch (error) {
        failures.push(failure(plugin.name, error));
      }
    }
    const loaded = plugins.length - failures.length;
    return [
      ...failures,
      { subject: "plugins", status: "ready", found: `${loaded} can be loaded` },
      await this.#backends(),
    ];
  }

  async #backends(): Promise<HostFinding> {
    const finding = { subject: "execution backends", enoughFor: ["run"] } as const;
    const usable: string[] = [];
    for (const name of this.#kernel.keys(Backend)) {
      try {
        if ((await (await this.#kernel.get(Backend, name)).probe()).available) usable.push(name);
      } catch {
        // Why it cannot be loaded is told above; why it does not work, by its plugin's check.
      }
    }
    return usable.length > 0
      ? { ...finding, status: "ready", found: usable.join(", ") }
      : {
          ...finding,
          status: "missing",
          found: "none works here",
          remedy: "Install @cpr/backend-interp, which needs nothing.",
        };
  }
}

/** NOTE: a VM may do without a plugin, but most of them are loaded for every VM. */
function failure(subject: string, error: unknown): HostFinding {
  return {
    subject,
    status: "missing",
    found: systemReason(error),
    remedy: (isCprError(error) ? error.hint : undefined) ?? "Install it again, or remove it.",
    neededFor: ["run", "restart"],
  };
}
